"""One thing in which a book is not what the archive says."""

from __future__ import annotations

from msgspec import Struct

Value = int | str | None


class Difference(Struct, frozen=True):
    """Where (`table` and the columns of its key), what should be there, and what is. None: there should be nothing,
    or there is nothing. Of a row that is there on both sides only the columns that differ are told."""

    table: str
    key: dict[str, Value]
    expected: dict[str, Value] | None
    found: dict[str, Value] | None

    @property
    def text(self) -> str:
        """In one sentence."""
        where = ", ".join(f"{name} {value!r}" for name, value in self.key.items())
        return f"{self.table}, {where}: {_told(self.expected)} expected, {_told(self.found)} found"


def _told(values: dict[str, Value] | None) -> str:
    if values is None:
        return "nothing"
    return ", ".join(f"{name} {value!r}" for name, value in values.items()) or "the row"
