"""What a log promises where several processes use it. Each has a log object of its own; they share nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count

import pytest

from accrue.errors import Misconfigured, TooLarge
from accrue.log.base import RETENTION_H_MIN, RETENTION_SIZE_BYTES_MIN, Log, Retention, check_retention
from contract.logs import IDENTITY, PARTITIONS, ROOM, WAIT_S_MAX, Backend, each_that, follow, read_all

Another = Callable[[], Awaitable[Log]]


@pytest.fixture
async def another(backend: Backend, place: str) -> AsyncIterator[Another]:
    """`await another()` is the log as one more process has it open."""
    numbers = count()
    async with AsyncExitStack() as stack:

        async def opened() -> Log:
            log = await backend.open(place, f"identity {next(numbers)}", None)
            stack.push_async_callback(log.close)
            return log

        yield opened


@each_that("shared")
async def test_processes_that_create_a_log_at_the_same_time_agree_on_its_identity(another: Another) -> None:
    logs = await asyncio.gather(*(another() for _ in range(4)))

    later = await another()

    assert len({log.identity for log in (*logs, later)}) == 1
    await logs[0].append(0, b"one log")
    assert await later.end(0) == (await read_all(logs[3]))[-1][0]


@each_that("shared")
async def test_what_two_processes_append_a_third_reads_in_order_and_whole(another: Another) -> None:
    one, two, three = [await another() for _ in range(3)]
    last = asyncio.get_running_loop().create_future()

    async def append_all(log: Log, name: str) -> list[tuple[int, bytes]]:
        records = [f"{name} {number}".encode() for number in range(150)]
        return [(await log.append(0, record), record) for record in records]

    async def read_them() -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        while not last.done() or found[-1][0] < last.result():
            found += await three.read(0, after=found[-1][0] if found else 0, size_bytes_max=2_000)
        return found

    reading = asyncio.ensure_future(read_them())
    first = (await two.append(0, b"ahead"), b"ahead")  # so that they do not count in step
    both = await asyncio.gather(append_all(one, "one"), append_all(two, "two"))
    sent = [first, *both[0], *both[1]]
    last.set_result(max(position for position, _ in sent))
    async with asyncio.timeout(WAIT_S_MAX):
        await one.append(0, b"so that the reader looks once more")
        found = await reading

    assert [pair for pair in found if pair[1] != b"so that the reader looks once more"] == sorted(sent)


@each_that("shared")
async def test_a_waiting_reader_is_woken_by_an_append_of_another_process(another: Another) -> None:
    here, there = await another(), await another()
    waiting = asyncio.ensure_future(here.read(2, after=0, size_bytes_max=ROOM))
    await asyncio.sleep(0)

    position = await there.append(2, b"news")

    async with asyncio.timeout(WAIT_S_MAX):
        assert await waiting == [(position, b"news")]


@each_that("shared")
async def test_a_process_that_reads_and_appends_misses_nothing_of_another_one(another: Another) -> None:
    here, there = await another(), await another()
    chance = random.Random(20_261_121)
    sent: list[tuple[int, bytes]] = []
    found: list[tuple[int, bytes]] = []
    for step in range(120):
        record = b"%d" % step
        sent.append((await chance.choice((here, there)).append(1, record), record))
        if chance.random() < 0.4:
            found += await here.read(1, after=found[-1][0] if found else 0, size_bytes_max=ROOM)

    async with asyncio.timeout(WAIT_S_MAX):
        while len(found) < len(sent):
            found += await here.read(1, after=found[-1][0] if found else 0, size_bytes_max=ROOM)
    assert found == sent


@each_that("shared")
async def test_the_end_counts_what_another_process_has_just_appended(another: Another) -> None:
    here, there = await another(), await another()
    assert await here.end(0) == 0
    for number in range(20):
        position = await there.append(0, b"%d" % number)
        assert await here.end(0) == position


@each_that("shared")
async def test_a_log_opened_later_begins_where_it_began(another: Another) -> None:
    first = await another()
    positions = [await first.append(3, b"%d" % number) for number in range(5)]

    second = await another()

    async with asyncio.timeout(WAIT_S_MAX):
        assert await follow(second, until=positions[-1], partition=3) == [
            (position, b"%d" % number) for number, position in enumerate(positions)
        ]


@each_that("shared")
async def test_another_number_of_partitions_is_refused_with_what_to_do(
    backend: Backend, place: str, another: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    await another()

    for partitions in (PARTITIONS - 1, PARTITIONS + 1):
        monkeypatch.setattr("contract.logs.PARTITIONS", partitions)
        with pytest.raises(Misconfigured, match=f"created with {PARTITIONS} partitions"):
            await backend.open(place, IDENTITY, None)


async def test_a_new_log_begins_at_its_first_position_and_drops_nothing_too_soon(log: Log) -> None:
    assert await log.begin(0) == 1
    first = await log.append(0, b"first")

    assert await log.begin(0) <= first
    check_retention(await log.retention(), "The log", "")


@pytest.mark.parametrize(
    "retention",
    [Retention(age_s=RETENTION_H_MIN * 3600 - 1), Retention(size_bytes=RETENTION_SIZE_BYTES_MIN - 1)],
    ids=["age", "size"],
)
def test_a_retention_that_may_drop_what_is_not_settled_is_refused(retention: Retention) -> None:
    with pytest.raises(Misconfigured, match="before they are settled"):
        check_retention(retention, "The topic", "raise retention.ms.")


async def test_a_record_of_the_size_to_stay_under_is_taken(log: Log) -> None:
    record = random.Random(1).randbytes(min(log.record_size_bytes_max, 2 << 20))

    position = await log.append(0, record)

    assert await log.read(0, after=0, size_bytes_max=1) == [(position, record)]


@each_that("framed")
async def test_a_record_past_the_size_of_a_message_is_compressed_or_refused(log: Log, another: Another) -> None:
    text = b'{"id": "e1", "type": "post.published", "actor": "ada"}\n' * (3 * log.record_size_bytes_max // 50)
    noise = random.Random(1).randbytes(log.record_size_bytes_max + 1)

    position = await log.append(0, text)
    with pytest.raises(TooLarge, match="Raise"):
        await log.append(0, noise)

    assert await log.append(0, b"goes on") > position
    assert (await read_all(await another()))[0] == (position, text)
