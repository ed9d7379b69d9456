"""Retractions: `accrue.retract` takes back what an event was applied with.

What is known of an event id, for the retract window of its program, in log time:

    (nothing)   --event of a retractable type-->  applied     --accrue.retract-->  retracted
    (nothing)   --accrue.retract-->  awaited  --the event comes, without effect-->  retracted
    (nothing)   --an accrue.retract of this id-->  retraction

Everything follows from the log: what is over at a record's log time does not count from then on, whether or not the
book has deleted it yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from accrue.book.base import AppliedRow, Book
from accrue.core.arithmetic import Failure
from accrue.core.decide import FAULTS, DecodedEvent
from accrue.core.period import Moment
from accrue.core.retraction import Effects, Undo, Write, effects_of
from accrue.core.rule import Kind
from accrue.core.table import Applied, TableKey
from accrue.process import repeats
from accrue.process.outcome import APPLIED, UNMATCHED
from accrue.process.patience import patiently
from accrue.process.state import TenantState
from accrue.process.world import DAY_US, World

APPLIED_EVENTS = TableKey("applied", "", "")

AWAITED_MAX = 100_000
"""So many retractions of a tenant may wait for their events; another one fails."""

Upcoming = Callable[[str], bool]
"""Whether the event of that id is remembered already, but is only about to be decided."""


def nothing_upcoming(event_id: str) -> bool:
    """Whatever is remembered was decided."""
    return False


class Retractions:
    """What a fold does about retractions."""

    def __init__(self, world: World, book: Book) -> None:
        self._world, self._book = world, book

    def load(self, rows: Sequence[AppliedRow]) -> None:
        """Take the retractions that wait. Once, before the first event."""
        for row in rows:
            self._world.tenants[row.tenant].awaited[row.event_id] = row.until_us

    def is_awaited(self, state: TenantState, event_id: str) -> bool:
        """Whether an event was retracted before it came."""
        return state.awaited.get(event_id, 0) > self._world.log_time_us

    def arrived(self, state: TenantState, event_id: str, sequence: int) -> None:
        """An awaited event has come. It has no effect."""
        self._put(state, event_id, Applied("retracted", state.awaited[event_id]), sequence)

    def keep(
        self,
        state: TenantState,
        event: DecodedEvent,
        writes: Sequence[Write],
        time_us: int,
        moment: Moment,
        sequence: int,
    ) -> None:
        """Keep what an event of a retractable type was applied with: nothing, when it failed."""
        effects = effects_of(writes, time_us=time_us, owner=event.owner, moment=moment, program=state.program)
        text = msgspec.json.encode(effects).decode()
        self._put(state, event.id, Applied("applied", self._until_us(state), text), sequence)

    async def not_kept(self, state: TenantState, event_id: str, sequence: int) -> None:
        """An event that had failed is applied now, and is of a retractable type no more: it cannot be taken back."""
        if await self._find(state, event_id) is not None:
            self._put(state, event_id, Applied("applied", self._world.log_time_us), sequence)

    async def is_retracted(self, state: TenantState, event_id: str) -> bool:
        """Whether an event that came was taken back since; awaited is one whose coming is forgotten."""
        known = await self._find(state, event_id)
        return known is not None and known.state in ("retracted", "awaited")

    async def retract(self, state: TenantState, ref: str, id: str, sequence: int, upcoming: Upcoming) -> int:
        """Take the event `ref` back; the retraction's own id is `id`. Raises one of FAULTS when that cannot be done,
        and then nothing has changed. Taking back twice changes nothing. `UNMATCHED` is the outcome when that event has
        not come: whoever names one of long ago must not be told that it was taken back."""
        known = await self._find(state, ref)
        outcome = APPLIED
        if known is None:
            self._await(state, ref, sequence, upcoming)
            outcome = UNMATCHED
        elif known.state == "awaited":
            outcome = UNMATCHED
        elif known.state == "retraction":
            raise Failure("a retraction cannot be retracted; send the event again, with a new id")
        elif known.state == "applied":
            await self._take_back(state, msgspec.json.decode(known.effects, type=Effects), sequence)
            self._put(state, ref, Applied("retracted", known.until_us), sequence)
        self._put(state, id, Applied("retraction", self._until_us(state)), sequence)
        return outcome

    def _await(self, state: TenantState, ref: str, sequence: int, upcoming: Upcoming) -> None:
        """The event has not come: when it does, it has no effect. One that has come cannot be taken back any more."""
        if self._world.repeats.seen(repeats.key(state.tenant, ref)) and not upcoming(ref):
            raise Failure("the event is not of a type that [retract] names, or came too long ago to be taken back")
        if len(state.awaited) >= AWAITED_MAX:
            now_us = self._world.log_time_us
            state.awaited = {id: until_us for id, until_us in state.awaited.items() if until_us > now_us}
            if len(state.awaited) >= AWAITED_MAX:
                raise Failure(f"{AWAITED_MAX} retractions wait for their events already")
        until_us = self._until_us(state)
        state.awaited[ref] = until_us
        self._put(state, ref, Applied("awaited", until_us), sequence)

    async def _take_back(self, state: TenantState, effects: Effects, sequence: int) -> None:
        moment = state.program.calendar.moment(effects.time_us)
        await self._bring_in(state, effects, moment)
        undo = Undo(state.program, state.open)
        try:
            undo.take_back(effects)
            for (kind, subject), names in undo.concerned.items():
                for name in sorted(names):
                    self._look(state, undo, kind, subject, name, effects, moment, sequence)
        except FAULTS:
            undo.put_back()
            raise
        state.touch(undo.keep(sequence))

    def _look(
        self,
        state: TenantState,
        undo: Undo,
        kind: Kind,
        subject: str,
        name: str,
        effects: Effects,
        moment: Moment,
        sequence: int,
    ) -> None:
        """Look at the badges that read what was taken back."""
        owner = effects.owner if kind == "object" else subject
        type = state.decider.look_type(kind, name)
        look, tables = state.decider.bind(type, moment=moment, open=state.open, remembers=self._world.remembers())
        for table in tables:
            for earner in (subject, owner):
                if earner is not None:
                    undo.note(table, earner)
        event = state.decider.event(type=type, id="", object=subject if kind == "object" else None, owner=owner)
        look(event, sequence, effects.time_us, None)

    async def _bring_in(self, state: TenantState, effects: Effects, moment: Moment) -> None:
        """Load what the book knows of everybody concerned, in the periods of then and of now."""
        periods = {*effects.periods, *state.periods(moment), "all"}
        subjects = effects.subjects | ({effects.owner} if effects.owner is not None else set())
        missing = sorted(subject for subject in subjects if state.lacks(subject, periods))
        if missing:
            cells = await patiently(lambda: self._book.load(state.tenant, missing, sorted(periods)))
            state.fill(cells, missing, periods)

    async def _find(self, state: TenantState, event_id: str) -> Applied | None:
        known: Applied | None = state.open(APPLIED_EVENTS).get(event_id)
        if known is None:
            rows = await patiently(lambda: self._book.applied(state.tenant, [event_id]))
            known = Applied(rows[0].state, rows[0].until_us, rows[0].effects) if rows else None
        return known if known is not None and known.until_us > self._world.log_time_us else None

    def _put(self, state: TenantState, event_id: str, applied: Applied, sequence: int) -> None:
        table = state.open(APPLIED_EVENTS)
        if applied.state != "awaited":
            state.awaited.pop(event_id, None)
        table[event_id] = applied
        table.changed[event_id] = (applied, sequence)
        state.touch({table: None})

    def _until_us(self, state: TenantState) -> int:
        return self._world.log_time_us + state.program.retract.days * DAY_US
