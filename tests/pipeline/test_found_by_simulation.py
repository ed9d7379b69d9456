"""What the simulation found, each as small as it could be made."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pipeline.partition import Partition, event, program, record

DAY_US = 86_400_000_000
START_US = 1_774_569_600_000_000
RULES = """
[metrics.points]

[boards.daily]
metric = "points"
periods = ["all", "day"]

[[rules]]
on = "given"
give = [{ to = "actor", metric = "points", amount = "value" }]
"""


async def test_a_settlement_that_overtakes_the_publication_does_not_stop_the_fold_for_ever(tmp_path: Path) -> None:
    """What is settled before it is published still counts as dirty. If that alone is more than may be dirty, waiting
    for a settlement is waiting for ever, because there is nothing left to settle."""
    async with Partition(tmp_path, settle_dirty_rows=2, tick_s=0.01) as where:
        await where.feed([record([program(RULES)], times_us=[START_US], log_time_us=START_US)])
        await where.caught_up()
        await where.settle()
        await where.restart()  # so that the fold has to ask the book about everybody, and a settlement begins meanwhile
        load, settling = where.book.load, []

        async def slow_load(*asked: Any) -> Any:
            settling.append(asyncio.create_task(where.worker.settle()))
            for _ in range(5):
                await asyncio.sleep(0)
            return await load(*asked)

        where.book.load = slow_load
        events = [event("given", f"e{n}", actor=f"user {n}", value=1) for n in range(20)]
        await where.feed([record(events, times_us=[START_US] * 20, log_time_us=START_US)])
        await where.feed([record([event("given", "last", actor="ann", value=1)], times_us=[START_US], log_time_us=1)])

        await where.caught_up()
        await asyncio.gather(*settling)


async def test_who_is_given_nothing_stands_on_the_board_of_that_day_in_any_order(tmp_path: Path) -> None:
    events = [event("given", "a", actor="ann", value=0), event("given", "b", actor="ann", value=5)]
    times_us = [START_US, START_US + DAY_US]
    shown = []
    for name, order in (("one", (0, 1)), ("other", (1, 0))):
        async with Partition(tmp_path / name) as where:
            await where.feed([record([program(RULES)], times_us=[START_US], log_time_us=START_US)])
            for at in order:
                await where.feed([record([events[at]], times_us=[times_us[at]], log_time_us=START_US)])
            await where.caught_up()
            await where.settle()
            shown.append([where.tally("points", "ann", period) for period in ("all", "2026-03-27", "2026-03-28")])
    assert shown == [[5, 0, 5], [5, 0, 5]]
