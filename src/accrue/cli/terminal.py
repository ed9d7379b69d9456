"""How the command line speaks: tables for people, one JSON document or CSV for programs, errors in one red line.

Results go to standard output, everything about the work itself (progress, errors) to standard error. What comes from
events is shown as it is, but a character that is none (a terminal's escape) is written out, so it cannot act.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

Cell = str | int | float | None


def out() -> Console:
    """Standard output, as it is now. Markup is off: a subject may be called `[red]`."""
    return Console(markup=False, highlight=False, emoji=False)


def err() -> Console:
    """Standard error."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def say_error(detail: str) -> None:
    """One red line; further lines of the detail stand under it as they are."""
    first, *rest = detail.splitlines() or [""]
    line = Text(f"error: {printable(first)}", style="red")
    err().print(line, soft_wrap=True)
    for more in rest:
        err().print(Text(f"  {printable(more)}"), soft_wrap=True)


def show_json(document: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def show_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """A table with a header on standard output, as `csv` writes it, lines ended by a line feed."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Sequence[str] = ()) -> Table:
    """Columns under a header; those in `right` are numbers. Nothing is cut: what is too long goes on below."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def pairs(rows: Iterable[tuple[str, Cell]]) -> Table:
    """Names with their values beside them."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, cell(value))
    return made


def cell(value: Cell) -> str:
    """A value as it stands in a table. Numbers from 10,000 are grouped; text that is a number is left as it is."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return printable(str(value))


def printable(text: str) -> str:
    """The text with everything that is no visible character written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
