"""A log that drops records by itself may not come near what is not settled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from accrue.clock import ManualClock
from accrue.log.base import Retention
from accrue.process.retention_alarm import danger, watch_retention

WEEK = Retention(age_s=7 * 86_400)
HOUR_US = 3_600_000_000


def test_all_that_is_settled_may_be_dropped() -> None:
    assert danger(WEEK, begin=90, end=100, settled=100, late_us=400 * HOUR_US) is None


@pytest.mark.parametrize(("late_h", "told"), [(83, False), (85, True)])
def test_what_waits_longer_than_half_the_age_is_told(late_h: int, told: bool) -> None:
    said = danger(WEEK, begin=1, end=100, settled=90, late_us=late_h * HOUR_US)
    assert (said is not None and f"{late_h * 3600} s ago" in said) is told


@pytest.mark.parametrize(("settled", "told"), [(150, False), (140, True)])
def test_by_size_it_is_told_once_half_of_what_is_left_is_not_settled(settled: int, told: bool) -> None:
    said = danger(Retention(size_bytes=1 << 30), begin=101, end=200, settled=settled, late_us=0)
    assert (said is not None) is told


def test_a_log_that_never_dropped_anything_is_as_long_as_it_is() -> None:
    assert danger(Retention(size_bytes=1 << 30), begin=1, end=200, settled=0, late_us=0) is None


class Ends:
    """A log of so many positions that drops what is a week old."""

    def __init__(self, end: int) -> None:
        self.positions = end

    async def retention(self) -> Retention:
        return WEEK

    async def begin(self, partition: int) -> int:
        return 1

    async def end(self, partition: int) -> int:
        return self.positions


async def test_a_new_partition_and_one_that_was_idle_are_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = ManualClock(), Ends(end=5)
    worker: Any = SimpleNamespace(partition=0, checkpoint=SimpleNamespace(position=0, log_time_us=0))
    looks = iter([(60, 5, 5), (400 * 3600, 5, 5), (60, 6, 5), (85 * 3600, 6, 5)])  # settled; idle; one more; stuck

    async def passes(_: float) -> None:
        seconds, log.positions, worker.checkpoint.position = next(looks)
        clock.advance(seconds=seconds)

    monkeypatch.setattr("accrue.process.retention_alarm.asyncio.sleep", passes)
    with capture_logs() as said, pytest.raises((StopIteration, RuntimeError)):
        await watch_retention(worker, cast(Any, log), clock)
    assert [entry["log_level"] for entry in said] == ["error"]
