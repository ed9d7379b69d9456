"""What several want to know at the same time is asked once, and nobody is told what was so before they asked."""

from __future__ import annotations

import asyncio

import pytest

from accrue.clock import ManualClock
from accrue.errors import NotFound, Unavailable
from accrue.process.together import Looks, Together


class Question:
    """Answers with how often it was asked, once it is `allowed`."""

    def __init__(self) -> None:
        self.asked = 0
        self.allowed = asyncio.Event()
        self.fails = False

    async def __call__(self) -> int:
        self.asked += 1
        answer = self.asked
        await self.allowed.wait()
        if self.fails:
            raise NotFound("nobody knows")
        return answer


async def begun(*tasks: asyncio.Task[int] | asyncio.Task[None]) -> None:
    """Let them run until they wait for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_asks_for_all_who_want_to_know_the_same() -> None:
    question, together = Question(), Together[str, int]()
    tasks = [asyncio.create_task(together.ask("a", question)) for _ in range(3)]
    other = asyncio.create_task(together.ask("b", question))
    await begun(*tasks)
    question.allowed.set()
    assert await asyncio.gather(*tasks, other) == [1, 1, 1, 2]
    assert await together.ask("a", question) == 3  # nothing is kept


async def test_when_who_asks_is_cancelled_the_next_one_asks() -> None:
    question, together = Question(), Together[str, int]()
    first, *others = [asyncio.create_task(together.ask("a", question)) for _ in range(3)]
    await begun(first, *others)
    first.cancel()
    await begun(*others)
    question.allowed.set()
    assert await asyncio.gather(*others) == [2, 2]


async def test_that_there_is_no_answer_is_told_to_all() -> None:
    question, together = Question(), Together[str, int]()
    question.fails = True
    first, second = [asyncio.create_task(together.ask("a", question)) for _ in range(2)]
    await begun(first, second)
    question.allowed.set()
    with pytest.raises(NotFound, match="nobody knows"):
        await first
    with pytest.raises(Unavailable, match="nobody knows"):
        await second
    assert question.asked == 1


async def test_who_comes_while_somebody_looks_gets_the_next_look_and_shares_it() -> None:
    question = Question()
    looks = Looks(lambda: looked(question), ManualClock(), every_s=0)
    first = asyncio.create_task(looks.look())
    await begun(first)
    later = [asyncio.create_task(looks.look()) for _ in range(3)]
    await begun(*later)
    question.allowed.set()
    await asyncio.gather(first, *later)
    assert question.asked == 2


async def test_two_looks_are_so_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    question, waits, sleep = Question(), [0.0][:0], asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    question.allowed.set()
    looks = Looks(lambda: looked(question), ManualClock(), every_s=7)
    await looks.look()
    await looks.look()
    assert waits == [0, 7]


async def test_a_look_that_fails_fails_for_all_and_the_next_may_succeed() -> None:
    question = Question()
    question.fails = True
    question.allowed.set()
    looks = Looks(lambda: looked(question), ManualClock(), every_s=0)
    found = await asyncio.gather(looks.look(), looks.look(), return_exceptions=True)
    assert [type(error) for error in found] == [Unavailable, Unavailable]
    question.fails = False
    await looks.look()


async def test_a_look_that_was_cancelled_does_not_count() -> None:
    question = Question()
    looks = Looks(lambda: looked(question), ManualClock(), every_s=0)
    first = asyncio.create_task(looks.look())
    second = asyncio.create_task(looks.look())
    third = asyncio.create_task(looks.look())
    await begun(first)
    first.cancel()
    await begun(second)
    second.cancel()
    await begun(third)
    assert not third.done()
    question.allowed.set()
    await third
    assert question.asked == 3


async def looked(question: Question) -> None:
    """A question whose answer is found elsewhere."""
    await question()
