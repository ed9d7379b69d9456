"""Who holds which award: what is settled, what is not, and what changed hands in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.partition import TENANT, Partition, event, program, record

NOW_US = 1_774_569_600_000_000
RULES = """
[metrics.points]
[metrics.likes]
of = "object"
[[rules]]
on = "scored"
give = [{ to = "actor", metric = "points", amount = "value" }]
[[rules]]
on = "liked"
give = [{ to = "object", metric = "likes", amount = "value" }]
[badges.scorer]
levels = { low = "points >= 1", high = "points >= 5" }
revocable = true
[badges.liked]
subject = "object"
when = "likes >= 1"
revocable = true
"""


@pytest.fixture
async def partition(tmp_path: Path) -> AsyncIterator[Partition]:
    async with Partition(tmp_path, entries_in_memory_max=1) as opened:
        await opened.feed([record([program(RULES)], times_us=[NOW_US], log_time_us=NOW_US)])
        yield opened


async def happened(partition: Partition, type: str, value: int, **who: str) -> None:
    id = str(await partition.log.end(0))
    one = record([event(type, id, value=value, **who)], times_us=[NOW_US], log_time_us=NOW_US)
    await partition.feed([one])
    await partition.caught_up()


async def held(partition: Partition, holder: str) -> list[tuple[str, str, str]]:
    return [(row.badge, row.level, row.subject) for row in await partition.live.holdings(TENANT, holder)]


@pytest.mark.parametrize("settles", [set(), {0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}, {3}])
async def test_holdings_follow_what_is_earned_lost_and_earned_by_another(
    partition: Partition, settles: set[int]
) -> None:
    async def step(number: int) -> None:
        if number in settles:  # and with it everything that can be is evicted
            await partition.settle()

    await happened(partition, "liked", 1, object="p1", owner="ann")
    await happened(partition, "liked", 1, object="p2", owner="ann")
    await happened(partition, "scored", 5, actor="ann")
    assert await held(partition, "ann") == [("liked", "", "p1"), ("liked", "", "p2"), *scorer("low", "high")]
    await step(0)
    assert await held(partition, "ann") == [("liked", "", "p1"), ("liked", "", "p2"), *scorer("low", "high")]

    await happened(partition, "liked", -1, object="p1", owner="ann")
    await happened(partition, "scored", -4, actor="ann")
    assert await held(partition, "ann") == [("liked", "", "p2"), *scorer("low")]
    await step(1)
    assert await held(partition, "ann") == [("liked", "", "p2"), *scorer("low")]

    await happened(partition, "liked", 1, object="p1", owner="bob")
    assert await held(partition, "ann") == [("liked", "", "p2"), *scorer("low")]
    assert await held(partition, "bob") == [("liked", "", "p1")]
    await step(2)
    await step(3)
    assert await held(partition, "bob") == [("liked", "", "p1")]
    for number in range(3):  # what was noted goes, and stays known
        await happened(partition, "scored", 1, actor=f"user {number}")
        await partition.settle()
        assert await held(partition, "bob") == [("liked", "", "p1")]
        assert await held(partition, "ann") == [("liked", "", "p2"), *scorer("low")]


def scorer(*levels: str) -> list[tuple[str, str, str]]:
    return [("scorer", level, "ann") for level in sorted(levels)]


async def test_what_is_noted_of_awards_is_forgotten_two_settlements_later(partition: Partition) -> None:
    for number in range(6):
        await happened(partition, "liked", 1, object=f"p{number}", owner="ann")
        await partition.settle()
    earned = partition.worker.world.tenants[TENANT].earned
    assert [subject for _, subject in earned.of("ann")] == ["p4", "p5"]


async def test_a_read_of_holdings_does_not_walk_all_that_is_not_settled(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    await happened(partition, "liked", 1, object="p1", owner="ann")

    def all_of_it(*_: object) -> object:
        raise AssertionError("everything unsettled was joined for one read")

    monkeypatch.setattr(partition.worker.world.tenants[TENANT], "unsettled", all_of_it)
    assert await held(partition, "ann") == [("liked", "", "p1")]
