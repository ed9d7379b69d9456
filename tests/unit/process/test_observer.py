"""The observer: what it finds out between two looks, and that what does not answer stops nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from accrue import Accrue
from accrue.boards.base import Usage
from accrue.boards.memory import MemoryBoards
from accrue.clock import ManualClock
from accrue.config import Config
from accrue.errors import Unavailable
from accrue.log.base import Retention
from accrue.log.memory import MemoryLog
from accrue.process import observer as observed
from accrue.process.base import Seen, Status
from accrue.process.observer import Observer
from accrue.process.outcome import Counts

PROGRAM = """
[metrics.points]
[[rules]]
on = "a"
give = [{ to = "actor", metric = "points" }]
"""
NOW_US = 1_795_237_200_000_000


class Weighed(MemoryBoards):
    """Boards that take as much as the tenant's name is long, and may not answer."""

    def __init__(self) -> None:
        super().__init__(instance="test")
        self.asked: list[str] = []
        self.answers = True

    async def usage(self, tenant: str) -> Usage:
        if not self.answers:
            raise Unavailable("no")
        self.asked.append(tenant)
        return Usage(1, 1, len(tenant))


class Bounded(MemoryLog):
    """A log whose server drops records, and which may not answer."""

    trouble: Exception | None = None

    async def end(self, partition: int) -> int:
        if self.trouble is not None:
            raise self.trouble
        return await super().end(partition)

    async def retention(self) -> Retention:
        return Retention(age_s=100_000)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Accrue]:
    (tmp_path / "program.toml").write_text(PROGRAM)
    async with Accrue.open(Config(data_dir=None), program=tmp_path / "program.toml") as accrue:
        yield accrue


def status_of(accrue: Accrue, **changed: object) -> Status:
    return replace(accrue.parts.live.statuses()[0], **changed)


async def test_what_waits_has_an_age_and_what_does_not_has_none(engine: Accrue) -> None:
    clock, log = ManualClock(NOW_US), Bounded(identity="test")
    for _ in range(3):
        await log.append(0, b"record")
    status = status_of(engine, position=2, settled=1, log_time_us=NOW_US - 9_000_000)
    observer = Observer(log, Weighed(), clock, statuses=lambda: {0: status}, directory=None)
    assert (observer.partitions(), observer.retention(), observer.seats()) == ({}, Retention(), ())

    await observer.look()
    clock.advance(seconds=30)
    await observer.look()
    assert observer.partitions() == {0: Seen(begin=1, end=3, behind_s=39.0, unsettled_s=30.0)}
    assert observer.retention() == Retention(age_s=100_000)

    status = replace(status, position=3, settled=2)
    await observer.look()  # something came to the book, and nothing is behind
    assert observer.partitions() == {0: Seen(begin=1, end=3, behind_s=0.0, unsettled_s=0.0)}
    clock.advance(seconds=5)
    status = replace(status, settled=3)
    await observer.look()
    clock.advance(seconds=500)
    await observer.look()
    assert observer.partitions()[0].unsettled_s == 0.0  # there is nothing to settle


async def test_a_partition_that_went_is_forgotten(engine: Accrue) -> None:
    clock, log = ManualClock(NOW_US), Bounded(identity="test")
    await log.append(0, b"record")
    statuses = {0: status_of(engine, position=1, settled=0)}
    observer = Observer(log, Weighed(), clock, statuses=lambda: statuses, directory=None)
    await observer.look()
    here, statuses = statuses, {}
    clock.advance(seconds=60)
    await observer.look()
    assert (observer.partitions(), observer.boards()) == ({}, {})

    statuses = here
    await observer.look()  # it came back: the time it was away is not ours
    assert observer.partitions()[0].unsettled_s == 0.0


async def test_tenants_are_weighed_a_few_at_a_time_and_the_largest_are_remembered(engine: Accrue) -> None:
    boards = Weighed()
    names = ["t" * (1 + number) for number in range(50)]
    status = status_of(engine, events={name: Counts() for name in names})
    observer = Observer(Bounded(identity="t"), boards, ManualClock(), statuses=lambda: {0: status}, directory=None)
    looks = -(-len(names) // observed.WEIGHED_PER_LOOK)
    for _ in range(looks):
        before = len(boards.asked)
        await observer.look()
        assert 0 < len(boards.asked) - before <= observed.WEIGHED_PER_LOOK
    assert sorted(boards.asked) == names
    assert sorted(observer.boards()) == names[-observed.TENANTS_SHOWN_MAX :]

    status = replace(status, events={"small": Counts()})
    await observer.look()
    assert list(observer.boards()) == ["small"]


@pytest.mark.parametrize("trouble", [Unavailable("gone"), ValueError("a defect")])
async def test_what_does_not_answer_keeps_what_was_seen_and_stops_nothing(engine: Accrue, trouble: Exception) -> None:
    log, boards = Bounded(identity="test"), Weighed()
    await log.append(0, b"record")
    status = status_of(engine, position=1, settled=1, events={"ann": Counts()})
    observer = Observer(log, boards, ManualClock(), statuses=lambda: {0: status}, directory=None)
    await observer.look()
    log.trouble, boards.answers = trouble, False
    looking = asyncio.create_task(observer.run())
    await asyncio.sleep(0.01)
    assert not looking.done()
    assert observer.partitions()[0].end == 1
    assert list(observer.boards()) == ["ann"]
    looking.cancel()
