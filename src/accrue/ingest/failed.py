"""Replaying and dropping failed events. Both are records of the log, which name the event by its sequence number.

1. see that each is there and can be replayed: what is not is refused, and then nothing has entered the log;
2. submit one record for each;
3. wait until they are applied, and say what became of each event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Literal

from msgspec import Meta, Struct

from accrue import ids
from accrue.errors import NotFound, Rejected, Unavailable
from accrue.ingest.accept import Acceptor, FailedAct, Receipt
from accrue.process.base import Kept, Live

SEQUENCES_MAX = 1_000
SEQUENCE_END = 2**63

Became = Literal["applied", "failed", "retracted", "dropped", "gone", "accepted"]

BECAME: dict[tuple[FailedAct, str], Became] = {
    ("replay", "applied"): "applied",
    ("replay", "failed"): "failed",
    ("replay", "retracted"): "retracted",
    ("drop", "applied"): "dropped",
}


class FailedEvents(Struct, frozen=True, forbid_unknown_fields=True):
    """Failed events, by their sequence numbers. At most 1,000."""

    sequences: Annotated[list[int], Meta(min_length=1, max_length=SEQUENCES_MAX)]


class FailedOutcome(Struct, frozen=True, omit_defaults=True):
    """What became of a failed event.

    It is `applied` now, `failed` again with the new `reason`, has no effect because it was `retracted` meanwhile, was
    `dropped`, or was `gone` because somebody else was quicker. `accepted`: the record is in the log, and what became of
    the event is not known here."""

    sequence: int
    outcome: Became
    reason: str | None = None


class FailedOutcomes(Struct, frozen=True):
    """The records that did it stand at `position` of the log, and are durable; null when they are spooled."""

    position: int | None
    durable: str
    results: list[FailedOutcome]


class Repairs(Struct, frozen=True, kw_only=True):
    """Replays and drops failed events. `outcomes` waits until a receipt's events are applied."""

    acceptor: Acceptor
    live: Live
    kept: Kept
    outcomes: Callable[[Receipt], Awaitable[list[str]]]

    async def act(self, tenant: str, act: FailedAct, sequences: Sequence[int]) -> FailedOutcomes:
        """Replay or drop these. Raises `NotFound` and `Rejected` naming the first that cannot be."""
        self.live.program(tenant)
        named = list(dict.fromkeys(sequences))
        # 1. see
        look = self.kept.replayable if act == "replay" else self.kept.failed_event
        for sequence in named:
            if not 0 < sequence < SEQUENCE_END:
                raise Rejected(f"{sequence} is no sequence number.", field="$.sequences")
            await look(tenant, sequence)
        # 2. submit
        receipt = await self.acceptor.failed(tenant, act, {sequence: ids.event_id() for sequence in named})
        assert receipt.durable is not None  # a system event is accepted or raises
        # 3. wait
        outcomes = ["accepted"] * len(named)
        with suppress(Unavailable):  # it is durable, so running out of time is no error
            outcomes = await self.outcomes(receipt) or outcomes
        results = [
            await self._result(tenant, act, sequence, outcome)
            for sequence, outcome in zip(named, outcomes, strict=True)
        ]
        return FailedOutcomes(receipt.position, receipt.durable, results)

    async def _result(self, tenant: str, act: FailedAct, sequence: int, outcome: str) -> FailedOutcome:
        became: Became = "accepted" if outcome == "accepted" else BECAME.get((act, outcome), "gone")
        if became != "failed":
            return FailedOutcome(sequence, became)
        try:
            return FailedOutcome(sequence, became, (await self.kept.failed_event(tenant, sequence)).reason)
        except NotFound:  # between the two somebody dropped it
            return FailedOutcome(sequence, "gone")
