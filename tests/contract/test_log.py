"""What every log promises, asked of every log. A new backend is one more row in BACKENDS."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from accrue.errors import Corrupt, Full, Unavailable
from accrue.log.base import Log
from accrue.log.memory import MemoryLog
from accrue.log.sqlite import SqliteLog

ROOM = 1 << 20
WAIT_S_MAX = 10
"""Only so that a reader that is never woken fails its test instead of hanging it."""


class Backend(NamedTuple):
    """`open(folder, size_bytes_max)` opens the log of a folder. `outlives` says that it can be opened again."""

    name: str
    open: Callable[[Path, int | None], Awaitable[Log]]
    durability: str
    outlives: bool


async def open_memory(folder: Path, size_bytes_max: int | None) -> Log:
    return MemoryLog(identity="first", size_bytes_max=size_bytes_max or 1 << 30)


async def open_sqlite(folder: Path, size_bytes_max: int | None) -> Log:
    identity = "again" if (folder / "log.db").exists() else "first"
    log = SqliteLog(folder / "log.db", create_identity=identity, size_bytes_max=size_bytes_max)
    await log.open()
    return log


async def open_sqlite_without_tail(folder: Path, size_bytes_max: int | None) -> Log:
    """Every read is a read of the file."""
    path = folder / "log.db"
    log = SqliteLog(path, create_identity="first", size_bytes_max=size_bytes_max, tail_size_bytes_max=0)
    await log.open()
    return log


BACKENDS = [
    Backend("memory", open_memory, "memory", outlives=False),
    Backend("sqlite", open_sqlite, "disk", outlives=True),
    Backend("sqlite-file-only", open_sqlite_without_tail, "disk", outlives=True),
]

each_that_outlives = pytest.mark.parametrize(
    "backend", [row for row in BACKENDS if row.outlives], ids=lambda row: row.name
)


@pytest.fixture(params=BACKENDS, ids=lambda row: row.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    row: Backend = request.param
    return row


@pytest.fixture
async def log(backend: Backend, tmp_path: Path) -> AsyncIterator[Log]:
    opened = await backend.open(tmp_path, None)
    yield opened
    await opened.close()


async def read_all(log: Log, partition: int = 0, *, after: int = 0) -> list[tuple[int, bytes]]:
    """Everything after a position, in as many reads as it takes."""
    found: list[tuple[int, bytes]] = []
    while after < await log.end(partition):
        found += await log.read(partition, after=after, size_bytes_max=ROOM)
        after = found[-1][0]
    return found


async def fill(log: Log) -> int:
    """Append until the log refuses as `Full`. Returns how many it took."""
    for taken in range(1_000):
        try:
            await log.append(0, b"x" * 10_000)
        except Full:
            return taken
    raise AssertionError("The log never was full.")


# Appending and reading


async def test_records_come_back_in_order_and_byte_for_byte(log: Log) -> None:
    sent = [b"one", b"", b"\x00\xff\n", b"x" * 100_000]

    positions = [await log.append(0, record) for record in sent]

    assert positions == [1, 2, 3, 4]
    assert await log.read(0, after=0, size_bytes_max=ROOM) == list(zip(positions, sent, strict=True))
    assert await log.read(0, after=2, size_bytes_max=ROOM) == [(3, sent[2]), (4, sent[3])]


async def test_each_partition_counts_for_itself(log: Log) -> None:
    positions = [await log.append(partition, b"%d" % partition) for partition in (0, 1, 0, 7, 1)]

    assert positions == [1, 1, 2, 1, 2]
    assert await log.read(1, after=0, size_bytes_max=ROOM) == [(1, b"1"), (2, b"1")]
    assert await log.read(7, after=0, size_bytes_max=ROOM) == [(1, b"7")]
    assert [await log.end(partition) for partition in (0, 1, 2, 7)] == [2, 2, 0, 1]


async def test_a_read_returns_as_many_records_as_fit(log: Log) -> None:
    for record in (b"aaaa", b"bbb", b"ccc", b"d"):
        await log.append(0, record)

    assert [p for p, _ in await log.read(0, after=0, size_bytes_max=10)] == [1, 2, 3]
    assert [p for p, _ in await log.read(0, after=0, size_bytes_max=9)] == [1, 2]
    assert [p for p, _ in await log.read(0, after=1, size_bytes_max=7)] == [2, 3, 4]


async def test_a_read_returns_one_record_even_when_it_does_not_fit(log: Log) -> None:
    await log.append(0, b"large")
    await log.append(0, b"next")

    assert await log.read(0, after=0, size_bytes_max=1) == [(1, b"large")]


async def test_a_reader_far_behind_finds_everything(log: Log) -> None:
    sent = [b"%d" % number * 5_000 for number in range(200)]
    for record in sent:
        await log.append(0, record)

    assert [record for _, record in await read_all(log)] == sent


async def test_a_log_says_what_its_acknowledgement_means(backend: Backend, log: Log) -> None:
    assert log.durability == backend.durability
    assert log.identity == "first"


# Waiting


async def test_a_waiting_reader_is_woken_by_an_append(log: Log) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        found, position = await asyncio.gather(log.read(0, after=0, size_bytes_max=ROOM), log.append(0, b"news"))

    assert found == [(position, b"news")]


async def test_every_waiting_reader_gets_the_records_of_its_own_partition(log: Log) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        first, second, other, *_ = await asyncio.gather(
            log.read(0, after=0, size_bytes_max=ROOM),
            log.read(0, after=0, size_bytes_max=ROOM),
            log.read(1, after=0, size_bytes_max=ROOM),
            log.append(0, b"zero"),
            log.append(1, b"one"),
        )

    assert first == second == [(1, b"zero")]
    assert other == [(1, b"one")]


async def test_a_reader_that_gives_up_disturbs_nobody(log: Log) -> None:
    impatient = asyncio.ensure_future(log.read(0, after=0, size_bytes_max=ROOM))
    patient = asyncio.ensure_future(log.read(0, after=0, size_bytes_max=ROOM))
    await asyncio.sleep(0)
    impatient.cancel()

    await log.append(0, b"news")

    async with asyncio.timeout(WAIT_S_MAX):
        assert await patient == [(1, b"news")]
    assert impatient.cancelled()


async def test_a_waiting_reader_is_woken_when_the_log_closes(log: Log) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        outcome, _ = await asyncio.gather(
            log.read(0, after=0, size_bytes_max=ROOM), log.close(), return_exceptions=True
        )

    assert isinstance(outcome, Unavailable)


async def test_a_closed_log_answers_unavailable_and_may_be_closed_again(log: Log) -> None:
    await log.append(0, b"before")
    await log.close()
    await log.close()

    for attempt in (
        log.append(0, b"after"),
        log.read(0, after=0, size_bytes_max=ROOM),
        log.trim(0, up_to=1),
        log.end(0),
    ):
        with pytest.raises(Unavailable):
            await attempt


# Positions that cannot be right


async def test_reading_past_the_end_is_refused(log: Log) -> None:
    await log.append(0, b"only")

    async with asyncio.timeout(WAIT_S_MAX):
        with pytest.raises(Corrupt, match="older log"):
            await log.read(0, after=2, size_bytes_max=ROOM)


async def test_reading_what_was_trimmed_is_refused(log: Log) -> None:
    for number in range(5):
        await log.append(0, b"%d" % number)
    await log.trim(0, up_to=3)

    with pytest.raises(Corrupt, match="begins after position 3"):
        await log.read(0, after=2, size_bytes_max=ROOM)
    assert await log.read(0, after=3, size_bytes_max=ROOM) == [(4, b"3"), (5, b"4")]


# Trimming


async def test_positions_go_on_after_a_trim_to_empty(log: Log) -> None:
    for _ in range(3):
        await log.append(0, b"old")

    await log.trim(0, up_to=3)

    assert await log.end(0) == 3
    assert await log.append(0, b"new") == 4
    assert await log.read(0, after=3, size_bytes_max=ROOM) == [(4, b"new")]


async def test_a_trim_may_be_repeated_reach_back_or_reach_past_the_end(log: Log) -> None:
    for _ in range(4):
        await log.append(0, b"record")

    for up_to in (2, 2, 1, 0):
        await log.trim(0, up_to=up_to)
    assert await log.read(0, after=2, size_bytes_max=ROOM) == [(3, b"record"), (4, b"record")]

    await log.trim(0, up_to=99)
    assert await log.end(0) == 4
    assert await log.append(0, b"next") == 5
    assert await log.read(0, after=4, size_bytes_max=ROOM) == [(5, b"next")]


async def test_a_trim_of_one_partition_leaves_the_others(log: Log) -> None:
    for partition in (0, 1, 2):
        await log.append(partition, b"record")

    await log.trim(1, up_to=1)

    assert await log.read(0, after=0, size_bytes_max=ROOM) == [(1, b"record")]
    assert await log.read(2, after=0, size_bytes_max=ROOM) == [(1, b"record")]


async def test_appends_go_on_during_a_long_trim(log: Log) -> None:
    for _ in range(600):
        await log.append(0, b"x" * 10_000)

    async def append_ten() -> list[int]:
        return [await log.append(0, b"meanwhile") for _ in range(10)]

    _, positions = await asyncio.gather(log.trim(0, up_to=600), append_ten())

    assert positions == list(range(601, 611))
    assert len(await read_all(log, after=600)) == 10


# Faults


async def test_a_full_log_refuses_keeps_what_it_has_and_goes_on_after_a_trim(backend: Backend, tmp_path: Path) -> None:
    log = await backend.open(tmp_path, 200_000)

    kept = await fill(log)

    assert kept == await log.end(0) == len(await read_all(log)) > 5
    assert await fill(log) == 0

    await log.trim(0, up_to=kept)
    assert await log.append(0, b"x" * 10_000) == kept + 1
    assert await log.read(0, after=kept, size_bytes_max=ROOM) == [(kept + 1, b"x" * 10_000)]
    await log.close()


async def test_a_cancelled_append_is_wholly_there_or_not_at_all(log: Log) -> None:
    sent = {b"before"}
    await log.append(0, b"before")
    for number in range(20):
        record = b"%d" % number
        append = asyncio.ensure_future(log.append(0, record))
        for _ in range(number % 3):
            await asyncio.sleep(0)
        append.cancel()
        sent.add(record)
        await asyncio.gather(append, return_exceptions=True)

    position = await log.append(0, b"after")

    records = await read_all(log)
    assert [each for each, _ in records] == list(range(1, position + 1))
    assert records[-1] == (position, b"after")
    bodies = [record for _, record in records[:-1]]
    assert len(bodies) == len(set(bodies))
    assert set(bodies) <= sent


async def test_any_course_of_appends_trims_and_reads_agrees_with_a_plain_list(backend: Backend, tmp_path: Path) -> None:
    chance = random.Random(20_261_121)
    log = await backend.open(tmp_path, None)
    model: list[bytes] = []
    trimmed = 0
    for step in range(400):
        match chance.choices(("append", "read", "trim", "reopen"), (60, 30, 8, 2))[0]:
            case "append":
                model.append(b"%d " % step * chance.randrange(2_000))
                assert await log.append(3, model[-1]) == len(model)
            case "read" if trimmed < len(model):
                after = chance.randrange(trimmed, len(model))
                room = chance.randrange(20_000)
                found = await log.read(3, after=after, size_bytes_max=room)
                expected = list(enumerate(model[after : after + len(found)], after + 1))
                assert found == expected
                size_bytes = sum(len(record) for _, record in found)
                assert len(found) == 1 or size_bytes <= room
                following = model[after + len(found) : after + len(found) + 1]
                assert not following or size_bytes + len(following[0]) > room
            case "trim":
                trimmed = max(trimmed, chance.randrange(len(model) + 1))
                await log.trim(3, up_to=trimmed)
            case "reopen" if backend.outlives:
                await log.close()
                log = await backend.open(tmp_path, None)
        assert await log.end(3) == len(model)
    await log.close()


# Opening again


@each_that_outlives
async def test_a_log_opened_again_has_everything_and_goes_on(backend: Backend, tmp_path: Path) -> None:
    log = await backend.open(tmp_path, None)
    for number in range(10):
        await log.append(number % 2, b"%d" % number)
    await log.trim(0, up_to=2)
    await log.close()

    log = await backend.open(tmp_path, None)

    assert log.identity == "first"
    assert await log.read(0, after=2, size_bytes_max=ROOM) == [(3, b"4"), (4, b"6"), (5, b"8")]
    assert [record for _, record in await read_all(log, 1)] == [b"1", b"3", b"5", b"7", b"9"]
    with pytest.raises(Corrupt):
        await log.read(0, after=1, size_bytes_max=ROOM)
    assert await log.append(0, b"new") == 6
    assert await log.read(0, after=4, size_bytes_max=ROOM) == [(5, b"8"), (6, b"new")]
    await log.close()


@each_that_outlives
async def test_positions_go_on_after_a_trim_to_empty_and_a_restart(backend: Backend, tmp_path: Path) -> None:
    log = await backend.open(tmp_path, None)
    for _ in range(3):
        await log.append(5, b"old")
    await log.trim(5, up_to=3)
    await log.close()

    log = await backend.open(tmp_path, None)

    assert await log.end(5) == 3
    assert await log.append(5, b"new") == 4
    await log.close()


@each_that_outlives
async def test_trims_at_the_same_time_leave_the_furthest(backend: Backend, tmp_path: Path) -> None:
    log = await backend.open(tmp_path, None)
    for _ in range(5):
        await log.append(0, b"old")
    await asyncio.gather(log.trim(0, up_to=5), log.trim(0, up_to=3))
    await log.close()

    log = await backend.open(tmp_path, None)

    assert await log.end(0) == 5
    with pytest.raises(Corrupt):
        await log.read(0, after=4, size_bytes_max=ROOM)
    await log.close()


@each_that_outlives
async def test_an_older_log_put_back_is_refused(backend: Backend, tmp_path: Path) -> None:
    folder, backup = tmp_path / "folder", tmp_path / "backup"
    folder.mkdir()
    log = await backend.open(folder, None)
    await log.append(0, b"saved")
    await log.close()
    shutil.copytree(folder, backup)
    log = await backend.open(folder, None)
    checkpoint = await log.append(0, b"not in the backup")
    await log.close()

    log = await backend.open(backup, None)

    with pytest.raises(Corrupt, match="older log"):
        await log.read(0, after=checkpoint, size_bytes_max=ROOM)
    await log.close()
