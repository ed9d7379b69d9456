"""The contract of boards. One suite tests every backend: tests/contract/test_boards.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from accrue.core.ranking import Order, Row, Standing, Style
from accrue.errors import Rejected


class BoardKey(NamedTuple):
    """One board in one period of one tenant."""

    tenant: str
    board: str
    period: str


class Seen(NamedTuple):
    """Places in the log: up to which the boards are published now, and up to which an answer must show everything.

    Who asks has waited until `published` is at least `wanted`. An answer that shows more is always right.
    """

    published: int
    wanted: int


ANY = Seen(0, 0)
"""For whoever is content with what the boards' own bound on staleness allows."""


class Page(Struct, frozen=True):
    """A piece of one snapshot. `cursor` continues on the same snapshot; None at the end."""

    standings: list[Standing]
    members: int
    epoch: int
    as_of_us: int
    cursor: str | None


class RankOf(Struct, frozen=True):
    """Where one subject of an asked set stands: on the whole board, and among those asked for.

    `percentile` is the share of members that stand at or below it, 0 < p <= 100.
    """

    standing: Standing
    relative_rank: int
    percentile: float


class Boards(Protocol):
    """Ordered members of every board. All reads of one answer come from one snapshot."""

    async def publish(self, key: BoardKey, order: Order, rows: Sequence[Row], *, removed: Sequence[str] = ()) -> None:
        """Set these rows, absolutely, and drop the members in `removed`. Creates the board when it is new."""
        ...

    async def has(self, key: BoardKey) -> bool:
        """Whether the board is here. One that is not may still be in the book."""
        ...

    async def page(
        self,
        key: BoardKey,
        *,
        limit: int,
        offset: int,
        cursor: str | None,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        """A page from the top, from `offset` (0 = first) or from where `cursor` ends.

        Raises `NotFound` for an unknown board, `Gone` for a cursor whose snapshot is no longer kept or shows less
        than `seen` asks for, and `Rejected` for one that was never handed out by this board.
        """
        ...

    async def around(
        self,
        key: BoardKey,
        subject: str,
        *,
        before: int,
        after: int,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        """The rows just above and below one member, with it. Raises `NotFound` when it is not on the board."""
        ...

    async def ranks(
        self, key: BoardKey, subjects: Sequence[str], *, style: Style, now_us: int, seen: Seen = ANY
    ) -> list[RankOf]:
        """Where these stand, best first; those not on the board are left out."""
        ...

    async def drop(self, key: BoardKey) -> None:
        """Forget one board (retention, or to be rebuilt). Harmless when it is not here."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


def unknown_cursor() -> Rejected:
    """The error for a cursor that is none of this board in this period."""
    return Rejected(
        "The cursor was not handed out for this board and period: send it with the period (and at) of the first page.",
        field="cursor",
    )
