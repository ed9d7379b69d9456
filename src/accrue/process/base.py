"""What the other stages may know of processing: the live state of tenants, and how far it has come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from accrue.boards.base import Usage
from accrue.book.base import AwardRow, ConflictRow, FailedRow, ProgramRow, ResultRow
from accrue.core.program import Program
from accrue.core.rule import Board
from accrue.core.table import TableKey
from accrue.log.base import Position, Retention
from accrue.process.outcome import Counts


class Status(Struct, frozen=True, kw_only=True):
    """How a partition is doing. Times in microseconds of log time, up to which it is folded. `publishing_fails` and
    `failing` say why, for people, while something is wrong: with the boards, and with the fold or settling."""

    position: Position
    log_time_us: int
    published: Position
    settled: Position
    events: dict[str, Counts]
    rows_written: int
    settlements: int
    dirty_rows: int
    entries_in_memory: int
    repeats_remembered: int
    repeats_size_bytes: int
    repeat_window_us: int | None
    repeats_forgotten_early: int
    publishing_fails: str | None
    failing: str | None


class Seen(Struct, frozen=True, kw_only=True):
    """What was seen of a partition a moment ago, beside what its worker counts.

    The log begins and ends at these positions. `behind_s` is how old the last record that is folded was, while there
    were newer ones; `unsettled_s` how long the book has not got anything, while there was something to settle. Both 0
    when nothing waited.
    """

    begin: Position
    end: Position
    behind_s: float
    unsettled_s: float


class Seat(NamedTuple):
    """Who has a partition, as the book says. `heartbeat` only grows, and stands still while nobody works on it."""

    partition: int
    epoch: int
    heartbeat: int
    taken: bool


class Observed(Protocol):
    """What is looked at now and then, because asking takes a round trip. All empty until it was looked at."""

    def statuses(self) -> dict[int, Status]:
        """Of every partition that this process works on or catches up with: as of now."""
        ...

    def partitions(self) -> Mapping[int, Seen]:
        """Of the same partitions."""
        ...

    def retention(self) -> Retention:
        """What the log drops by itself."""
        ...

    def boards(self) -> Mapping[str, Usage]:
        """What the boards take of the tenants that take most, as far as they were weighed."""
        ...

    def seats(self) -> Sequence[Seat]:
        """Of every partition of the deployment that was ever claimed; empty when this process is the only one."""
        ...


class FinalStandings(Protocol):
    """A board in a closed period: the standings as they were given, and what came late. Reads what is asked for only.

    `members` is how many are in the standings.
    """

    members: int

    async def page(self, *, first: int, rows: int) -> list[ResultRow]:
        """Up to so many from the place `first` (the best is 1) on."""
        ...

    async def of(self, subjects: Collection[str]) -> list[ResultRow]:
        """Those of these subjects that are there, by place."""
        ...

    async def late(
        self, board: Board, *, subjects: Collection[str] | None, rows: int
    ) -> list[tuple[str, tuple[int, ...]]]:
        """Whose tallies changed after the close, and their scores now: up to so many, by subject; of `subjects` only,
        unless that is None. They need not be in the standings, and may have come back to what they had."""
        ...


class Live(Protocol):
    """The state of every tenant as of now: memory over book."""

    def tenants(self) -> list[str]:
        """The tenants that have a program, by name."""
        ...

    def program(self, tenant: str) -> Program:
        """The program in force. Raises `NotFound` naming the nearest tenant."""
        ...

    def tzdata(self, tenant: str) -> str:
        """The version of the time-zone data that the program in force was taken with."""
        ...

    async def knows(self, tenant: str, text: str, *, timeout_s: float) -> None:
        """Return once this is the program in force, after it was applied. Raises `Unavailable` after `timeout_s`."""
        ...

    async def cells(self, tenant: str, subject: str, periods: list[str]) -> dict[TableKey, object]:
        """Everything known of one subject: its tallies in these periods, awards, streaks and attributes."""
        ...

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        """The awards somebody holds, oldest first, those not settled yet included."""
        ...

    def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[tuple[str, int]]]:
        """Every (subject, value) of a metric in a period, in batches, each subject once."""
        ...

    def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        """Every award that is held, in batches."""
        ...

    async def results(self, tenant: str, board: str, period: str) -> FinalStandings | None:
        """The final standings of a closed period; None while it is open, and for a board that had nobody on it."""
        ...

    async def ensure_board(self, tenant: str, board: Board, period: str) -> None:
        """See to it that the boards hold all of this board."""
        ...

    async def applied(self, tenant: str, position: Position, *, timeout_s: float) -> Position:
        """Return once reads of the tenant show everything up to `position`, and how far they show everything. Raises
        `Unavailable` after `timeout_s`."""
        ...

    async def outcomes(self, tenant: str, position: Position, *, timeout_s: float) -> bytes | None:
        """Return once reads of the tenant show everything up to `position`, with what became of the events of the
        record there (see outcome.py); None when that is not remembered. Raises `Unavailable` after `timeout_s`."""
        ...

    def statuses(self) -> dict[int, Status]:
        """How far the fold and the last settlement have come, for each partition that this process works on."""
        ...


class Kept(Protocol):
    """What is kept aside: failed events, conflicts, and every version of a program. Settled or not."""

    async def failed(self, tenant: str, *, after: int, rows: int, type: str = "") -> list[FailedRow]:
        """Up to so many failed events past the sequence number `after`, oldest first; of one type, if given."""
        ...

    async def failed_event(self, tenant: str, sequence: int) -> FailedRow:
        """One failed event. Raises `NotFound` when there is none, or none any more."""
        ...

    async def replayable(self, tenant: str, sequence: int) -> FailedRow:
        """The same, for one that can be replayed. Raises `Rejected` with what to do instead."""
        ...

    def failed_reasons(self, tenant: str) -> Mapping[tuple[str, str], int]:
        """(type, reason) -> how many failed events wait."""
        ...

    async def conflicts(self, tenant: str, *, after: int, rows: int) -> list[ConflictRow]:
        """Up to so many conflicts past the sequence number `after`, oldest first."""
        ...

    async def conflict(self, tenant: str, sequence: int) -> ConflictRow:
        """One conflict. Raises `NotFound`."""
        ...

    async def first_body(self, conflict: ConflictRow) -> str | None:
        """The event that was first to have the conflict's id, as it came; None when it is too long ago to be found."""
        ...

    async def programs(self, tenant: str) -> list[ProgramRow]:
        """Every version of a tenant's program, oldest first."""
        ...
