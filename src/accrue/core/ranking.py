"""Who stands where: orders, ties and rank styles, over plain rows.

The boards keep large sorted snapshots; this is the small, obvious form of the same rules. It decides the final
standings of closed periods, and it is what the boards are tested against.
"""

from __future__ import annotations

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
    """One member, absolutely. `scores` are the scaled integers in the order's sequence, each within +-(2^53-1);
    `reached` is the sequence number of the event that last changed them (0 when unknown)."""

    subject: str
    scores: tuple[int, ...]
    reached: int


class Standing(Struct, frozen=True):
    """One row of an answer. `rank` starts at 1 and follows the asked style; `place` is the ordinal, from 1."""

    rank: int
    place: int
    subject: str
    scores: tuple[int, ...]
