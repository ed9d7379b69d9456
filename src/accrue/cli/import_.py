"""`accrue import`: a file of events into a data directory, with a progress bar and a closing count."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Annotated, BinaryIO

import typer
from msgspec import Struct
from rich.console import Console
from rich.filesize import decimal as size_text
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from accrue.cli.options import DEFAULT_TENANT, AsJson, ConfigFile, DataDir, Tenant, closing_nothing, iso, settings
from accrue.cli.terminal import cell, err, out, printable, show_json
from accrue.clock import Clock, SystemClock
from accrue.collector import calm
from accrue.config import Config
from accrue.engine import Accrue
from accrue.errors import Misconfigured
from accrue.ingest.formats.csv import parse_mapping
from accrue.ingest.importing import BATCH_EVENTS_MAX, Format, Importer, OnProgress, Progress, Refusal, Source, Summary

SOMETHING_WRONG = 1
STANDARD_INPUT = Path("-")
PLAIN_STEP = 0.1
"""Without a terminal a line is printed each time so much of the file is done."""


class FileFormat(StrEnum):
    """One event a line; a table with a header; a web server's log."""

    NDJSON = "ndjson"
    CSV = "csv"
    COMBINED = "combined"


BY_SUFFIX = {".csv": FileFormat.CSV, ".log": FileFormat.COMBINED}


class _Report(Struct, frozen=True):
    """The document of --json. The seven counts add up to `events`."""

    file: str
    format: str
    tenant: str
    key: str
    lines: int
    events: int
    accepted: int
    unmatched: int
    repeated: int
    conflicting: int
    failed: int
    retracted: int
    rejected: int
    refusals: list[Refusal]
    resumed_after_line: int
    imported_before: str | None
    seconds: float
    events_per_s: int


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_file)


def import_file(
    file: Annotated[Path, typer.Argument(help="A file, plain or gzip; - reads standard input.", metavar="FILE")],
    format: Annotated[
        FileFormat | None, typer.Option("--format", help="What it is; by its name if left out, else ndjson.")
    ] = None,
    program: Annotated[
        Path | None,
        typer.Option("--program", metavar="FILE", help="The tenant's rules; those it has if left out."),
    ] = None,
    data_dir: DataDir = None,
    tenant: Tenant = DEFAULT_TENANT,
    map: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="For CSV; may be given many times."),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=BATCH_EVENTS_MAX, help="Lines that go into the log together.")
    ] = BATCH_EVENTS_MAX,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Import a file of events: each of its lines counts once.

    Importing the same file again changes nothing, however much later, and an import that was interrupted goes on
    where it stopped: run the same command again. (The same file with another format or mapping is another import.)
    Exits with 1 when any line was rejected or any event failed; all others are in.

    --map says where an event's fields come from: a column (time=date), a text (type="'goal'"), or a text with
    columns in it (id="{season}/{home}"). The fields are type id actor object owner time value and data.NAME.

    \b
    Examples:
      accrue import events.ndjson.gz --program program.toml --data-dir accrue-data
      accrue import access.log --format combined --program weblog.toml
      accrue import matches.csv --program league.toml --map "type='match.played'"
          --map time=date --map actor=home --map data.goals=home_goals
    """
    clock = SystemClock()
    found = closing_nothing(settings(config, data_dir=data_dir, programs={tenant: program} if program else None))
    source = Source(
        name="standard input" if file == STANDARD_INPUT else _as_text(file.name),
        format=_format(file, format),
        mapping=parse_mapping(map or []),
    )
    _check_program(found)
    with _opened(file) as content, _progress(content, source.name, clock) as on_progress:
        began_s = clock.monotonic_s()
        try:
            summary = asyncio.run(_import(found, tenant, content, source, batch, clock, on_progress))
        except KeyboardInterrupt:
            err().print("\nStopped. What was taken stays; the same command goes on from there.")
            raise
        seconds = clock.monotonic_s() - began_s
    report = _report(summary, source.format, tenant, seconds)
    if as_json:
        show_json(report)
    else:
        _show(report, out())
    if report.rejected or report.failed:
        raise typer.Exit(SOMETHING_WRONG)


async def _import(
    config: Config,
    tenant: str,
    content: BinaryIO,
    source: Source,
    batch_events: int,
    clock: Clock,
    on_progress: OnProgress,
) -> Summary:
    async with Accrue.open(config, tenant=tenant, clock=clock) as accrue:
        importer = Importer(accrue.parts.acceptor, accrue.parts.live, clock, tenant=tenant)
        with calm():
            return await importer.run(content, source, batch_events=batch_events, on_progress=on_progress)


def _format(file: Path, said: FileFormat | None) -> Format:
    if said is None:
        name = Path(file.name.removesuffix(".gz"))
        said = BY_SUFFIX.get(name.suffix, FileFormat.NDJSON)
    formats: dict[FileFormat, Format] = {
        FileFormat.NDJSON: "ndjson",
        FileFormat.CSV: "csv",
        FileFormat.COMBINED: "combined",
    }
    return formats[said]


def _as_text(name: str) -> str:
    """A file's name as text that may go into an event: names may hold bytes that are no UTF-8."""
    return name.encode("utf-8", "replace").decode()


def _check_program(config: Config) -> None:
    if not config.program_files() and not (config.data_dir is not None and (config.data_dir / "log.db").is_file()):
        raise Misconfigured("There is no program: give --program FILE, so that there are rules for the events.")


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """The file, to be read twice, because an import is named after the whole content. Standard input and pipes are
    kept in a temporary file for that."""
    with ExitStack() as stack:
        content: BinaryIO
        if file == STANDARD_INPUT:
            content = sys.stdin.buffer
        else:
            try:
                content = stack.enter_context(file.open("rb"))
            except OSError as error:
                raise Misconfigured(f"{file} cannot be read: {error.strerror}.") from error
        if file == STANDARD_INPUT or not content.seekable():
            spooled = stack.enter_context(TemporaryFile())
            copyfileobj(content, spooled)
            spooled.flush()
            content = spooled
        yield content


# --- while it runs ----------------------------------------------------------------------------------------------


@contextmanager
def _progress(content: BinaryIO, name: str, clock: Clock) -> Iterator[OnProgress]:
    """A bar on a terminal, else a line now and then."""
    size_bytes = os.fstat(content.fileno()).st_size
    console = err()
    began_s = clock.monotonic_s()

    def speed(progress: Progress) -> str:
        return f"{_per_second(progress.events, clock.monotonic_s() - began_s):,} events/s"

    if not console.is_terminal:
        yield _plain_progress(console, name, size_bytes, speed)
        return
    bar = ProgressBar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[read]}", markup=False),
        TextColumn("{task.fields[speed]}", markup=False),
        console=console,
        expand=True,
        transient=True,
    )
    with bar:
        task = bar.add_task(printable(name), total=size_bytes, read="", speed="")

        def on_progress(progress: Progress) -> None:
            read = f"{size_text(progress.read_bytes)} of {size_text(size_bytes)}"
            bar.update(task, completed=progress.read_bytes, read=read, speed=speed(progress))

        yield on_progress


def _plain_progress(console: Console, name: str, size_bytes: int, speed: Callable[[Progress], str]) -> OnProgress:
    said = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal said
        done = progress.read_bytes / size_bytes if size_bytes else 1.0
        if done >= said + PLAIN_STEP:
            said = done - done % PLAIN_STEP
            console.print(f"{printable(name)}: {done:.0%}, line {progress.line:,}, {speed(progress)}", soft_wrap=True)

    return on_progress


def _per_second(events: int, seconds: float) -> int:
    return round(events / seconds) if seconds > 0 else 0


# --- when it is done --------------------------------------------------------------------------------------------


def _report(summary: Summary, format: str, tenant: str, seconds: float) -> _Report:
    return _Report(
        file=summary.name,
        format=format,
        tenant=tenant,
        key=summary.key,
        lines=summary.lines,
        events=summary.events,
        accepted=summary.accepted,
        unmatched=summary.unmatched,
        repeated=summary.repeated,
        conflicting=summary.conflicting,
        failed=summary.failed,
        retracted=summary.retracted,
        rejected=summary.rejected,
        refusals=summary.refusals,
        resumed_after_line=summary.resumed_after_line,
        imported_before=iso(summary.imported_before_us) if summary.imported_before_us else None,
        seconds=round(seconds, 3),
        events_per_s=_per_second(summary.events - summary.taken_before, seconds),
    )


def _show(report: _Report, console: Console) -> None:
    name = printable(report.file)
    if report.imported_before:
        console.print(f"{name}: imported already, at {report.imported_before}; nothing has changed", soft_wrap=True)
    else:
        told = f"{report.events:,} events in {report.seconds:.1f} s, {report.events_per_s:,} a second"
        console.print(f"{name}: {told}", soft_wrap=True)
    if report.resumed_after_line:
        console.print(f"An earlier run had come to line {report.resumed_after_line:,}; this one went on after it.")
    console.print()
    console.print(_counts(report))
    if report.refusals:
        console.print()
        for refusal in report.refusals:
            field = f"{refusal.field}: " if refusal.field not in (None, "$") else ""
            console.print(f"  line {refusal.line}: {printable(field + refusal.reason)}", soft_wrap=True)
        more = report.rejected - len(report.refusals)
        if more > 0:
            console.print(f"  and {more:,} more")


def _counts(report: _Report) -> Table:
    explained = [
        ("accepted", report.accepted, "", "green"),
        ("unmatched", report.unmatched, "kept; no rule listens, or nothing to take back yet", "yellow"),
        ("repeated", report.repeated, "there already, so not counted again", ""),
        ("conflicting", report.conflicting, "the same id with another body; the first one stands", "yellow"),
        ("failed", report.failed, "a rule failed on them: see accrue failed list", "red"),
        ("retracted", report.retracted, "taken back before they came", "yellow"),
        ("rejected", report.rejected, "not events", "red"),
    ]
    counts = Table.grid(padding=(0, 2))
    counts.add_column()
    counts.add_column(justify="right")
    counts.add_column(style="dim")
    for name, count, why, style in explained:
        counts.add_row(f"  {name}", cell(count), why if count else "", style=style if count else "dim")
    return counts
