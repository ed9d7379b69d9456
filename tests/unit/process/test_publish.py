"""Publishing: boards follow the fold, are made whole when they are not, and survive a change of program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from accrue.boards.base import BoardKey, Turn
from accrue.book.base import TallyRow
from accrue.errors import Unavailable
from pipeline.partition import TENANT, Partition, event, program, record

NOW_US = 1_774_569_600_000_000
RULES = """
[metrics.points]
[metrics.goals]
[[rules]]
on = "a"
give = [{ to = "actor", metric = "points", amount = "value" }]
[[rules]]
on = "goal"
give = [{ to = "actor", metric = "goals" }]
[boards.best]
order = ["points desc", "goals desc"]
periods = ["all", "day"]
"""
ASCENDING = RULES.replace('"points desc", ', '"points asc", ')
KEY = BoardKey(TENANT, "best", "all")


def one(id: str, *, type: str = "a", actor: str = "ann", value: Any = 1) -> bytes:
    return record([event(type, id, actor=actor, value=value)], times_us=[NOW_US], log_time_us=NOW_US)


def rules(text: str, id: str) -> bytes:
    return record([program(text, id)], times_us=[NOW_US], log_time_us=NOW_US)


@pytest.fixture
async def partition(tmp_path: Path) -> AsyncIterator[Partition]:
    async with Partition(tmp_path) as opened:
        await opened.feed([rules(RULES, "first"), one("1", actor="ann", value=5), one("2", actor="bob", value=5)])
        await opened.caught_up()
        yield opened


async def shown(partition: Partition, key: BoardKey = KEY) -> list[tuple[int, str, tuple[int, ...]]]:
    page = await partition.boards.page(key, limit=100, offset=0, cursor=None, style="competition", now_us=NOW_US)
    return [(row.rank, row.subject, row.scores) for row in page.standings]


async def ensured(partition: Partition, key: BoardKey = KEY) -> list[tuple[int, str, tuple[int, ...]]]:
    await partition.live.ensure_board(TENANT, partition.live.program(TENANT).boards[key.board], key.period)
    return await shown(partition, key)


async def test_a_change_of_any_key_of_the_order_is_shown(partition: Partition) -> None:
    assert await shown(partition) == [(1, "ann", (5, 0)), (1, "bob", (5, 0))]
    await partition.feed([one("3", type="goal", actor="bob")])
    await partition.caught_up()
    assert await shown(partition) == [(1, "bob", (5, 1)), (2, "ann", (5, 0))]


async def test_after_a_restart_one_change_makes_the_whole_board(partition: Partition) -> None:
    await partition.worker.settle()
    await partition.restart()
    assert not await partition.boards.has(KEY)
    await partition.feed([one("3", actor="cat", value=9)])
    await partition.caught_up()
    assert await shown(partition) == [(1, "cat", (9, 0)), (2, "ann", (5, 0)), (2, "bob", (5, 0))]


async def test_a_board_is_made_whole_when_somebody_asks(partition: Partition) -> None:
    await partition.worker.settle()
    await partition.restart()
    assert await ensured(partition) == [(1, "ann", (5, 0)), (1, "bob", (5, 0))]


async def test_a_dropped_board_comes_back_with_what_is_not_settled(partition: Partition) -> None:
    await partition.worker.settle()
    await partition.feed([one("3", actor="ann", value=1)])
    await partition.caught_up()
    await partition.worker.publisher.drop(KEY)
    assert not await partition.boards.has(KEY)
    assert await ensured(partition) == [(1, "ann", (6, 0)), (2, "bob", (5, 0))]


async def test_a_new_order_makes_the_board_anew(partition: Partition) -> None:
    await partition.feed([one("3", actor="cat", value=9), rules(ASCENDING, "second"), one("4", actor="dan", value=1)])
    await partition.caught_up()
    assert [row[1] for row in await ensured(partition)] == ["dan", "ann", "bob", "cat"]


async def test_a_board_that_a_new_program_adds_has_everybody_at_the_next_change(partition: Partition) -> None:
    more = RULES + "[boards.new]\nmetric = 'points'\n"
    await partition.feed([rules(more, "second"), one("3", actor="cat", value=9)])
    await partition.caught_up()
    new = BoardKey(TENANT, "new", "all")
    assert await shown(partition, new) == [(1, "cat", (9,)), (2, "ann", (5,)), (2, "bob", (5,))]


async def test_a_program_that_changes_while_a_board_is_made_whole_wins(partition: Partition) -> None:
    await partition.worker.settle()
    await partition.restart()
    board = partition.live.program(TENANT).boards["best"]
    tallies = partition.book.tallies

    async def slowly(tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        if partition.worker.position == 3:
            await partition.feed([rules(ASCENDING, "second"), one("4", actor="dan", value=1)])
            await partition.until(lambda: partition.worker.position == 5)
        async for rows in tallies(tenant, metric, period):
            yield rows

    partition.book.tallies = slowly
    await partition.live.ensure_board(TENANT, board, "all")
    await partition.caught_up()
    assert [row[1] for row in await ensured(partition)] == ["dan", "ann", "bob"]


async def test_a_period_that_nobody_counted_in_is_not_kept_in_mind(partition: Partition) -> None:
    live = partition.worker.publisher.live()
    board = partition.live.program(TENANT).boards["best"]
    for day in range(1, 29):
        await partition.live.ensure_board(TENANT, board, f"1999-01-{day:02}")
    assert partition.worker.publisher.live() == live


async def test_what_changes_between_publishing_and_settling_is_settled_and_shown(partition: Partition) -> None:
    attempt = partition.worker.publisher.attempt

    async def and_then_something_happens(position: int) -> bool:
        done = await attempt(position)
        partition.worker.publisher.attempt = attempt  # type: ignore[method-assign]
        await partition.feed([one("9", actor="ann", value=100)])
        await partition.until(lambda: partition.worker.position == 4)
        return done

    partition.worker.publisher.attempt = and_then_something_happens  # type: ignore[method-assign]
    await partition.worker.settle()
    assert partition.tally("points", "ann") == 5
    await partition.worker.settle()
    assert partition.tally("points", "ann") == 105
    await partition.caught_up()
    assert (await shown(partition))[0] == (1, "ann", (105, 0))


async def test_what_a_settlement_has_is_not_settled_again_because_it_is_published_after_it(tmp_path: Path) -> None:
    async with Partition(tmp_path, tick_s=3_600) as partition:
        await partition.feed([rules(RULES, "first"), one("1", actor="ann", value=5)])
        await partition.until(lambda: partition.worker.position == 2)
        await partition.worker.settle()
        assert partition.tally("points", "ann") == 5
        assert partition.worker.status().dirty_rows == 0


async def test_a_publication_that_failed_is_made_good_and_the_worker_goes_on(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, failures = partition.boards.publish, [Unavailable("the boards are out of reach")]

    async def publish_or_fail(*arguments: Any, **named: Any) -> Turn:
        if failures:
            raise failures.pop()
        return await publish(*arguments, **named)

    monkeypatch.setattr("accrue.process.worker.RETRY_S", 0.001)
    monkeypatch.setattr(partition.boards, "publish", publish_or_fail)

    await partition.feed([one("3", actor="cat", value=9)])
    await partition.caught_up()

    assert not failures
    assert await ensured(partition) == [(1, "cat", (9, 0)), (2, "ann", (5, 0)), (2, "bob", (5, 0))]


async def test_a_board_made_whole_while_the_fold_settles_and_forgets_is_right_when_it_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given slices of one row, so that everything happens in between; then no change is missing and none is old."""
    monkeypatch.setattr("accrue.process.close.SLICE_ROWS", 1)
    scores: dict[str, int] = {}
    async with Partition(tmp_path, entries_in_memory_max=1) as partition:
        await partition.feed([rules(RULES, "first")])
        for number in range(120):
            who, value = f"user {number * 7 % 17}", number % 5
            scores[who] = scores.get(who, 0) + value
            await partition.feed([one(f"e{number}", actor=who, value=value)])
            if number % 10 == 4:
                await partition.caught_up()
                board = partition.live.program(TENANT).boards["best"]
                await partition.worker.publisher.drop(KEY)
                making = asyncio.create_task(partition.live.ensure_board(TENANT, board, "all"))
                settling = asyncio.create_task(partition.settle())
                for turn in range(number % 7):
                    who = f"user {turn}"
                    scores[who] = scores.get(who, 0) + 1
                    await partition.feed([one(f"m{number}.{turn}", actor=who)])
                    await asyncio.sleep(0)
                await asyncio.gather(making, settling)
        await partition.caught_up()
        found = [(subject, values[0]) for _, subject, values in await shown(partition)]
        assert dict(found) == scores
        await partition.settle()
        await partition.restart()
        assert [(subject, values[0]) for _, subject, values in await ensured(partition)] == found


async def test_what_is_settled_while_the_book_is_read_for_a_board_is_not_missed(partition: Partition) -> None:
    await partition.worker.settle()
    await partition.feed([one("3", actor="ann", value=1)])
    await partition.caught_up()
    state, begun, go_on = partition.worker.world.tenants[TENANT], asyncio.Event(), asyncio.Event()

    async def held_up() -> None:
        begun.set()
        await go_on.wait()

    partition.book.while_settling = held_up
    settling = asyncio.create_task(partition.worker.settle())
    await begun.wait()
    tallies = partition.book.tallies

    async def late(tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        read = [rows async for rows in tallies(tenant, metric, period)]
        go_on.set()
        await partition.until(lambda: state.settlements == 2)
        for rows in read:
            yield rows

    partition.book.tallies = late
    await partition.worker.publisher.drop(KEY)
    assert await ensured(partition) == [(1, "ann", (6, 0)), (2, "bob", (5, 0))]
    await settling
