"""What only a log in a file can get wrong: foreign files, faults of the disk, and a file that grows."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from accrue.connect import sqlite as connect
from accrue.connect.sqlite import SqliteThread
from accrue.errors import Corrupt, Full, Misconfigured, Unavailable
from accrue.log import sqlite as module
from accrue.log.sqlite import SqliteLog
from accrue.log.sqlite_file import APPLICATION_ID, FORMAT

Result = TypeVar("Result")

ROOM = 64 << 20
WAIT_S_MAX = 10
"""Only so that a reader that is never woken fails its test instead of hanging it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[SqliteLog]:
    opened = await open_log(path)
    yield opened
    await opened.close()


async def open_log(path: Path, *, tail_size_bytes_max: int = module.TAIL_SIZE_BYTES_MAX) -> SqliteLog:
    log = SqliteLog(path, create_identity="mine", tail_size_bytes_max=tail_size_bytes_max)
    await log.open()
    return log


async def open_and_read(path: Path) -> list[tuple[int, bytes]]:
    log = await open_log(path)
    try:
        return await log.read(0, after=0, size_bytes_max=ROOM)
    finally:
        await log.close()


def sqlite_file(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("CREATE TABLE notes (text)", *statements):
            connection.execute(statement)


def foreign_text(path: Path) -> None:
    path.write_text("Dear diary, " * 40)


def foreign_short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def foreign_database(path: Path) -> None:
    sqlite_file(path)


def newer_format(path: Path) -> None:
    sqlite_file(path, f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {FORMAT + 1}")


def no_format(path: Path) -> None:
    sqlite_file(path, f"PRAGMA application_id = {APPLICATION_ID}")


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (foreign_text, "not even a SQLite file"),
        (foreign_short, "not even a SQLite file"),
        (foreign_database, "something else"),
        (newer_format, "newer version"),
        (no_format, "no version"),
    ],
)
async def test_a_file_that_is_not_a_log_of_this_version_is_refused_and_not_touched(
    path: Path, put: Callable[[Path], None], says: str
) -> None:
    put(path)
    before = path.read_bytes()

    with pytest.raises(Corrupt, match=says):
        await open_log(path)

    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["log.db"]


async def test_the_last_records_of_a_log_that_is_gone_are_not_given_to_a_new_one(path: Path) -> None:
    orphan = Path(f"{path}-wal")
    orphan.write_bytes(b"records of a log that is gone")

    with pytest.raises(Corrupt, match=r"log\.db-wal"):
        await open_log(path)

    assert orphan.read_bytes() == b"records of a log that is gone"
    assert not path.exists()


async def test_a_crash_while_the_file_was_created_does_not_matter(path: Path) -> None:
    for leftover in (f"{path}.new", f"{path}.new-wal"):
        Path(leftover).write_bytes(b"half a file")

    log = await open_log(path)

    assert await log.append(0, b"first") == 1
    await log.close()
    assert [each.name for each in path.parent.iterdir()] == ["log.db"]


async def test_a_folder_that_is_missing_is_the_operators_business(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        await open_log(tmp_path / "missing" / "log.db")
    with pytest.raises(Misconfigured):
        await open_log(tmp_path)


async def test_a_person_can_query_the_file(path: Path, log: SqliteLog) -> None:
    await log.append(2, b"first")
    await log.append(2, b"second")
    await log.trim(2, up_to=1)

    with closing(sqlite3.connect(path)) as person:
        assert person.execute("SELECT partition, position, record FROM records").fetchall() == [(2, 2, b"second")]
        assert person.execute("SELECT partition, trimmed FROM partitions").fetchall() == [(2, 1)]


async def test_a_reader_close_behind_gets_the_very_bytes_that_were_appended(log: SqliteLog) -> None:
    record = b"x" * 1_000
    await log.append(0, record)

    [(_, found)] = await log.read(0, after=0, size_bytes_max=ROOM)

    assert found is record


async def test_a_tail_that_forgets_still_leaves_every_record_to_be_read(path: Path) -> None:
    log = await open_log(path, tail_size_bytes_max=5_000)
    sent = [b"%d" % number * 500 for number in range(30)]
    for record in sent:
        await log.append(0, record)

    found = await log.read(0, after=0, size_bytes_max=ROOM)
    newest = await log.read(0, after=29, size_bytes_max=ROOM)

    assert [record for _, record in found] == sent
    assert newest[0][1] is sent[29]
    await log.close()


async def test_a_log_without_its_identity_is_refused(path: Path) -> None:
    log = await open_log(path)
    await log.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as vandal:
        vandal.execute("DELETE FROM meta")

    with pytest.raises(Corrupt, match="identity"):
        await open_log(path)


async def test_records_lost_from_the_middle_of_the_file_are_noticed(path: Path) -> None:
    log = await open_log(path)
    for _ in range(5):
        await log.append(0, b"record")
    await log.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as vandal:
        vandal.execute("DELETE FROM records WHERE position = 3")

    log = await open_log(path)

    with pytest.raises(Corrupt, match="lacks records"):
        await log.read(0, after=0, size_bytes_max=ROOM)
    with pytest.raises(Corrupt, match="lacks records"):
        await log.read(0, after=2, size_bytes_max=1)
    await log.close()


@pytest.mark.parametrize("half", ["cut off", "overwritten"])
async def test_a_damaged_file_is_noticed_before_anything_of_it_is_used(path: Path, half: str) -> None:
    log = await open_log(path)
    for _ in range(50):
        await log.append(0, b"record" * 1_000)
    await log.close()
    whole = path.read_bytes()
    filling = b"\xff" * (len(whole) // 2) if half == "overwritten" else b""
    path.write_bytes(whole[: len(whole) // 2] + filling)

    with pytest.raises(Corrupt):
        await open_and_read(path)


# Faults of the disk. A limit on the size of files makes real writes fail with a real error.


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def wal_size_bytes(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


async def test_a_record_whose_write_failed_is_not_in_the_log_and_the_log_goes_on(path: Path, log: SqliteLog) -> None:
    await log.append(0, b"before")

    with files_limited_to(wal_size_bytes(path) + 50_000):
        with pytest.raises(Unavailable, match="disk I/O error"):
            await log.append(0, b"x" * 200_000)
        assert await log.append(0, b"small enough") == 2

    assert await log.append(0, b"x" * 200_000) == 3
    await log.close()
    again = await open_log(path)
    assert [record[:12] for _, record in await again.read(0, after=0, size_bytes_max=ROOM)] == [
        b"before",
        b"small enough",
        b"x" * 12,
    ]
    await again.close()


async def test_a_disk_on_which_nothing_can_be_known_closes_the_log(path: Path, log: SqliteLog) -> None:
    await log.append(0, b"before")
    reader = asyncio.ensure_future(log.read(0, after=1, size_bytes_max=ROOM))
    await asyncio.sleep(0)

    with files_limited_to(wal_size_bytes(path)), pytest.raises(Unavailable, match="closed itself"):
        await log.append(0, b"lost")

    async with asyncio.timeout(WAIT_S_MAX):
        with pytest.raises(Unavailable):
            await reader
    with pytest.raises(Unavailable, match="is closed"):
        await log.append(0, b"after")
    again = await open_log(path)
    assert await again.read(0, after=0, size_bytes_max=ROOM) == [(1, b"before")]
    assert await again.append(0, b"after") == 2
    await again.close()


async def test_a_reader_that_comes_by_while_a_full_disk_is_looked_into_does_not_close_the_log(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows nothing of the failed append, and would commit a change to find out: on a disk that is full."""
    await log.append(0, b"before")
    readers: list[asyncio.Task[int]] = []
    real_run = SqliteThread.run
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    async def run_on_a_full_disk(self: SqliteThread, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def in_vain(connection: sqlite3.Connection) -> Result:
            changes = connection.total_changes
            connection.execute("BEGIN")
            result = work(connection)
            if connection.total_changes != changes:
                raise full
            connection.execute("COMMIT")
            return result

        try:
            return await real_run(self, in_vain)
        finally:
            if not readers:  # comes by when the append has failed, and what became of it is not known yet
                readers.append(asyncio.ensure_future(log.end(0)))

    monkeypatch.setattr(SqliteThread, "run", run_on_a_full_disk)
    with pytest.raises(Full):
        await log.append(0, b"no room")
    monkeypatch.undo()

    assert await readers[0] == 1
    assert await log.append(0, b"after") == 2


async def test_a_record_that_was_stored_although_an_error_came_is_acknowledged(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(0, b"before")
    really_run = SqliteThread.run

    async def run_and_lose_the_answer(self: SqliteThread, work: Callable[[sqlite3.Connection], Result]) -> Result:
        monkeypatch.setattr(SqliteThread, "run", really_run)
        await really_run(self, work)
        raise Unavailable("The answer was lost.")

    monkeypatch.setattr(SqliteThread, "run", run_and_lose_the_answer)

    assert await log.append(0, b"stored") == 2
    assert await log.append(0, b"next") == 3
    assert await log.read(0, after=0, size_bytes_max=ROOM) == [
        (1, b"before"),
        (2, b"stored"),
        (3, b"next"),
    ]


async def test_a_file_that_somebody_else_locks_is_a_fault_that_passes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "BUSY_WAIT_MS_MAX", 0)
    log = await open_log(path)
    await log.append(0, b"before")
    with closing(sqlite3.connect(path, isolation_level=None)) as person:
        person.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await log.append(0, b"refused")
        with pytest.raises(Unavailable, match="locked"):
            await log.trim(0, up_to=1)

    assert await log.append(0, b"accepted") == 2
    assert len(await log.read(0, after=0, size_bytes_max=ROOM)) == 2
    await log.close()


# Size


async def test_the_write_ahead_log_starts_over_even_when_it_never_does_by_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_PAGES", 1 << 30)
    monkeypatch.setattr(module, "WAL_SIZE_BYTES_MAX", 1 << 20)
    log = await open_log(path)

    for _ in range(100):
        await log.append(0, b"x" * 100_000)

    assert wal_size_bytes(path) < 2 << 20
    await log.close()


async def test_a_program_that_keeps_a_read_open_makes_the_log_grow_but_does_not_stop_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAL_SIZE_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(module, "WAL_SIZE_BYTES_KEPT", 1 << 20)
    monkeypatch.setattr(module, "WAL_WAIT_MS_MAX", 0)
    log = await open_log(path)
    await log.append(0, b"before")
    with closing(sqlite3.connect(path, isolation_level=None)) as person:
        person.execute("BEGIN")
        person.execute("SELECT count(*) FROM records").fetchone()
        for _ in range(40):
            position = await log.append(0, b"x" * 100_000)
        assert position == 41
        assert wal_size_bytes(path) > 3 << 20

    for _ in range(40):
        await log.append(0, b"x" * 100_000)
    assert wal_size_bytes(path) < 2 << 20
    await log.close()


async def test_room_freed_by_a_trim_is_used_again(path: Path, log: SqliteLog) -> None:
    async def fill() -> int:
        for _ in range(50):
            position = await log.append(0, b"x" * 20_000)
        await log.trim(0, up_to=position)
        return position

    await fill()
    size_bytes = path.stat().st_size
    for _ in range(5):
        await fill()

    assert path.stat().st_size < 2 * size_bytes + 2_000_000
