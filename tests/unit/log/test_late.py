"""A log that was not there when its process started: it comes, or it turns out to be none that may be used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from accrue.errors import Absent, Corrupt, Misconfigured, Unavailable
from accrue.log import late
from accrue.log.base import Log
from accrue.log.late import LateLog
from accrue.log.memory import MemoryLog


class Opening:
    """Raises one thing after the other, and then opens the log."""

    def __init__(self, log: Log, *errors: Exception) -> None:
        self.log, self.errors, self.asked = log, list(errors), 0

    async def __call__(self) -> Log:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.log


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "RETRY_S", 0.001)


@asynccontextmanager
async def running(log: LateLog) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(log.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def ended(task: asyncio.Task[None]) -> None:
    """Raises what it ended with."""
    async with asyncio.timeout(10):
        await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # it looks from outside
            await asyncio.sleep(0.001)


async def test_until_it_comes_nothing_can_be_asked_of_it_and_then_it_is_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(late, "REFUSED_S_MAX", 0)  # that it is down is no refusal
    log = MemoryLog(identity="ours")
    opening = Opening(log, Unavailable("still down"), Absent("nobody listens"), Unavailable("booting"))
    found = LateLog(opening, identity="ours", reason="down")
    assert found.identity == "ours"
    assert found.record_size_bytes_max == late.SAFE_SIZE_BYTES_MAX
    asked: list[Any] = [
        found.append(0, b"a"),
        found.read(0, after=0, size_bytes_max=1),
        found.trim(0, up_to=1),
        found.begin(0),
        found.end(0),
        found.retention(),
    ]
    for question in asked:
        with pytest.raises(Unavailable, match="not there yet: down"):
            await question
    async with running(found) as task:
        await until(lambda: opening.asked == 4)
        await asyncio.sleep(0)
        assert await found.append(0, b"a") == await log.end(0) == await found.end(0) == 1
        assert await found.read(0, after=0, size_bytes_max=1) == [(1, b"a")]
        assert (found.durability, found.record_size_bytes_max) == (log.durability, log.record_size_bytes_max)
        assert not task.done()
    await found.close()
    with pytest.raises(Unavailable):
        await log.append(0, b"b")  # it was closed with it


@pytest.mark.parametrize("error", [Misconfigured("wrong password"), Corrupt("a newer format")])
async def test_what_is_refused_for_a_moment_may_be_taken_later_and_else_ends_the_process(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Opening(MemoryLog(identity="ours"), error, error)
    async with running(LateLog(opening, identity="ours", reason="down")) as task:
        await until(lambda: opening.asked == 3)
        assert not task.done()
    monkeypatch.setattr(late, "REFUSED_S_MAX", 0)
    opening = Opening(MemoryLog(identity="ours"), error)
    async with running(LateLog(opening, identity="ours", reason="down")) as task:
        with pytest.raises(type(error), match=str(error)):
            await ended(task)


async def test_another_log_is_not_used_and_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "REFUSED_S_MAX", 0)
    other = MemoryLog(identity="another")
    found = LateLog(Opening(other), identity="ours", reason="down")
    async with running(found) as task:
        with pytest.raises(Misconfigured, match="put the right log back"):
            await ended(task)
    with pytest.raises(Unavailable):
        await found.append(0, b"a")
    with pytest.raises(Unavailable):
        await other.end(0)
