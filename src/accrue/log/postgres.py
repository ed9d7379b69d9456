"""The log as a table in PostgreSQL, for deployments that have PostgreSQL and no broker.

    append --> one statement: raise `last` of the partition's row, insert the record there; it commits by itself
       |                      (the row's lock is held until then, so the order of commits is the order of positions)
       +--> bell of this process, and NOTIFY for the others
                --> read: one query for what follows; without news a look every second

Positions have no gaps, so a reader knows which one is next and never skips one that is not visible yet; what this
process has appended itself it hands to its reader without asking the server again.

NOTIFY is sent by itself, after the commit: inside the append it would hold a lock of the whole database while that
waits for the disk, and the partitions would queue up behind each other. It may get lost; the look every second finds
what it would have said. Connections: up to `APPEND_LINES_MAX` for appends, one for reads, one for news and trims.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from accrue.connect.postgres import Connection, Line, Lines
from accrue.errors import AccrueError, Corrupt, Misconfigured, TooLarge, Unavailable
from accrue.log.base import RECORD_SIZE_BYTES_MAX, Position, Retention
from accrue.log.postgres_founding import Founded, ensure
from accrue.log.recent import Recent
from accrue.log.tail import check_after

Result = TypeVar("Result")

OPEN_WAIT_S_MAX = 60.0
APPEND_LINES_MAX = 4
APPEND_WAIT_S_MAX = 10.0
READ_WAIT_S_MAX = 10.0
READ_RETRY_S_MAX = 20.0
"""So long a reader tries to get its connection back before it raises `Unavailable`."""
RETRY_S = 0.25
LOOK_S = 1.0
"""Without news a reader looks this often: news may get lost."""

READ_ROWS_MAX = 2_000
"""Rows of one read: making them Python objects holds up the event loop about 2 ms."""
RECENT_SIZE_BYTES_MAX = 8 << 20
"""Memory for what was appended here lately, for each partition that is also read here."""

TRIM_SLICE_ROWS = 1_000
"""One transaction of a trim deletes no more than this; appends go in between."""
TRIM_WAIT_S_MAX = 60.0

DURABLE = {"synchronous_commit": "on"}
BY_INDEX = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
"""A read walks the primary key, also where the planner knows too little of a table that grows and shrinks all day."""

CHANNEL = "accrue_log"
"""The payload is the partition."""

APPEND = """
WITH next AS (UPDATE log_partitions SET last = last + 1 WHERE partition = $1 RETURNING last)
INSERT INTO log_records (partition, position, record) SELECT $1, last, $2 FROM next RETURNING position
"""
READ = """
SELECT position, record FROM (
  SELECT position, record, sum(octet_length(record)) OVER (ORDER BY position) AS size_bytes
  FROM log_records WHERE partition = $1 AND position > $2 ORDER BY position LIMIT $4
) AS found
WHERE size_bytes <= $3 OR position = $2 + 1 ORDER BY position
"""
ENDS = "SELECT trimmed, last FROM log_partitions WHERE partition = $1"
NOTIFY = f"SELECT pg_notify('{CHANNEL}', partition::text) FROM unnest($1::integer[]) AS partition"
RAISE_TRIMMED = """
UPDATE log_partitions SET trimmed = greatest(trimmed, least($2, last)) WHERE partition = $1 RETURNING trimmed
"""
DELETE_SLICE = """
DELETE FROM log_records WHERE partition = $1 AND position <= (
  SELECT max(position) FROM (
    SELECT position FROM log_records WHERE partition = $1 AND position <= $2 ORDER BY position LIMIT $3
  ) AS slice
)
"""


class PostgresLog:
    """See `Log`. Open it with `open`; use it in one event loop."""

    def __init__(self, url: str, founded: Founded, *, partitions: int) -> None:
        self._founded = founded
        self._partitions = partitions
        self._appending = Lines(url, connections_max=min(partitions, APPEND_LINES_MAX), settings=DURABLE)
        self._reading = Line(url, settings=BY_INDEX)
        # What is said and trimmed here need not wait for the disk: a trim that a crash undoes is done again.
        self._news = Line(url, settings={"synchronous_commit": "off"}, prepare=self._listen)
        self._recent = [Recent(RECENT_SIZE_BYTES_MAX) for _ in range(partitions)]
        self._untold: dict[int, None] = {}
        self._telling: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, partitions: int, create_identity: str) -> PostgresLog:
        """The log in the database of `url`, created with `create_identity` when there is none.

        Raises `Misconfigured` (URL, user, database, server version, a standby, another number of partitions),
        `Corrupt` (tables that are not ours or newer) and `Unavailable`.
        """
        line = Line(url, settings=DURABLE)
        try:
            founded = await line.run(
                lambda c: ensure(c, url, partitions=partitions, create_identity=create_identity),
                wait_s_max=OPEN_WAIT_S_MAX,
            )
        finally:
            await line.close()
        return cls(url, founded, partitions=partitions)

    @property
    def identity(self) -> str:
        return self._founded.identity

    @property
    def durability(self) -> str:
        """`memory` where the server runs with `fsync = off`."""
        return "disk" if self._founded.synced else "memory"

    @property
    def record_size_bytes_max(self) -> int:
        return RECORD_SIZE_BYTES_MAX

    async def append(self, partition: int, record: bytes) -> Position:
        recent = self._of(partition)
        if len(record) > RECORD_SIZE_BYTES_MAX:
            raise TooLarge(f"A record has {len(record)} bytes; the log takes {RECORD_SIZE_BYTES_MAX} at most.")
        position = await self._appending.run(
            lambda c: c.fetchval(APPEND, partition, record), wait_s_max=APPEND_WAIT_S_MAX
        )
        if position is None:
            raise lost(partition)
        recent.add(position, record)
        self._tell(partition)
        return int(position)

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        loop = asyncio.get_running_loop()
        give_up_s: float | None = None
        while True:
            recent = self._of(partition)
            recent.is_read = True
            heard, wait_s = recent.heard, LOOK_S
            try:
                await self._listen_again()
                found = recent.following(after, size_bytes_max) or await self._look(partition, after, size_bytes_max)
                if found:
                    return found
                give_up_s = None
            except Unavailable:
                give_up_s = give_up_s or loop.time() + READ_RETRY_S_MAX
                if loop.time() > give_up_s:
                    raise
                wait_s = RETRY_S
            await recent.wait(heard, wait_s)

    async def trim(self, partition: int, *, up_to: Position) -> None:
        recent = self._of(partition)
        # 1. Move the mark: from here on the records count as gone, whether or not they still are in the table.
        trimmed = await running(self._news, lambda c: c.fetchval(RAISE_TRIMMED, partition, up_to), TRIM_WAIT_S_MAX)
        recent.forget(trimmed)

        # 2. Delete in slices, also what an earlier trim left behind.
        async def delete_slice(connection: Connection) -> str:
            return await connection.execute(DELETE_SLICE, partition, trimmed, TRIM_SLICE_ROWS)

        while await running(self._news, delete_slice, TRIM_WAIT_S_MAX) != "DELETE 0":
            pass

    async def begin(self, partition: int) -> Position:
        return (await self._ends(partition))[0] + 1

    async def end(self, partition: int) -> Position:
        return (await self._ends(partition))[1]

    async def retention(self) -> Retention:
        return Retention()

    async def close(self) -> None:
        self._closed = True
        for line in (self._appending, self._reading, self._news):
            await line.close()
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
        for recent in self._recent:
            recent.ring()

    def _of(self, partition: int) -> Recent:
        if self._closed:
            raise Unavailable("The log is closed.")
        if not 0 <= partition < self._partitions:
            raise ValueError(f"partition {partition} is not in 0..{self._partitions - 1}")
        return self._recent[partition]

    async def _look(self, partition: int, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """What follows; nothing when `after` is the end. Raises `Corrupt` when something is missing there."""

        async def look(connection: Connection) -> list[tuple[Position, bytes]]:
            rows = await connection.fetch(READ, partition, after, size_bytes_max, READ_ROWS_MAX)
            if not rows or rows[0][0] != after + 1:
                trimmed, last = ends_of(await connection.fetchrow(ENDS, partition), partition)
                check_after(after, trimmed=trimmed, last=last)
                if after == last:
                    return []
                # It was appended between the two questions, or else it is missing: ask once more.
                rows = await connection.fetch(READ, partition, after, size_bytes_max, READ_ROWS_MAX)
                if not rows or rows[0][0] != after + 1:
                    raise Corrupt(
                        f"Partition {partition} of the log lacks records after {after} that were not trimmed."
                    )
            return [(position, record) for position, record in rows]

        return await running(self._reading, look, READ_WAIT_S_MAX)

    async def _ends(self, partition: int) -> tuple[Position, Position]:
        self._of(partition)
        return ends_of(await running(self._reading, lambda c: c.fetchrow(ENDS, partition), READ_WAIT_S_MAX), partition)

    async def _listen(self, connection: Connection) -> None:
        own = connection.get_server_pid()

        def hear(_: object, sender: int, channel: str, payload: object) -> None:
            partition = str(payload)
            if sender != own and partition.isdecimal() and int(partition) < self._partitions:  # own ones have rung
                self._recent[int(partition)].ring()

        await connection.add_listener(CHANNEL, hear)

    async def _listen_again(self) -> None:
        """See that news can come. Without them a reader still looks every second."""
        if not self._news.is_open:
            with suppress(Unavailable):
                await running(self._news, nothing, READ_WAIT_S_MAX)

    def _tell(self, partition: int) -> None:
        """Have the other processes told, soon; what comes meanwhile goes with the next message."""
        self._untold[partition] = None
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell_all())

    async def _tell_all(self) -> None:
        async def say(connection: Connection) -> None:
            partitions, self._untold = list(self._untold), {}
            await connection.execute(NOTIFY, partitions)

        while self._untold:
            try:
                await running(self._news, say, READ_WAIT_S_MAX)
            except AccrueError:
                return  # readers look by themselves


async def running(line: Line, work: Callable[[Connection], Awaitable[Result]], wait_s_max: float) -> Result:
    """`line.run`, for when the log was open once: what is wrong with the server then is expected to pass."""
    try:
        return await line.run(work, wait_s_max=wait_s_max)
    except Misconfigured as error:
        raise Unavailable(error.detail) from error


async def nothing(connection: Connection) -> None:
    """Only see that there is a connection."""


def ends_of(row: Sequence[Position] | None, partition: int) -> tuple[Position, Position]:
    """Trimmed up to, last. Raises `Corrupt` when the partition has no row."""
    if row is None:
        raise lost(partition)
    return row[0], row[1]


def lost(partition: int) -> Corrupt:
    """Somebody deleted what counts the positions."""
    return Corrupt(f"The log has lost the row of partition {partition} in log_partitions. Nothing was changed.")
