"""The engine's own events: a new program, an adjustment, a score, the close of a period, the progress of an import,
what becomes of a failed event.

They stand in the log like any other, because the log must explain every number. They need more than the rules may
touch, so they are applied one by one, here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from accrue.book.base import Book, ProgramRow
from accrue.core import event as events
from accrue.core.arithmetic import Failure, decimal
from accrue.core.decide import FAULTS, DecodedEvent
from accrue.core.expression import nearest
from accrue.core.imported import IMPORTS, ImportData
from accrue.core.program import ProgramError
from accrue.core.reader import read
from accrue.core.rule import Mode
from accrue.errors import Rejected, Unfinished
from accrue.process.close import close_period
from accrue.process.outcome import APPLIED, FAILED, UNMATCHED
from accrue.process.patience import patiently
from accrue.process.retractions import Retractions, Upcoming, nothing_upcoming
from accrue.process.single import Again, bring_in
from accrue.process.state import TenantState
from accrue.process.world import World

Data = TypeVar("Data")

REFUSALS = (*FAULTS, Rejected, msgspec.MsgspecError)
"""Why an event cannot be applied. Anything else is a defect of ours."""


class ProgramData(Struct, frozen=True):
    """A program from here on: its text, and the versions of tzdata and of the rules' meaning it is read with.

    `source` is `file` when the text is that of the file which the settings name, `sent` when somebody sent it, `replay`
    when a replay decided everything before it by this program.
    """

    text: str
    tzdata: str
    semantics: int
    source: Literal["file", "sent", "replay"] = "file"


class AdjustData(Struct, frozen=True):
    """A correction: `amount` may be negative; `reason` is for whoever asks why."""

    metric: str
    subject: str
    amount: int | Decimal
    reason: str


class ScoreData(Struct, frozen=True):
    """A score that somebody else computed, and how it joins the tally."""

    metric: str
    subject: str
    value: int | Decimal
    mode: Literal["set", "most", "least", "add"]


class CloseData(Struct, frozen=True):
    """The id of the period that ended."""

    period: str


class FailedData(Struct, frozen=True):
    """The sequence number of the failed event that is replayed or dropped."""

    sequence: int


class _Event(DecodedEvent):
    ref: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")


class System:
    """Applies the engine's own events to a `World`."""

    def __init__(self, world: World, book: Book, retractions: Retractions) -> None:
        self._world = world
        self._book = book
        self._retractions = retractions
        self._again = Again(world, book, retractions, self._act, REFUSALS)

    async def apply(self, tenant: str, line: bytes, time_us: int, sequence: int, upcoming: Upcoming) -> int:
        """Apply one event and return its outcome. One that cannot be applied is parked, like any other."""
        try:
            return await self._act(tenant, line, time_us, sequence, upcoming)
        except REFUSALS as fault:
            event = msgspec.json.decode(line, type=DecodedEvent)
            self._world.park(tenant, sequence, event, fault, line, time_us)
            return FAILED

    async def _act(
        self, tenant: str, line: bytes, time_us: int, sequence: int, upcoming: Upcoming = nothing_upcoming
    ) -> int:
        """Apply one event. Raises what stops it, one of REFUSALS, and then nothing has changed."""
        event = msgspec.json.decode(line, type=_Event)
        state = self._world.tenants.get(tenant)
        if event.type == events.PROGRAM:
            self._program(tenant, _data(event, ProgramData), time_us, sequence)
            return APPLIED
        if state is None:
            return UNMATCHED
        match event.type:
            case events.ADJUST:
                adjust = _data(event, AdjustData)
                await self._change(state, event, adjust.metric, "add", adjust.subject, adjust.amount, time_us, sequence)
            case events.SCORE:
                score = _data(event, ScoreData)
                await self._change(
                    state, event, score.metric, score.mode, score.subject, score.value, time_us, sequence
                )
            case events.RETRACT:
                if event.ref is None:
                    raise Failure(f"{events.RETRACT} needs ref, the id of the event that is taken back")
                return await self._retractions.retract(state, event.ref, event.id, sequence, upcoming)
            case events.CLOSE:
                period = _data(event, CloseData).period
                await patiently(lambda: close_period(self._world, self._book, state, period, sequence))
            case events.IMPORTED:
                self._imported(state, _data(event, ImportData), sequence)
            case events.REPLAY_FAILED:
                return await self._again.replay(state, _data(event, FailedData).sequence, sequence)
            case events.DROP_FAILED:
                return await self._again.drop(state, _data(event, FailedData).sequence)
            case _:
                return UNMATCHED
        return APPLIED

    def _program(self, tenant: str, data: ProgramData, time_us: int, sequence: int) -> None:
        """From the next event on this tenant's rules are these; before a replay's own record, what it decided."""
        ordered = self._world.instead.get(tenant)
        if data.source == "replay" and (ordered is None or ordered.sequence < sequence):
            raise Unfinished
        try:
            program = read(data.text)
        except ProgramError as error:
            raise Failure(f"the program cannot be read: {error.detail}") from error
        version = self._world.versions.get(tenant, 0) + 1
        self._world.versions[tenant] = version
        self._world.programs.append(
            ProgramRow(tenant, version, sequence, data.text, data.tzdata, data.semantics, time_us, data.source)
        )
        if ordered is not None and sequence < ordered.sequence:
            program = ordered.program
        state = self._world.use(tenant, program)
        state.program_sequence, state.tzdata = sequence, data.tzdata

    async def _change(
        self,
        state: TenantState,
        event: _Event,
        metric: str,
        mode: Mode,
        subject: str,
        amount: int | Decimal,
        time_us: int,
        sequence: int,
    ) -> None:
        """Change one tally from outside the rules, with its floor and with the badges that follow from it."""
        if metric not in state.program.metrics:
            raise Failure(f"there is no metric {metric!r}{nearest(metric, list(state.program.metrics))}")
        moment = state.program.calendar.moment(time_us)
        await bring_in(self._book, state, [subject], moment)
        decide = state.function(state.decider.change_type(metric, mode), moment)
        assert decide is not None  # inner types are always bound
        role = "object" if state.program.metrics[metric].kind == "object" else "owner"
        inner = state.decider.event(type=event.type, id=event.id, value=amount, **{role: subject})
        decide(inner, sequence, time_us, None)
        state.touch(state.functions(moment).tables)

    def _imported(self, state: TenantState, data: ImportData, sequence: int) -> None:
        table = state.open(IMPORTS)
        table[data.digest] = text = msgspec.json.encode(data).decode()
        table.changed[data.digest] = (text, sequence)
        state.touch({table: None})


def _data(event: _Event, type: type[Data]) -> Data:
    return msgspec.json.Decoder(type, float_hook=decimal).decode(event.data)
