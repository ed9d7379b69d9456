"""The measurement runs and its figures make sense; how good they are is the benchmark's business."""

from __future__ import annotations

from itertools import count

from accrue.boards.measure import measure
from accrue.boards.memory import MemoryBoards


async def test_a_small_board_is_measured_by_the_clock_that_is_passed() -> None:
    ticks = count()

    figures = await measure(lambda: MemoryBoards(instance="one"), members=2_000, seconds=lambda: float(next(ticks)))

    assert figures.members == 2_000
    assert 100 < figures.bytes_per_member < 400
    assert figures.publish_new_us_per_row == figures.publish_known_us_per_row == 1e6 / 2_000
    assert figures.refresh_ms == 1e3
    assert figures.rank.p50_us == figures.rank.p99_us == figures.top_10.p99_us == 1e6
