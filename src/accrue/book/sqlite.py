"""The book in one SQLite file: the embedded default.

    settle, claim --> writer thread --+
                                      |--> book.db (WAL, synchronous=FULL)
    every read -----> reader thread --+

Two connections, so that a long settlement never makes a read wait. Each has its own thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from accrue.book import sqlite_owning, sqlite_settle
from accrue.book.base import (
    AppliedRow,
    AttributeRow,
    AwardRow,
    Cells,
    Checkpoint,
    ConflictRow,
    FailedCount,
    FailedRow,
    PeriodRow,
    ProgramRow,
    RepeatRun,
    ResultRow,
    Segment,
    Settlement,
    Start,
    StreakRow,
    TallyRow,
    Written,
)
from accrue.book.migrate import check_file, migrate
from accrue.book.owning import Attending, Owned
from accrue.book.queries import load_queries
from accrue.book.schema import shipped
from accrue.connect.soundness import check_sound
from accrue.connect.sqlite import SqliteThread
from accrue.errors import Misconfigured, Unavailable

APPLICATION_ID = int.from_bytes(b"AccB", "big")
"""Stands in the header of every book, so that no other SQLite file is taken for one."""

SQLITE_VERSION_MIN = (3, 38, 0)
"""The first with `->>`, which reads one value of a JSON array."""

WRITER_CACHE_KIB = 64 * 1024
READER_CACHE_KIB = 32 * 1024
WAL_SIZE_BYTES_KEPT = 64 * 1024 * 1024
"""A large settlement makes the WAL file large; after its checkpoint the file is cut back to this."""

ROWS_PER_BATCH = 4_000
"""Rows of one batch of a generator, decoded in one go: about 2 ms with the interpreter lock held."""

SUBJECTS_PER_CHUNK = 1_000
"""Subjects whose rows come back in one value; some tallies each, so that decoding it stays as short."""

Row = TypeVar("Row")
Parameters = Mapping[str, str | int]


class SqliteBook:
    """A `Book` in one file, `Owners` too. Made by `open`; whoever opens it closes it."""

    def __init__(self, writer: SqliteThread, reader: SqliteThread) -> None:
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, path: Path, *, synchronous: str = "FULL") -> SqliteBook:
        """Open the book, or create it, and bring its schema up to date. `synchronous` is SQLite's; `OFF` is for a book
        that may be lost, because it is thrown away or synced as a whole when it is done.

        Raises `Corrupt` for a file that is foreign, damaged or from a newer version, which stays as it is,
        and `Misconfigured` for one that cannot be opened.
        """
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            wanted = ".".join(map(str, SQLITE_VERSION_MIN))
            raise Misconfigured(f"SQLite {sqlite3.sqlite_version} is too old: Accrue needs {wanted} or newer.")
        migrations = shipped()
        # Opening for writing already changes a file (its journal mode), so it is looked at first.
        check_file(path, migrations, application_id=APPLICATION_ID)
        await check_sound(path)
        book = cls(SqliteThread(path, synchronous=synchronous), SqliteThread(path, read_only=True))
        try:
            await book._writer.open()
            await book._writer.run(lambda c: migrate(c, migrations, application_id=APPLICATION_ID))
            await book._writer.run(_set_up_writer)
            await book._reader.open()
            await book._reader.run(_set_up_reader)
        except BaseException:
            await book.close()
            raise
        return book

    async def checkpoint(self, partition: int) -> Checkpoint | None:
        return await self._reader.run(lambda c: sqlite_settle.find_checkpoint(c, partition))

    async def found(self, *, partitions: int, log_identity: str, created_us: int) -> None:
        await self._writer.run(
            lambda c: sqlite_owning.found(c, partitions=partitions, log_identity=log_identity, created_us=created_us)
        )

    async def deployment(self) -> tuple[int, str] | None:
        return await self._reader.run(sqlite_owning.deployment)

    async def owners(self) -> list[Owned]:
        return await self._reader.run(sqlite_owning.owners)

    async def claim(
        self,
        partition: int,
        *,
        owner: str,
        log_identity: str,
        address: str = "",
        seen: tuple[int, int] | None = None,
    ) -> Checkpoint:
        claim = partial(sqlite_settle.claim, owner=owner, log_identity=log_identity, address=address, seen=seen)
        return await self._writer.run(lambda c: claim(c, partition))

    async def beat(self, partition: int, *, epoch: int) -> None:
        await self._writer.run(lambda c: sqlite_owning.beat(c, partition, epoch))

    async def release(self, partition: int, *, epoch: int) -> None:
        await self._writer.run(lambda c: sqlite_owning.release(c, partition, epoch))

    async def attend(self, name: str, *, room: int, is_wary: bool) -> None:
        await self._writer.run(lambda c: sqlite_owning.attend(c, name, room=room, is_wary=is_wary))

    async def attending(self) -> list[Attending]:
        return await self._reader.run(sqlite_owning.attending)

    async def depart(self, name: str) -> None:
        await self._writer.run(lambda c: sqlite_owning.depart(c, name))

    async def settle(self, settlement: Settlement) -> Written:
        try:
            return await self._writer.run(lambda c: sqlite_settle.settle(c, settlement))
        except Misconfigured as error:  # locked or made read-only while running: that may pass
            raise Unavailable(error.detail) from error

    async def load(self, tenant: str, subjects: Collection[str], periods: Collection[str]) -> Cells:
        return await self._reader.run(lambda c: _load(c, tenant, subjects, periods))

    async def applied(self, tenant: str, event_ids: Collection[str]) -> list[AppliedRow]:
        return await self._rows("applied_of", _APPLIED, {"tenant": tenant, "event_ids": _array(event_ids)})

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        """The awards a holder has, by time and then by sequence."""
        return await self._rows("holdings", _AWARDS, {"tenant": tenant, "holder": holder})

    async def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        key: dict[str, str | int] = {"tenant": tenant, "metric": metric, "period": period, "subject": ""}
        while batch := await self._rows("tallies_after", _TALLIES, {**key, "rows": ROWS_PER_BATCH}):
            yield batch
            key["subject"] = batch[-1].subject

    async def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        key: dict[str, str | int] = {"tenant": tenant, "sequence": -1, "subject": "", "badge": "", "level": ""}
        while batch := await self._rows("awards_after", _AWARDS, {**key, "rows": ROWS_PER_BATCH}):
            yield batch
            last = batch[-1]
            key |= {"sequence": last.sequence, "subject": last.subject}
            key |= {"badge": last.badge, "level": last.level}

    async def results(self, tenant: str, board: str, period: str, *, after: int, rows: int) -> list[ResultRow]:
        where: Parameters = {"tenant": tenant, "board": board, "period": period, "place": after, "rows": rows}
        return await self._rows("results_after", _RESULTS, where)

    async def results_count(self, tenant: str, board: str, period: str) -> int:
        found = await self._row("results_count", {"tenant": tenant, "board": board, "period": period})
        return msgspec.convert(found[0], int) if found else 0

    async def results_of(self, tenant: str, board: str, period: str, subjects: Collection[str]) -> list[ResultRow]:
        asked = {"tenant": tenant, "board": board, "period": period, "subjects": _array(subjects)}
        return await self._rows("results_of", _RESULTS, asked)

    async def late(
        self, tenant: str, period: str, metrics: Collection[str], *, subjects: Collection[str] | None, rows: int
    ) -> list[TallyRow]:
        some = "null" if subjects is None else _array(subjects)
        where = {"tenant": tenant, "period": period, "metrics": _array(metrics), "subjects": some}
        return await self._rows("late", _TALLIES, {**where, "rows": rows})

    async def failed(self, tenant: str, *, after: int, rows: int, type: str = "") -> list[FailedRow]:
        return await self._rows("failed_after", _FAILED, {"tenant": tenant, "after": after, "rows": rows, "type": type})

    async def conflicts(self, tenant: str, *, after: int, rows: int) -> list[ConflictRow]:
        return await self._rows("conflicts_after", _CONFLICTS, {"tenant": tenant, "after": after, "rows": rows})

    async def programs(self, tenant: str) -> list[ProgramRow]:
        return await self._rows("programs_of", _PROGRAMS, {"tenant": tenant})

    async def versions(self) -> dict[str, int]:
        return await self._reader.run(lambda c: dict(c.execute(_SQL["versions"]).fetchall()))

    async def start(self, partition: int) -> Start:
        return Start(
            programs=await self._rows("programs", _PROGRAMS, {"partition": partition}),
            periods=await self._rows("periods", _PERIODS, {"partition": partition}),
            failed=await self._rows("failed_counts", _FAILED_COUNTS, {"partition": partition}),
            awaited=await self._rows("awaited", _APPLIED, {"partition": partition}),
            repeats=self._repeats(partition),
        )

    async def segments(self, partition: int) -> AsyncIterator[Segment]:
        first = -1
        while row := await self._row("segment_after", {"partition": partition, "first": first}):
            segment = msgspec.convert(row, Segment)
            yield segment
            first = segment.first

    async def segments_before(self, partition: int, position: int) -> AsyncIterator[Segment]:
        while row := await self._row("segment_before", {"partition": partition, "position": position}):
            segment = msgspec.convert(row, Segment)
            yield segment
            position = segment.first - 1

    async def close(self) -> None:
        """The writer goes last: the last connection of a file folds the WAL back into it."""
        await self._reader.close()
        await self._writer.close()

    async def _repeats(self, partition: int) -> AsyncIterator[RepeatRun]:
        key: dict[str, str | int] = {"partition": partition, "index_name": "", "bucket": 0, "run": 0}
        while row := await self._row("repeat_after", key):
            run = msgspec.convert(row, RepeatRun)
            yield run
            key |= {"index_name": run.index, "bucket": run.bucket, "run": run.run}

    async def _rows(self, query: str, decoder: msgspec.json.Decoder[list[Row]], parameters: Parameters) -> list[Row]:
        return await self._reader.run(lambda c: _decoded(c, query, decoder, parameters))

    async def _row(self, query: str, parameters: Parameters) -> tuple[object, ...] | None:
        return await self._reader.run(lambda c: c.execute(_SQL[query], parameters).fetchone())


_SQL = load_queries("read.sql")

_TALLIES = msgspec.json.Decoder(list[TallyRow])
_AWARDS = msgspec.json.Decoder(list[AwardRow])
_STREAKS = msgspec.json.Decoder(list[StreakRow])
_ATTRIBUTES = msgspec.json.Decoder(list[AttributeRow])
_APPLIED = msgspec.json.Decoder(list[AppliedRow])
_PROGRAMS = msgspec.json.Decoder(list[ProgramRow])
_PERIODS = msgspec.json.Decoder(list[PeriodRow])
_RESULTS = msgspec.json.Decoder(list[ResultRow])
_FAILED = msgspec.json.Decoder(list[FailedRow])
_FAILED_COUNTS = msgspec.json.Decoder(list[FailedCount])
_CONFLICTS = msgspec.json.Decoder(list[ConflictRow])


def _array(texts: Collection[str]) -> str:
    """As a parameter that a query unpacks, each once."""
    return msgspec.json.encode(list(dict.fromkeys(texts))).decode()


def _set_up_writer(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_BYTES_KEPT}")
    sqlite_settle.prepare(connection)


def _set_up_reader(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")


def _load(connection: sqlite3.Connection, tenant: str, subjects: Collection[str], periods: Collection[str]) -> Cells:
    """Four queries, one a table, on one snapshot of the book."""
    asked = list(dict.fromkeys(subjects))
    chunks = [asked[start : start + SUBJECTS_PER_CHUNK] for start in range(0, len(asked), SUBJECTS_PER_CHUNK)]
    named = {"tenant": tenant, "chunks": msgspec.json.encode(chunks).decode()}
    periods_text = msgspec.json.encode(list(periods)).decode()
    connection.execute("BEGIN")
    cells = Cells(
        tallies=_decoded(connection, "load_tallies", _TALLIES, {**named, "periods": periods_text}),
        awards=_decoded(connection, "load_awards", _AWARDS, named),
        streaks=_decoded(connection, "load_streaks", _STREAKS, named),
        attributes=_decoded(connection, "load_attributes", _ATTRIBUTES, named),
    )
    connection.execute("COMMIT")
    return cells


def _decoded(
    connection: sqlite3.Connection,
    query: str,
    decoder: msgspec.json.Decoder[list[Row]],
    parameters: Parameters,
) -> list[Row]:
    """All rows of a query whose values are JSON arrays of rows."""
    rows: list[Row] = []
    for (value,) in connection.execute(_SQL[query], parameters):
        rows += decoder.decode(value)
    return rows
