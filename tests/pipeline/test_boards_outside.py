"""Boards that outlive their worker: they are found again, made good after every loss, and nobody stale gets through."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from accrue.boards.base import Abilities, BoardKey, Mark, Turn
from accrue.boards.memory import MemoryBoards
from accrue.boards.redis import RedisBoards
from accrue.core.ranking import Order, Row
from accrue.errors import Fenced, Full, Unavailable
from accrue.process.worker import Limits, Worker
from pipeline.partition import NEVER_S, TENANT, Partition, event, program, record
from servers.redis import RedisServer

NOW_US = 1_774_569_600_000_000
RULES = """
[metrics.points]
[[rules]]
on = "a"
give = [{ to = "actor", metric = "points", amount = "value" }]
[boards.best]
metric = "points"
periods = ["all", "day"]
"""
MORE = RULES + "[metrics.views]\n[[rules]]\non = 'b'\ngive = [{ to = 'actor', metric = 'views' }]\n"
TODAY = "2026-03-27"
KEY, DAY = BoardKey(TENANT, "best", "all"), BoardKey(TENANT, "best", TODAY)
ORDER = Order((True,), "first")
SHARED = Abilities(snapshots=True, dense_members_max=None, shared=True, tenants_at_once=4)
WRITES = ("begin", "publish", "rebuild", "drop")


class Outside:
    """Boards that no worker closes, with the calls that were carried out, and faults for the calls to come.

    A fault is `before` or `after` what the call does. `lose` loses everything, as a wipe does.
    """

    abilities = SHARED

    def __init__(self, boards: Any) -> None:
        self.boards = boards
        self.calls: Counter[str] = Counter()
        self.next_fault: Callable[[str], str | None] = lambda name: None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.boards, name)
        if name not in (*WRITES, "marks", "has"):
            return method

        async def called(*arguments: Any, **named: Any) -> Any:
            fault = self.next_fault(name)
            if fault == "before":
                raise Unavailable(f"{name} did not get there")
            result = await method(*arguments, **named)
            self.calls[name] += 1
            if fault == "after":
                raise Full(f"nobody knows what became of {name}")
            return result

        return called

    async def close(self) -> None:
        """It stays."""

    async def lose(self) -> None:
        """Everything is gone."""
        if isinstance(self.boards, MemoryBoards):
            await self.boards.close()
        else:
            await self.boards._client.one("FLUSHALL")


@pytest.fixture(params=["memory", "redis"])
async def outside(request: pytest.FixtureRequest) -> AsyncIterator[Outside]:
    if request.param == "memory":
        boards: Any = MemoryBoards(instance="outside")
    else:
        boards = await RedisBoards.open(request.getfixturevalue("redis_url"))
    yield Outside(boards)
    await boards.close()


@pytest.fixture
async def partition(outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Partition]:
    monkeypatch.setattr("accrue.process.worker.RETRY_S", 0.001)
    monkeypatch.setattr("accrue.process.worker.LOOK_S", 0.0)
    async with Partition(tmp_path, open_boards=lambda: opened(outside)) as made:
        await made.feed([rules(RULES), one(ann=5, bob=3)])
        await made.caught_up()
        yield made


async def opened(outside: Outside) -> Outside:
    return outside


_ids = count()


def one(*, type: str = "a", **values: int) -> bytes:
    events = [event(type, f"e{next(_ids)}", actor=actor, value=value) for actor, value in values.items()]
    return record(events, times_us=[NOW_US] * len(events), log_time_us=NOW_US)


def rules(text: str) -> bytes:
    return record([program(text, f"p{next(_ids)}")], times_us=[NOW_US], log_time_us=NOW_US)


async def shown(outside: Outside, key: BoardKey = KEY) -> dict[str, int]:
    page = await outside.page(key, limit=1_000, offset=0, cursor=None, style="ordinal", now_us=0)
    return {standing.subject: standing.scores[0] for standing in page.standings}


async def mark(outside: Outside) -> Mark | None:
    return (await outside.boards.marks([TENANT]))[0]


async def resting(partition: Partition) -> None:
    """Everything is published, and nothing waits for another attempt."""
    await partition.caught_up()
    await partition.until(lambda: not partition.worker.publisher.waits)


async def test_a_new_worker_finds_the_boards_and_makes_none_whole(partition: Partition, outside: Outside) -> None:
    await partition.worker.settle()
    await partition.feed([one(ann=1)])
    await partition.caught_up()
    outside.calls.clear()

    await partition.restart()
    await partition.feed([one(bob=1)])
    await partition.caught_up()

    assert outside.calls["rebuild"] == 0
    assert await shown(outside) == await shown(outside, DAY) == {"ann": 6, "bob": 4}
    assert await mark(outside) == Mark(2, 4)


async def test_a_new_worker_does_not_show_less_while_it_folds_again(partition: Partition, outside: Outside) -> None:
    await partition.feed([one(ann=1) for _ in range(30)])
    await partition.caught_up()
    before = await mark(outside)
    assert before is not None
    publish = outside.boards.publish
    positions: list[int] = []

    async def watched(*arguments: Any, position: int, **named: Any) -> Turn:
        positions.append(position)
        turn: Turn = await publish(*arguments, position=position, **named)
        return turn

    outside.boards.publish = watched
    await partition.stop()
    partition.limits = replace(partition.limits, read_size_bytes=1)  # a record at a time
    await partition.begin()
    await partition.until(lambda: partition.worker.position >= 5)
    await partition.settle()
    assert partition.worker.checkpoint.position < before.position
    await partition.feed([one(bob=1)])
    await partition.caught_up()

    assert min(positions) >= before.position
    assert await shown(outside) == {"ann": 35, "bob": 4}


async def test_boards_that_are_behind_the_checkpoint_are_made_whole_without_being_asked_for(
    partition: Partition, outside: Outside
) -> None:
    """Given a worker that settled while the boards were away, and then died."""
    outside.next_fault = lambda name: "before"
    await partition.feed([one(ann=1, cy=9)])
    await partition.until(lambda: partition.worker.position == 3)
    await partition.worker.settle()
    await partition.stop()

    outside.next_fault = lambda name: None
    await partition.begin()
    await resting(partition)

    assert outside.calls["rebuild"] == 2
    assert await shown(outside) == await shown(outside, DAY) == {"cy": 9, "ann": 6, "bob": 3}
    assert await mark(outside) == Mark(2, 3)


async def test_the_worker_folds_and_settles_while_the_boards_are_away(partition: Partition, outside: Outside) -> None:
    outside.next_fault = lambda name: "before"
    await partition.feed([one(ann=1)])
    await partition.until(lambda: partition.worker.position == 3)
    await partition.worker.settle()
    assert partition.tally("points", "ann") == 6
    await partition.feed([one(ann=1, bob=1)])
    await partition.until(lambda: partition.worker.position == 4 and bool(partition.worker.publisher.trouble))
    assert await shown(outside) == {"ann": 5, "bob": 3}

    outside.next_fault = lambda name: None
    await resting(partition)

    assert await shown(outside) == {"ann": 7, "bob": 4}
    assert outside.calls["rebuild"] == 0
    assert partition.worker.publisher.trouble is None


async def test_when_too_much_waits_for_the_boards_they_are_made_whole(
    partition: Partition, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.process.outgoing.WAITING_ROWS_MAX", 5)
    outside.next_fault = lambda name: "before"
    for number in range(9):
        await partition.feed([one(ann=1, **{f"new {number}": 1})])
        await partition.until(lambda upto=3 + number: partition.worker.position == upto)
        partition.worker.publisher.take()
        assert sum(map(len, partition.worker.publisher._outgoing[TENANT].rows.values())) <= 5

    outside.next_fault = lambda name: None
    await resting(partition)

    assert outside.calls["rebuild"] == 2
    everybody = {"ann": 14, "bob": 3, **{f"new {number}": 1 for number in range(9)}}
    assert await shown(outside) == await shown(outside, DAY) == everybody


async def test_a_wipe_is_noticed_by_the_next_publication(partition: Partition, outside: Outside) -> None:
    await outside.lose()
    await partition.feed([one(ann=1)])
    await resting(partition)

    assert await shown(outside) == await shown(outside, DAY) == {"ann": 6, "bob": 3}
    assert await mark(outside) == Mark(1, 3)

    await partition.feed([one(ann=1)])
    await resting(partition)
    assert await shown(outside) == await shown(outside, DAY) == {"ann": 7, "bob": 3}
    assert outside.calls["rebuild"] == 2


async def test_a_wipe_is_noticed_when_nothing_is_published(partition: Partition, outside: Outside) -> None:
    await outside.lose()
    async with asyncio.timeout(20):
        while await mark(outside) != Mark(1, 2):  # noqa: ASYNC110 - nobody tells when the worker has looked
            await asyncio.sleep(0)

    assert await shown(outside) == await shown(outside, DAY) == {"ann": 5, "bob": 3}


async def test_a_wipe_is_noticed_by_who_asks_for_a_board(
    partition: Partition, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.process.worker.LOOK_S", 1e9)
    await outside.lose()

    await partition.live.ensure_board(TENANT, partition.live.program(TENANT).boards["best"], "all")

    assert await shown(outside) == {"ann": 5, "bob": 3}


async def test_boards_that_show_more_than_the_log_has_are_made_whole(partition: Partition, outside: Outside) -> None:
    """Given a log that lost its last records: an older copy of it was put back."""
    await partition.worker.settle()
    await partition.stop()
    begun = await outside.boards.begin(TENANT, Turn(1, 99, 0), log="log")
    held = await outside.boards.publish(TENANT, [], turn=begun.turn, position=50)
    await outside.boards.rebuild(KEY, ORDER, 2**20, [[Row("eve", (99,), 1)]], turn=held)

    await partition.begin()
    await partition.feed([one(ann=1)])
    await resting(partition)

    assert await shown(outside) == {"ann": 6, "bob": 3}
    assert await mark(outside) == Mark(2, 3)


async def test_a_worker_that_was_replaced_is_fenced_and_stops(partition: Partition, outside: Outside) -> None:
    await partition.worker.settle()
    stale, running = partition.worker, partition.running
    other = Worker(
        partition.log, partition.book, outside, partition.clock, partition=0, memory=partition.memory,
        limits=Limits(tick_s=0.0005, settle_interval_s=NEVER_S),
    )  # fmt: skip
    await other.start(owner="the next")
    await partition.feed([one(ann=1)])

    await asyncio.wait([running], timeout=20)
    assert isinstance(running.exception(), Fenced)
    assert stale.publisher.trouble

    partition.running = asyncio.create_task(other.run())
    await other.applied(3, timeout_s=20)
    assert await shown(outside) == {"ann": 6, "bob": 3}


async def test_the_mark_follows_events_that_move_no_board(partition: Partition, outside: Outside) -> None:
    await partition.feed([one(type="nothing listens to it", ann=1)])
    await partition.caught_up()
    assert await mark(outside) == Mark(1, 3)


async def test_boards_that_a_new_program_takes_out_are_dropped_and_changed_ones_made_whole(
    partition: Partition, outside: Outside
) -> None:
    await partition.feed([rules(RULES.replace('["all", "day"]', '["all"]')), one(ann=1)])
    await resting(partition)

    assert not await outside.has(DAY)
    assert await shown(outside) == {"ann": 6, "bob": 3}
    assert await outside.has(KEY, program=partition.worker.world.tenants[TENANT].program_sequence)


async def test_a_board_is_not_made_before_the_log_is_caught_up_with(partition: Partition, outside: Outside) -> None:
    await partition.worker.settle()
    board = partition.live.program(TENANT).boards["best"]
    await partition.stop()
    await partition.log.append(0, one(ann=1))
    await partition.begin()

    with pytest.raises(Unavailable, match="catching up"):
        await partition.live.ensure_board(TENANT, board, "all")
    await partition.caught_up()
    await partition.live.ensure_board(TENANT, board, "all")
    assert await shown(outside) == {"ann": 6, "bob": 3}


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_fails_and_whenever_the_boards_are_exact_in_the_end(
    partition: Partition, outside: Outside, seed: int
) -> None:
    """Given calls that fail before or after they did it, and wipes, settlements, crashes and new programs as well."""
    chance = random.Random(seed)
    expected = Counter({"ann": 5, "bob": 3})

    def fault(name: str) -> str | None:
        return chance.choice(["before", "after"]) if chance.random() < 0.25 else None

    outside.next_fault = fault
    for _ in range(60):
        who, value = f"user {chance.randrange(12)}", chance.randrange(1, 9)
        expected[who] += value
        await partition.feed([one(**{who: value})])
        what = chance.random()
        if what < 0.1:
            await partition.settle()
        elif what < 0.15:
            await outside.lose()
        elif what < 0.2:
            await partition.restart()
        elif what < 0.25:
            await partition.feed([rules(chance.choice([RULES, MORE, RULES.replace('"all", ', "")]))])
        elif what < 0.6:
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
    await partition.feed([rules(RULES), one(ann=1)])
    expected["ann"] += 1
    await resting(partition)
    for number in range(20):  # nothing but failing calls, so that no board is made whole at last
        await partition.feed([one(**{f"late {number}": 1})])
        expected[f"late {number}"] = 1
        await partition.caught_up()
    outside.next_fault = lambda name: None
    await resting(partition)

    for key in (KEY, DAY):
        await partition.live.ensure_board(TENANT, partition.live.program(TENANT).boards["best"], key.period)
        assert await shown(outside, key) == expected
    last = await mark(outside)
    assert last is not None
    assert last.position == await partition.log.end(0)


async def test_a_server_that_is_killed_restarted_hung_and_rolled_back_shows_everything_in_the_end(
    own_server: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.process.worker.RETRY_S", 0.01)
    monkeypatch.setattr("accrue.process.worker.LOOK_S", 0.01)
    server: RedisServer = own_server(RedisServer)

    def restarted() -> None:
        server.kill()
        server.start()

    async def open_boards() -> RedisBoards:
        return await RedisBoards.open(server.url)

    deeds: list[Callable[[], object]] = [server.save, restarted, server.pause, server.roll_back, server.wipe]
    async with Partition(tmp_path, open_boards=open_boards) as partition:
        await partition.feed([rules(RULES), one(ann=5, bob=3)])
        await resting(partition)
        for deed in deeds:
            await partition.feed([one(ann=1)])
            await asyncio.to_thread(deed)
            await partition.feed([one(bob=1)])
            if deed == server.pause:
                await partition.until(lambda: bool(partition.worker.publisher.trouble))
                await partition.worker.settle()
                server.resume()
        await resting(partition)
        outside = Outside(partition.boards)
        assert await shown(outside) == await shown(outside, DAY) == {"ann": 10, "bob": 8}
        assert await mark(outside) == Mark(1, 12)
