"""The embedded log: one SQLite file of its own, so that settling never waits for or delays an acknowledgement.

    append --> writer thread: one INSERT, which commits by itself (WAL, synchronous=FULL: then it is on disk)
       |
       +--> tail in memory --> read, while the reader follows closely
                 file -------> read in a second, read-only connection, for whoever is further behind

Positions of a partition have no gaps, so the last one is the larger of the last record's and the trim mark; an
append therefore writes one row and nothing else. A trim moves the mark first and deletes afterwards.

What bounds the files: after every 1,000 pages (4 MB) of write-ahead log SQLite copies it into the file, and starts
it over as soon as no read is going on. Where reads follow each other without a gap, an append waits for those under
way after `WAL_SIZE_BYTES_MAX`. (A foreign program that keeps a read open for minutes still makes it grow for as
long.) The file grows to the most records ever held at once: room freed by a trim is used again, not given back.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from accrue import crashpoints
from accrue.connect.soundness import check_sound
from accrue.connect.sqlite import BUSY_WAIT_MS_MAX, SqliteThread
from accrue.errors import AccrueError, Corrupt, Full, InUse, Unavailable
from accrue.log.base import RECORD_SIZE_BYTES_MAX, Position, Retention
from accrue.log.sqlite_file import ensure
from accrue.log.tail import Tail

Result = TypeVar("Result")

TAIL_SIZE_BYTES_MAX = 16 << 20
"""Memory for the newest records of one partition: a reader that is not further behind never touches the file."""

TRIM_SLICE_RECORDS_MAX = 256
TRIM_SLICE_BYTES_MAX = 4 << 20
"""One transaction of a trim deletes no more than this (a few milliseconds); appends go in between."""

CHECKPOINT_PAGES = 1_000
WAL_SIZE_BYTES_MAX = 32 << 20
WAL_SIZE_BYTES_KEPT = 8 << 20
"""A write-ahead log that had to grow past this is cut back to it when it starts over."""

WAL_WAIT_MS_MAX = 50
"""How long an append waits for reads under way, so that the write-ahead log can start over. A chunk takes a few ms."""

INSERT_SIZE_BYTES = 8 << 10
"""What an append adds to the write-ahead log besides the record: the rest of the pages it changes."""

NOTHING_WRITTEN = (Full, InUse)
"""Faults after which a commit cannot have been left complete: both are reported before its last page is written."""

PARTITION_MAX = (1 << 20) - 1
POSITION_BITS = 43
"""Positions fit 43 bits because sequence numbers do: position * 2^20 + index is a 63-bit number."""

# records(place, record): place = partition * 2^43 + position, and `partition` and `position` are computed from it.
# One integer key makes an append a tenth faster than a key of two columns.
INSERT_RECORD = "INSERT INTO records (place, record) VALUES (?, ?)"
LAST_PLACE = "SELECT max(place) FROM records WHERE place BETWEEN ? AND ?"
RECORDS_BETWEEN = "SELECT position, record FROM records WHERE place BETWEEN ? AND ? ORDER BY place"
SIZES_BETWEEN = "SELECT place, length(record) FROM records WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?"
DELETE_BETWEEN = "DELETE FROM records WHERE place BETWEEN ? AND ?"

# partitions(partition, trimmed): one row for each partition ever appended to.
PARTITIONS = "SELECT partition, trimmed FROM partitions"
INSERT_PARTITION = "INSERT OR IGNORE INTO partitions (partition, trimmed) VALUES (?, 0)"
RAISE_TRIMMED = "UPDATE partitions SET trimmed = max(trimmed, ?) WHERE partition = ?"

# meta(identity, faults): one row.
IDENTITY = "SELECT identity FROM meta"
COUNT_FAULT = "UPDATE meta SET faults = faults + 1"


class SqliteLog:
    """See `Log`. `create_identity` names the log if it is new; past a file of `size_bytes_max` it is `Full`."""

    def __init__(
        self,
        path: Path | str,
        *,
        create_identity: str,
        size_bytes_max: int | None = None,
        tail_size_bytes_max: int = TAIL_SIZE_BYTES_MAX,
    ) -> None:
        self._path = Path(path)
        self._create_identity = create_identity
        self._size_bytes_max = size_bytes_max
        self._tail_size_bytes_max = tail_size_bytes_max
        self._identity = ""
        self._tails: dict[int, Tail] = {}
        self._unsure: dict[int, AccrueError | None] = {}  # what an append ended in whose outcome is not known
        self._finding_out = asyncio.Lock()
        self._writer = SqliteThread(self._path)
        self._reader = SqliteThread(self._path, read_only=True)
        self._open = False
        self._wal_size_bytes = 0  # at most, since it surely started over; only the writer's thread uses it

    async def open(self) -> None:
        """Create the file, or look at what is there before it is touched.

        Raises `Corrupt` when the file is foreign, damaged or of another format, `Misconfigured` when it cannot be
        opened.
        """
        await ensure(self._path, identity=self._create_identity)
        await check_sound(self._path)
        try:
            await self._writer.open()
            await self._writer.run(self._prepare)
            await self._reader.open()
        except BaseException:
            await self.close()
            raise
        self._open = True

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def durability(self) -> str:
        return "disk"

    @property
    def record_size_bytes_max(self) -> int:
        return RECORD_SIZE_BYTES_MAX

    async def append(self, partition: int, record: bytes) -> Position:
        tail = await self._sure_tail(partition)
        position = tail.last + 1

        def insert(connection: sqlite3.Connection) -> None:
            self._bound_wal(connection, len(record) + INSERT_SIZE_BYTES)
            if position == 1:
                connection.execute(INSERT_PARTITION, (partition,))
                crashpoints.point("append 2: partition noted, before its first record")
            crashpoints.point("append 1: before the insert")
            connection.execute(INSERT_RECORD, (place(partition, position), record))
            crashpoints.point("append 3: inserted, before the tail has it")

        try:
            await self._writer.run(insert)
        except asyncio.CancelledError:
            self._unsure[partition] = None  # the thread may still write it; whoever comes next finds out
            self._tails[partition].wake()
            raise
        except AccrueError as error:
            self._unsure[partition] = error
            await self._find_out(partition)
            if tail.last < position:
                raise unavailable(error) from error
            return position
        tail.add(position, record)
        return position

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        while True:
            tail = await self._sure_tail(partition)
            tail.check(after)
            if after < tail.last:
                break
            await tail.news()
        if after + 1 >= tail.first:
            return tail.since(after, size_bytes_max)
        return await self._read_file(partition, after=after, last=tail.last, size_bytes_max=size_bytes_max)

    async def trim(self, partition: int, *, up_to: Position) -> None:
        tail = await self._sure_tail(partition)
        up_to = min(up_to, tail.last)
        # 1. Move the mark: from here on the records count as gone, whether or not they still are in the file.
        if up_to > tail.trimmed:
            crashpoints.point("trim 1: before the mark")
            await self._write(lambda connection: connection.execute(RAISE_TRIMMED, (up_to, partition)))
            tail.trim(up_to)
            crashpoints.point("trim 2: mark moved, nothing deleted")
        # 2. Delete in slices, also what an earlier trim left behind.
        while await self._write(lambda connection: delete_slice(connection, partition, tail.trimmed)):
            crashpoints.point("trim 3: slice deleted")

    async def begin(self, partition: int) -> Position:
        return (await self._sure_tail(partition)).trimmed + 1

    async def end(self, partition: int) -> Position:
        return (await self._sure_tail(partition)).last

    async def retention(self) -> Retention:
        return Retention()

    async def close(self) -> None:
        self._open = False
        for tail in self._tails.values():
            tail.wake()
        await self._reader.close()
        await self._writer.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_BYTES_KEPT}")
        # Some builds overwrite deleted rows with zeros, which makes a trim five times dearer.
        connection.execute("PRAGMA secure_delete = OFF")
        if self._size_bytes_max is not None:
            (page_size_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {self._size_bytes_max // page_size_bytes}")
        named = connection.execute(IDENTITY).fetchone()
        if named is None:
            raise Corrupt(f"{self._path} has lost its identity. Nothing was changed.")
        self._identity = named[0]
        for partition, trimmed in connection.execute(PARTITIONS).fetchall():
            last = max(last_position(connection, partition), trimmed)
            self._tails[partition] = self._new_tail(last=last, trimmed=trimmed)

    def _new_tail(self, *, last: Position, trimmed: Position) -> Tail:
        return Tail(last=last, trimmed=trimmed, size_bytes_max=self._tail_size_bytes_max)

    def _bound_wal(self, connection: sqlite3.Connection, size_bytes: int) -> None:
        """Count what an append is about to add, and have the write-ahead log start over when it is too much."""
        self._wal_size_bytes += size_bytes
        if self._wal_size_bytes > WAL_SIZE_BYTES_MAX:
            connection.execute(f"PRAGMA busy_timeout = {WAL_WAIT_MS_MAX}")
            try:
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {BUSY_WAIT_MS_MAX}")
            self._wal_size_bytes = size_bytes

    async def _sure_tail(self, partition: int) -> Tail:
        """The partition's tail, once it is known what became of the appends before. Raises `Unavailable`."""
        if not self._open:
            raise Unavailable(f"The log {self._path} is closed.")
        if partition in self._unsure:
            await self._find_out(partition)
        tail = self._tails.get(partition)
        if tail is None:
            if not 0 <= partition <= PARTITION_MAX:
                raise ValueError(f"partition {partition} is not in 0..{PARTITION_MAX}")
            tail = self._new_tail(last=0, trimmed=0)
            self._tails[partition] = tail
        return tail

    async def _find_out(self, partition: int) -> None:
        """Learn whether an append of unknown outcome is in the log; close the log if that cannot be known.

        1. Commit a small change. An append that failed while syncing may have left all of itself in the
           write-ahead log, where the next start would find it; the next commit is written over that place. And
           if the append did come through, this commit puts it on disk.
        2. Read the last position back.

        One caller does it, others wait for that: an append that failed knows more of it than a reader who comes by.
        """
        async with self._finding_out:
            if partition in self._unsure:
                await self._look(partition, self._unsure[partition])

    async def _look(self, partition: int, failure: AccrueError | None) -> None:
        nothing_written = isinstance(failure, NOTHING_WRITTEN)

        def look(connection: sqlite3.Connection) -> Position:
            if not nothing_written:
                connection.execute(COUNT_FAULT)
            return last_position(connection, partition)

        try:
            last = await self._writer.run(look)
        except AccrueError as error:
            await self.close()
            raise Unavailable(
                f"The log {self._path} closed itself: it cannot know whether a record was stored ({error}). "
                "See to the disk, then start again."
            ) from (failure or error)
        del self._unsure[partition]
        self._tails[partition].catch_up(last)

    async def _read_file(
        self, partition: int, *, after: Position, last: Position, size_bytes_max: int
    ) -> list[tuple[Position, bytes]]:
        def select(connection: sqlite3.Connection) -> list[tuple[Position, bytes]]:
            bounds = place(partition, after + 1), place(partition, last)
            # An unfinished statement would hold its snapshot and keep the write-ahead log from starting over.
            with closing(connection.execute(RECORDS_BETWEEN, bounds)) as rows:
                return first_that_fit(rows, size_bytes_max)

        records = await self._reader.run(select)
        if not records or records[-1][0] != after + len(records):
            raise Corrupt(f"{self._path} lacks records after position {after} that were not trimmed.")
        return records

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return await self._writer.run(work)
        except AccrueError as error:
            raise unavailable(error) from error


def place(partition: int, position: Position) -> int:
    """Partition and position as the one integer that is the key of a record."""
    return (partition << POSITION_BITS) + position


def last_position(connection: sqlite3.Connection, partition: int) -> Position:
    """The position of the last record in the file, 0 when there is none."""
    (last,) = connection.execute(LAST_PLACE, (place(partition, 1), place(partition + 1, 0) - 1)).fetchone()
    return 0 if last is None else int(last) - place(partition, 0)


def delete_slice(connection: sqlite3.Connection, partition: int, up_to: Position) -> bool:
    """Delete the oldest records up to a position, as far as one transaction should. False when none is left."""
    bounds = place(partition, 1), place(partition, up_to)
    last = None
    size_bytes = 0
    for record_place, record_size_bytes in connection.execute(SIZES_BETWEEN, (*bounds, TRIM_SLICE_RECORDS_MAX)):
        last = record_place
        size_bytes += record_size_bytes
        if size_bytes >= TRIM_SLICE_BYTES_MAX:
            break
    if last is None:
        return False
    connection.execute(DELETE_BETWEEN, (bounds[0], last))
    return True


def first_that_fit(rows: sqlite3.Cursor, size_bytes_max: int) -> list[tuple[Position, bytes]]:
    """The first row, then as many as fit."""
    records: list[tuple[Position, bytes]] = []
    size_bytes = 0
    for position, record in rows:
        size_bytes += len(record)
        if records and size_bytes > size_bytes_max:
            break
        records.append((position, record))
    return records


def unavailable(error: AccrueError) -> AccrueError:
    """A fault while writing as the contract of a log has it: `Full`, or else `Unavailable`."""
    return error if isinstance(error, Unavailable | Corrupt) else Unavailable(error.detail)
