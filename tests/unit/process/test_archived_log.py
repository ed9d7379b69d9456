"""The archive as a log: the same records, two segments in memory at most, and an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from accrue.book.archive import GENESIS, pack
from accrue.book.base import Segment
from accrue.errors import Corrupt, Misconfigured
from accrue.log.memory import MemoryLog
from accrue.process.replay.archived import ArchivedLog, Kept, Records

RECORDS = [(position, b"record %d" % position) for position in range(1, 31)]


def segments(size: int = 5) -> list[Segment]:
    made: list[Segment] = []
    for start in range(0, len(RECORDS), size):
        previous = made[-1].digest if made else GENESIS
        some = RECORDS[start : start + size]
        made.append(pack(some, partition=0, events=len(some), previous=previous))
    return made


class Source:
    """Segments one by one, and how many were asked for."""

    def __init__(self, held: list[Segment]) -> None:
        self.asked = 0
        self._held = held

    async def read(self) -> AsyncIterator[Segment]:
        for segment in self._held:
            self.asked += 1
            yield segment


def archived(held: list[Segment], *, end: int = 30, archived: int = 30, tail: MemoryLog | None = None) -> ArchivedLog:
    return ArchivedLog(Source(held).read(), identity="log", archived=archived, end=end, tail=tail)


async def read_all(log: ArchivedLog, *, size_bytes_max: int = 25) -> Records:
    found: Records = []
    while (after := found[-1][0] if found else 0) < await log.end(0):
        found += await log.read(0, after=after, size_bytes_max=size_bytes_max)
    return found


@pytest.mark.parametrize("size_bytes_max", [1, 25, 10_000])
async def test_it_gives_every_record_once_and_in_order(size_bytes_max: int) -> None:
    assert await read_all(archived(segments()), size_bytes_max=size_bytes_max) == RECORDS


async def test_at_most_one_segment_is_unpacked_ahead() -> None:
    source = Source(segments())
    log = ArchivedLog(source.read(), identity="log", archived=30, end=30)
    for number, after in enumerate((0, 5, 10, 15)):
        await log.read(0, after=after, size_bytes_max=1_000)
        assert source.asked == number + 2
    await log.close()


async def test_the_segment_in_hand_can_be_read_again() -> None:
    log = archived(segments())
    first = await log.read(0, after=0, size_bytes_max=1)
    assert await log.read(0, after=0, size_bytes_max=1) == first == RECORDS[:1]


async def test_it_ends_where_it_is_told_and_goes_on_when_it_is_told() -> None:
    tail = MemoryLog(identity="log")
    for _, record in [*RECORDS, (31, b"record 31"), (32, b"record 32")]:
        await tail.append(0, record)
    log = archived(segments(), end=12, tail=tail)
    assert await read_all(log) == RECORDS[:12]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(log.read(0, after=12, size_bytes_max=1), timeout=0.01)
    waiting = asyncio.ensure_future(log.read(0, after=12, size_bytes_max=1))
    await asyncio.sleep(0)
    log.go_on(31)
    assert await waiting == RECORDS[12:13]
    assert await log.read(0, after=30, size_bytes_max=1_000) == [(31, b"record 31")]


async def test_a_damaged_segment_is_not_folded() -> None:
    held = segments()
    held[2] = held[2]._replace(events=9)
    log = archived(held)
    with pytest.raises(Corrupt, match="positions 11 to 15"):
        await read_all(log)


async def test_an_archive_that_ends_early_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="ends before position 30"):
        await read_all(archived(segments()[:-1]))


async def test_nothing_is_written_to_it() -> None:
    log = archived(segments())
    with pytest.raises(Misconfigured):
        await log.append(0, b"record")
    await log.trim(0, up_to=30)
    assert await read_all(log) == RECORDS


async def test_segments_are_handed_on_as_they_are_and_then_built_anew() -> None:
    held = segments()
    log = archived(held, end=30)
    kept = Kept(log, end=30)
    previous, handed = GENESIS, []
    after = 0
    while after < 30:
        for position, record in await log.read(0, after=after, size_bytes_max=25):
            building = kept.new_segment(0)
            assert building.is_empty or handed[-1:] != [log.segment]
            building.add(position, record, events=1)
            if building.is_full:
                handed.append(building.finish(previous=previous))
                previous = handed[-1].digest
                assert building.is_empty  # a settlement may ask again
            after = position
    assert handed == held
    assert kept.new_segment(0) is not kept
    wrong = Kept(log, end=99)
    wrong.add(30, b"", events=1)
    with pytest.raises(Corrupt, match="does not follow"):
        wrong.finish(previous=GENESIS)
