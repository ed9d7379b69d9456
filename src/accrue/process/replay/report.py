"""What a verification found."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from accrue.log.base import Position
from accrue.process.replay.difference import Difference

TOLD_MAX = 20
"""Differences that are told in full; the others are counted."""

Step = Literal["archive", "fold", "tables", "boards"]


class OnStep(Protocol):
    """Told now and then how far a step is: positions, events, tables or boards."""

    def __call__(self, step: Step, done: int, of: int) -> None:
        """So much of a step is done."""
        ...


class Report(Struct, kw_only=True):
    """What was checked, and what was found.

    `compared` has the rows of each table, `boards` how many there are. `faults` are those of the files and of the
    archive, a sentence each. `differences` are the first of all; `differing` counts them by table. `unsettled` are
    records that the log has and the book not yet. `archived` is where the archive ends.
    """

    position: Position = 0
    log_time_us: int = 0
    segments: int = 0
    events: int = 0
    archived: Position = 0
    compared: dict[str, int] = {}
    boards: int = 0
    unsettled: int = 0
    faults: list[str] = []
    differences: list[Difference] = []
    differing: dict[str, int] = {}

    def include(self, other: Report, *, partition: int) -> None:
        """Count what was found in another partition, too."""
        self.position, self.log_time_us = max(self.position, other.position), max(self.log_time_us, other.log_time_us)
        self.segments, self.events = self.segments + other.segments, self.events + other.events
        self.boards, self.unsettled = self.boards + other.boards, self.unsettled + other.unsettled
        for table, rows in other.compared.items():
            self.compared[table] = self.compared.get(table, 0) + rows
        self.faults += [f"Partition {partition}: {fault}" for fault in other.faults]
        self.differences = (self.differences + other.differences)[:TOLD_MAX]
        for table, count in other.differing.items():
            self.differing[table] = self.differing.get(table, 0) + count

    @property
    def is_sound(self) -> bool:
        return not self.faults and not self.differing

    def add(self, difference: Difference) -> None:
        """Count it, and tell it if there is room."""
        if len(self.differences) < TOLD_MAX:
            self.differences.append(difference)
        self.differing[difference.table] = self.differing.get(difference.table, 0) + 1
