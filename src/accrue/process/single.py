"""One event by itself: decided outside the stretches of the fold, for the engine's own events and for failed ones.

A failed event is decided again under the program of now, at its own time, and what it changes is changed now: its
effects carry the sequence number of the record that replays it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import msgspec

from accrue.book.base import Book, FailedRow
from accrue.core.arithmetic import Failure
from accrue.core.event import DROP_FAILED, PROGRAM, REPLAY_FAILED, SYSTEM_PREFIX, Stamp
from accrue.core.period import Moment
from accrue.process.failed import reason_of
from accrue.process.outcome import APPLIED, FAILED, RETRACTED, UNMATCHED
from accrue.process.patience import patiently
from accrue.process.retractions import Retractions
from accrue.process.state import TenantState
from accrue.process.world import World

NEVER_REPLAYED = frozenset({PROGRAM, REPLAY_FAILED, DROP_FAILED})
"""A program has to end a stretch of the fold; it is applied anew instead. The others name an event themselves."""

Act = Callable[[str, bytes, int, int], Awaitable[int]]
"""`(tenant, line, time_us, sequence)` applies one of the engine's own events and raises what stops it."""


def can_be_replayed(row: FailedRow) -> bool:
    """Whether everything that deciding it again takes was kept."""
    return row.type not in NEVER_REPLAYED and row.time_us >= 0


async def bring_in(book: Book, state: TenantState, subjects: Collection[str], moment: Moment) -> None:
    """Load what the book knows of these subjects, where memory does not have it all."""
    missing = state.unknown(subjects, moment)
    if missing:
        periods = state.periods(moment)
        cells = await patiently(lambda: book.load(state.tenant, missing, periods))
        state.fill(cells, missing, periods)


class Again:
    """Replays and drops failed events, as records of the log say."""

    def __init__(
        self, world: World, book: Book, retractions: Retractions, act: Act, faults: tuple[type[Exception], ...]
    ) -> None:
        self._world, self._book, self._retractions, self._act, self._faults = world, book, retractions, act, faults

    async def replay(self, state: TenantState, named: int, sequence: int) -> int:
        """Decide the failed event of that sequence number again. It stays one, with the new reason, when it fails
        again; naming one that is none, or none any more, changes nothing."""
        row = await self._find(state, named)
        if row is None or not can_be_replayed(row):
            return UNMATCHED
        if await self._retractions.is_retracted(state, row.event_id):
            self._world.failed.remove(row)
            return RETRACTED
        try:
            if row.type.startswith(SYSTEM_PREFIX):
                outcome = await self._act(state.tenant, row.body.encode(), row.time_us, sequence)
            else:
                outcome = await self._decide(state, row, sequence)
                if outcome != APPLIED:
                    raise Failure(f"nothing in the program listens to {row.type!r}")
        except self._faults as fault:
            self._world.failed.park_again(row, reason_of(fault))
            return FAILED
        self._world.failed.remove(row)
        return outcome

    async def drop(self, state: TenantState, named: int) -> int:
        """Give the failed event up: it never has an effect. Its id stays used."""
        row = await self._find(state, named)
        if row is None:
            return UNMATCHED
        self._world.failed.remove(row)
        return APPLIED

    async def _find(self, state: TenantState, named: int) -> FailedRow | None:
        return await patiently(lambda: self._world.failed.find(self._book, state.tenant, named))

    async def _decide(self, state: TenantState, row: FailedRow, sequence: int) -> int:
        moment = state.program.calendar.moment(row.time_us)
        event = state.decoder.decode(row.body)
        await bring_in(self._book, state, state.decider.keys([event]), moment)
        decide = state.function(event.type, moment)
        if decide is None:
            return UNMATCHED
        stamp = msgspec.json.decode(row.stamp, type=Stamp)
        writes = decide(event, sequence, row.time_us, None if stamp == Stamp() else stamp)
        state.touch(state.functions(moment).tables)
        if writes is not None:
            self._retractions.keep(state, event, writes, row.time_us, moment, sequence)
        else:
            await self._retractions.not_kept(state, row.event_id, sequence)
        return APPLIED
