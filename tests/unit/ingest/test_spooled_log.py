"""The way to a log that goes out of reach: straight, or round by the spool, in order, and nobody waits for the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from accrue.errors import AccrueError, Corrupt, Full, TooLarge, Unavailable
from accrue.ingest.joining import SAME_US
from accrue.ingest.parked import parked
from accrue.ingest.spool import Spool, SpoolLimits
from accrue.ingest.spooled_log import CLOCKS_APART_US_MAX, SpooledLog, age_us_max
from accrue.testing.loop import START_US, LoopClock, SimulatedLoop
from unit.ingest.unsteady import HOUR_US, LOG, TIMES, UnsteadyLog, answers, parts, record, simulated, spooled, until

Work = Callable[[SimulatedLoop], Coroutine[None, None, None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


RECORDS = [record(number, time_us=START_US) for number in range(60)]


def test_while_the_log_answers_everything_goes_straight_there(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog()
        async with spooled(log, path, LoopClock(loop)) as way:
            positions = [await way.append(partition, RECORDS[0]) for partition in (0, 1, 0)]

            assert positions == [1, 1, 2]
            assert (way.status().waiting, way.status().trouble) == (0, None)

    simulated(work)


def test_while_it_is_out_of_reach_all_is_spooled_and_only_the_forwarder_asks(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="refused"))
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in RECORDS:
                assert await way.append(0, each) is None

            assert log.asked <= 3  # 60 times about half a millisecond; it is asked again after a tenth of a second
            assert way.status().waiting == len(RECORDS)
            assert way.status().trouble == "No connection."
            await asyncio.sleep(20)
            assert way.status().out_of_reach_s > 19
            assert log.asked < 20
            assert not log.records

            log.answer = answers()
            await until(lambda: not way.status().waiting)

            assert log.records == {0: RECORDS}
            assert (way.status().trouble, way.status().forwarded) == (None, len(RECORDS))
            assert await way.append(0, b"straight") is not None

    simulated(work)


def test_a_log_that_hangs_is_waited_for_once(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="hangs"))
        async with spooled(log, path, LoopClock(loop)) as way:
            began = loop.time()
            assert await way.append(0, RECORDS[0]) is None
            first_s = loop.time() - began
            for each in RECORDS[1:]:
                assert await way.append(0, each) is None
            others_s = loop.time() - began - first_s

            assert TIMES.log_wait_s_max <= first_s < TIMES.log_wait_s_max + 0.1
            assert others_s < 0.2
            assert "did not answer" in (way.status().trouble or "")

    simulated(work)


@pytest.mark.parametrize("unknown", ["stored", "stored, hangs"])
def test_what_nobody_knows_of_is_sent_again_and_keeps_its_place(path: Path, unknown: str) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers("good", unknown, unknown))
        async with spooled(log, path, LoopClock(loop)) as way:
            given = [await way.append(0, each) for each in RECORDS[:4]]

            assert given == [1, None, None, None]
            await until(lambda: not way.status().waiting)
            assert list(dict.fromkeys(log.records[0])) == RECORDS[:4]
            # straight; all that wait; half of them and the rest, as nobody knows of those either
            assert [len(parts(each)) for each in log.stored[0]] == [1, 1, 3, 1, 2]

    simulated(work)


@pytest.mark.parametrize(("answer", "error"), [("full", Full), ("too large", TooLarge), ("corrupt", Corrupt)])
def test_what_a_log_says_that_answers_is_not_spooled(path: Path, answer: str, error: type[AccrueError]) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(answer))
        async with spooled(log, path, LoopClock(loop)) as way:
            with pytest.raises(error):
                await way.append(0, RECORDS[0])

            assert await way.append(0, RECORDS[1]) == 1
            assert (log.records, way.status().waiting) == ({0: [RECORDS[1]]}, 0)

    simulated(work)


def test_a_full_log_leaves_in_the_spool_what_is_there(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers("refused", "full", "full", "full"))
        async with spooled(log, path, LoopClock(loop)) as way:
            assert await way.append(0, RECORDS[0]) is None
            await until(lambda: not way.status().waiting)

            assert log.records == {0: RECORDS[:1]}

    simulated(work)


def test_what_is_too_old_when_the_log_is_back_is_parked_and_the_rest_forwarded(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        clock = LoopClock(loop)
        log = UnsteadyLog(answers(then="refused"))
        sent = []
        async with spooled(log, path, clock) as way:
            for number in range(48):  # one an hour
                sent.append(record(number, time_us=clock.now_us(), events=2))
                assert await way.append(0, sent[-1]) is None
                loop.skip(3_600)
                await asyncio.sleep(0)
            log.answer = answers()
            await until(lambda: not way.status().waiting)

            late = [each for each in sent if each not in log.records[0]]
            assert log.records[0] == sent[len(late) :]
            assert len(late) in (24, 25)
            assert (way.status().parked_records, way.status().parked_events) == (len(late), 2 * len(late))
            kept = await parked(path)
            assert min(each.parked_us - each.log_time_us for each in kept) > TIMES.age_us_max
            assert len(kept) == len(late)
            assert {each.reason.split(" when ")[0] for each in kept} == {"older than the repeat window"}
            assert await way.append(0, b"straight") is not None

    simulated(work)


def test_the_age_leaves_room_for_clocks_that_differ() -> None:
    assert age_us_max(24 * HOUR_US) == 24 * HOUR_US - CLOCKS_APART_US_MAX
    assert age_us_max(HOUR_US // 2) == HOUR_US // 4


def test_what_an_earlier_process_left_is_forwarded_before_anything_new(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        clock = LoopClock(loop)
        log = UnsteadyLog(answers(then="refused"))
        async with spooled(log, path, clock) as way:
            for each in RECORDS[:5]:
                await way.append(7, each)
        log.answer = answers()

        await asyncio.sleep(100)
        async with spooled(log, path, clock) as way:
            assert way.status().trouble == "The log was not asked yet."
            assert way.status().out_of_reach_s == 0
            new = [await way.append(7, each) for each in RECORDS[5:20]]
            await until(lambda: not way.status().waiting)

            assert new[0] is None
            assert log.records == {7: RECORDS[:20]}

    simulated(work)


def test_a_partition_that_is_out_of_reach_does_not_hold_up_the_others(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        class OneHangs(UnsteadyLog):
            async def append(self, partition: int, record: bytes) -> int:
                self.answer = answers("hangs" if partition == 1 else "good")
                return await super().append(partition, record)

        log = OneHangs()
        async with spooled(log, path, LoopClock(loop)) as way:
            assert await way.append(1, RECORDS[0]) is None
            assert await way.append(0, RECORDS[1]) == 1
            assert log.records == {0: [RECORDS[1]]}

    simulated(work)


def test_the_spool_empties_however_busy_it_is_and_slow_the_log(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="refused"), takes_s=0.02)  # a spooled record takes 0.0005
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in RECORDS[:20]:
                await way.append(0, each)
            log.answer = answers()
            await until(lambda: way.status().trouble is None)
            came = 0
            while await way.append(0, RECORDS[20 + came]) is None:
                came += 1

            assert log.records[0] == RECORDS[: 20 + came + 1]

    simulated(work)


# When the spool fails too


def test_past_the_bounds_of_the_spool_nothing_is_taken_and_what_was_is_forwarded(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="refused"))
        async with spooled(log, path, LoopClock(loop), limits=SpoolLimits(records_max=3)) as way:
            for each in RECORDS[:3]:
                assert await way.append(0, each) is None
            for each in RECORDS[3:30]:
                with pytest.raises(Unavailable, match="holds all it may") as refused:
                    await way.append(0, each)
                assert not isinstance(refused.value, Full)
            assert way.status().waiting == 3
            assert log.asked <= 3

            log.answer = answers()
            await until(lambda: not way.status().waiting)
            assert log.records == {0: RECORDS[:3]}
            assert await way.append(0, RECORDS[30]) is not None

    simulated(work)


def test_with_a_full_disk_nothing_is_taken_and_nobody_waits_for_the_log(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="hangs"))
        clock = LoopClock(loop)
        spool = await Spool.open(path, log_identity=LOG)
        way = SpooledLog(log, spool, clock, times=TIMES)
        running = asyncio.ensure_future(way.run())
        await spool._thread.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
        large = record(1, time_us=START_US, size_bytes=100_000)

        began = loop.time()
        for _ in range(20):
            with pytest.raises(Full):
                await way.append(0, large)
        assert loop.time() - began < TIMES.log_wait_s_max + 1
        assert way.status().waiting == 0

        log.answer = answers()
        await until(lambda: way.status().trouble is None)
        assert await way.append(0, large) == 1
        assert log.records == {0: [large]}
        running.cancel()
        await spool.close()

    simulated(work)


def test_what_cannot_be_removed_is_forwarded_once_in_a_life(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers("refused"))
        async with spooled(log, path, LoopClock(loop)) as way:
            stuck = True
            remove = way._spool.remove

            async def fail(*args: object, **named: object) -> None:
                if stuck:
                    raise Full("No room to delete.")
                await remove(*args, **named)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(way._spool, "remove", fail)
                assert await way.append(0, RECORDS[0]) is None
                await until(lambda: way.status().forwarded == 1)
                await asyncio.sleep(30)
                assert log.records == {0: RECORDS[:1]}
                assert await way.append(0, RECORDS[1]) == 2  # nothing waits any more: it is only still in the file

                stuck = False
                await until(lambda: not way.status().waiting)
        assert log.records == {0: RECORDS[:2]}

    simulated(work)


def test_nothing_is_put_into_another_log(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="refused"))
        async with spooled(log, path, LoopClock(loop)) as way:
            await way.append(0, RECORDS[0])
        log.answer, log.identity = answers(), "a new one"
        spool = await Spool.open(path, log_identity=LOG)

        with pytest.raises(Corrupt, match="Nothing was forwarded"):
            await SpooledLog(log, spool, LoopClock(loop), times=TIMES).run()

        assert not log.records
        assert spool.fill.waiting == {0: 1}
        await spool.close()

    simulated(work)


def test_what_is_damaged_in_the_file_never_gets_into_the_log(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        spool = await Spool.open(path, log_identity=LOG)
        for each in (*RECORDS[:3], RECORDS[3][:-1], RECORDS[4]):
            await spool.add(0, each)
        log = UnsteadyLog()

        with pytest.raises(Corrupt, match="cannot be read"):
            await SpooledLog(log, spool, LoopClock(loop), times=TIMES).run()

        assert log.records == {0: RECORDS[:3]}
        assert len(await spool.after(0, 3)) == 2
        await spool.close()

    simulated(work)


def test_when_the_spool_holds_nothing_and_takes_nothing_nobody_waits_for_the_log_either(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="hangs"))
        async with spooled(log, path, LoopClock(loop), limits=SpoolLimits(size_bytes_max=10)) as way:
            began = loop.time()
            for each in RECORDS[:30]:
                with pytest.raises(Unavailable, match="holds all it may"):
                    await way.append(0, each)
            assert loop.time() - began < TIMES.log_wait_s_max + 1

            log.answer = answers()
            await until(lambda: way.status().trouble is None)
            assert await way.append(0, RECORDS[30]) == 1

    simulated(work)


def test_what_nobody_knows_to_be_in_the_file_is_looked_for(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers(then="refused"), takes_s=0.05)
        sent = [record(number, time_us=START_US + number * SAME_US) for number in range(4)]  # each goes alone
        async with spooled(log, path, LoopClock(loop)) as way:
            for each in sent[:2]:
                await way.append(0, each)
            log.answer = answers()
            await until(lambda: way.status().trouble is None)  # now the second one is on its way
            thread = way._spool._thread
            run = thread.run

            async def then_fail(*args: object) -> None:
                thread.run = run  # type: ignore[method-assign]
                await run(*args)  # type: ignore[arg-type]
                raise Unavailable("The disk failed.")

            thread.run = then_fail  # type: ignore[method-assign, assignment]
            with pytest.raises(Unavailable, match="disk failed"):
                await way.append(0, sent[2])

            await until(lambda: len(log.records[0]) == 3)
            await until(lambda: way._spool.is_sure)
            assert log.records == {0: sent[:3]}
            assert way.status().waiting == 0
            assert await way.append(0, sent[3]) == 4

    simulated(work)


def test_what_comes_while_the_file_is_found_empty_keeps_its_place(path: Path) -> None:
    async def work(loop: SimulatedLoop) -> None:
        log = UnsteadyLog(answers("refused"))
        async with spooled(log, path, LoopClock(loop), limits=SpoolLimits(size_bytes_max=1_000)) as way:
            with pytest.raises(Unavailable):
                await way.append(0, record(99, time_us=START_US, size_bytes=1_000))
            assert way.status().trouble
            assert not way.status().waiting
            after, coming = way._spool.after, []

            async def meanwhile(partition: int, number: int) -> object:
                found = await after(partition, number)
                if not coming:
                    coming.append(asyncio.ensure_future(way.append(0, RECORDS[0])))
                    await asyncio.sleep(0)
                return found

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(way._spool, "after", meanwhile)
                await until(lambda: bool(coming))
                await until(lambda: way.status().trouble is None)
                assert await coming[0] is None
                await way.append(0, RECORDS[1])
                await until(lambda: len(log.records[0]) == 2)

            assert log.records == {0: RECORDS[:2]}

    simulated(work)
