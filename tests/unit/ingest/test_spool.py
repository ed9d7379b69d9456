"""The spool's file: what is in it stays in it, in order, within its bounds, and only the right one is opened."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from accrue.core.record import decode
from accrue.errors import AccrueError, Corrupt, Full, InUse, NotFound, Unavailable
from accrue.ingest.parked import discard, parked, parked_record
from accrue.ingest.spool import (
    CHUNK_RECORDS_MAX,
    CHUNK_SIZE_BYTES_MAX,
    INSERT,
    KIND,
    RECORD_OVERHEAD_BYTES,
    Spool,
    SpoolLimits,
    ToPark,
)
from unit.ingest.unsteady import LOG, record

NOW_US = 1_700_000_000_000_000


async def opened(path: Path, **limits: int) -> Spool:
    return await Spool.open(path, log_identity=LOG, limits=SpoolLimits(**limits))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


async def contents(spool: Spool, partition: int) -> list[bytes]:
    found: list[bytes] = []
    number = 0
    while some := await spool.after(partition, number):
        found += [each.record for each in some]
        number = some[-1].number
    return found


async def test_what_was_added_is_there_in_order_when_the_file_is_opened_again(path: Path) -> None:
    sent = {partition: [b"%d-%d" % (partition, number) for number in range(100)] for partition in (0, 3)}
    spool = await opened(path)
    for pair in zip(*sent.values(), strict=True):
        for partition, each in zip(sent, pair, strict=True):
            await spool.add(partition, each)
    await spool.close()

    spool = await opened(path)

    assert {partition: await contents(spool, partition) for partition in sent} == sent
    assert spool.fill.waiting == {0: 100, 3: 100}
    assert spool.fill.size_bytes == sum(len(each) + RECORD_OVERHEAD_BYTES for some in sent.values() for each in some)
    await spool.close()


async def test_a_chunk_is_bounded_and_has_at_least_one_record(path: Path) -> None:
    spool = await opened(path)
    size_bytes_max = CHUNK_SIZE_BYTES_MAX
    for size_bytes in (size_bytes_max + 1, size_bytes_max - 1, 1, 1):
        await spool.add(0, b"x" * size_bytes)
    many = [(1, b"x")] * (CHUNK_RECORDS_MAX + 1)
    await spool._thread.run(lambda connection: connection.executemany(INSERT, many))

    assert [each.number for each in await spool.after(0, 0)] == [1]
    assert [each.number for each in await spool.after(0, 1)] == [2, 3]
    assert len(await spool.after(1, 0)) == CHUNK_RECORDS_MAX
    await spool.close()


async def test_what_is_removed_is_gone_and_the_rest_stays(path: Path) -> None:
    spool = await opened(path)
    for number in range(6):
        await spool.add(number % 2, b"%d" % number)

    for _ in range(2):
        await spool.remove(0, up_to=3, park=[], now_us=NOW_US)

    assert await contents(spool, 0) == [b"4"]
    assert await contents(spool, 1) == [b"1", b"3", b"5"]
    assert spool.fill.waiting == {0: 1, 1: 3}
    assert spool.fill.size_bytes == 4 * (1 + RECORD_OVERHEAD_BYTES)
    await spool.close()


async def test_numbers_grow_also_after_the_spool_was_empty(path: Path) -> None:
    spool = await opened(path)
    await spool.add(0, b"1")
    await spool.remove(0, up_to=1, park=[], now_us=NOW_US)

    await spool.add(0, b"2")

    assert [each.number for each in await spool.after(0, 1)] == [2]
    await spool.close()


# Bounds


async def test_past_its_records_it_takes_nothing_until_some_are_gone(path: Path) -> None:
    spool = await opened(path, records_max=2)
    await spool.add(0, b"1")
    await spool.add(1, b"2")

    with pytest.raises(Unavailable, match="holds all it may") as refused:
        await spool.add(0, b"3")

    assert not isinstance(refused.value, Full)
    assert refused.value.retry_after_s >= 1
    await spool.remove(1, up_to=2, park=[], now_us=NOW_US)
    await spool.add(0, b"4")
    assert await contents(spool, 0) == [b"1", b"4"]
    await spool.close()


async def test_past_its_bytes_it_takes_only_what_still_fits(path: Path) -> None:
    spool = await opened(path, size_bytes_max=1_000)
    await spool.add(0, b"x" * 800)

    with pytest.raises(Unavailable, match="holds all it may"):
        await spool.add(0, b"x" * 200)

    await spool.add(0, b"x" * 70)
    await spool.close()


async def test_what_is_parked_counts_in_the_bounds_also_after_a_restart(path: Path) -> None:
    spool = await opened(path, records_max=1)
    await spool.add(0, record(1, time_us=NOW_US))
    await spool.remove(0, up_to=1, park=[ToPark(1, "old")], now_us=NOW_US)

    for _ in range(2):
        assert (spool.fill.waiting.get(0, 0), spool.fill.parked_records) == (0, 1)
        with pytest.raises(Unavailable, match="1 records are parked"):
            await spool.add(0, b"2")
        await spool.close()
        spool = await opened(path, records_max=1)
    await spool.close()


async def test_a_full_disk_takes_nothing_and_says_so(path: Path) -> None:
    spool = await opened(path)
    await spool.add(0, b"before")
    await spool._thread.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))

    with pytest.raises(Full):
        await spool.add(0, b"x" * 100_000)

    await spool._thread.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
    await spool.add(0, b"after")
    assert await contents(spool, 0) == [b"before", b"after"]
    await spool.remove(0, up_to=1, park=[], now_us=NOW_US)
    assert spool.fill.waiting == {0: 1}
    await spool.close()


# Parking


async def test_what_is_parked_is_kept_apart_listed_and_given_up_only_by_name(path: Path) -> None:
    spool = await opened(path)
    for number in (1, 2, 3):
        await spool.add(5, record(number, time_us=NOW_US + number, events=number))

    await spool.remove(5, up_to=3, park=[ToPark(1, "old"), ToPark(3, "large")], now_us=NOW_US + 9)

    assert await contents(spool, 5) == []
    assert (spool.fill.parked_records, spool.fill.parked_events) == (2, 4)
    first, second = await parked(path)  # while the gateway has the file
    assert (first.number, first.partition, first.events, first.reason) == (1, 5, 1, "old")
    assert (second.log_time_us, second.parked_us, second.events, second.reason) == (NOW_US + 3, NOW_US + 9, 3, "large")
    assert await parked(path, after=1) == [second]
    assert await parked(path, limit=1) == [first]
    assert await parked_record(path, 2) == decode(record(3, time_us=NOW_US + 3, events=3))
    assert await discard(path, [1, 7]) == 1
    assert await parked(path) == [second]
    with pytest.raises(NotFound):
        await parked_record(path, 1)
    await spool.close()


async def test_where_no_spool_is_nothing_is_parked(path: Path) -> None:
    assert await parked(path) == []
    assert not path.exists()


# Opening


async def test_a_second_gateway_on_the_same_file_is_refused(path: Path) -> None:
    spool = await opened(path)

    with pytest.raises(InUse, match="in use by process"):
        await opened(path)

    await spool.add(0, b"the first one goes on")
    await spool.close()
    await (await opened(path)).close()


def no_sqlite(path: Path) -> None:
    path.write_bytes(b"x" * 4096)


def of_something_else(path: Path) -> None:
    sqlite(path, "PRAGMA application_id = 7")


def of_a_newer_version(path: Path) -> None:
    sqlite(path, f"PRAGMA application_id = {KIND.application_id}", f"PRAGMA user_version = {KIND.format + 1}")


def sqlite(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("CREATE TABLE IF NOT EXISTS other (id INTEGER)", *statements):
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_sqlite, "not even a SQLite file"),
        (of_something_else, "of something else"),
        (of_a_newer_version, "newer version"),
    ],
)
async def test_what_is_not_our_spool_is_refused_and_stays(path: Path, make: Callable[[Path], None], said: str) -> None:
    make(path)
    before = path.read_bytes()

    with pytest.raises(AccrueError, match=said) as refused:
        await opened(path)

    assert isinstance(refused.value, Corrupt)
    assert path.read_bytes() == before


async def test_the_spool_of_another_deployment_is_refused_and_keeps_what_it_has(path: Path) -> None:
    other = await Spool.open(path, log_identity="another log")
    await other.add(0, b"theirs")
    await other.close()

    with pytest.raises(Corrupt, match="another log"):
        await opened(path)

    other = await Spool.open(path, log_identity="another log")
    assert await contents(other, 0) == [b"theirs"]
    await other.close()


async def test_a_spool_that_does_not_say_of_which_log_it_is_is_refused(path: Path) -> None:
    sqlite(path, f"PRAGMA application_id = {KIND.application_id}", f"PRAGMA user_version = {KIND.format}")
    sqlite(path, "CREATE TABLE meta (log_identity TEXT NOT NULL)")

    with pytest.raises(Corrupt, match="another log"):
        await opened(path)


async def test_a_damaged_spool_is_refused(path: Path) -> None:
    spool = await opened(path)
    for number in range(200):
        await spool.add(0, b"%d" % number * 100)
    await spool.close()
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)

    with pytest.raises(Corrupt, match="damaged"):
        await opened(path)


async def test_what_a_start_that_was_cut_off_left_is_no_hindrance(path: Path) -> None:
    spool = await opened(path)
    await spool.close()
    shutil.copy(path, f"{path}.new")
    path.unlink()

    spool = await opened(path)

    await spool.add(0, b"goes on")
    await spool.close()
