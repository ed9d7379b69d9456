"""The archive as a log: what a worker folds again. Nothing can be appended to it and nothing is trimmed.

One segment is unpacked, with everything about it checked, in a thread while the one before it is folded. So memory
holds the records of two segments at most, however long the archive is.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator
from operator import itemgetter

from accrue.book.archive import Building, SegmentBuilder, unpack
from accrue.book.base import Checkpoint, Segment
from accrue.book.snapshot import Snapshot
from accrue.errors import Corrupt, Misconfigured
from accrue.log.base import RECORD_SIZE_BYTES_MAX, Log, Position, Retention

Records = list[tuple[Position, bytes]]


class ArchivedLog:
    """See `Log`. Holds the archive up to `archived`, and behind it what `tail` has; reads up to `end`, which may grow.

    Read on from where the last read ended, as a fold does; only the segment in hand can be read twice.
    """

    def __init__(
        self,
        segments: AsyncIterator[Segment],
        *,
        identity: str,
        archived: Position,
        end: Position,
        tail: Log | None = None,
    ) -> None:
        self._segments = segments
        self._identity = identity
        self._archived = archived
        self._end = end
        self._tail = tail
        self._records: Records = []
        self._ahead: tuple[Segment, asyncio.Future[Records]] | None = None
        self._more = asyncio.Event()
        self.segment: Segment | None = None
        """The one in hand."""

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def durability(self) -> str:
        return "disk"

    @property
    def record_size_bytes_max(self) -> int:
        return RECORD_SIZE_BYTES_MAX

    def go_on(self, end: Position) -> None:
        """Let the reader on, up to there."""
        self._end = end
        self._more.set()

    async def append(self, partition: int, record: bytes) -> Position:
        raise Misconfigured("The archive is only read.")

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> Records:
        while after >= self._end:
            self._more.clear()
            await self._more.wait()  # for ever, unless somebody lets it go on: whoever reads is cancelled
        if after >= self._archived:
            assert self._tail is not None  # only who gave one may go on past the archive
            found = await self._tail.read(partition, after=after, size_bytes_max=size_bytes_max)
            return found[: bisect_right(found, self._end, key=itemgetter(0))]
        while self.segment is None or after >= self.segment.last:
            await self._turn()
        return self._some(bisect_right(self._records, after, key=itemgetter(0)), size_bytes_max)

    async def trim(self, partition: int, *, up_to: Position) -> None:
        """Nothing: what was archived stays, and the log behind it is not this fold's to trim."""

    async def begin(self, partition: int) -> Position:
        return 1

    async def end(self, partition: int) -> Position:
        return self._end

    async def retention(self) -> Retention:
        return Retention()

    async def close(self) -> None:
        if self._ahead is not None:
            await asyncio.wait([self._ahead[1]])
            self._ahead = None

    async def _turn(self) -> None:
        """Go to the next segment, and begin to unpack the one after it."""
        ahead = self._ahead or await self._fetch()
        if ahead is None:
            raise Corrupt(f"The archive ends before position {self._archived}, which is settled already.")
        self.segment, self._records = ahead[0], await ahead[1]
        self._ahead = await self._fetch()

    async def _fetch(self) -> tuple[Segment, asyncio.Future[Records]] | None:
        segment = await anext(self._segments, None)
        if segment is None:
            return None
        return segment, asyncio.get_running_loop().run_in_executor(None, unpack, segment)

    def _some(self, start: int, size_bytes_max: int) -> Records:
        """At least one record, then as many as fit."""
        size_bytes = 0
        last = bisect_right(self._records, self._end, key=itemgetter(0))
        for stop in range(start, last):
            size_bytes += len(self._records[stop][1])
            if size_bytes > size_bytes_max and stop > start:
                return self._records[start:stop]
        return self._records[start:last]


def archive_of(snapshot: Snapshot, checkpoint: Checkpoint, *, end: Position | None = None) -> ArchivedLog:
    """The archive of a book, all of it or up to `end`."""
    return ArchivedLog(
        snapshot.segments(0),
        identity=checkpoint.log_identity,
        archived=checkpoint.position,
        end=checkpoint.position if end is None else end,
    )


class Kept:
    """Hands the segments of an archive on as they are, each when its last record was folded; what comes after the
    archive is built anew. Give `new_segment` to a worker."""

    def __init__(self, log: ArchivedLog, *, end: Position) -> None:
        self._log = log
        self._end = end
        self._at: Position = 0
        self._handed_on: Position = 0

    def new_segment(self, partition: int) -> Building:
        """The segment being built from here on."""
        return SegmentBuilder(partition) if self._at >= self._end else self

    @property
    def is_empty(self) -> bool:
        """A segment is handed on whole or not yet."""
        return not self.is_full

    @property
    def is_full(self) -> bool:
        segment = self._log.segment
        return segment is not None and self._at == segment.last > self._handed_on

    @property
    def size_bytes(self) -> int:
        return 0

    def add(self, position: int, record: bytes, *, events: int) -> None:
        """The record at this position is being folded."""
        self._at = position

    def finish(self, *, previous: bytes) -> Segment:
        """The segment that ends here. Raises `Corrupt` when it does not follow the one before."""
        segment = self._log.segment
        assert segment is not None  # else it would be empty
        if segment.previous != previous:
            raise Corrupt(
                f"The archive segment of positions {segment.first} to {segment.last} does not follow the one before it."
            )
        self._handed_on = segment.last
        return segment


class Unkept:
    """For a fold whose book needs no archive of its own."""

    def __init__(self, partition: int) -> None:
        self.is_empty = True
        self.is_full = False
        self.size_bytes = 0

    def add(self, position: int, record: bytes, *, events: int) -> None:
        """Nothing is kept."""

    def finish(self, *, previous: bytes) -> Segment:
        raise AssertionError("It is always empty.")
