"""What became of each event of a record, one byte an event, and the counts of it."""

from __future__ import annotations

from msgspec import Struct

APPLIED = 0
REPEATED = 1
CONFLICTING = 2
FAILED = 3
UNMATCHED = 4
RETRACTED = 5

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
