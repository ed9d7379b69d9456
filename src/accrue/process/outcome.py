"""What became of each event of a record, one byte an event, and the counts of it."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from accrue.log.base import Position

APPLIED = 0
REPEATED = 1
CONFLICTING = 2
FAILED = 3
UNMATCHED = 4
RETRACTED = 5

RECENT_SIZE_BYTES_MAX = 4 << 20
"""Memory for the outcomes of the newest records, for whoever waits for them."""
RECORD_OVERHEAD_BYTES = 160
"""What remembering one record costs besides a byte an event."""

NAMES = ("applied", "repeated", "conflicting", "failed", "unmatched", "retracted")


class Counts(Struct):
    """How many events had each outcome. `unmatched` ones are kept in the archive: rules may come later. `retracted`
    ones came after their retraction, and so had no effect."""

    applied: int = 0
    repeated: int = 0
    conflicting: int = 0
    failed: int = 0
    unmatched: int = 0
    retracted: int = 0

    @property
    def events(self) -> int:
        return self.applied + self.repeated + self.conflicting + self.failed + self.unmatched + self.retracted

    def count(self, outcomes: bytes | bytearray) -> None:
        """Add the outcomes of some events."""
        rest = outcomes.translate(None, b"\0")  # nearly all are applied, and this finds out fastest
        self.applied += len(outcomes) - len(rest)
        if not rest:
            return
        outcomes = rest
        self.repeated += outcomes.count(REPEATED)
        self.conflicting += outcomes.count(CONFLICTING)
        self.failed += outcomes.count(FAILED)
        self.unmatched += outcomes.count(UNMATCHED)
        self.retracted += outcomes.count(RETRACTED)


class Recent:
    """The outcomes of the newest records, as many as fit into `RECENT_SIZE_BYTES_MAX`."""

    def __init__(self) -> None:
        self._outcomes: OrderedDict[Position, bytes] = OrderedDict()
        self._size_bytes = 0

    def remember(self, position: Position, outcomes: bytes) -> None:
        """Keep those of one more record."""
        self._outcomes[position] = outcomes
        self._size_bytes += len(outcomes) + RECORD_OVERHEAD_BYTES
        while self._size_bytes > RECENT_SIZE_BYTES_MAX:
            self._size_bytes -= len(self._outcomes.popitem(last=False)[1]) + RECORD_OVERHEAD_BYTES

    def of(self, position: Position) -> bytes | None:
        """Those of a record; None when they are no longer known."""
        return self._outcomes.get(position)
