"""`accrue spool`: what a gateway's spool has parked, because it came too late to the log to be counted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from accrue.cli.options import AsJson, ConfigFile, DataDir, iso, settings
from accrue.cli.terminal import cell, out, pairs, printable, show_json
from accrue.config import DEFAULT_DATA_DIR
from accrue.ingest.parked import Parked, discard, parked, parked_record

commands = typer.Typer(no_args_is_help=True, help="Look at what a gateway accepted and could not forward in time.")

Number = Annotated[int, typer.Argument(min=1, help="Which, as the list shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="spool")


@commands.command("list")
def list_(data_dir: DataDir = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """The parked records, oldest first, each with the reason. May run beside the gateway.

    A record holds the events of one group commit. It was accepted, and is not counted: when the log was back it was
    older than the repeat window, or the log refuses it.

    \b
    Example:
      accrue spool list --data-dir spool-1
    """
    found = asyncio.run(_all(_file(config, data_dir)))
    if as_json:
        show_json({"parked": msgspec.to_builtins(found)})
        return
    console = out()
    if not found:
        console.print("Nothing is parked.")
    for record in found:
        accepted = iso(record.log_time_us)
        console.print(f"{record.number}  {cell(record.events)} events accepted {accepted}", soft_wrap=True)
        console.print(pairs([("  partition", str(record.partition)), ("  reason", printable(record.reason))]))


@commands.command()
def show(number: Number, data_dir: DataDir = None, config: ConfigFile = None) -> None:
    """The events of a parked record as NDJSON, to be sent again under new ids, if they are to count after all.

    \b
    Example:
      accrue spool show 7 --data-dir spool-1 > late.ndjson
    """
    record = asyncio.run(parked_record(_file(config, data_dir), number))
    for batch in record.batches:
        typer.echo(batch.body)


@commands.command("discard")
def discard_(
    numbers: Annotated[list[int], typer.Argument(min=1, help="Which, as the list shows them.")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Give parked records up for good. Save them first with `accrue spool show`.

    \b
    Example:
      accrue spool discard 7 8 --data-dir spool-1
    """
    gone = asyncio.run(discard(_file(config, data_dir), numbers))
    out().print(f"{gone} of {len(numbers)} discarded.")
    if gone < len(numbers):
        raise typer.Exit(1)


def _file(config: Path | None, data_dir: Path | None) -> Path:
    return (settings(config, data_dir=data_dir).data_dir or Path(DEFAULT_DATA_DIR)) / "spool.db"


async def _all(file: Path) -> list[Parked]:
    found: list[Parked] = []
    while more := await parked(file, after=found[-1].number if found else 0):
        found += more
    return found
