"""What waits in the spool leaves many records at once, and nobody is the worse for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from accrue.core.record import decode, encode
from accrue.ingest.joining import SAME_US
from accrue.ingest.parked import parked, parked_record
from accrue.testing.loop import START_US, LoopClock, SimulatedLoop
from unit.ingest.unsteady import UnsteadyLog, answers, parts, record, simulated, spooled, until

RECORDS = [record(number, time_us=START_US) for number in range(6)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def test_what_the_log_refuses_for_good_is_parked_and_takes_no_neighbour_with_it(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers("refused"))
        log.too_large = {RECORDS[2], RECORDS[4]}
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in RECORDS:
                assert await way.append(0, each) is None
            await until(lambda: not way.status().waiting)
            assert log.asked == 1 + 1 + 6  # straight, together, one by one

            assert log.stored[0] == [RECORDS[0], RECORDS[1], RECORDS[3], RECORDS[5]]
            assert (way.status().parked_records, way.status().parked_events) == (2, 2)
            kept = await parked(path)
            assert ["More than the log takes" in each.reason for each in kept] == [True, True]
            assert [encode(await parked_record(path, each.number)) for each in kept] == [RECORDS[2], RECORDS[4]]

    simulated(work)


def test_what_waits_leaves_together_as_it_was_accepted(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="refused"))
        sent = [record(number, time_us=START_US + number * 1_000_000, events=3) for number in range(150)]
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in sent:
                assert await way.append(0, each) is None
            log.answer = answers()
            await until(lambda: not way.status().waiting)

            assert log.records == {0: sent}
            assert way.status().forwarded == len(sent)
            times_us = [decode(each).log_time_us for each in log.stored[0]]
            assert times_us == sorted(times_us)  # log time does not run back
            assert {time_us // SAME_US for time_us in times_us} == {
                decode(each).log_time_us // SAME_US for each in sent
            }
            assert len(log.stored[0]) <= 12  # a minute each, and more only where first few are tried

    simulated(work)


def test_an_append_that_is_too_much_for_the_line_is_tried_again_with_half(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers("refused"), size_bytes_max=4_000)
        sent = [record(number, time_us=START_US, size_bytes=900) for number in range(40)]
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in sent:
                assert await way.append(0, each) is None
            await until(lambda: not way.status().waiting)

            assert log.records == {0: sent}
            assert max(len(parts(each)) for each in log.stored[0]) > 1

    simulated(work)


def test_what_alone_is_near_the_limit_goes_alone(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers("refused"), record_size_bytes_max=1_000)
        sizes = (0, 0, 900, 0, 2_000, 0, 0)
        sent = [record(number, time_us=START_US, size_bytes=size) for number, size in enumerate(sizes)]
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in sent:
                assert await way.append(0, each) is None
            await until(lambda: not way.status().waiting)

            assert log.records == {0: sent}
            assert [len(parts(each)) for each in log.stored[0]] == [2, 1, 1, 1, 2]

    simulated(work)


def test_what_comes_while_much_leaves_does_not_wait_for_each_append(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="refused"), takes_s=1.0)
        sent = [record(number, time_us=START_US + number * 6_000_000) for number in range(100)]  # ten a minute
        last_us = START_US + 600_000_000
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in sent:
                await way.append(0, each)
            log.answer = answers()
            await until(lambda: way.status().trouble is None)
            began = loop.time()
            came = [record(number, time_us=last_us) for number in range(100, 106)]
            for each in came[:-1]:
                assert await way.append(0, each) is None
            assert loop.time() - began < 2.0  # five would wait for ten appends, one by one

            await until(lambda: not way.status().waiting)
            assert await way.append(0, came[-1]) is not None
            assert log.records == {0: [*sent, *came]}

    simulated(work)
