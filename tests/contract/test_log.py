"""What every log promises, asked of every log. A new backend is one more row in BACKENDS."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from accrue.errors import Corrupt, Unavailable
from accrue.log.base import Log
from contract.logs import IDENTITY, ROOM, WAIT_S_MAX, Backend, each_that, fill, read_all

# Appending and reading


async def test_records_come_back_in_order_and_byte_for_byte(backend: Backend, log: Log) -> None:
    sent = [b"one", b"", b"\x00\xff\n", b"x" * 100_000]

    positions = [await log.append(0, record) for record in sent]

    assert positions == sorted(set(positions))
    assert positions[0] >= 1
    assert not backend.dense or positions == [1, 2, 3, 4]
    assert await read_all(log) == list(zip(positions, sent, strict=True))
    assert await read_all(log, after=positions[1]) == list(zip(positions[2:], sent[2:], strict=True))


async def test_each_partition_has_its_own_records_and_its_own_end(log: Log) -> None:
    zero, one, next_zero, three, next_one = [
        await log.append(partition, b"%d" % partition) for partition in (0, 1, 0, 3, 1)
    ]

    assert await read_all(log, 0) == [(zero, b"0"), (next_zero, b"0")]
    assert await read_all(log, 1) == [(one, b"1"), (next_one, b"1")]
    assert await read_all(log, 3) == [(three, b"3")]
    assert [await log.end(partition) for partition in (0, 1, 2, 3)] == [next_zero, next_one, 0, three]


@each_that("fills")
async def test_a_read_returns_as_many_records_as_fit(log: Log) -> None:
    a, b, c, d = [await log.append(0, record) for record in (b"aaaa", b"bbb", b"ccc", b"d")]

    assert await read_some(log, after=0, size_bytes_max=10) == [a, b, c]
    assert await read_some(log, after=0, size_bytes_max=9) == [a, b]
    assert await read_some(log, after=a, size_bytes_max=7) == [b, c, d]


async def test_a_read_returns_one_record_even_when_it_does_not_fit(log: Log) -> None:
    large = await log.append(0, b"large")
    await log.append(0, b"next")

    assert await log.read(0, after=0, size_bytes_max=1) == [(large, b"large")]


async def test_a_reader_far_behind_finds_everything(log: Log) -> None:
    sent = [b"%d" % number * 5_000 for number in range(200)]
    for record in sent:
        await log.append(0, record)

    assert [record for _, record in await read_all(log)] == sent


async def test_a_log_says_what_its_acknowledgement_means(backend: Backend, log: Log) -> None:
    assert log.durability == backend.durability
    assert log.identity == IDENTITY


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

    assert [record for _, record in first] == [record for _, record in second] == [b"zero"]
    assert [record for _, record in other] == [b"one"]


async def test_a_reader_that_gives_up_disturbs_nobody(log: Log) -> None:
    impatient = asyncio.ensure_future(log.read(0, after=0, size_bytes_max=ROOM))
    patient = asyncio.ensure_future(log.read(0, after=0, size_bytes_max=ROOM))
    await asyncio.sleep(0)
    impatient.cancel()

    position = await log.append(0, b"news")

    async with asyncio.timeout(WAIT_S_MAX):
        assert await patient == [(position, b"news")]
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
    only = await log.append(0, b"only")

    async with asyncio.timeout(WAIT_S_MAX):
        with pytest.raises(Corrupt, match="older log"):
            await log.read(0, after=only + 100, size_bytes_max=ROOM)


@each_that("trims")
async def test_reading_what_was_trimmed_is_refused(log: Log) -> None:
    positions = [await log.append(0, b"%d" % number) for number in range(5)]
    await log.trim(0, up_to=positions[2])

    with pytest.raises(Corrupt, match=f"begins after position {positions[2]}"):
        await log.read(0, after=positions[1], size_bytes_max=ROOM)
    assert await log.begin(0) == positions[2] + 1
    assert await read_all(log, after=positions[2]) == [(positions[3], b"3"), (positions[4], b"4")]


# Trimming


async def test_positions_go_on_after_a_trim_to_empty(log: Log) -> None:
    *_, last = [await log.append(0, b"old") for _ in range(3)]

    await log.trim(0, up_to=last)

    assert await log.end(0) == last
    assert 1 <= await log.begin(0) <= last + 1
    new = await log.append(0, b"new")
    assert new > last
    assert await log.read(0, after=last, size_bytes_max=ROOM) == [(new, b"new")]


async def test_a_trim_may_be_repeated_reach_back_or_reach_past_the_end(log: Log) -> None:
    first, second, third, last = [await log.append(0, b"record") for _ in range(4)]

    for up_to in (second, second, first, 0):
        await log.trim(0, up_to=up_to)
    assert await read_all(log, after=second) == [(third, b"record"), (last, b"record")]
    assert await log.begin(0) <= third

    await log.trim(0, up_to=last + 99)
    assert await log.end(0) == last
    assert await log.begin(0) <= last + 1
    new = await log.append(0, b"next")
    assert new > last
    assert await log.read(0, after=last, size_bytes_max=ROOM) == [(new, b"next")]


async def test_a_trim_of_one_partition_leaves_the_others(log: Log) -> None:
    zero, one, two = [await log.append(partition, b"record") for partition in (0, 1, 2)]

    await log.trim(1, up_to=one)

    assert await log.read(0, after=0, size_bytes_max=ROOM) == [(zero, b"record")]
    assert await log.read(2, after=0, size_bytes_max=ROOM) == [(two, b"record")]


@each_that("trims")
async def test_appends_go_on_during_a_long_trim(log: Log) -> None:
    for _ in range(599):
        await log.append(0, b"x" * 10_000)
    last = await log.append(0, b"x" * 10_000)

    async def append_ten() -> list[int]:
        return [await log.append(0, b"meanwhile") for _ in range(10)]

    _, positions = await asyncio.gather(log.trim(0, up_to=last), append_ten())

    assert await read_all(log, after=last) == [(position, b"meanwhile") for position in positions]


# Faults


@each_that("bounded")
async def test_a_full_log_refuses_keeps_what_it_has_and_goes_on_after_a_trim(backend: Backend, place: str) -> None:
    log = await backend.open(place, IDENTITY, 200_000)

    kept = await fill(log)

    assert kept == await log.end(0) == len(await read_all(log)) > 5
    assert await fill(log) == 0

    await log.trim(0, up_to=kept)
    assert await log.append(0, b"x" * 10_000) == kept + 1
    assert await log.read(0, after=kept, size_bytes_max=ROOM) == [(kept + 1, b"x" * 10_000)]
    await log.close()


async def test_a_cancelled_append_is_wholly_there_or_not_at_all(backend: Backend, log: Log) -> None:
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
    positions = [each for each, _ in records]
    assert positions == sorted(set(positions))
    assert not backend.dense or positions == list(range(1, len(positions) + 1))
    assert (position, b"after") in records
    records.remove((position, b"after"))
    assert backend.shared or position == positions[-1]
    bodies = [record for _, record in records]
    assert len(bodies) == len(set(bodies))
    assert set(bodies) <= sent


async def test_any_course_of_appends_trims_and_reads_agrees_with_a_plain_list(backend: Backend, place: str) -> None:
    chance = random.Random(20_261_121)
    log = await backend.open(place, IDENTITY, None)
    model: list[tuple[int, bytes]] = []
    trimmed = 0
    for step in range(120 if backend.shared else 400):  # reading here and there is slow over a network
        match chance.choices(("append", "read", "trim", "reopen"), (60, 30, 8, 2))[0]:
            case "append":
                record = b"%d " % step * chance.randrange(2_000)
                model.append((await log.append(3, record), record))
                assert not backend.dense or model[-1][0] == len(model)
            case "read" if trimmed < len(model):
                start = chance.randrange(trimmed, len(model))
                room = chance.randrange(20_000)
                found = await log.read(3, after=model[start - 1][0] if start else 0, size_bytes_max=room)
                assert found == model[start : start + len(found)]
                assert len(found) == 1 or sum(len(record) for _, record in found) <= room
                if backend.fills:
                    following = model[start + len(found) : start + len(found) + 1]
                    assert not following or sum(len(record) for _, record in (*found, *following)) > room
            case "trim":
                trimmed = max(trimmed, chance.randrange(len(model) + 1))
                await log.trim(3, up_to=model[trimmed - 1][0] if trimmed else 0)
            case "reopen" if backend.outlives:
                await log.close()
                log = await backend.open(place, "another", None)
        assert await log.end(3) == (model[-1][0] if model else 0)
    await log.close()


# Opening again


@each_that("outlives")
async def test_a_log_opened_again_has_everything_and_goes_on(backend: Backend, place: str) -> None:
    log = await backend.open(place, IDENTITY, None)
    sent = [(number % 2, await log.append(number % 2, b"%d" % number), b"%d" % number) for number in range(10)]
    zero = [(position, record) for partition, position, record in sent if partition == 0]
    await log.trim(0, up_to=zero[1][0])
    await log.close()

    log = await backend.open(place, "another", None)

    assert log.identity == IDENTITY
    assert await read_all(log, 0, after=zero[1][0]) == zero[2:]
    assert [record for _, record in await read_all(log, 1)] == [b"1", b"3", b"5", b"7", b"9"]
    if backend.trims:
        with pytest.raises(Corrupt):
            await log.read(0, after=zero[0][0], size_bytes_max=ROOM)
    new = await log.append(0, b"new")
    assert new > zero[-1][0]
    assert await read_all(log, after=zero[3][0]) == [zero[4], (new, b"new")]
    await log.close()


@each_that("outlives")
async def test_positions_go_on_after_a_trim_to_empty_and_a_restart(backend: Backend, place: str) -> None:
    log = await backend.open(place, IDENTITY, None)
    *_, last = [await log.append(2, b"old") for _ in range(3)]
    await log.trim(2, up_to=last)
    await log.close()

    log = await backend.open(place, IDENTITY, None)

    assert await log.end(2) == last
    assert await log.append(2, b"new") > last
    await log.close()


@each_that("outlives")
async def test_trims_at_the_same_time_leave_the_furthest(backend: Backend, place: str) -> None:
    log = await backend.open(place, IDENTITY, None)
    positions = [await log.append(0, b"old") for _ in range(5)]
    await asyncio.gather(log.trim(0, up_to=positions[4]), log.trim(0, up_to=positions[2]))
    await log.close()

    log = await backend.open(place, IDENTITY, None)

    assert await log.end(0) == positions[4]
    if backend.trims:
        with pytest.raises(Corrupt):
            await log.read(0, after=positions[3], size_bytes_max=ROOM)
    await log.close()


@each_that("copied")
async def test_an_older_log_put_back_is_refused(backend: Backend, tmp_path: Path) -> None:
    folder, backup = tmp_path / "folder", tmp_path / "backup"
    folder.mkdir()
    log = await backend.open(str(folder), IDENTITY, None)
    await log.append(0, b"saved")
    await log.close()
    shutil.copytree(folder, backup)
    log = await backend.open(str(folder), IDENTITY, None)
    checkpoint = await log.append(0, b"not in the backup")
    await log.close()

    log = await backend.open(str(backup), IDENTITY, None)

    with pytest.raises(Corrupt, match="older log"):
        await log.read(0, after=checkpoint, size_bytes_max=ROOM)
    await log.close()


async def read_some(log: Log, *, after: int, size_bytes_max: int) -> list[int]:
    """The positions of one read that may take so much."""
    found = await log.read(0, after=after, size_bytes_max=size_bytes_max)
    return [position for position, _ in found]
