"""The contract of boards. One suite tests every backend: tests/contract/test_boards.py.

A tenant's boards have one publisher, the worker that owns the tenant. Who that is, and whether the boards still hold
what it wrote, is compared at every write:

    begun = await boards.begin(tenant, Turn(epoch, 1, 0), log=...)      from now on nobody before it gets through
    turn = await boards.rebuild(key, order, program, rows, turn=begun.turn)
    turn = await boards.publish(tenant, changes, turn=turn, position=70_000)

A write names the turn that the write before it gave back. Boards that hold another one were wiped, rolled back, or have
another publisher; so a late packet, a stale worker and a lost write all show, and change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """A piece of a board at one moment. `cursor` continues it; None at the end.

    `epoch` names that moment: that of the snapshot, or, without snapshots, the position of the tenant's mark.
    """

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


class Mark(NamedTuple):
    """Who publishes a tenant's boards, and up to where in the log all of them are complete. They may show more."""

    epoch: int
    position: int


class Turn(NamedTuple):
    """What a publisher holds of one tenant's boards.

    `epoch` is that of its partition, `number` counts its own beginnings, so that together they are used once; `step`
    counts the writes since.
    """

    epoch: int
    number: int
    step: int


class Begun(Struct, frozen=True):
    """What `begin` found: the mark as it was before (None when the boards hold nothing of the tenant), and the boards
    that are there with the sequence number of the program each was published under."""

    turn: Turn
    found: Mark | None
    boards: dict[BoardKey, int]


class Change(NamedTuple):
    """What becomes of some members of a board: rows are set, absolutely, then the `removed` are dropped.

    Of two rows for one subject the later stands. With `new` the board begins empty, whatever was there. `program` is
    the sequence number of the program that the board is published under.
    """

    key: BoardKey
    order: Order
    program: int
    rows: Sequence[Row]
    removed: Sequence[str] = ()
    new: bool = False


class Usage(Struct, frozen=True):
    """What the boards of one tenant take. The bytes are an estimate from samples."""

    boards: int
    members: int
    size_bytes: int


class Abilities(Struct, frozen=True, kw_only=True):
    """How a backend differs where the contract leaves it open.

    `snapshots`: a cursor continues on the snapshot of the first page, so ranks do not drift; without, it continues
    below its last row: no row comes twice, and none is skipped that did not move; and the ranks of many subjects may be
    of several moments, each of a part of them.
    `dense_members_max`: a larger board is refused in the rank style `dense`; None for no limit.
    `shared`: the boards are outside of this process: others read them, and they may be lost while it goes on.
    `tenants_at_once`: so many tenants are best published to at the same time.
    """

    snapshots: bool
    dense_members_max: int | None
    shared: bool
    tenants_at_once: int


class ReadBoards(Protocol):
    """Ordered members of every board, to be read. All reads of one answer come from one moment.

    Every method may raise `Unavailable`.
    """

    @property
    def abilities(self) -> Abilities:
        """What it can do; never changes."""
        ...

    def place_of(self, tenant: str) -> str:
        """The name of where a tenant's boards are: those of one place are out of reach together."""
        ...

    async def marks(self, tenants: Sequence[str]) -> list[Mark | None]:
        """The marks of these tenants; None where nobody published yet."""
        ...

    async def has(self, key: BoardKey, *, program: int | None = None) -> bool:
        """Whether the board is here, published under this program where one is named. One that is not may still be in
        the book."""
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

        Raises `NotFound` for an unknown board, `Gone` for a cursor that cannot be continued any more (its snapshot is
        not kept or shows less than `seen` asks for, or the board has another order now), and `Rejected` for one that
        was never handed out by this board and for `dense` past the limit of the backend.
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


class Boards(ReadBoards, Protocol):
    """What a publisher needs besides.

    Every method may raise `Unavailable`; a write that does may have been carried out or not.
    """

    async def begin(self, tenant: str, turn: Turn, *, log: str) -> Begun:
        """Take over the publishing of a tenant: writes under any earlier turn fail from now on. The mark's position
        stays as it is found.

        `turn` has a step of 0, `log` is the identity of the log that the positions are of. Raises `Fenced` when a
        larger epoch was here, `Lost` for a turn that is not newer than the one held, and `Misconfigured` when the
        boards are those of another log.
        """
        ...

    async def publish(self, tenant: str, changes: Sequence[Change], *, turn: Turn, position: int) -> Turn:
        """Make these changes, then move the mark to `position`; with no changes only the mark moves.

        Raises `Fenced` when a larger epoch holds the boards, `Lost` when they hold another turn or a board is not there
        under this order and program, and `Rejected` for rows with a wrong number of scores. After an error some of the
        changes may have been made; the mark has not moved, unless the error is `Unavailable`.
        """
        ...

    async def rebuild(
        self, key: BoardKey, order: Order, program: int, batches: Iterable[Sequence[Row]], *, turn: Turn
    ) -> Turn:
        """Put a whole board in the place of what is there. Readers see the one or the other, never half of it.

        A subject may be in one row only. Raises as `publish`.
        """
        ...

    async def drop(self, key: BoardKey, *, turn: Turn) -> Turn:
        """Forget one board (retention). Harmless when it is not here. Raises `Fenced` and `Lost`."""
        ...

    async def usage(self, tenant: str) -> Usage:
        """What a tenant's boards take, for metrics."""
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
