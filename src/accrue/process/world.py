"""Everything the fold of one partition knows: tenants, what was seen, and what waits for the next settlement."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from accrue.book.base import ConflictRow, PeriodRow, ProgramRow
from accrue.core.decide import DecodedEvent, Remembers
from accrue.core.event import Stamp
from accrue.core.program import Program
from accrue.log.base import Position
from accrue.process.failed import Failed, failed_row
from accrue.process.instead import Instead
from accrue.process.outcome import Counts
from accrue.process.repeats import RepeatIndex
from accrue.process.repeats.index import Sizes
from accrue.process.results import Results
from accrue.process.state import TenantState

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
ONE_BY_ONE = Sizes(shelf_entries_min=1 << 20)
"""A `once` key that was not foreseen is looked up alone, and every filter costs half a microsecond: few large ones."""


class Memory(Struct, frozen=True, kw_only=True):
    """How long and how much the repeat indexes remember.

    `repeat_window_us`: an event id, in log time. `once_window_us`: what `once` rules saw of an hour, day, week or
    month. What a rule saw of a year, of a named range, or once at all is remembered for ever.
    `size_bytes_max` is for all of them: half of it for the ids, a quarter for each kind of `once`.
    """

    repeat_window_us: int = DAY_US
    once_window_us: int = 40 * DAY_US
    size_bytes_max: int = 512 << 20


class World:
    """The state of a partition between two records, besides the position."""

    def __init__(self, memory: Memory) -> None:
        self.log_time_us = 0
        self.tenants: dict[str, TenantState] = {}
        self.counts: dict[str, Counts] = {}
        self.versions: dict[str, int] = {}
        self.instead: dict[str, Instead] = {}  # what replays decided, known before the fold began
        # Tenants that had events since their changes were last taken, and the position of the last of these.
        self.heard: dict[str, Position] = {}
        self.periods: dict[tuple[str, str], PeriodRow] = {}
        self.repeats = _index("events", memory.repeat_window_us, memory.size_bytes_max // 2, Sizes())
        self.once_lately = _index("once", memory.once_window_us, memory.size_bytes_max // 4, ONE_BY_ONE)
        self.once_ever = _index("once-ever", None, memory.size_bytes_max // 4, ONE_BY_ONE)
        self._once_seen: dict[bytes, bool] = {}
        self._once_fresh: dict[bytes, bool] = {}
        self.bare_decoder = msgspec.json.Decoder(DecodedEvent)
        # What the next settlement writes besides the tables:
        self.failed = Failed()
        self.conflicts: list[ConflictRow] = []
        self.programs: list[ProgramRow] = []
        self.results = Results()
        self.new_periods: dict[tuple[str, str], PeriodRow] = {}

    @property
    def indexes(self) -> tuple[RepeatIndex, ...]:
        return (self.repeats, self.once_lately, self.once_ever)

    def advance(self, log_time_us: int) -> None:
        """A record begins: log time moves on, and what is older than a window is forgotten.

        Never back: records of several gateways follow each other here, and their clocks differ.
        """
        self.log_time_us = max(self.log_time_us, log_time_us)
        for index in self.indexes:
            index.advance(self.log_time_us)

    def is_still(self, log_time_us: int, *, events: int, once_rules: int) -> bool:
        """Whether no index forgets anything nor begins a bucket until then, with so many events on the way, each of
        which so many `once` rules may remember."""
        seen = events * once_rules
        return (
            self.repeats.is_still(log_time_us, entries=events)
            and self.once_lately.is_still(log_time_us, entries=seen)
            and self.once_ever.is_still(log_time_us, entries=seen)
        )

    def remembers(self) -> Remembers:
        """What `once` rules ask: what `foresee` found, else the indexes. What they see now waits for `put_once`."""
        return Remembers(self._once_seen, self._once_fresh, self.once_lately.seen, self.once_ever.seen)

    def foresee(self, lately: Sequence[bytes], ever: Sequence[bytes]) -> None:
        """Look up in bulk, which is ten times cheaper, what `once` rules may ask one by one until `put_once`."""
        for index, keys in ((self.once_lately, lately), (self.once_ever, ever)):
            if keys:
                self._once_seen.update(zip(keys, [found is not None for found in index.look_up(keys)], strict=True))

    def put_once(self) -> None:
        """Move what `once` rules saw into the indexes, in bulk."""
        self._once_seen.clear()
        fresh = self._once_fresh
        if fresh:
            for index, for_ever in ((self.once_lately, False), (self.once_ever, True)):
                keys = [key for key, ever in fresh.items() if ever is for_ever]
                index.add_many(keys, [0] * len(keys))
            fresh.clear()

    def counts_of(self, tenant: str) -> Counts:
        return self.counts.setdefault(tenant, Counts())

    def park(
        self,
        tenant: str,
        sequence: int,
        event: DecodedEvent,
        fault: Exception,
        body: bytes,
        time_us: int,
        stamp: Stamp | None = None,
    ) -> None:
        """Keep a failed event whole, with the reason and what it takes to decide it again."""
        self.failed.park(failed_row(tenant, sequence, event, fault, body, time_us, stamp))

    def use(self, tenant: str, program: Program, *, partial: Sequence[str] = ()) -> TenantState:
        """Let a tenant's events be decided by this program from now on."""
        state = self.tenants.get(tenant)
        if state is None:
            state = TenantState(tenant, program, partial=partial, remembers=self.remembers())
            self.tenants[tenant] = state
        else:
            state.use(program)
        return state

    def note_periods(self) -> None:
        """Remember when a period was first seen, so that it can be closed."""
        for tenant, state in self.tenants.items():
            for period in state.opened:
                if (tenant, period) not in self.periods:
                    self.put_period(PeriodRow(tenant, period, self.log_time_us, 0))
            state.opened.clear()

    def put_period(self, row: PeriodRow) -> None:
        self.periods[row.tenant, row.period] = self.new_periods[row.tenant, row.period] = row


def _index(name: str, window_us: int | None, size_bytes_max: int, sizes: Sizes) -> RepeatIndex:
    bucket_us = DAY_US if window_us is None else max(window_us // 24, 1)
    return RepeatIndex(name, window_us=window_us, bucket_us=bucket_us, size_bytes_max=size_bytes_max, sizes=sizes)
