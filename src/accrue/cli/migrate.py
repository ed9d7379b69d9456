"""`accrue migrate`: the schema of the book, before the processes of a new version start."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from accrue.book.upgrade import Schema, look, upgrade
from accrue.cli.options import AsJson, BookUrl, ConfigFile, DataDir, Engines, settings, with_engines
from accrue.cli.terminal import err, out, show_json, table
from accrue.connect.data_dir import locked
from accrue.connect.url import redacted
from accrue.offline import existing

MISSING = 1
"""The exit code of --check when something is missing."""

Check = Annotated[bool, typer.Option("--check", help="Only say; exit code 1 when a step is missing.")]


class Step(Struct, frozen=True):
    """One step of the schema. `state` is what it was before, or became: had, missing or applied."""

    number: int
    name: str
    state: str


class Migrated(Struct, frozen=True):
    """The document of the command."""

    book: str
    steps: list[Step]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    book: BookUrl = None,
    check: Check = False,
    as_json: AsJson = False,
) -> None:
    """Bring the schema of the book up to date, and show which steps it has had.

    Every process does this when it opens the book; done before, the first one to start need not wait for it. Each step
    is one transaction, and none takes anything away. A book from a newer version is refused and stays as it is.

    \b
    Example:
      accrue migrate --check --book postgresql://accrue:secret@127.0.0.1/accrue
      accrue migrate --data-dir accrue-data
    """
    found = with_engines(settings(config, data_dir=data_dir), Engines(book=book))
    with ExitStack() as stack:
        place: str | Path = found.book.url
        if not place:
            folder = existing(found)
            place = folder / "book.db"
            if not check:
                stack.enter_context(locked(folder))
        before = asyncio.run(look(place))
        if before.missing and not check:
            with err().status(f"applying {before.missing} of {len(before.steps)}"):
                asyncio.run(upgrade(place))
    _show(Migrated(redacted(str(place)), _steps(before, "missing" if check else "applied")), as_json)
    if check and before.missing:
        raise typer.Exit(MISSING)


def _steps(found: Schema, rest: str) -> list[Step]:
    return [Step(step.number, step.name, "had" if step.number <= found.had else rest) for step in found.steps]


def _show(migrated: Migrated, as_json: bool) -> None:
    if as_json:
        show_json(migrated)
        return
    out().print(
        table(("step", "name", "state"), [(s.number, s.name, s.state) for s in migrated.steps], right=("step",))
    )
