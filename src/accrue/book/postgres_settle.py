"""Settling in PostgreSQL.

Rows are copied into temporary tables first, in slices so that the event loop goes on, and the transaction then is a
few statements without any rows. Why so: docs/internals/decisions/0007-settling-in-postgresql.md.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec import Struct

from accrue import crashpoints
from accrue.book.base import Checkpoint, Settlement, Written
from accrue.book.queries import load_queries
from accrue.connect.postgres import Connection, Lines, is_collision, rows_touched
from accrue.errors import AccrueError, Corrupt, Fenced, Unavailable

SETTLE_WAIT_S_MAX = 120.0
"""For one attempt: 400,000 rows take some five seconds, and a slow disk may take ten times as long."""

ATTEMPTS_MAX = 3
"""When the server chooses this transaction of two that stand in each other's way."""

READ_BACK_WAIT_S_MAX = 20.0
READ_BACK_PAUSE_S = 0.2
"""An answer that was lost is asked for this long, with such pauses."""

ROWS_PER_SLICE = 1_000
"""Rows encoded before the event loop gets its turn: about one millisecond."""

PIECE_SIZE_BYTES = 256 * 1024
"""The same for a blob."""

_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = struct.pack(">h", -1)


class _Table(Struct, frozen=True):
    """A list of the settlement, the table it goes to, its columns there, and the statement that writes it."""

    field: str
    table: str
    columns: str
    statement: str
    staged: str
    takes_partition: bool = False
    has_blobs: bool = False


class _Doubt(Struct, frozen=True):
    """A settlement whose commit was asked for and never answered: what it was to be, and the segments it held."""

    before: Checkpoint
    after: Checkpoint
    segments: frozenset[int]
    rows: int


class PostgresSettler:
    """Settles over `lines`, which `prepare` has prepared. Remembers, for each partition, what was never answered."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._doubts: dict[int, _Doubt] = {}

    async def settle(self, settlement: Settlement) -> Written:
        """See `Book.settle`.

        1. what became of an earlier settlement that was never answered is found out; when it happened, this one goes
           on from there;
        2. stage the rows, outside the transaction: temporary, this connection's own;
        3. begin, and raise the fence: exactly one row must have moved;
        4. write each table;
        5. commit; when the answer is lost, the checkpoint says what happened. When even that cannot be read, the next
           settlement begins with it.
        """
        partition = settlement.before.partition
        # 1
        settlement, written = await self._cleared_up(settlement)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                written += await self._lines.run(lambda c: self._settle(c, settlement), wait_s_max=SETTLE_WAIT_S_MAX)
                break
            except AccrueError as error:
                doubt = await self._happened(partition)
                if doubt is not None:
                    written += doubt.rows
                    break
                if attempt == ATTEMPTS_MAX or not is_collision(error):
                    raise
        crashpoints.point("settle 8: committed")
        return Written(rows=written, transactions=1)

    async def _settle(self, connection: Connection, settlement: Settlement) -> int:
        """Steps 2 to 5; returns how many rows were written or deleted. A failure ends the transaction."""
        before, after = settlement.before, settlement.after
        partition = before.partition
        # 2
        tables = await _stage(connection, settlement)
        crashpoints.point("settle 4: rows staged, before the transaction")
        # 3
        await connection.execute("BEGIN")
        fence = (partition, before.epoch, before.position, after.position, after.log_time_us, after.facts)
        if rows_touched(await connection.execute(_SQL["fence"], *fence)) != 1:
            await connection.execute("ROLLBACK")
            raise _fenced(before)
        crashpoints.point("settle 5: fence raised")
        # 4
        rows = 1
        for table in tables:
            own = [partition] if table.takes_partition else []
            rows += rows_touched(await connection.execute(_SQL[table.statement], *own))
        crashpoints.point("settle 6: tables written")
        # After the new ones, so that a run which was old on arrival does not stay.
        for statement in ("delete_expired_repeats", "delete_expired_applied"):
            rows += rows_touched(await connection.execute(_SQL[statement], partition, after.log_time_us))
        # 5
        crashpoints.point("settle 7: written, before the commit")
        segments = frozenset(segment.first for segment in settlement.segments)
        self._doubts[partition] = _Doubt(before, after, segments, rows)
        if await connection.execute("COMMIT") != "COMMIT":
            raise Unavailable("The database ended the transaction of a settlement. Nothing was written.")
        del self._doubts[partition]
        return rows

    async def _cleared_up(self, settlement: Settlement) -> tuple[Settlement, int]:
        """The settlement, and the rows of an earlier one that turns out to have happened, whom it then follows.

        It holds whatever that one held, or newer; only the archive does not take the same segment twice.
        """
        doubt = self._doubts.get(settlement.before.partition)
        if doubt is not None and doubt.before != settlement.before:
            del self._doubts[settlement.before.partition]  # the partition was claimed anew: the fence decides
        doubt = await self._happened(settlement.before.partition)
        if doubt is None:
            return settlement, 0
        segments = [segment for segment in settlement.segments if segment.first not in doubt.segments]
        return msgspec.structs.replace(settlement, before=doubt.after, segments=segments), doubt.rows

    async def _happened(self, partition: int) -> _Doubt | None:
        """What was in doubt, if it took place; None when it did not, or nothing is in doubt.

        Raises `Fenced` when somebody else has the partition, and `Unavailable` when there is still no answer. `before`
        is compared first: when the two are equal, "no" is safe, because settling absolute values again changes nothing.
        """
        doubt = self._doubts.get(partition)
        if doubt is None:
            return None
        held = await self._held(partition)
        del self._doubts[partition]
        if held == doubt.before:
            return None
        if held == doubt.after:
            return doubt
        raise _fenced(doubt.before)

    async def _held(self, partition: int) -> Checkpoint | None:
        """The checkpoint, once no transaction has its row any more: the one in doubt may still be under way."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + READ_BACK_WAIT_S_MAX
        while True:
            try:
                left_s = give_up_s - loop.time()
                row = await self._lines.run(lambda c: c.fetchrow(_SQL["held"], partition), wait_s_max=left_s)
                return Checkpoint(*row) if row else None
            except AccrueError:
                if self._lines.is_closed or loop.time() + READ_BACK_PAUSE_S > give_up_s:
                    raise
            await asyncio.sleep(READ_BACK_PAUSE_S)


async def prepare(connection: Connection) -> None:
    """Make a new connection's own places for staged rows."""
    made = [_SQL["stage"].format(staged=t.staged, columns=t.columns, table=t.table) for t in _TABLES]
    await connection.execute(";".join(made))


def _table(field: str, table: str, columns: str, *, takes_partition: bool = False, has_blobs: bool = False) -> _Table:
    return _Table(field, table, columns, f"write_{table}", f"staged_{table}", takes_partition, has_blobs)


_SQL = load_queries("postgres/settle.sql")

_TABLES = (
    _table("tallies", "tallies", "tenant, metric, period, subject, value, reached"),
    _table("awards", "awards", "tenant, badge, level, subject, holder, time_us, sequence, revoked"),
    _table("streaks", "streaks", "tenant, streak, subject, current, longest, last, runs"),
    _table("attributes", "attributes", "tenant, kind, attribute, subject, value"),
    _table("applied", "applied_events", "tenant, event_id, state, until_us, effects", takes_partition=True),
    _table(
        "programs",
        "programs",
        "tenant, version, sequence, text, tzdata, semantics, time_us, source",
        takes_partition=True,
    ),
    _table("periods", "periods", "tenant, period, first_seen_us, closed", takes_partition=True),
    _table("results", "board_results", "tenant, board, period, place, rank, subject, scores, dense"),
    _table("late", "late_tallies", "tenant, period, metric, subject, reached"),
    _table("failed", "failed_events", "tenant, sequence, event_id, reason, body, type, time_us, stamp"),
    _Table("failed_gone", "failed_events", "tenant, sequence", "delete_failed_events", "staged_failed_gone"),
    _table("conflicts", "conflicts", "tenant, sequence, event_id, body"),
    _table(
        "repeats",
        "repeats",
        "index_name, bucket, run, entries, expires_us, data",
        takes_partition=True,
        has_blobs=True,
    ),
    _table(
        "segments",
        "archive_segments",
        "partition, first_position, last_position, events, digest, previous, data",
        has_blobs=True,
    ),
)


async def _stage(connection: Connection, settlement: Settlement) -> list[_Table]:
    """Put every row in its temporary table and return the tables that have any, in the order to write them."""
    lists: list[tuple[_Table, Sequence[tuple[object, ...]]]] = [(t, getattr(settlement, t.field)) for t in _TABLES]
    used = [(table, rows) for table, rows in lists if rows]
    if used:  # what an earlier settlement has left there
        await connection.execute(_SQL["clear"].format(staged=", ".join(table.staged for table, _ in used)))
    for table, rows in used:
        columns = table.columns.split(", ")
        try:
            if table.has_blobs:
                source = _binary(rows)
                await connection.copy_to_table(table.staged, source=source, columns=columns, format="binary")
            else:
                await connection.copy_records_to_table(table.staged, records=_in_slices(rows), columns=columns)
        except (ValueError, OverflowError, TypeError, struct.error) as error:  # the driver cannot encode it
            connection.terminate()
            raise Corrupt(f"The book cannot hold what is settled ({error}). Nothing was changed.") from error
    return [table for table, _ in used]


async def _in_slices(rows: Sequence[tuple[object, ...]]) -> AsyncIterator[tuple[object, ...]]:
    for start in range(0, len(rows), ROWS_PER_SLICE):
        await asyncio.sleep(0)
        for row in rows[start : start + ROWS_PER_SLICE]:
            yield row


async def _binary(rows: Sequence[tuple[object, ...]]) -> AsyncIterator[bytes]:
    """Rows with blobs in PostgreSQL's binary format for COPY, in pieces: the driver would encode a row in one go."""
    yield _COPY_HEAD
    for row in rows:
        yield struct.pack(">h", len(row))
        for cell in row:
            value = struct.pack(">q", cell) if isinstance(cell, int) else cell
            data = value.encode() if isinstance(value, str) else value
            if not isinstance(data, bytes):
                raise TypeError(f"a {type(cell).__name__} is neither a number, nor text, nor bytes")
            yield struct.pack(">i", len(data))
            for start in range(0, len(data), PIECE_SIZE_BYTES):
                await asyncio.sleep(0)
                yield data[start : start + PIECE_SIZE_BYTES]
    yield _COPY_END


def _fenced(before: Checkpoint) -> Fenced:
    return Fenced(
        f"Partition {before.partition} is no longer at epoch {before.epoch} and position {before.position}: "
        "another worker has it. Nothing was written."
    )
