"""Counted once, through the whole way: whatever the filter says, across settlements and restarts, and as long as the
published window says when memory is short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import pytest
from structlog.testing import capture_logs

from accrue import Accrue
from accrue.clock import ManualClock
from accrue.config import Config, ProcessConfig
from accrue.process.outcome import APPLIED, CONFLICTING, REPEATED
from accrue.process.repeats import RepeatIndex
from accrue.process.repeats.filter import Filter, Indexes, Probe
from accrue.process.repeats.index import Sizes
from accrue.server import create_app
from pipeline.partition import Partition, event, program, record

NOW_US = 1_795_237_200_000_000
HOUR_US = 3_600_000_000
RULES = """
[metrics.points]
[metrics.days]
[[rules]]
on = "a"
give = [{ to = "actor", metric = "points", amount = "value" }]
[[rules]]
name = "once a day"
on = "a"
once = ["actor", "day"]
give = [{ to = "actor", metric = "days" }]
[[rules]]
name = "once ever"
on = "a"
once = ["actor"]
give = [{ to = "actor", metric = "days", amount = 100 }]
"""
SMALL = Sizes(head_entries_max=20, merged_entries_max=200, shelf_entries_min=64, few_keys=3, parts=4)
FIRST = record([program(RULES)], times_us=[NOW_US], log_time_us=NOW_US)


class AlwaysMaybe(Filter):
    """A filter that never saves a look-up."""

    def maybe(self, keys: Probe) -> Indexes:
        return np.arange(keys.high.size)

    def maybe_one(self, place: int, first_bits: int, low: int) -> bool:
        return True


@pytest.mark.parametrize("new_filter", [Filter, AlwaysMaybe])
async def test_each_event_counts_once_also_when_the_filter_always_says_maybe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_filter: type[Filter]
) -> None:
    monkeypatch.setattr("accrue.process.world.Sizes", lambda: SMALL)
    monkeypatch.setattr("accrue.process.world.ONE_BY_ONE", SMALL)
    monkeypatch.setattr("accrue.process.world.RepeatIndex", partial(RepeatIndex, new_filter=new_filter))
    chance = Random(7)
    sent: dict[str, dict[str, Any]] = {}
    points: dict[str, int] = {}
    conflicts: list[tuple[str, str]] = []
    async with Partition(tmp_path) as partition:
        await partition.feed([FIRST])
        for _ in range(40):
            some, expected = [], []
            for _ in range(25):
                id = f"id-{chance.randrange(600)}"
                new = event("a", id, actor=f"user-{chance.randrange(30)}", value=chance.randrange(1, 5))
                again = sent.get(id)
                if again is None:
                    sent[id] = new
                    points[new["actor"]] = points.get(new["actor"], 0) + new["value"]
                    expected.append(APPLIED)
                elif chance.random() < 0.8:
                    new = again
                    expected.append(REPEATED)
                else:
                    expected.append(REPEATED if new == again else CONFLICTING)
                    conflicts += [(id, str(new["value"]))] * (new != again)
                some.append(new)
            await partition.feed([record(some, times_us=[NOW_US] * len(some), log_time_us=NOW_US)])
            await partition.caught_up()
            assert partition.worker.outcomes(await partition.log.end(0)) == bytes(expected)
            match chance.randrange(4):
                case 0:
                    await partition.worker.settle()
                case 1:
                    await partition.restart()
                    await partition.caught_up()
        await partition.worker.settle()

        assert len(partition.rows("conflicts")) == len(conflicts) > 10  # all of them are kept
        assert [row[2] for row in partition.rows("conflicts")] == [id for id, _ in conflicts]
        assert {user: partition.tally("points", user) for user in points} == points
        assert {partition.tally("days", user) for user in points} == {101}


@asynccontextmanager
async def short_of_memory(folder: Path, clock: ManualClock) -> AsyncIterator[Accrue]:
    """An engine that remembers 64 ids, in parts of 4, though a day is asked for."""
    (folder / "program.toml").write_text(RULES)
    config = Config(
        data_dir=folder / "data",
        program=folder / "program.toml",
        process=ProcessConfig(tick_ms=1, repeat_size_bytes_max=2 * 64 * 20),
    )
    async with Accrue.open(config, clock=clock) as accrue:
        yield accrue


async def test_when_memory_is_short_the_oldest_ids_go_early_and_that_is_published_and_alarmed(tmp_path: Path) -> None:
    clock = ManualClock(NOW_US)

    async def send(id: str, accrue: Accrue) -> str:
        return (await accrue.track("a", id=id, actor="ann", value=1, wait="applied")).outcome

    async with short_of_memory(tmp_path, clock) as accrue:
        assert accrue.parts.worker.status().repeat_window_us == 24 * HOUR_US
        for hour in range(12):
            for number in range(10):
                assert await send(f"{hour}:{number}", accrue) == "applied"
            clock.advance(seconds=3_600)
        with capture_logs() as said:
            await accrue.settle()

        window_us = accrue.parts.worker.status().repeat_window_us
        assert window_us is not None
        assert 4 * HOUR_US <= window_us <= 7 * HOUR_US  # 64 ids at 10 an hour
        (alarm,) = [entry for entry in said if entry["log_level"] == "warning"]
        assert "repeat_size_bytes_max" in alarm["event"]
        assert (alarm["index"], alarm["effective_window_s"]) == ("events", window_us / 1_000_000)
        transport = httpx.ASGITransport(create_app(accrue))  # type: ignore[arg-type]  # ours is wider
        async with httpx.AsyncClient(transport=transport, base_url="http://accrue") as client:
            assert (await client.get("/readyz")).json()["partitions"][0]["repeat_window_s"] == window_us / 1_000_000
            figures = (await client.get("/metrics")).text
        assert f'accrue_repeat_window_seconds{{partition="0"}} {window_us / 1_000_000}' in figures
        assert f'accrue_repeats_forgotten_early_total{{partition="0"}} {alarm["forgotten_early"]}.0' in figures

    async with short_of_memory(tmp_path, clock) as accrue:  # a restart brings nothing back that was forgotten
        within = 11 - window_us // HOUR_US + 1
        assert {await send(f"{hour}:0", accrue) for hour in range(within, 12)} == {"repeated"}
        assert await send("0:0", accrue) == "applied"  # too late to be known
