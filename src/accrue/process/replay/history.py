"""One pass over the archive: is it whole, and what stands in it that a fold from the start must know before it begins.

The last program of a tenant that came by a replay decides which rules its events before it are folded by. Final
standings are given once and for ever: those of periods closed before a replay are what the fold as it was lived until
then gave. So a history with replays has *stages*, one for each time that something new was known:

    events:   0 ......... close A ......... replay 1 ......... close B ......... replay 2 ......... now
    stage 0:  |-- as the programs came ----|    gives A
    stage 1:  |-- under replay 1 ------------------------------------------------|    gives B
    the fold: |-- under replay 2 ---------------------------------------------------------------------|   all the rest
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
from msgspec import Struct

from accrue.book.archive import GENESIS, unpack
from accrue.book.base import Segment
from accrue.core.event import CLOSE, PROGRAM
from accrue.core.reader import read
from accrue.core.record import decode, sequence
from accrue.errors import Corrupt
from accrue.log.base import Log, Position
from accrue.process.instead import Instead
from accrue.process.system import ProgramData

READ_SIZE_BYTES = 4 << 20

_PROGRAM = b'"' + PROGRAM.encode() + b'"'
_CLOSE = b'"' + CLOSE.encode() + b'"'


class Stage(Struct, frozen=True, kw_only=True):
    """What was known from `since` on, and until `until` (sequence numbers; 0 for the beginning).

    `closes`: whether a period may have been closed in between. `end` is the position to fold up to, that of the last
    record before the replay's.
    """

    since: int
    until: int
    end: Position
    instead: dict[str, Instead]
    closes: bool


class History(Struct):
    """What the pass found. `faults` has one clause for each damaged or missing piece of the archive."""

    segments: int = 0
    records: int = 0
    events: int = 0
    first: Position = 0
    last: Position = 0
    digest: bytes = GENESIS
    faults: list[str] = []
    instead: dict[str, Instead] = {}
    stages: list[Stage] = []
    """Those that ended: all but the one the fold itself is."""
    closes: bool = False
    since: int = 0
    _before: Position = 0

    def take(self, position: Position, record: bytes) -> None:
        """Look at one record."""
        self.records += 1
        if _CLOSE in record:
            self.closes = True  # or the word stands in somebody's text, which costs a fold and is no harm
        if _PROGRAM in record:
            for tenant, at, data in _replays(position, record):
                stage = Stage(
                    since=self.since, until=at, end=self._before, instead=dict(self.instead), closes=self.closes
                )
                self.stages.append(stage)
                self.instead[tenant] = Instead(read(data.text), data.tzdata, at)
                self.since, self.closes = at, False
        self._before = position


async def look_through(
    segments: AsyncIterator[Segment], history: History, *, gapless: bool, on_segment: Callable[[Segment], None]
) -> None:
    """Check every segment of a partition, oldest first, and look at each of its records.

    Where one is damaged the pass goes on behind it, so that all faults are named. `gapless`: the log hands out
    every position, so that a gap is a record that was lost.
    """
    sound = True
    async for segment in segments:
        fault = None
        try:
            records = await asyncio.to_thread(_looked_at, segment, history)
            gap = gapless and any(later != at for at, later in enumerate(records, start=history.last + 1))
            if sound and segment.previous != history.digest:
                fault = f"does not follow {_before(history)}: one is missing between them, or was changed"
            elif sound and gap:
                fault = f"leaves out positions after {history.last}"
        except Corrupt as error:
            fault = error.detail
            history.faults.append(fault)
        else:
            if fault:
                history.faults.append(f"The archive segment of positions {segment.first} to {segment.last} {fault}.")
        sound = fault is None
        history.segments += 1
        history.events += segment.events
        history.first = history.first or segment.first
        history.last, history.digest = segment.last, segment.digest
        on_segment(segment)


async def look_ahead(log: Log, history: History, *, after: Position, end: Position) -> None:
    """Look at what the log has beyond the archive, too."""
    while after < end:
        for position, record in await log.read(0, after=after, size_bytes_max=READ_SIZE_BYTES):
            after = position
            if position <= end:
                history.take(position, record)


def _looked_at(segment: Segment, history: History) -> list[Position]:
    records = unpack(segment)
    for position, record in records:
        history.take(position, record)
    return [position for position, _ in records]


def _before(history: History) -> str:
    return f"the segment that ends at position {history.last}" if history.segments else "the beginning"


def _replays(position: Position, record: bytes) -> list[tuple[str, int, ProgramData]]:
    """The replays that a record holds: (tenant, sequence, what it says)."""
    found = []
    index = 0
    for batch in decode(record).batches:
        for line in batch.body.split(b"\n"):
            if _PROGRAM in line:
                event = msgspec.json.decode(line, type=_Typed)
                if event.type == PROGRAM:
                    data = msgspec.json.decode(event.data, type=ProgramData)
                    if data.source == "replay":
                        found.append((batch.tenant, sequence(position, index), data))
            index += 1
    return found


class _Typed(Struct):
    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
