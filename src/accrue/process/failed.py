"""Failed events: those on which a rule failed, parked whole until they are replayed or dropped.

    fold --> park --> Failed (since the last settlement) --> failed_events (the book)
                        ^                                        |
                        +---- replay, drop: by records of the log, looked up here or there

What is parked is state: it follows from the log alone. The counts are kept beside it, so that nobody has to go through
the book to say what fails and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import DivisionByZero, InvalidOperation, Overflow
from sys import getsizeof

import msgspec

from accrue.book.base import Book, FailedCount, FailedKey, FailedRow
from accrue.core.decide import DecodedEvent
from accrue.core.event import Stamp

REASON_CHARACTERS_MAX = 500
"""What is kept of the reason an event failed for."""

SIGNALS = {
    DivisionByZero: "a division by zero",
    InvalidOperation: "a calculation without a result, such as zero divided by zero",
    Overflow: "a number too large to calculate with",
}
"""What the decimal module tells by the class of its error only."""

Reasons = Counter[tuple[str, str]]
"""(type, reason) -> how many are parked."""


class Failed:
    """The failed events of one partition: what changed since the last settlement, and counts of all there are."""

    def __init__(self) -> None:
        self._changes: dict[FailedKey, FailedRow | None] = {}  # None: it was one, and is none any more
        self._counts: dict[str, Reasons] = {}
        self.size_bytes = 0
        """Memory of the bodies that wait for the next settlement."""

    def load(self, counts: Sequence[FailedCount]) -> None:
        """Take what the book counts. Once, before the first event."""
        for tenant, type, reason, events in counts:
            self.reasons(tenant)[type, reason] += events

    def reasons(self, tenant: str) -> Reasons:
        """What the parked events of a tenant failed for, those in the book included."""
        return self._counts.setdefault(tenant, Counter())

    async def find(self, book: Book, tenant: str, sequence: int) -> FailedRow | None:
        """The failed event of that sequence number; None when there is none, or none any more."""
        key = FailedKey(tenant, sequence)
        if key in self._changes:
            return self._changes[key]
        found = await book.failed(tenant, after=sequence - 1, rows=1)
        return found[0] if found and found[0].sequence == sequence else None

    def park(self, row: FailedRow) -> None:
        """Keep an event that failed."""
        self._change(FailedKey(row.tenant, row.sequence), row)
        self.reasons(row.tenant)[row.type, row.reason] += 1

    def park_again(self, row: FailedRow, reason: str) -> None:
        """It was replayed and failed again, for this reason."""
        self._uncount(row)
        self.park(row._replace(reason=reason))

    def remove(self, row: FailedRow) -> None:
        """It is no failed event any more: applied now, or dropped."""
        self._uncount(row)
        self._change(FailedKey(row.tenant, row.sequence), None)

    def unsettled(self, tenant: str) -> dict[int, FailedRow | None]:
        """By sequence number, what changed since the last settlement; None is one that is gone."""
        return {key.sequence: row for key, row in self._changes.items() if key.tenant == tenant}

    # --- settling -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._changes)

    def rows(self) -> list[FailedRow]:
        """What the book has to write."""
        return [row for row in self._changes.values() if row is not None]

    def gone(self) -> list[FailedKey]:
        """What the book has to delete."""
        return [key for key, row in self._changes.items() if row is None]

    def settled(self, rows: Sequence[FailedRow], gone: Sequence[FailedKey]) -> None:
        """The book has these now. What changed meanwhile stays."""
        for row in rows:
            if self._changes.get(FailedKey(row.tenant, row.sequence)) is row:
                del self._changes[FailedKey(row.tenant, row.sequence)]
                self.size_bytes -= getsizeof(row.body)
        for key in gone:
            del self._changes[key]  # what is gone never comes back

    def _change(self, key: FailedKey, row: FailedRow | None) -> None:
        before = self._changes.get(key)
        self.size_bytes += (getsizeof(row.body) if row else 0) - (getsizeof(before.body) if before else 0)
        self._changes[key] = row

    def _uncount(self, row: FailedRow) -> None:
        reasons = self.reasons(row.tenant)
        reasons[row.type, row.reason] -= 1
        if reasons[row.type, row.reason] <= 0:
            del reasons[row.type, row.reason]


def failed_row(
    tenant: str, sequence: int, event: DecodedEvent, fault: Exception, body: bytes, time_us: int, stamp: Stamp | None
) -> FailedRow:
    """What is kept of an event that failed: enough to decide it again."""
    stamped = msgspec.json.encode(stamp or Stamp()).decode()
    return FailedRow(tenant, sequence, event.id, reason_of(fault), body.decode(), event.type, time_us, stamped)


def reason_of(fault: Exception) -> str:
    """What went wrong, for people to read and to be counted by."""
    said = next((words for signal, words in SIGNALS.items() if isinstance(fault, signal)), str(fault))
    return said[:REASON_CHARACTERS_MAX] or type(fault).__name__
