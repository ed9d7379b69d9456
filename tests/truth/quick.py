"""Folds events in memory, straight through `core`: the quickest way from a program and events to its numbers.

It keeps the tables in plain dictionaries and sets repeats apart by event id. It promises what the truth tests
ask of any fold (`Folded`), so the same tests run on the whole engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple, Protocol

import msgspec

from accrue.core.arithmetic import decimal
from accrue.core.decide import FAULTS, Decide, Decider, Remembers
from accrue.core.event import Stamp
from accrue.core.period import Moment
from accrue.core.ranking import Order, Row, Standing, standings
from accrue.core.reader import read
from accrue.core.streak import NONE, Streak
from accrue.core.table import Entry, Table, TableKey, note, undo
from accrue.core.tally import decimal_value
from accrue.ingest.crawlers import is_crawler

TENANT = "truth"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Awarded(NamedTuple):
    badge: str
    level: str
    subject: str
    holder: str
    time_us: int


class Folded(Protocol):
    """What the truth tests ask. Amounts are numbers as people write them; absent subjects are None."""

    def feed(self, events: Iterable[bytes]) -> None:
        """Fold these events as well. What is read afterwards has all of them."""
        ...

    def tally(self, metric: str, period: str, subject: str) -> Decimal | int | None: ...

    def tallies(self, metric: str, period: str) -> dict[str, Decimal | int]: ...

    def awards(self) -> list[Awarded]: ...

    def streak(self, name: str, subject: str) -> Streak: ...

    def standings(self, board: str, period: str) -> list[Standing]:
        """Best first, equal rows sharing a rank (1224)."""
        ...

    def counts(self) -> dict[str, int]:
        """How many events were `applied`, `repeated`, `failed` and `unmatched`."""
        ...


class _Adjust(msgspec.Struct, frozen=True):
    metric: str
    subject: str
    amount: int | Decimal
    reason: str


class _Head(msgspec.Struct, frozen=True):
    type: str
    id: str
    time: datetime
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Visit(msgspec.Struct, frozen=True):
    user_agent: str | None = None


_heads = msgspec.json.Decoder(_Head)
_adjustments = msgspec.json.Decoder(_Adjust, float_hook=decimal)
_visits = msgspec.json.Decoder(_Visit)


class Quick:
    """One tenant's fold. With `copies`, every batch is delivered so many times; repeats change nothing."""

    def __init__(self, program_text: str, *, copies: int, batch: int) -> None:
        self.program = read(program_text)
        self._copies, self._batch = copies, batch
        self._decider = Decider(TENANT, self.program)
        self._tables: dict[TableKey, Table] = {}
        self._journal: list[Entry] = []
        self._bound: dict[Moment, dict[str, Decide]] = {}
        self._ids: set[str] = set()
        self._once: set[bytes] = set()
        self._reached: dict[TableKey, dict[str, int]] = {}
        self._sequence = 0
        self._counts = dict.fromkeys(("applied", "repeated", "failed", "unmatched"), 0)

    # --- folding ----------------------------------------------------------------------------------------------

    def feed(self, events: Iterable[bytes]) -> None:
        remaining = iter(events)
        while some := list(islice(remaining, self._batch)):
            for _ in range(self._copies):
                self._fold(some)

    def _fold(self, lines: Sequence[bytes]) -> None:
        body = b"\n".join(lines)
        for head, event, line in zip(
            _heads.decode_lines(body), self._decider.decoder.decode_lines(body), lines, strict=True
        ):
            self._sequence += 1
            self._counts[self._one(head, event, line)] += 1
        for table in note(self._journal):
            self._reached.setdefault(table.key, {}).update(table.changed)
            table.changed.clear()

    def _one(self, head: _Head, event: Any, line: bytes) -> str:
        if head.id in self._ids:
            return "repeated"
        self._ids.add(head.id)
        type = head.type
        if type == "accrue.adjust":
            adjust = _adjustments.decode(head.data)
            type = self._decider.change_type(adjust.metric, "add")
            role = "object" if self.program.metrics[adjust.metric].kind == "object" else "owner"
            event = self._decider.event(type=type, id=head.id, value=adjust.amount, **{role: adjust.subject})
        elif type not in self._decider.types:
            return "unmatched"
        time_us = (head.time - EPOCH) // timedelta(microseconds=1)
        marks: list[tuple[bytes, bool]] = []
        mark = len(self._journal)
        try:
            self._function(type, time_us)(event, self._sequence, time_us, _stamp(head), marks)
        except FAULTS:
            undo(self._journal, mark)
            return "failed"
        self._once.update(key for key, _ in marks)
        return "applied"

    def _function(self, type: str, time_us: int) -> Decide:
        moment = self.program.calendar.moment(time_us)
        functions = self._bound.setdefault(moment, {})
        if type not in functions:
            remembers = Remembers(self._once.__contains__, self._once.__contains__)
            functions[type] = self._decider.bind(
                type, moment=moment, open=self._open, journal=self._journal, remembers=remembers
            )
        return functions[type]

    def _open(self, key: TableKey) -> Table:
        if key not in self._tables:
            self._tables[key] = Table(TENANT, key)
        return self._tables[key]

    # --- reading ----------------------------------------------------------------------------------------------

    def tally(self, metric: str, period: str, subject: str) -> Decimal | int | None:
        return self.tallies(metric, period).get(subject)

    def tallies(self, metric: str, period: str) -> dict[str, Decimal | int]:
        scale = self.program.metrics[metric].scale
        table = self._open(TableKey("tally", metric, period))
        return {subject: decimal_value(value, scale) if scale else value for subject, value in table.items()}

    def awards(self) -> list[Awarded]:
        return [
            Awarded(key.name, key.part, subject, award.holder, award.time_us)
            for key, table in self._tables.items()
            if key.kind == "award"
            for subject, award in table.items()
            if not award.revoked
        ]

    def streak(self, name: str, subject: str) -> Streak:
        found: Streak = self._open(TableKey("streak", name, "")).get(subject, NONE)
        return found

    def standings(self, board: str, period: str) -> list[Standing]:
        order = self.program.boards[board].order
        keys = [TableKey("tally", key.metric, period) for key in order]
        tables = [self._open(key) for key in keys]
        reached = [self._reached.get(key, {}) for key in keys]
        members = sorted({subject for table in tables for subject in table})
        rows = [
            Row(
                subject,
                tuple(table.get(subject, 0) for table in tables),
                max(changed.get(subject, 0) for changed in reached),
            )
            for subject in members
        ]
        ties = self.program.boards[board].ties
        return standings(rows, Order(tuple(key.descending for key in order), ties), "competition")

    def counts(self) -> dict[str, int]:
        return dict(self._counts)


def _stamp(head: _Head) -> Stamp | None:
    """What ingest would have stamped on the event."""
    user_agent = _visits.decode(head.data).user_agent
    return None if user_agent is None else Stamp(crawler=is_crawler(user_agent))
