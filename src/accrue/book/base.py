"""The contract of a book, and the rows that cross it. One suite tests every backend: tests/contract/test_book.py.

Rows are plain tuples in bulk, because a settlement may hold hundreds of thousands. Every value is absolute.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct


class TallyRow(NamedTuple):
    """`value` is the scaled integer; `reached` the sequence number of the event that last changed it.

    Metrics with a dot in the name are the engine's own (what a cap has used, a remainder, the days of a streak).
    """

    tenant: str
    metric: str
    period: str
    subject: str
    value: int
    reached: int


class AwardRow(NamedTuple):
    """`subject` is what it was earned for, `holder` who got it: the same user, or an object and its owner.

    `revoked` is 1 for an award that was taken back. `time_us` is the event's time.
    """

    tenant: str
    badge: str
    level: str
    subject: str
    holder: str
    time_us: int
    sequence: int
    revoked: int


class StreakRow(NamedTuple):
    """`runs` is the streak's own text (JSON); the numbers before it are for people and queries."""

    tenant: str
    streak: str
    subject: str
    current: int
    longest: int
    last: int
    runs: str


class AttributeRow(NamedTuple):
    """`value` is JSON text. `kind` is `user` or `object`."""

    tenant: str
    kind: str
    attribute: str
    subject: str
    value: str


class AppliedRow(NamedTuple):
    """What is known of an event id for the sake of retractions, until log time `until_us`; see `core.table.Applied`."""

    tenant: str
    event_id: str
    state: str
    until_us: int
    effects: str


class ProgramRow(NamedTuple):
    """A program as its record in the log carried it, taking effect at `sequence`.

    `time_us` is when it was taken, 0 where that was not kept. `source` is `file` when it was read from the file that
    the settings name, `sent` when somebody sent it, `replay` when a replay put it in force.
    """

    tenant: str
    version: int
    sequence: int
    text: str
    tzdata: str
    semantics: int
    time_us: int = 0
    source: str = "file"


class FailedRow(NamedTuple):
    """An event on which a rule failed, parked whole and without any of its effects. `body` is its JSON as it came.

    `time_us` is the event's time, -1 where it was not kept, and `stamp` the JSON of what ingest stamped on it: with
    them it can be decided again.
    """

    tenant: str
    sequence: int
    event_id: str
    reason: str
    body: str
    type: str
    time_us: int
    stamp: str


class FailedKey(NamedTuple):
    """Names one failed event."""

    tenant: str
    sequence: int


class FailedCount(NamedTuple):
    """So many parked events of a type failed for this reason."""

    tenant: str
    type: str
    reason: str
    events: int


class ConflictRow(NamedTuple):
    """An event whose id was already used with another body: the first one stands, this is the second."""

    tenant: str
    sequence: int
    event_id: str
    body: str


class ResultRow(NamedTuple):
    """One line of the final standings of a closed period. `scores` is a JSON array of scaled integers.

    `place` is the ordinal from 1, `rank` and `dense` the ranks of the styles in which equals share one.
    """

    tenant: str
    board: str
    period: str
    place: int
    rank: int
    subject: str
    scores: str
    dense: int


class LateRow(NamedTuple):
    """A tally that an event changed after its period was closed; `reached` is the last such event's sequence."""

    tenant: str
    period: str
    metric: str
    subject: str
    reached: int


class PeriodRow(NamedTuple):
    """A period that holds tallies. `closed` is the sequence of its `accrue.close`, 0 while open."""

    tenant: str
    period: str
    first_seen_us: int
    closed: int


class RepeatRun(NamedTuple):
    """A sorted run of the repeat index: opaque bytes, dropped whole when `expires_us` (log time) has passed."""

    index: str  # type: ignore[assignment]  # the plain word; nobody asks a run for `tuple.index`
    bucket: int
    run: int
    entries: int
    expires_us: int
    data: bytes


class Segment(NamedTuple):
    """Raw records `first..last` of one partition as one compressed frame; see book/archive.py for the format."""

    partition: int
    first: int
    last: int
    events: int
    digest: bytes
    previous: bytes
    data: bytes


class Checkpoint(Struct, frozen=True):
    """How far the book has come, and the small facts a fold needs to go on from there.

    `facts` is the fold's own JSON text: counters, and the last segment's digest.
    """

    partition: int
    epoch: int
    position: int
    log_identity: str
    log_time_us: int
    facts: str


class Settlement(Struct, frozen=True, kw_only=True):
    """Everything that changed between two checkpoints. `failed_gone` are failed events that are none any more."""

    before: Checkpoint
    after: Checkpoint
    tallies: Sequence[TallyRow] = ()
    awards: Sequence[AwardRow] = ()
    streaks: Sequence[StreakRow] = ()
    attributes: Sequence[AttributeRow] = ()
    applied: Sequence[AppliedRow] = ()
    programs: Sequence[ProgramRow] = ()
    periods: Sequence[PeriodRow] = ()
    results: Sequence[ResultRow] = ()
    late: Sequence[LateRow] = ()
    failed: Sequence[FailedRow] = ()
    failed_gone: Sequence[FailedKey] = ()
    conflicts: Sequence[ConflictRow] = ()
    repeats: Sequence[RepeatRun] = ()
    segments: Sequence[Segment] = ()


class Written(Struct, frozen=True):
    """What a settlement cost: every row of every table, written or deleted, the fence included."""

    rows: int
    transactions: int


class Cells(Struct, frozen=True):
    """What the book knows of some subjects."""

    tallies: list[TallyRow]
    awards: list[AwardRow]
    streaks: list[StreakRow]
    attributes: list[AttributeRow]


class Book(Protocol):
    """What a worker and the read side need of the system of record."""

    async def checkpoint(self, partition: int) -> Checkpoint | None:
        """How far the book has come; None when nobody ever claimed the partition. Changes nothing."""
        ...

    async def claim(
        self,
        partition: int,
        *,
        owner: str,
        log_identity: str,
        address: str = "",
        seen: tuple[int, int] | None = None,
    ) -> Checkpoint:
        """Take the partition: raise its epoch and return its checkpoint (position 0 when it is new).

        Raises `Corrupt` when the checkpoint belongs to another log, and then nothing has changed. Whether the log
        reaches as far as the checkpoint is the caller's to find out before: from here on other workers are fenced.
        """
        ...

    async def settle(self, settlement: Settlement) -> Written:
        """Commit everything in one transaction, the fence first.

        Raises `Fenced` when (partition, epoch, position) of `before` is not what the book holds, `Full` when
        there is no room and `Unavailable` on other faults; then nothing was written. After an unknown
        outcome it reads the checkpoint back and answers accordingly. When even that cannot be read (`Unavailable`),
        the next settlement begins with it: from the same `before`, it holds what this one held, or newer.
        """
        ...

    async def load(self, tenant: str, subjects: Collection[str], periods: Collection[str]) -> Cells:
        """Everything about these subjects: tallies of these periods only, and all the rest.

        Awards are found by `subject`. Two bulk queries a table at most, however many subjects.
        """
        ...

    async def applied(self, tenant: str, event_ids: Collection[str]) -> list[AppliedRow]:
        """What is known of these event ids for the sake of retractions."""
        ...

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        """The awards a holder has, revoked ones left out, oldest first."""
        ...

    def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        """Every tally of one metric in one period, by subject, in batches."""
        ...

    def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        """Every award of the tenant, revoked ones left out, by sequence, in batches."""
        ...

    async def results(self, tenant: str, board: str, period: str, *, after: int, rows: int) -> list[ResultRow]:
        """Up to so many final standings of a closed period past the place `after`, by place."""
        ...

    async def results_count(self, tenant: str, board: str, period: str) -> int:
        """How many final standings there are; 0 when the period is open or unknown. Reads one of them."""
        ...

    async def results_of(self, tenant: str, board: str, period: str, subjects: Collection[str]) -> list[ResultRow]:
        """The final standings of these subjects, by place."""
        ...

    async def late(
        self, tenant: str, period: str, metrics: Collection[str], *, subjects: Collection[str] | None, rows: int
    ) -> list[TallyRow]:
        """The tallies of these metrics of up to so many subjects, those first in order, of whom any of the metrics
        changed after the period was closed; of `subjects` only, unless that is None."""
        ...

    async def failed(self, tenant: str, *, after: int, rows: int, type: str = "") -> list[FailedRow]:
        """Up to so many failed events past the sequence `after`, oldest first; of one type, when one is given."""
        ...

    async def conflicts(self, tenant: str, *, after: int, rows: int) -> list[ConflictRow]:
        """Up to so many conflicts past the sequence `after`, oldest first."""
        ...

    async def programs(self, tenant: str) -> list[ProgramRow]:
        """Every version of a tenant's program, oldest first."""
        ...

    async def versions(self) -> dict[str, int]:
        """Every tenant, with the version of its program in force."""
        ...

    async def start(self, partition: int) -> Start:
        """What a fold needs before its first event, besides the checkpoint."""
        ...

    def segments(self, partition: int) -> AsyncIterator[Segment]:
        """The archive of one partition, oldest first."""
        ...

    def segments_before(self, partition: int, position: int) -> AsyncIterator[Segment]:
        """The archive of one partition from the segment that begins at or before `position` back, newest first."""
        ...

    async def close(self) -> None:
        """Give everything back. Harmless to repeat."""
        ...


class Start(Struct, frozen=True):
    """Programs (all versions, oldest first), periods that hold tallies, how many failed events are parked for what,
    the retractions whose events have not come yet, and the runs of the repeat index.

    The runs are read lazily: they may be large. Expired ones were deleted by the settlement that saw it.
    """

    programs: list[ProgramRow]
    periods: list[PeriodRow]
    failed: list[FailedCount]
    awaited: list[AppliedRow]
    repeats: AsyncIterator[RepeatRun]
