"""The mark of a tenant's boards comes to where the fold is, also when its rows were sent before the fold got there."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from accrue.process import worker as looping
from accrue.process.worker import COMPRESS_IN_THREAD_BYTES_MIN
from pipeline.partition import TENANT, Partition, event, program, record

NOW_US = 1_774_569_600_000_000
RULES = """
[metrics.points]
[[rules]]
on = "a"
give = [{ to = "actor", metric = "points" }]
[boards.best]
metric = "points"
"""


def one(id: str, **data: Any) -> bytes:
    return record([event("a", id, actor="ann", data=data)], times_us=[NOW_US], log_time_us=NOW_US)


async def test_rows_that_were_sent_early_move_the_mark_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([record([program(RULES)], times_us=[NOW_US], log_time_us=NOW_US), one("1")])
        await partition.caught_up()
        # Given a large record, whose events are folded while it is still being compressed in a thread,
        worker, compressed, pack = partition.worker, threading.Event(), looping.pack

        def packing(segment: Any, group: Any) -> None:
            assert compressed.wait(10)
            pack(segment, group)

        monkeypatch.setattr(looping, "pack", packing)
        await partition.feed([one("2", text="x" * COMPRESS_IN_THREAD_BYTES_MIN)])
        # when somebody lets the changes be sent just then
        async with asyncio.timeout(10):
            while not worker.world.heard:  # noqa: ASYNC110 - the fold sets no event there
                await asyncio.sleep(0)
        assert worker.position == 2
        await worker.publisher.publish(worker.position)
        assert await partition.boards.marks([TENANT]) == [(worker.checkpoint.epoch, 2)]
        compressed.set()
        # then the mark is where the fold is, as soon as it says so: who waits for the position reads the mark.
        await partition.caught_up()
        assert worker.position == 3
        assert await partition.boards.marks([TENANT]) == [(worker.checkpoint.epoch, 3)]
        assert not worker.publisher.waits
