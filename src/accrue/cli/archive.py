"""`accrue archive export`: the archived events, as NDJSON."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from accrue.cli.options import EPOCH, ConfigFile, DataDir, settings
from accrue.cli.steps import Steps, said_when_stopped, told_steps
from accrue.cli.terminal import err
from accrue.config import Config
from accrue.errors import Misconfigured, Rejected
from accrue.offline import existing, exported_records
from accrue.process.replay.export import Wanted

STANDARD_OUTPUT = Path("-")
END_US = (1 << 63) - 1
WORDS = {"archive": "exporting"}

commands = typer.Typer(no_args_is_help=True, help="The archived events.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="archive")


@commands.callback()
def archive() -> None:
    """The archived events."""  # with a callback, one command alone keeps its name


@commands.command()
def export(
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="The first log time wanted; the beginning if left out.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="The first log time not wanted; the end if left out.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to; - is standard output.")] = Path(
        "-"
    ),
    plain: Annotated[bool, typer.Option("--plain", help="Only the events, as `accrue import` takes them.")] = False,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="One tenant; all if left out.")] = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write the archived events as NDJSON, in the order of the log.

    A line holds the event as it came and what is known of it: tenant, sequence, position (the record), log_time (when
    Accrue took it), time (the one that counts), stamp (what ingest found out, when it did). With --plain it is the
    event alone, with the time that counts; of the engine's own events only corrections and retractions. Another
    Accrue can import that.

    --from is included, --to is not; both are log times: a date (2018-06-01, midnight UTC) or a time with a zone. An
    event is in the archive once it is settled (a minute, by default). May run beside the server.

    \b
    Examples:
      accrue archive export --from 2026-01-01 --to 2026-02-01 --output january.ndjson
      accrue archive export --plain --tenant default | accrue import - --data-dir elsewhere --program program.toml
    """
    wanted = Wanted(
        from_us=0 if from_ is None else _time_us("--from", from_),
        to_us=END_US if to is None else _time_us("--to", to),
        tenant=tenant,
        plain=plain,
    )
    if wanted.to_us < wanted.from_us:
        raise Rejected(f"--from {from_} is after --to {to}.", field="from")
    found = settings(config, data_dir=data_dir)
    existing(found)
    changed = "What was written is not all." if _is_stream(output) else "Nothing was changed."
    with said_when_stopped(lambda: changed), told_steps(WORDS) as steps, _opened(output) as file:
        events, left_out = asyncio.run(_export(found, wanted, file, steps))
    told = f"{events:,} events" + (f"; {left_out:,} of the engine's own left out" if left_out else "")
    err().print(told, soft_wrap=True)


async def _export(config: Config, wanted: Wanted, file: BinaryIO, steps: Steps) -> tuple[int, int]:
    events = left_out = 0
    async with exported_records(config, wanted) as (end, records):
        async for some in records:
            file.write(some.lines)
            events, left_out = events + some.events, left_out + some.left_out
            steps("archive", some.position, end)
    return events, left_out


def _is_stream(output: Path) -> bool:
    """Standard output, a device or a pipe: what is written there is gone."""
    return output == STANDARD_OUTPUT or (output.exists() and not output.is_file())


@contextmanager
def _opened(output: Path) -> Iterator[BinaryIO]:
    """Where to write. A file is written beside the one wanted, and takes its name when it is whole."""
    if output == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    wanted = output.resolve()  # a link stays one
    place = wanted if _is_stream(output) else wanted.with_name(f"{wanted.name}.{os.getpid()}.part")
    try:
        file = place.open("wb")
    except OSError as error:
        raise Misconfigured(f"{output} cannot be written: {error.strerror}.") from error
    try:
        with file:
            yield file
        if place != wanted:
            if wanted.exists():
                shutil.copymode(wanted, place)
            place.replace(wanted)
    finally:
        if place != wanted:
            place.unlink(missing_ok=True)


def _time_us(option: str, written: str) -> int:
    """A date means its midnight in UTC: log time has no tenant's time zone."""
    try:
        time = datetime.fromisoformat(f"{written}T00:00:00Z" if len(written) == len("2018-06-01") else written)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise Rejected(
            f"{option} is a date (2018-06-01) or a time with a zone (2018-06-01T12:00:00Z), not {written!r}.",
            field=option.strip("-"),
        )
    return (time - EPOCH) // timedelta(microseconds=1)
