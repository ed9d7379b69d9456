"""The fold: one record after the other, in order, into the state in memory.

A batch of a tenant is taken in stretches. A stretch is decoded in one call, set apart into repeats, conflicts and
new events in bulk, and what is new is decided event by event. Between slices the event loop gets its turn, so that
acknowledgements stay quick. Several small records become one stretch, where nobody can tell the difference: everything
done in bulk costs a fixed amount besides, several times that of deciding one event.

An event on which a rule fails has changed nothing: it is parked with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby

from msgspec import Struct

from accrue import crashpoints
from accrue.book.base import Book, ConflictRow
from accrue.core.decide import FAULTS, DecodedEvent
from accrue.core.event import PROGRAM, SYSTEM_PREFIX, Stamp
from accrue.core.period import Moment
from accrue.core.record import EVENTS_PER_RECORD_MAX, Batch, Record, joined, sequence
from accrue.log.base import Position
from accrue.process import repeats
from accrue.process.outcome import APPLIED, CONFLICTING, FAILED, REPEATED, RETRACTED, UNMATCHED
from accrue.process.patience import patiently
from accrue.process.retractions import Retractions, Upcoming
from accrue.process.state import TenantState
from accrue.process.system import System
from accrue.process.world import World

STRETCH_EVENTS = 1_024
"""So many are decoded, set apart and loaded for in one go."""

SLICE_EVENTS = 256
"""So many events are decided before the event loop gets its turn: about one millisecond."""


OnceKeysMade = dict[int, tuple[bytes | None, ...]]
"""For each event of a stretch that a `once` rule may concern, by its index: the keys of those rules."""


class Stretch(Struct, frozen=True, gc=False):
    """Some consecutive events of a tenant, all under one program. Everything is indexed from its first event.

    `sequences` has the sequence number of each, `outcomes` what became of it, filled in on the way.
    """

    events: list[DecodedEvent]
    lines: list[bytes]
    times_us: list[int]
    stamps: dict[int, Stamp]
    sequences: Sequence[int]
    outcomes: bytearray


class Fold:
    """Applies records to a `World`. Calls must not overlap."""

    def __init__(self, world: World, book: Book) -> None:
        self._world = world
        self._book = book
        self.retractions = Retractions(world, book)
        self._system = System(world, book, self.retractions)

    async def apply(self, position: int, record: Record) -> bytes:
        """Fold one record and return the outcome of each of its events."""
        world = self._world
        world.advance(record.log_time_us)
        outcomes = bytearray()
        for batch in record.batches:
            outcomes += await self._batch(batch, sequence(position, len(outcomes)))
        world.note_periods()
        return bytes(outcomes)

    async def apply_all(self, records: Sequence[tuple[Position, Record]]) -> list[bytes]:
        """Fold consecutive records and return the outcomes of each: the same as one after the other, only cheaper."""
        if len(records) == 1:
            return [await self.apply(*records[0])]
        outcomes: list[bytes] = []
        for alone, group in groupby(records, _may_hold_system_events):
            some = list(group)
            together = None if alone or len(some) == 1 else await self._together(some)
            outcomes += together or [await self.apply(position, record) for position, record in some]
        return outcomes

    async def _together(self, records: Sequence[tuple[Position, Record]]) -> list[bytes] | None:
        """Fold records as one stretch. None, and then nothing has changed, when that might come out otherwise: they
        have several tenants or the engine's own events, or an index would forget something on the way."""
        world = self._world
        batches = [batch for _, record in records for batch in record.batches]
        tenant = batches[0].tenant
        state = world.tenants.get(tenant)
        if state is None or any(batch.tenant != tenant for batch in batches):
            return None
        last_us = max(record.log_time_us for _, record in records)
        events = sum(record.events for _, record in records)
        still = world.is_still(last_us, events=events, once_rules=state.decider.once_rules)
        if not still or events > STRETCH_EVENTS:
            return None
        numbers = [range(sequence(position, 0), sequence(position, record.events)) for position, record in records]
        batch = joined(batches)
        stretch = self._stretch(batch, batch.body.split(b"\n"), 0, list(chain(*numbers)))
        if any(type.startswith(SYSTEM_PREFIX) for type in {event.type for event in stretch.events}):
            return None
        for index in world.indexes:  # what is new goes in in bulk; every record has its own log time again below
            index.advance(last_us)
        moments, once_keys = await self._prepare(tenant, state, stretch)
        outcomes: list[bytes] = []
        left = slice_from = 0
        for _, record in records:
            world.advance(record.log_time_us)
            right = left + record.events
            self._decide(state, stretch, moments, once_keys, left, right)
            world.note_periods()
            outcomes.append(bytes(stretch.outcomes[left:right]))
            left = right
            if left - slice_from >= SLICE_EVENTS:
                slice_from = left
                await asyncio.sleep(0)
        world.put_once()
        world.heard[tenant] = records[-1][0]
        world.counts_of(tenant).count(stretch.outcomes)
        return outcomes

    async def _batch(self, batch: Batch, first: int) -> bytearray:
        """Fold consecutive events of one tenant. `first` is the sequence number of the first of them."""
        lines = batch.body.split(b"\n")
        outcomes = bytearray()
        while len(outcomes) < len(lines):
            start = first + len(outcomes)
            stretch = self._stretch(batch, lines, len(outcomes), range(start, start + STRETCH_EVENTS))
            await self._apply(batch.tenant, stretch)
            outcomes += stretch.outcomes
        self._world.counts_of(batch.tenant).count(outcomes)
        return outcomes

    def _stretch(self, batch: Batch, lines: list[bytes], start: int, sequences: Sequence[int]) -> Stretch:
        """Decode from `lines[start]` on, as far as there are `sequences`. A new program ends a stretch: what follows it
        is decoded by its decoder."""
        state = self._world.tenants.get(batch.tenant)
        decoder = state.decoder if state else self._world.bare_decoder
        some = lines[start : start + STRETCH_EVENTS]
        body = batch.body if len(some) == len(lines) else b"\n".join(some)
        events: list[DecodedEvent] = decoder.decode_lines(body)
        if PROGRAM in {event.type for event in events}:
            upto = next(at for at, event in enumerate(events) if event.type == PROGRAM) + 1
            del events[upto:], some[upto:]
        stop = start + len(events)
        stamps = {index - start: stamp for index, stamp in batch.stamps.items() if start <= index < stop}
        return Stretch(events, some, batch.times_us[start:stop], stamps, sequences, bytearray(len(events)))

    async def _apply(self, tenant: str, stretch: Stretch) -> None:
        world, outcomes = self._world, stretch.outcomes
        state = world.tenants.get(tenant)
        moments, once_keys = await self._prepare(tenant, state, stretch)
        upcoming = _upcoming(stretch)
        for left, right in _slices(stretch):
            event = stretch.events[left]
            if event.type.startswith(SYSTEM_PREFIX):
                world.note_periods()  # a period may be closed by the very record that it began in
                outcomes[left] = await self._system.apply(
                    tenant, stretch.lines[left], stretch.times_us[left], stretch.sequences[left], upcoming(left)
                )
            elif state is None:
                for at in range(left, right):
                    outcomes[at] = outcomes[at] or UNMATCHED
            else:
                self._decide(state, stretch, moments, once_keys, left, right)
                await asyncio.sleep(0)
        world.put_once()
        world.heard[tenant] = stretch.sequences[0] // EVENTS_PER_RECORD_MAX

    async def _prepare(
        self, tenant: str, state: TenantState | None, stretch: Stretch
    ) -> tuple[list[Moment], OnceKeysMade]:
        """What is done in bulk before the first event of a stretch is decided. Returns the moment of each."""
        self._set_aside(tenant, stretch)
        crashpoints.point("process 2: repeats set aside")
        if state is None:
            return [], {}
        moment = state.program.calendar.moment
        moments = [moment(time_us) for time_us in stretch.times_us]
        await self._load(state, stretch, moments)
        crashpoints.point("process 3: subjects loaded")
        return moments, self._foresee(state, stretch, moments)

    def _set_aside(self, tenant: str, stretch: Stretch) -> None:
        """Mark repeats and conflicts; remember what is new."""
        world = self._world
        keys = repeats.keys(tenant, [event.id for event in stretch.events])
        prints = repeats.fingerprints(stretch.lines)
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
                stretch.outcomes[at] = REPEATED
            else:
                stretch.outcomes[at] = CONFLICTING
                body = stretch.lines[at].decode()
                world.conflicts.append(ConflictRow(tenant, stretch.sequences[at], stretch.events[at].id, body))
        world.repeats.add_many(list(new), list(new.values()))

    async def _load(self, state: TenantState, stretch: Stretch, moments: Sequence[Moment]) -> None:
        """Bring in what the book knows of the subjects these events concern, where memory does not have it all."""
        if not state.partial:
            return
        by_moment: dict[Moment, list[DecodedEvent]] = {}
        for event, moment in zip(stretch.events, moments, strict=True):
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

    def _foresee(self, state: TenantState, stretch: Stretch, moments: Sequence[Moment]) -> OnceKeysMade:
        """Make the keys of `once` rules for these events, and look up in bulk what will be asked about them."""
        types = state.decider.once_types
        made: OnceKeysMade = {}
        if not types:
            return made
        lately: list[bytes] = []
        ever: list[bytes] = []
        one, two, moment, functions = lately.append, ever.append, None, {}
        for at, event in enumerate(stretch.events):
            if event.type in types:
                if moments[at] is not moment:
                    moment = moments[at]
                    functions = {type: state.once_function(type, moment) for type in types}
                keys = functions[event.type]
                if keys is not None:
                    made[at] = keys(event, one, two)
        self._world.foresee(lately, ever)
        return made

    def _decide(
        self,
        state: TenantState,
        stretch: Stretch,
        moments: Sequence[Moment],
        once_keys: OnceKeysMade,
        left: int,
        right: int,
    ) -> None:
        """Decide the new ones among `events[left:right]`, in order."""
        outcomes, stamps = stretch.outcomes, stretch.stamps
        if state.awaited:
            self._receive_retracted(state, stretch, left, right)
        moment = moments[left]
        functions = state.functions(moment)
        some = zip(
            stretch.events[left:right],
            moments[left:right],
            stretch.times_us[left:right],
            stretch.sequences[left:right],
            strict=True,
        )
        for at, (event, its_moment, time_us, number) in enumerate(some, start=left):
            if outcomes[at]:
                continue
            if its_moment is not moment:
                state.touch(functions.tables)
                moment = its_moment
                functions = state.functions(moment)
            decide = functions.get(event.type) or state.function(event.type, moment)
            if decide is None:
                outcomes[at] = UNMATCHED
                continue
            stamp = stamps.get(at) if stamps else None
            try:
                keys = once_keys.get(at)
                if keys is None:
                    writes = decide(event, number, time_us, stamp)
                else:
                    writes = decide(event, number, time_us, stamp, keys)
            except FAULTS as fault:
                writes = [] if event.type in state.program.retract.types else None
                outcomes[at] = FAILED
                self._world.park(state.tenant, number, event, fault, stretch.lines[at], time_us, stamp)
            if writes is not None:
                self.retractions.keep(state, event, writes, time_us, moment, number)
        state.touch(functions.tables)

    def _receive_retracted(self, state: TenantState, stretch: Stretch, left: int, right: int) -> None:
        """Mark those among `events[left:right]` that were retracted before they came."""
        for at in range(left, right):
            event_id = stretch.events[at].id
            if not stretch.outcomes[at] and self.retractions.is_awaited(state, event_id):
                stretch.outcomes[at] = RETRACTED
                self.retractions.arrived(state, event_id, stretch.sequences[at])


def _may_hold_system_events(found: tuple[Position, Record]) -> bool:
    """Finds nearly all of them, and now and then a text that looks like one."""
    return any(_SYSTEM_TYPE in batch.body for batch in found[1].batches)


_SYSTEM_TYPE = b'"' + SYSTEM_PREFIX.encode()


def _upcoming(stretch: Stretch) -> Callable[[int], Upcoming]:
    """For an event of a stretch: whether an id is that of a new event which stands after it."""
    places: dict[str, int] = {}

    def after(left: int) -> Upcoming:
        def upcoming(id: str) -> bool:
            if not places:
                places.update((event.id, at) for at, event in enumerate(stretch.events) if not stretch.outcomes[at])
            return places.get(id, -1) > left

        return upcoming

    return after


def _slices(stretch: Stretch) -> Iterator[tuple[int, int]]:
    """Cut into slices of ordinary events, and single events of the engine's own that are new."""
    events = stretch.events
    if not any(type.startswith(SYSTEM_PREFIX) for type in {event.type for event in events}):
        yield from _cut(0, len(events))
        return
    left = 0
    for at, event in enumerate(events):
        if event.type.startswith(SYSTEM_PREFIX):
            yield from _cut(left, at)
            if stretch.outcomes[at] == APPLIED:
                yield at, at + 1
            left = at + 1
    yield from _cut(left, len(events))


def _cut(left: int, right: int) -> Iterator[tuple[int, int]]:
    for at in range(left, right, SLICE_EVENTS):
        yield at, min(at + SLICE_EVENTS, right)
