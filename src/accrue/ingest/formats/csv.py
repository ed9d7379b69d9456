"""Tables (CSV, RFC 4180) as events, by a mapping from event fields to columns.

    type      'match.won'                 a text in quotes: the same in every row
    id        {season}/{round}/{home}     a text with columns in braces; {{ and }} are braces
    time      date                        a column, by its name in the header
    actor     home
    value     1                           a number: the same in every row
    data.goals  home_goals

Left of it stands `type id actor object owner time value` or `data.NAME`. Without a mapping, columns that are named
like this map to themselves, and the others are ignored, as are unmapped columns always.

An empty cell means the field is absent; a text with braces is absent when all its columns are empty. In `value` and
`data`, a column's cell that looks like a JSON number is one, digit for digit as written; everything else is text
(so `{column}` keeps digits as text). A time that is only a date is midnight UTC. Without an id, a row gets
`{digest}:{line number}`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import msgspec
from msgspec import Struct

from accrue.core.expression import nearest
from accrue.errors import Rejected
from accrue.ingest.explain import EVENT_FIELDS, shortened
from accrue.ingest.formats import TOO_LONG, Line, numbered_lines

DATA = "data."
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MAPPABLE = [name for name in EVENT_FIELDS if name != "data"]


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """`["time=date", "type='goal'"]` as a mapping. Raises `Rejected` for a pair without `=` and for a repeat."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        field, equals, source = pair.partition("=")
        field = field.strip()
        if not equals or not source.strip():
            raise Rejected(f"A mapping is FIELD=COLUMN, FIELD='text' or FIELD={{COLUMN}}, not {pair!r}.")
        if field in mapping:
            raise Rejected(f"{field!r} is mapped twice.")
        mapping[field] = source.strip()
    return mapping


def read(file: BinaryIO, *, digest: str, mapping: Mapping[str, str] | None = None) -> Iterator[Line]:
    """One event a row, numbered by the row's first line. A row of another width is a problem.

    Raises `Rejected`, naming the nearest, when the header is missing or the mapping names what is not there.
    """
    source = _Source(file)
    rows = csv.reader(source, strict=True)
    header = _header(rows)
    cells = _cells(mapping or {name: name for name in header if _is_mappable(name)}, header)
    return _lines(rows, source, len(header), cells, digest)


class _Source:
    """The text lines of a file for `csv.reader`, which counts only those it was given."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = numbered_lines(file)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if line is None:
            raise csv.Error(TOO_LONG)
        # Bytes that are not UTF-8 pass as lone surrogates, and are found when the row is written as JSON.
        return line.decode("utf-8", "surrogateescape") + "\n"


def _header(rows: Iterator[list[str]]) -> list[str]:
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise Rejected(f"The header cannot be read: {error}.") from None
    header = [name.strip() for name in header]
    if not any(header):
        raise Rejected("The table has no header: its first line must name the columns.")
    return header


def _lines(rows: Iterator[list[str]], source: _Source, width: int, cells: list[_Cell], digest: str) -> Iterator[Line]:
    while True:
        number = source.number + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number, None, f"The row cannot be read: {error}.")
            continue
        if not row:
            continue
        if len(row) != width:
            yield Line(number, None, f"The row has {len(row)} cells, the header has {width}.")
            continue
        try:
            yield Line(number, msgspec.json.encode(_event(row, cells, f"{digest}:{number}")))
        except UnicodeEncodeError:
            yield Line(number, None, "The row is not UTF-8.")


def _event(row: list[str], cells: list[_Cell], id: str) -> dict[str, object]:
    event: dict[str, object] = {"id": id}
    data: dict[str, object] = {}
    for cell in cells:
        text = "".join([row[part] if isinstance(part, int) else part for part in cell.parts])
        if cell.columns and not any(row[column] for column in cell.columns):
            continue
        value: object = text
        if cell.may_be_number and NUMBER.fullmatch(text):
            value = msgspec.Raw(text.encode())
        elif cell.field == "time" and DATE.fullmatch(text):
            value = f"{text}T00:00:00Z"
        if cell.field.startswith(DATA):
            data[cell.field.removeprefix(DATA)] = value
        else:
            event[cell.field] = value
    if data:
        event["data"] = data
    return event


# --- the mapping --------------------------------------------------------------------------------------------


class _Cell(Struct, frozen=True):
    """How one field is written: texts and column numbers in order. `columns` are those of `parts`."""

    field: str
    parts: tuple[str | int, ...]
    columns: tuple[int, ...]
    may_be_number: bool


_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def _cells(mapping: Mapping[str, str], header: list[str]) -> list[_Cell]:
    for field in mapping:
        if not _is_mappable(field):
            close = nearest(field, MAPPABLE)
            raise Rejected(f"An event has no field {shortened(field)!r}{close}; or data.NAME.", field=field)
    if "type" not in mapping:
        raise Rejected("Nothing says the type of the events: map type to a column or to 'some text'.", field="type")
    return [_cell(field, source, header) for field, source in mapping.items()]


def _is_mappable(field: str) -> bool:
    return field in MAPPABLE or (field.startswith(DATA) and field != DATA)


def _cell(field: str, source: str, header: list[str]) -> _Cell:
    may_be_number = field == "value" or field.startswith(DATA)
    if len(source) >= 2 and source[0] == source[-1] == "'":
        return _Cell(field, (source[1:-1],), (), False)
    if "{" in source or "}" in source:
        parts = _parts(field, source, header)
        return _Cell(field, parts, tuple(part for part in parts if isinstance(part, int)), field == "value")
    if may_be_number and source not in header and NUMBER.fullmatch(source):
        return _Cell(field, (source,), (), True)
    column = _column(field, source, header)
    return _Cell(field, (column,), (column,), may_be_number)


def _parts(field: str, source: str, header: list[str]) -> tuple[str | int, ...]:
    parts: list[str | int] = []
    end = 0
    for piece in _PIECE.finditer(source):
        parts.append(source[end : piece.start()])
        end = piece.end()
        if piece[0] in ("{{", "}}"):
            parts.append(piece[0][0])
        elif piece[1] is not None:
            parts.append(_column(field, piece[1], header))
        else:
            raise Rejected(f"A brace is left over in {source!r}; write {{{{ or }}}} for one.", field=field)
    return (*parts, source[end:])


def _column(field: str, name: str, header: list[str]) -> int:
    if name not in header:
        raise Rejected(
            f"{field} names the column {name!r}, which is not there{nearest(name, header) or '.'}", field=field
        )
    if header.count(name) > 1:
        raise Rejected(f"{field} names the column {name!r}, which is there {header.count(name)} times.", field=field)
    return header.index(name)
