"""Writing to the book in SQLite: taking a partition, and settling. Plain functions over one connection.

Both are one transaction. They run in the connection's own thread (connect/sqlite.py), beside an event loop that
is busy, and every statement has to take the interpreter lock back when it ends. Therefore rows travel as JSON, a
few thousand a statement, and are then written by one statement a table (see sql/settle.sql).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from accrue import crashpoints
from accrue.book.base import Checkpoint, Settlement, Written
from accrue.book.owning import check_log, check_seen
from accrue.book.queries import load_queries
from accrue.errors import Corrupt, Fenced

ROWS_PER_CHUNK = 10_000
"""Rows encoded in one go, holding the interpreter lock: about 1 ms, and some 800 kB of JSON."""

TEXT_ROWS_PER_CHUNK = 2_000
"""The same for rows that carry some text of unknown length."""

LONG_ROWS_PER_CHUNK = 50
"""The same for rows that carry a whole event or a program (tens of kilobytes each)."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the connection's own place for chunks. Once, after it was opened."""
    connection.execute(_SQL["create_chunks"])


def claim(
    connection: sqlite3.Connection,
    partition: int,
    *,
    owner: str,
    log_identity: str,
    address: str = "",
    seen: tuple[int, int] | None = None,
) -> Checkpoint:
    """See `Owners.claim`."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_SQL["add_partition"], {"partition": partition, "log_identity": log_identity})
    connection.execute(_SQL["add_heartbeat"], {"partition": partition})
    held = read_checkpoint(connection, partition)
    (heartbeat,) = connection.execute(_SQL["heartbeat"], {"partition": partition}).fetchone()
    check_log(held, log_identity)
    check_seen(partition, (held.epoch, heartbeat), seen)
    taken = {"partition": partition, "owner": owner, "address": address, "log_identity": log_identity}
    connection.execute(_SQL["take_partition"], taken)
    connection.execute(_SQL["take_heartbeat"], {"partition": partition})
    crashpoints.point("claim 1: partition taken, before the commit")
    connection.execute("COMMIT")
    crashpoints.point("claim 2: claim committed")
    return msgspec.structs.replace(held, epoch=held.epoch + 1, log_identity=log_identity)


def settle(connection: sqlite3.Connection, settlement: Settlement) -> Written:
    """See `Book.settle`. Driver errors leave untranslated, after which the caller rolls back.

    1. stage the rows as chunks, outside the transaction: temporary, this connection's own;
    2. begin, and raise the fence: exactly one row must have moved;
    3. write each table;
    4. commit; when that fails, the checkpoint says what happened.
    """
    # 1
    writes = _stage(connection, settlement)
    crashpoints.point("settle 4: rows staged, before the transaction")
    # 2
    changes = connection.total_changes
    connection.execute("BEGIN IMMEDIATE")
    _raise_fence(connection, settlement)
    crashpoints.point("settle 5: fence raised")
    # 3
    try:
        for write in writes:
            connection.execute(write, {"partition": settlement.before.partition})
        crashpoints.point("settle 6: tables written")
        _write_blobs(connection, settlement)
    except sqlite3.IntegrityError as error:
        raise Corrupt(f"The book cannot hold what is settled ({error}). Nothing was changed.") from error
    # 4
    written = Written(rows=connection.total_changes - changes, transactions=1)
    crashpoints.point("settle 7: written, before the commit")
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        if not _happened(connection, settlement):
            raise
    crashpoints.point("settle 8: committed")
    return written


def read_checkpoint(connection: sqlite3.Connection, partition: int) -> Checkpoint:
    """What the book holds of a partition that was claimed before. `Fenced` when it holds nothing of it."""
    found = find_checkpoint(connection, partition)
    if found is None:
        raise Fenced(f"Nobody has claimed partition {partition}.")
    return found


def find_checkpoint(connection: sqlite3.Connection, partition: int) -> Checkpoint | None:
    """See `Book.checkpoint`."""
    row = connection.execute(_SQL["checkpoint"], {"partition": partition}).fetchone()
    return Checkpoint(*row) if row else None


class _Table(NamedTuple):
    """A list of the settlement, the statement that writes it, and how many of its rows go in a chunk."""

    field: str
    statement: str
    rows_per_chunk: int


_SQL = load_queries("settle.sql")

_TABLES = (
    _Table("tallies", _SQL["write_tallies"], ROWS_PER_CHUNK),
    _Table("awards", _SQL["write_awards"], ROWS_PER_CHUNK),
    _Table("streaks", _SQL["write_streaks"], TEXT_ROWS_PER_CHUNK),
    _Table("attributes", _SQL["write_attributes"], TEXT_ROWS_PER_CHUNK),
    _Table("applied", _SQL["write_applied"], TEXT_ROWS_PER_CHUNK),
    _Table("programs", _SQL["write_programs"], LONG_ROWS_PER_CHUNK),
    _Table("periods", _SQL["write_periods"], ROWS_PER_CHUNK),
    _Table("results", _SQL["write_results"], TEXT_ROWS_PER_CHUNK),
    _Table("late", _SQL["write_late"], ROWS_PER_CHUNK),
    _Table("failed", _SQL["write_failed"], LONG_ROWS_PER_CHUNK),
    _Table("failed_gone", _SQL["delete_failed"], ROWS_PER_CHUNK),
    _Table("conflicts", _SQL["write_conflicts"], LONG_ROWS_PER_CHUNK),
)


def _stage(connection: sqlite3.Connection, settlement: Settlement) -> list[str]:
    """Put every row in temp.chunks and return the statements that will write them."""
    connection.execute(_SQL["clear_chunks"])  # what an attempt that failed may have left
    writes = []
    for table in _TABLES:
        rows: Sequence[tuple[object, ...]] = getattr(settlement, table.field)
        for start in range(0, len(rows), table.rows_per_chunk):
            body = msgspec.json.encode(rows[start : start + table.rows_per_chunk]).decode()
            connection.execute(_SQL["add_chunk"], {"destination": table.field, "body": body})
        if rows:
            writes.append(table.statement)
    return writes


def _raise_fence(connection: sqlite3.Connection, settlement: Settlement) -> None:
    before, after = settlement.before, settlement.after
    fence = {
        "partition": before.partition,
        "epoch": before.epoch,
        "position_before": before.position,
        "position": after.position,
        "log_time_us": after.log_time_us,
        "facts": after.facts,
    }
    if connection.execute(_SQL["fence"], fence).rowcount != 1:
        raise _fenced(before)


def _write_blobs(connection: sqlite3.Connection, settlement: Settlement) -> None:
    after = settlement.after
    for run in settlement.repeats:
        row = {
            "partition": after.partition,
            "index_name": run.index,
            "bucket": run.bucket,
            "run": run.run,
            "entries": run.entries,
            "expires_us": run.expires_us,
            "data": run.data,
        }
        connection.execute(_SQL["write_repeat"], row)
    # After the new ones, so that a run which was old on arrival does not stay.
    expiry = {"partition": after.partition, "log_time_us": after.log_time_us}
    connection.execute(_SQL["delete_expired_repeats"], expiry)
    connection.execute(_SQL["delete_expired_applied"], expiry)
    for segment in settlement.segments:
        connection.execute(_SQL["write_segment"], segment._asdict())


def _happened(connection: sqlite3.Connection, settlement: Settlement) -> bool:
    """Whether a commit that ended in an error took place. Raises `Fenced` when somebody else's did.

    `before` is compared first: when the two are equal, "no" is the safe answer, because the values are absolute
    and settling them again changes nothing.
    """
    if connection.in_transaction:
        connection.rollback()
    held = read_checkpoint(connection, settlement.before.partition)
    if held == settlement.before:
        return False
    if held == settlement.after:
        return True
    raise _fenced(settlement.before)


def _fenced(before: Checkpoint) -> Fenced:
    return Fenced(
        f"Partition {before.partition} is no longer at epoch {before.epoch} and position {before.position}: "
        "another worker has it. Nothing was written."
    )
