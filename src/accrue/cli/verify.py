"""`accrue verify`: is what the book says what the archived events give?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from accrue.cli.options import (
    AsJson,
    BookUrl,
    ConfigFile,
    DataDir,
    Engines,
    Partitions,
    iso,
    settings,
    with_engines,
)
from accrue.cli.steps import said_when_stopped, told_steps
from accrue.cli.terminal import cell, out, pairs, printable, show_json
from accrue.clock import SystemClock
from accrue.collector import calm
from accrue.offline import verify_directory, verify_shared
from accrue.process.replay.difference import Difference
from accrue.process.replay.report import Report

NOT_SOUND = 1

WORDS = {
    "archive": "checking the archive",
    "fold": "folding it again",
    "tables": "comparing tables",
    "boards": "comparing boards",
}

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir", metavar="DIR", help="Where the second book goes meanwhile; it needs as much room as the first."
    ),
]


class _Document(Struct, frozen=True):
    """The document of --json."""

    sound: bool
    position: int
    as_of: str
    segments: int
    events: int
    unsettled: int
    compared: dict[str, int]
    boards: int
    faults: list[str]
    differing: dict[str, int]
    differences: list[Difference]
    seconds: float


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    data_dir: DataDir = None,
    config: ConfigFile = None,
    folder: Folder = None,
    book: BookUrl = None,
    partitions: Partitions = None,
    as_json: AsJson = False,
) -> None:
    """Fold all archived events again, and compare every number with what the book has.

    Checks that the file is sound, that the archive's chain is whole and nothing is left out, that tallies, awards,
    streaks, attributes, final standings, failed events, conflicts and the index of ids are what a fresh fold of the
    archive gives, and that boards are in the order of their tallies. Names what is not: the first 20 in full, all of
    them counted. Changes nothing, and may run beside the server.

    Give the server's own settings (--config): the repeat window decides what counts again. Exits with 1 when
    something is not as it should be, with 2 when it could not be found out.

    \b
    Example:
      accrue verify --data-dir accrue-data
      accrue verify --book postgresql://127.0.0.1/accrue --partitions 8
    """
    found = with_engines(settings(config, data_dir=data_dir), Engines(book=book, partitions=partitions))
    work = verify_shared if found.book.url else verify_directory
    clock = SystemClock()
    began_s = clock.monotonic_s()
    with said_when_stopped(), told_steps(WORDS) as steps, calm():
        report = asyncio.run(work(found, clock, folder=folder, on_step=steps))
    seconds = clock.monotonic_s() - began_s
    if as_json:
        show_json(_document(report, seconds))
    else:
        show_report(report, seconds, out())
    if not report.is_sound:
        raise typer.Exit(NOT_SOUND)


def show_report(report: Report, seconds: float, console: Console) -> None:
    """The report as people read it."""
    if report.is_sound:
        console.print(Text("sound: the book is what its archive says", style="green"))
    else:
        console.print(Text("NOT SOUND", style="red bold"))
    console.print()
    rows = [
        ("archive", f"{report.events:,} events in {report.segments:,} segments, up to position {report.position:,}"),
        ("as of", iso(report.log_time_us)),
        *((name, f"{cell(rows)} rows") for name, rows in report.compared.items() if rows),
        ("boards", cell(report.boards)),
        ("took", f"{seconds:.1f} s"),
    ]
    console.print(pairs(rows))
    if report.unsettled:
        many = f"{report.unsettled:,} records of the log are not settled yet; they are"
        said = "1 record of the log is not settled yet; it is" if report.unsettled == 1 else many
        console.print(f"\n{said} not part of this.", soft_wrap=True)
    for fault in report.faults:
        console.print(Text(f"\n{printable(fault)}", style="red"), soft_wrap=True)
    if report.differing:
        console.print()
        for difference in report.differences:
            console.print(printable(difference.text), soft_wrap=True)
        told = len(report.differences)
        more = sum(report.differing.values()) - told
        if more:
            console.print(f"and {more:,} more", style="dim")
        counted = ", ".join(f"{count:,} in {table}" for table, count in report.differing.items())
        console.print(f"\ndifferences: {counted}", soft_wrap=True)


def _document(report: Report, seconds: float) -> _Document:
    fields = {name: getattr(report, name) for name in _Document.__struct_fields__ if hasattr(report, name)}
    return _Document(sound=report.is_sound, as_of=iso(report.log_time_us), seconds=round(seconds, 3), **fields)
