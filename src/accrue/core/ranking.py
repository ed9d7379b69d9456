"""Who stands where: orders, ties and rank styles, over plain rows.

The boards keep large sorted snapshots; this is the small, obvious form of the same rules. It decides the
final standings of closed periods, and it is what the boards are tested against.

The order is total: equal scores are told apart by who reached them first (or last), and what is still equal
by the subject, ascending by Unicode code point. `reached` and the subject decide who stands above, never the
rank of the styles that share ranks: there, rows are equal when all their scores are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

Style = Literal["ordinal", "competition", "dense"]
"""How equal rows are numbered: 1234, 1224 or 1223."""

Ties = Literal["first", "last", "id"]
"""Who stands above among equal scores: who reached it first, who reached it last, or the smaller id."""


class Order(Struct, frozen=True):
    """How the rows of a board are ordered. `descending` has one flag for each of a row's scores."""

    descending: tuple[bool, ...]
    ties: Ties


class Row(NamedTuple):
    """One member, absolutely. `scores` are the scaled integers in the order's sequence, each within
    +-(2^53-1); `reached` is the sequence number of the event that last changed them (0 when unknown)."""

    subject: str
    scores: tuple[int, ...]
    reached: int


class Standing(Struct, frozen=True):
    """One row of an answer. `rank` starts at 1 and follows the asked style; `place` is the ordinal, from
    1."""

    rank: int
    place: int
    subject: str
    scores: tuple[int, ...]


class Among(NamedTuple):
    """Where one of some asked-for subjects stands: on the whole table, among those asked for, and the share
    of the whole table, in percent, whose rank is not better than its own (itself included, so never 0)."""

    standing: Standing
    relative_rank: int
    percentile: float


def standings(rows: Iterable[Row], order: Order, style: Style) -> list[Standing]:
    """All rows, best first. A subject may appear once. Raises `ValueError` when scores and order do not
    match."""
    table: list[Standing] = []
    for place, row in enumerate(sorted(rows, key=sort_key(order)), start=1):
        above = table[-1] if table else None
        table.append(Standing(_rank(row, place, above, style), place, row.subject, row.scores))
    return table


def around(table: Sequence[Standing], subject: str, *, before: int, after: int) -> list[Standing]:
    """The rows just above and below one subject, with it, as far as there are any. Empty when it is not
    there."""
    for standing in table:
        if standing.subject == subject:
            return list(table[max(0, standing.place - 1 - before) : standing.place + after])
    return []


def ranks_of(rows: Collection[Row], order: Order, style: Style, subjects: Collection[str]) -> list[Among]:
    """Where these subjects stand, best first; those without a row are left out."""
    table = standings(rows, order, style)
    asked = frozenset(subjects)
    among = standings([row for row in rows if row.subject in asked], order, style)
    whole = {standing.subject: standing for standing in table}
    return [
        Among(whole[relative.subject], relative.rank, percentile(table, whole[relative.subject].rank))
        for relative in among
    ]


def percentile(table: Sequence[Standing], rank: int) -> float:
    """The share of a table, in percent, that does not have a better rank than this."""
    return 100 * sum(standing.rank >= rank for standing in table) / len(table)


def sort_key(order: Order) -> Callable[[Row], tuple[tuple[int, ...], int, str]]:
    """A key by which `sorted` puts rows in the order, best first."""

    def key(row: Row) -> tuple[tuple[int, ...], int, str]:
        scores = tuple(-score if down else score for score, down in zip(row.scores, order.descending, strict=True))
        return scores, _tie(row.reached, order.ties), row.subject

    return key


def _tie(reached: int, ties: Ties) -> int:
    if ties == "id":
        return 0
    return reached if ties == "first" else -reached


def _rank(row: Row, place: int, above: Standing | None, style: Style) -> int:
    if above is None or style == "ordinal":
        return place
    if row.scores == above.scores:
        return above.rank
    return place if style == "competition" else above.rank + 1
