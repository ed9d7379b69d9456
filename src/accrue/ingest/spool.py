"""The spool: what a gateway accepts while its log is out of reach, in a SQLite file of its own until it is forwarded.

    spool.db        records, in the order in which they came, and what was parked
    spool.db.lock   which process has it (connect/lock_file.py)

This is the file and its bounds; when something goes into it and comes out again is decided in spooled_log.py. What
`add` returned from survives the process and a power cut. It says of which log its records are: they are put into no
other one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from accrue import crashpoints
from accrue.connect import lock_file
from accrue.connect.own_file import Kind, build_beside, check_header, read_header, sync_folder
from accrue.connect.soundness import check_sound
from accrue.connect.sqlite import SqliteThread
from accrue.core import record as records
from accrue.errors import AccrueError, Corrupt, Unavailable

Result = TypeVar("Result")

KIND = Kind("spool", 0x41435350, 1)
"""`ACSP` in the header says that the file is a spool of Accrue."""

RECORD_OVERHEAD_BYTES = 64
"""What a record takes in the file besides itself, about: so that many tiny ones are bounded by bytes too."""

CHUNK_RECORDS_MAX = 1_000
CHUNK_SIZE_BYTES_MAX = 1 << 20
"""What is read at once, for forwarding, and so about the most that becomes one record of the log; always one record."""

FULL_RETRY_AFTER_S = 10.0

SCHEMA = (
    """
    CREATE TABLE records (
        number    INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order in which they came, and never given again
        partition INTEGER NOT NULL,
        record    BLOB NOT NULL                       -- as core/record.py encodes it
    )
    """,
    "CREATE INDEX records_of_partition ON records (partition, number)",
    """
    CREATE TABLE parked (
        number      INTEGER PRIMARY KEY,
        partition   INTEGER NOT NULL,
        log_time_us INTEGER NOT NULL,   -- when it was accepted
        parked_us   INTEGER NOT NULL,
        events      INTEGER NOT NULL,
        reason      TEXT NOT NULL,
        record      BLOB NOT NULL
    )
    """,
    "CREATE TABLE meta (log_identity TEXT NOT NULL)",
)
INSERT_IDENTITY = "INSERT INTO meta (log_identity) VALUES (?)"
IDENTITY = "SELECT log_identity FROM meta"

INSERT = "INSERT INTO records (partition, record) VALUES (?, ?)"
AFTER = "SELECT number, record FROM records WHERE partition = ? AND number > ? ORDER BY number LIMIT ?"
UP_TO = "SELECT count(*), coalesce(sum(length(record)), 0) FROM records WHERE partition = ? AND number <= ?"
REMOVE = "DELETE FROM records WHERE partition = ? AND number <= ?"
HELD = "SELECT partition, count(*), sum(length(record)) FROM records GROUP BY partition"
ONE = "SELECT record FROM records WHERE number = ?"
PARK = """
INSERT INTO parked (partition, log_time_us, parked_us, events, reason, record) VALUES (?, ?, ?, ?, ?, ?)
"""
PARKED = "SELECT count(*), coalesce(sum(events), 0), coalesce(sum(length(record)), 0) FROM parked"


class SpoolLimits(Struct, frozen=True, kw_only=True):
    """What the file holds at most, parked records counted too. Past it nothing is accepted while the log is away."""

    size_bytes_max: int = 1 << 30
    records_max: int = 1_000_000


class Spooled(Struct, frozen=True):
    """A record of the spool, with its number there."""

    number: int
    record: bytes


class ToPark(Struct, frozen=True):
    """A record that is not to be forwarded any more, and why."""

    number: int
    reason: str


class Fill(Struct, frozen=True):
    """How much is in the file. What waits is counted for each partition; `size_bytes` counts the parked too."""

    waiting: dict[int, int]
    size_bytes: int
    parked_records: int
    parked_events: int


class Spool:
    """One open spool file. `log_identity` names the log that it is for. Calls go to the file one after the other."""

    def __init__(self, path: Path, lock: int, log_identity: str, limits: SpoolLimits) -> None:
        self.log_identity = log_identity
        self._path = path
        self._lock: int | None = lock
        self._limits = limits
        self._thread = SqliteThread(path)
        self._fill = Fill({}, 0, 0, 0)
        self._coming_records = self._coming_bytes = 0
        self._unsure = False  # whether something failed of which nobody knows whether it was written

    @classmethod
    async def open(cls, path: Path, *, log_identity: str, limits: SpoolLimits | None = None) -> Spool:
        """Open the file, or make it.

        Raises `InUse` when another process has it, and `Corrupt` when it is no spool, damaged, made by a newer version
        or for another log; `Misconfigured` when it cannot be opened. Then it stays as it is.
        """
        advice = "Every gateway needs a spool of its own: take another --data-dir, or stop that process."
        lock = lock_file.take(Path(f"{path}.lock"), what=path, advice=advice)
        spool = cls(path, lock, log_identity, limits or SpoolLimits())
        try:
            await _ensure(path, log_identity)
            await check_sound(path)
            await spool._thread.open()
            await spool._thread.run(spool._check_identity)
            await spool._count()
        except BaseException:
            await spool.close()
            raise
        return spool

    @property
    def fill(self) -> Fill:
        """How much is in the file, as of the last call that changed it."""
        return self._fill

    @property
    def is_sure(self) -> bool:
        """Whether it is known of every call what it has written. Else `fill` may be off by what failed."""
        return not self._unsure

    async def add(self, partition: int, record: bytes) -> None:
        """Keep a record, after all others: when this returns it is on disk.

        Raises `Unavailable` when the spool holds all it may, `Full` when the disk does, and `Corrupt`: it is not kept
        then, unless the disk failed while it was written, after which nobody knows.
        """
        size_bytes = len(record) + RECORD_OVERHEAD_BYTES
        self._check_room(size_bytes)

        def insert(connection: sqlite3.Connection) -> None:
            crashpoints.point("spool 1: before the insert")
            connection.execute(INSERT, (partition, record))
            crashpoints.point("spool 2: spooled, before anybody is told")

        self._coming_records += 1
        self._coming_bytes += size_bytes
        try:
            await self._run(insert)
        finally:
            self._coming_records -= 1
            self._coming_bytes -= size_bytes
        fill = self._fill
        waiting = {**fill.waiting, partition: fill.waiting.get(partition, 0) + 1}
        self._fill = Fill(waiting, fill.size_bytes + size_bytes, fill.parked_records, fill.parked_events)

    async def after(self, partition: int, number: int) -> list[Spooled]:
        """The next records of a partition after that number, in order. Raises `Unavailable` and `Corrupt`."""

        def select(connection: sqlite3.Connection) -> list[Spooled]:
            found: list[Spooled] = []
            size_bytes = 0
            cursor = connection.execute(AFTER, (partition, number, CHUNK_RECORDS_MAX))
            try:
                for each, record in cursor:
                    size_bytes += len(record)
                    if found and size_bytes > CHUNK_SIZE_BYTES_MAX:
                        break
                    found.append(Spooled(each, record))
            finally:
                cursor.close()
            return found

        return await self._run(select)

    async def remove(self, partition: int, *, up_to: int, park: Sequence[ToPark], now_us: int) -> None:
        """Let go of a partition's records up to that number, and keep those of `park` in the table `parked` instead:
        all in one transaction. Raises `Unavailable`, `Full` and `Corrupt`; to repeat it is harmless."""

        def write(connection: sqlite3.Connection) -> Fill:
            connection.execute("BEGIN")
            count, size_bytes = connection.execute(UP_TO, (partition, up_to)).fetchone()
            rows: list[tuple[object, ...]] = []
            events = 0
            for each in park:
                found = connection.execute(ONE, (each.number,)).fetchone()
                if found is not None:
                    record = records.decode(found[0])
                    events += record.events
                    rows.append((partition, record.log_time_us, now_us, record.events, each.reason, found[0]))
                    size_bytes -= len(found[0])
            connection.executemany(PARK, rows)
            connection.execute(REMOVE, (partition, up_to))
            crashpoints.point("forward 3: removed, before the commit")
            connection.execute("COMMIT")
            crashpoints.point("forward 4: removed")
            return Fill({partition: count}, size_bytes + (count - len(rows)) * RECORD_OVERHEAD_BYTES, len(rows), events)

        gone = await self._run(write)
        fill = self._fill
        waiting = {**fill.waiting, partition: fill.waiting.get(partition, 0) - gone.waiting[partition]}
        self._fill = Fill(
            waiting,
            fill.size_bytes - gone.size_bytes,
            fill.parked_records + gone.parked_records,
            fill.parked_events + gone.parked_events,
        )
        if self._unsure:
            await self._count()

    async def close(self) -> None:
        """Give the file back; what is in it stays. Harmless to repeat."""
        await self._thread.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _check_room(self, size_bytes: int) -> None:
        fill, limits = self._fill, self._limits
        held = fill.parked_records + sum(fill.waiting.values()) + self._coming_records
        if held >= limits.records_max or fill.size_bytes + self._coming_bytes + size_bytes > limits.size_bytes_max:
            raise Unavailable(
                f"The log is out of reach and the spool {self._path} holds all it may: "
                f"{held} records and {fill.size_bytes} bytes, of which {fill.parked_records} records are parked.",
                retry_after_s=FULL_RETRY_AFTER_S,
            )

    def _check_identity(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA secure_delete = OFF")  # see SqliteLog
        named = connection.execute(IDENTITY).fetchone()
        if named is None or named[0] != self.log_identity:
            raise Corrupt(
                f"{self._path} is the spool of another log ({named and named[0]}), not of this deployment's "
                f"({self.log_identity}). Nothing was changed. Move it away, or to the gateway that it belongs to."
            )

    async def _count(self) -> None:

        def select(connection: sqlite3.Connection) -> Fill:
            held = connection.execute(HELD).fetchall()
            count, events, size_bytes = connection.execute(PARKED).fetchone()
            size_bytes += sum(each for *_, each in held)
            size_bytes += (count + sum(number for _, number, _ in held)) * RECORD_OVERHEAD_BYTES
            return Fill({partition: number for partition, number, _ in held}, size_bytes, count, events)

        self._fill = await self._run(select)
        self._unsure = False

    async def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do it in the file's thread, with what goes wrong in the words of a spool."""
        try:
            return await self._thread.run(work)
        except BaseException as error:
            self._unsure = True
            if isinstance(error, AccrueError) and not isinstance(error, Unavailable | Corrupt):
                raise Unavailable(error.detail) from error
            raise


async def _ensure(path: Path, log_identity: str) -> None:
    """See that a spool of this format is at `path`, or put an empty one there."""
    header = read_header(path)
    if header:
        check_header(path, header, KIND)
        return
    beside = await build_beside(
        path, KIND, [*((statement, ()) for statement in SCHEMA), (INSERT_IDENTITY, (log_identity,))]
    )
    os.replace(beside, path)
    sync_folder(path.parent)
