"""What a bench says: its figures with the facts of the machine, as a table or as one JSON document."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import typer
from msgspec import Struct
from rich.text import Text

from accrue.cli.bench.place import IN_MEMORY, filesystem
from accrue.cli.terminal import Cell, err, out, pairs, show_json
from accrue.errors import AccrueError


class Machine(Struct, frozen=True, kw_only=True):
    """Where the figures are from. `load_1m` is how many processes wanted to run, this one included, when it ended."""

    cores: int
    system: str
    python: str
    sqlite: str
    filesystem: str
    load_1m: float


class Miscounted(AccrueError):
    """A bench found that the engine does not say what a plain count of the same events says."""


def machine(place: Path) -> Machine:
    """The facts of this machine; `place` is where the data was."""
    return Machine(
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        filesystem=filesystem(place),
        load_1m=round(os.getloadavg()[0], 2),
    )


def show(bench: str, figures: Struct, facts: Machine, *, as_json: bool) -> None:
    """The result on standard output. A filesystem in memory is remarked upon: it makes fsync free."""
    found = document(bench, figures, facts)
    if facts.filesystem in IN_MEMORY:
        err().print(f"The data was on {facts.filesystem}, where fsync costs nothing; --dir DIR names a disk.")
    if as_json:
        show_json(found)
        return
    console = out()
    console.print(Text(f"accrue bench {bench}", style="bold"))
    console.print(pairs(_rows(found, "")))


def document(bench: str, figures: Struct, facts: Machine) -> dict[str, object]:
    """The result as one JSON document."""
    return {"bench": bench, **_plain(figures), "machine": _plain(facts)}


def bounded(name: str, value: float, least: float, most: float) -> None:
    """Refuse what would not end in reasonable time or memory."""
    if not least <= value <= most:
        raise typer.BadParameter(f"{name} is from {least:,} to {most:,}, not {value:,}.", param_hint=name)


def _plain(figures: Struct) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(figures)
    return plain


def _rows(document: Mapping[str, object], indent: str) -> Iterator[tuple[str, Cell]]:
    for name, value in document.items():
        if name == "bench":
            continue
        if isinstance(value, Mapping):
            yield f"{indent}{name}", ""
            yield from _rows(value, indent + "  ")
        else:
            yield f"{indent}{name}", _shown(value)


def _shown(value: object) -> Cell:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
    if isinstance(value, list):
        return "  ".join(str(_shown(item)) for item in value)
    return value if isinstance(value, int | str) else str(value)
