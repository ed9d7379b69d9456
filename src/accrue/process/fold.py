"""The fold: one record after the other, in order, into the state in memory.

A batch of a tenant is decoded in one call, set apart into repeats, conflicts and new events in bulk, and what is
new is decided event by event. Between slices the event loop gets its turn, so that acknowledgements stay quick.

An event on which a rule fails leaves nothing behind: the journal is undone and the event is parked with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from accrue.book.base import Book, ConflictRow
from accrue.core.decide import FAULTS, DecodedEvent
from accrue.core.event import PROGRAM, SYSTEM_PREFIX
from accrue.core.period import Moment
from accrue.core.record import Batch, Record, sequence
from accrue.core.table import note, undo
from accrue.process import repeats
from accrue.process.outcome import APPLIED, CONFLICTING, FAILED, REPEATED, UNMATCHED
from accrue.process.patience import patiently
from accrue.process.state import TenantState
from accrue.process.system import System
from accrue.process.world import World

SLICE_EVENTS = 256
"""So many events are decided before the event loop gets its turn: about one millisecond."""


STRETCH_EVENTS = 1_024
"""So many are decoded, set apart and loaded for in one go."""


class Fold:
    """Applies records to a `World`. Calls must not overlap."""

    def __init__(self, world: World, book: Book) -> None:
        self._world = world
        self._book = book
        self._system = System(world, book)

    async def apply(self, position: int, record: Record) -> bytes:
        """Fold one record and return the outcome of each of its events."""
        world = self._world
        world.advance(record.log_time_us)
        outcomes = bytearray()
        for batch in record.batches:
            outcomes += await self._batch(batch, sequence(position, len(outcomes)))
        world.note_periods()
        return bytes(outcomes)

    async def _batch(self, batch: Batch, first: int) -> bytearray:
        """Fold consecutive events of one tenant. A change of program cuts the batch: what follows is decoded anew."""
        lines = batch.body.split(b"\n")
        outcomes = bytearray(len(lines))
        done = 0
        while done < len(lines):
            done = await self._stretch(batch, lines, done, first, outcomes)
        self._world.counts_of(batch.tenant).count(outcomes)
        return outcomes

    async def _stretch(self, batch: Batch, lines: list[bytes], start: int, first: int, outcomes: bytearray) -> int:
        """Fold some lines from `start`, all under one program, and return where the next stretch begins.

        `first` is the sequence number of `lines[0]`.
        """
        world, tenant = self._world, batch.tenant
        state = world.tenants.get(tenant)
        decoder = state.decoder if state else world.bare_decoder
        some = lines[start : start + STRETCH_EVENTS]
        whole = len(some) == len(lines)
        events: list[DecodedEvent] = decoder.decode_lines(batch.body if whole else b"\n".join(some))
        types = {event.type for event in events}
        if PROGRAM in types:
            upto = next(at for at, event in enumerate(events) if event.type == PROGRAM) + 1
            del events[upto:], some[upto:]
        stop = start + len(events)
        self._set_aside(tenant, events, some, start, first, outcomes)
        moments: list[Moment] = []
        if state:
            moments = [state.program.calendar.moment(time_us) for time_us in batch.times_us[start:stop]]
            await self._load(state, events, moments)
        own = any(type.startswith(SYSTEM_PREFIX) for type in types)
        for left, right in _slices(events, outcomes, start) if own else _cut(0, len(events)):
            if own and events[left].type.startswith(SYSTEM_PREFIX):
                index = start + left
                outcomes[index] = await self._system.apply(tenant, some[left], batch.times_us[index], first + index)
            elif state is None:
                for index in range(start + left, start + right):
                    outcomes[index] = outcomes[index] or UNMATCHED
            else:
                self._decide(state, batch, events, moments, range(left, right), start, first, outcomes, some)
                await asyncio.sleep(0)
        world.put_once()
        return stop

    def _set_aside(
        self,
        tenant: str,
        events: Sequence[DecodedEvent],
        lines: Sequence[bytes],
        start: int,
        first: int,
        outcomes: bytearray,
    ) -> None:
        """Mark repeats and conflicts; remember what is new."""
        world = self._world
        keys = repeats.keys(tenant, [event.id for event in events])
        prints = repeats.fingerprints(lines)
        known = world.repeats.look_up(keys)
        if len(set(keys)) == len(keys) and known.count(None) == len(known):
            world.repeats.add_many(keys, prints)
            return
        new: dict[bytes, int] = {}
        for at, key in enumerate(keys):
            before = known[at] if known[at] is not None else new.get(key)
            if before is None:
                new[key] = prints[at]
            elif before == prints[at]:
                outcomes[start + at] = REPEATED
            else:
                outcomes[start + at] = CONFLICTING
                world.conflicts.append(ConflictRow(tenant, first + start + at, events[at].id, lines[at].decode()))
        world.repeats.add_many(list(new), list(new.values()))

    async def _load(self, state: TenantState, events: Sequence[DecodedEvent], moments: Sequence[Moment]) -> None:
        """Bring in what the book knows of the subjects these events concern, where memory does not have it all."""
        by_moment: dict[Moment, list[DecodedEvent]] = {}
        for event, moment in zip(events, moments, strict=True):
            by_moment.setdefault(moment, []).append(event)
        missing: set[str] = set()
        periods: set[str] = set()
        for moment, concerned in by_moment.items():
            if state.is_partial(moment):
                found = state.unknown(state.decider.keys(concerned), moment)
                if found:
                    missing |= found
                    periods.update(state.periods(moment))
        if missing:
            cells = await patiently(lambda: self._book.load(state.tenant, missing, periods))
            state.fill(cells, missing, periods)

    def _decide(
        self,
        state: TenantState,
        batch: Batch,
        events: Sequence[DecodedEvent],
        moments: Sequence[Moment],
        which: range,
        start: int,
        first: int,
        outcomes: bytearray,
        lines: Sequence[bytes],
    ) -> None:
        """Decide new events in order. `which` indexes `events`; everything else is told from `lines[0]`."""
        world, journal, times_us, stamps = self._world, state.journal, batch.times_us, batch.stamps
        marks: list[tuple[bytes, bool]] = []
        moment = functions = None
        for at in which:
            if outcomes[start + at]:
                continue
            event = events[at]
            if moments[at] is not moment:
                moment = moments[at]
                functions = state.functions(moment)
            decide = functions.get(event.type)  # type: ignore[union-attr]  # set with the first moment
            if decide is None:
                decide = state.function(event.type, moment)  # type: ignore[arg-type]  # as above
                if decide is None:
                    outcomes[start + at] = UNMATCHED
                    continue
            index = start + at
            mark = len(journal)
            try:
                decide(event, first + index, times_us[index], stamps.get(index), marks)
            except FAULTS as fault:
                undo(journal, mark)
                marks.clear()
                outcomes[index] = FAILED
                world.park(state.tenant, first + index, event.id, fault, lines[at])
            if marks:
                world.remember_once(marks)
                marks.clear()
        if journal:
            state.touched |= note(journal)


def _slices(events: Sequence[DecodedEvent], outcomes: bytearray, start: int) -> Iterator[tuple[int, int]]:
    """Cut into slices of ordinary events, and single events of the engine's own that are new."""
    left = 0
    for at, event in enumerate(events):
        if event.type.startswith(SYSTEM_PREFIX):
            yield from _cut(left, at)
            if outcomes[start + at] == APPLIED:
                yield at, at + 1
            left = at + 1
    yield from _cut(left, len(events))


def _cut(left: int, right: int) -> Iterator[tuple[int, int]]:
    for at in range(left, right, SLICE_EVENTS):
        yield at, min(at + SLICE_EVENTS, right)
