"""Accepting: from a request's bytes to durable events and an answer for each.

1. check every event (validate.py); nothing of a bad one enters;
2. submit the good ones to the group commit, as one batch;
3. answer when they are durable, naming the position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from accrue.clock import Clock
from accrue.core import event as events
from accrue.core.event import has_nul
from accrue.core.period import tzdata_version
from accrue.core.program import SEMANTICS, Program, ProgramError, refuse_change
from accrue.core.reader import read
from accrue.core.record import Batch
from accrue.errors import Rejected
from accrue.ingest.checked import AHEAD_US_MAX, DECODE_ERRORS, EventResult, event_decoder
from accrue.ingest.commit import Accepted
from accrue.ingest.explain import explain
from accrue.ingest.times import in_range
from accrue.ingest.validate import check_array, check_ndjson, check_one
from accrue.process.base import Kept, Live

Form = Literal["one", "array", "ndjson"]
ScoreMode = Literal["set", "best", "add"]
ProgramSource = Literal["file", "sent"]
FailedAct = Literal["replay", "drop"]

ADMIN_TYPES = frozenset({events.ADJUST, events.RETRACT})
"""The engine's own types that may be sent as events, by whoever may correct balances."""

FAILED_TYPES: dict[FailedAct, str] = {"replay": events.REPLAY_FAILED, "drop": events.DROP_FAILED}

SPOOLED = "spooled"
"""The durability of what waits in a gateway's spool for the log."""

CHECKS = {"one": check_one, "array": check_array, "ndjson": check_ndjson}


class Receipt(Struct, frozen=True, kw_only=True):
    """The answer to a request. `durable` is None when nothing of it was accepted; `position` is None then, and also
    when it is `spooled`: durable, but not in the log yet."""

    tenant: str
    results: list[EventResult]
    durable: str | None = None
    position: int | None = None
    first_index: int = 0
    log_time_us: int = 0

    @property
    def accepted(self) -> int:
        return [result.status for result in self.results].count("accepted")


class Commit(Protocol):
    """Whoever makes batches durable: the group commit of one partition, or of each (intake.py)."""

    async def submit(self, batch: Batch) -> Accepted:
        """See `GroupCommit.submit`."""
        ...


class Acceptor:
    """The way in. One for a process. `durability` is that of the log, once something is in it."""

    def __init__(self, commit: Commit, live: Live, kept: Kept, clock: Clock, *, durability: Callable[[], str]) -> None:
        self._commit = commit
        self._live = live
        self._kept = kept
        self._clock = clock
        self._durability = durability

    async def events(self, tenant: str, body: bytes, form: Form, *, idempotency_key: str | None = None) -> Receipt:
        """Take events in JSON. Raises `NotFound` for an unknown tenant, `TooLarge`, `Rejected` for a body that is no
        such form at all, and `Unavailable` when the log or its queue cannot take them."""
        self._live.program(tenant)
        checked = CHECKS[form](
            body,
            tenant=tenant,
            now_us=self._clock.now_us(),
            idempotency_key=idempotency_key,
            allowed_system=ADMIN_TYPES,
        )
        if checked.batch is None:
            return Receipt(tenant=tenant, results=checked.results)
        return self._receipt(tenant, await self._commit.submit(checked.batch), checked.results)

    async def batch(self, batch: Batch) -> Accepted:
        """Take events that were checked already; for imports."""
        return await self._commit.submit(batch)

    async def score(
        self,
        tenant: str,
        board: str,
        *,
        id: str,
        subject: str,
        value: int | Decimal,
        mode: ScoreMode,
        time_us: int | None,
    ) -> Receipt:
        """Submit a score to a board: set it, keep the better one, or add. It goes through the log like any event.

        Raises `NotFound` for an unknown board and `Rejected` naming the field for what no event may hold either.
        """
        key = self._live.program(tenant).board(board).order[0]
        better = "most" if key.descending else "least"
        data = {"metric": key.metric, "subject": subject, "value": value, "mode": better if mode == "best" else mode}
        if not 1 <= len(subject) <= events.SUBJECT_CHARACTERS_MAX:
            raise Rejected(f"A subject has 1 to {events.SUBJECT_CHARACTERS_MAX} characters.", field="subject")
        exact = Decimal(value)
        if not exact.is_finite() or abs(exact) > events.MAGNITUDE_MAX:
            raise Rejected(f"A score is a number within +-{events.MAGNITUDE_MAX}.", field="value")
        if id.startswith(events.SYSTEM_PREFIX):
            raise Rejected(f"Ids beginning with {events.SYSTEM_PREFIX!r} are the engine's own.", field="id")
        now_us = self._clock.now_us()
        if time_us is not None and in_range(time_us, field="time") > now_us + AHEAD_US_MAX:
            time_us = now_us
        return await self._system(tenant, events.SCORE, id, data, time_us)

    async def program(self, tenant: str, text: str, *, id: str, source: ProgramSource = "sent") -> Receipt:
        """Let a tenant live by this program from here on. Raises `ProgramError`, and then nothing has changed."""
        new = read(text)
        if tenant in self._live.tenants():
            await self._refuse_change(tenant, new)
        data = {"text": text, "tzdata": tzdata_version(), "semantics": SEMANTICS, "source": source}
        return await self._system(tenant, events.PROGRAM, id, data, None)

    async def _refuse_change(self, tenant: str, new: Program) -> None:
        """Compare with every version, not only the last: what one left out another must not bring back otherwise."""
        versions = await self._kept.programs(tenant)
        replays = [at for at, row in enumerate(versions) if row.source == "replay"]  # nothing older counts any more
        for text in dict.fromkeys(row.text for row in versions[max(replays, default=0) :]):
            try:
                old = read(text)
            except ProgramError:  # one that an earlier version of Accrue could read
                continue
            refuse_change(old, new)

    async def close_period(self, tenant: str, period: str) -> Receipt:
        """Close a period. Its id follows from the period, so that closing twice is a repeat."""
        return await self._system(tenant, events.CLOSE, f"accrue.close:{period}", {"period": period}, None)

    async def failed(self, tenant: str, act: FailedAct, ids: Mapping[int, str]) -> Receipt:
        """Replay or drop failed events. `ids` has an event id for each, by its sequence number; at least one."""
        lines = [
            _encoder.encode({"id": id, "type": FAILED_TYPES[act], "data": {"sequence": sequence}})
            for sequence, id in ids.items()
        ]
        batch = Batch(tenant, b"\n".join(lines), [self._clock.now_us()] * len(lines), {})
        results = [EventResult(id, "accepted") for id in ids.values()]
        return self._receipt(tenant, await self._commit.submit(batch), results)

    async def _system(self, tenant: str, type: str, id: str, data: object, time_us: int | None) -> Receipt:
        body = _encoder.encode({"id": id, "type": type, "data": data})
        try:
            event_decoder.decode(body)  # nothing may enter the log that the fold cannot read
        except DECODE_ERRORS as error:
            raise explain(error, body) from None
        if has_nul(body):
            raise Rejected("A string holds the character U+0000, which no database stores in text.", field="$")
        batch = Batch(tenant, body, [self._clock.now_us() if time_us is None else time_us], {})
        return self._receipt(tenant, await self._commit.submit(batch), [EventResult(id, "accepted")])

    def _receipt(self, tenant: str, accepted: Accepted, results: list[EventResult]) -> Receipt:
        return Receipt(
            tenant=tenant,
            results=results,
            durable=SPOOLED if accepted.position is None else self._durability(),
            position=accepted.position,
            first_index=accepted.first_index,
            log_time_us=accepted.log_time_us,
        )


_encoder = msgspec.json.Encoder(decimal_format="number")
