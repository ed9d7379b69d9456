"""Taking an event back: what it did, kept small, and how that is undone.

    decide --> writes (table, subject, before, after) --> effects_of --> Effects, kept for the retract window
    accrue.retract --> Effects --> Undo: the opposite amounts, floors observed; streaks without days that lost all

What is taken back is what the event was applied with, after caps and floors. Room it had used under a cap stays used,
a `once` it has used up stays used up, an attribute it has set stays set, and a badge that is not revocable stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from accrue.core.arithmetic import Failure
from accrue.core.event import MAGNITUDE_MAX
from accrue.core.period import Moment
from accrue.core.program import Program
from accrue.core.rule import Kind
from accrue.core.streak import NONE, without_period
from accrue.core.table import Change, Table, TableKey, put_back
from accrue.core.tally import REMAINDER_UNIT

CARRY, STREAK_DAYS = "carry.", "streak."
"""What the engine's own tallies are called: the remainder of a metric, the events of a streak's active periods."""

Write = tuple[Table, str, Any, Any]
"""(table, subject, before, after) of one change; `before` is None when there was nothing."""

Open = Callable[[TableKey], Table]


class Given(Struct, frozen=True, array_like=True, gc=False):
    """What one subject got of one metric: scaled amounts by period id, and what the carried remainder changed by."""

    metric: str
    subject: str
    amounts: dict[str, int]
    carried: int = 0


class Day(Struct, frozen=True, array_like=True, gc=False):
    """The event was one of those that make a streak's period active."""

    streak: str
    subject: str
    period: str
    ordinal: int


class Effects(Struct, frozen=True, array_like=True, gc=False):
    """Everything of an event that can be taken back. `owner` and `time_us` are the event's."""

    time_us: int
    owner: str | None
    given: tuple[Given, ...] = ()
    days: tuple[Day, ...] = ()

    @property
    def subjects(self) -> set[str]:
        """Whose tallies and streaks have to be in memory."""
        return {item.subject for item in self.given} | {day.subject for day in self.days}

    @property
    def periods(self) -> set[str]:
        """The periods whose tallies have to be in memory."""
        return {period for item in self.given for period in item.amounts} | {day.period for day in self.days}


def effects_of(
    writes: Iterable[Write], *, time_us: int, owner: str | None, moment: Moment, program: Program
) -> Effects:
    """What has to be kept of an event that was applied by these writes."""
    amounts: dict[tuple[str, str], dict[str, int]] = {}
    carried: dict[tuple[str, str], int] = {}
    days: list[Day] = []
    for table, subject, before, after in writes:
        kind, name, period = table.key
        if kind != "tally":
            continue
        if name.startswith(CARRY):
            place = (name.removeprefix(CARRY), subject)
            carried[place] = carried.get(place, 0) + after - (before or 0)
            given = amounts.setdefault(place, {})
            for span in program.metrics[place[0]].periods:  # where a whole unit goes to, or comes from
                if span in moment.ids:
                    given.setdefault(moment.ids[span], 0)
        elif name.startswith(STREAK_DAYS):
            streak = program.streaks[name.removeprefix(STREAK_DAYS)]
            days.append(Day(streak.name, subject, period, moment.ordinals[streak.every]))
        elif "." not in name:
            initial = program.metrics[name].initial if period == "all" else 0
            given = amounts.setdefault((name, subject), {})
            given[period] = given.get(period, 0) + after - (initial if before is None else before)
    items = tuple(Given(*place, given, carried.get(place, 0)) for place, given in amounts.items())
    return Effects(time_us, owner, items, tuple(days))


class Undo:
    """Takes effects back, all of them or none: `keep` marks what was changed, `put_back` undoes it."""

    def __init__(self, program: Program, open: Open) -> None:
        self._program = program
        self._open = open
        self._writes: list[Write] = []
        self._noted: list[tuple[Table, str, Any, Change | None]] = []
        self.concerned: dict[tuple[Kind, str], set[str]] = {}
        """(kind, subject) -> metrics and `streak NAME` that have changed."""

    def take_back(self, effects: Effects) -> None:
        """Raises `Failure` when a tally would pass the limit; then call `put_back`.

        What the program of now no longer has stays as it is.
        """
        for given in effects.given:
            if given.metric in self._program.metrics:
                self._take_amounts(given)
        for day in effects.days:
            if day.streak in self._program.streaks:
                self._take_day(day)

    def note(self, table: Table, subject: str) -> None:
        """Somebody else is about to change this cell, and to mark it; `put_back` shall restore it too."""
        self._noted.append((table, subject, table.get(subject), table.changed.get(subject)))

    def keep(self, sequence: int) -> dict[Table, None]:
        """Mark every change as one of this sequence number. Returns the tables concerned."""
        for table, subject, _, after in self._writes:
            table.changed[subject] = (after, sequence)
        return {table: None for table, _, _, _ in (*self._writes, *self._noted)}

    def put_back(self) -> None:
        """Undo everything."""
        for table, subject, before, mark in reversed(self._noted):
            if table.get(subject) != before:
                put_back(table, subject, before)
            if mark is not None:
                table.changed[subject] = mark
            else:
                table.changed.pop(subject, None)
        for table, subject, before, _ in reversed(self._writes):
            put_back(table, subject, before)

    def _take_amounts(self, given: Given) -> None:
        metric = self._program.metrics[given.metric]
        amount = -given.amounts.get("all", 0)
        if given.carried:  # what was carried has to come from somewhere: from a whole unit, when there is too little
            carry = self._open(TableKey("tally", CARRY + metric.name, "all"))
            units, left = divmod(carry.get(given.subject, 0) - given.carried, REMAINDER_UNIT)
            amount += units
            self._write(carry, given.subject, left)
        every = self._open(TableKey("tally", metric.name, "all"))
        old = every.get(given.subject, metric.initial)
        new = old + amount if metric.minimum is None else max(old + amount, metric.minimum)
        cut = new - (old - given.amounts.get("all", 0))  # by what this differs from the plain opposite
        if new != old or given.subject in every:
            self._write_tally(every, given.subject, new)
        for period, was in given.amounts.items():
            if period != "all":
                table = self._open(TableKey("tally", metric.name, period))
                self._write_tally(table, given.subject, table.get(given.subject, 0) - was + cut)
        self.concerned.setdefault((metric.kind, given.subject), set()).add(metric.name)

    def _take_day(self, day: Day) -> None:
        days = self._open(TableKey("tally", STREAK_DAYS + day.streak, day.period))
        left = days.get(day.subject, 0) - 1
        self._write(days, day.subject, left)
        if left == 0:
            state = self._open(TableKey("streak", day.streak, ""))
            self._write(state, day.subject, without_period(state.get(day.subject, NONE), day.ordinal))
            kind: Kind = "object" if self._program.streaks[day.streak].to == ("object",) else "user"
            self.concerned.setdefault((kind, day.subject), set()).add(f"streak {day.streak}")

    def _write_tally(self, table: Table, subject: str, value: int) -> None:
        if abs(value) > MAGNITUDE_MAX:
            raise Failure(f"{table.key.name} would pass the limit of {MAGNITUDE_MAX}")
        if table.get(subject) != value:  # who keeps a score has reached it no later than before
            self._write(table, subject, value)

    def _write(self, table: Table, subject: str, value: Any) -> None:
        self._writes.append((table, subject, table.get(subject), value))
        table[subject] = value
