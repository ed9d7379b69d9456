"""Whatever happened, the book verifies; and a replay under other rules is a fold under those rules, which verifies too.

The streams are those of test_function_of_the_log.py: retractions, failed events, conflicts, late events, periods that
close, programs that change, over the days on which the clocks do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings

from accrue.errors import Misconfigured
from accrue.process.replay.report import Report
from accrue.process.replay.whatif import Effect
from pipeline.partition import Partition, event, program, record
from pipeline.refolded import order_for, replayed, tried, verified
from pipeline.test_function_of_the_log import (
    OTHER_RULES,
    START_US,
    Log,
    every,
    folded,
    partition,
    plans,
    some_examples,
    streams,
)

Stream = list[tuple[dict[str, Any], int]]
CHANGED_BY_RULES = ("tallies", "awards", "streaks", "attributes", "applied_events")


def sound(report: Report) -> None:
    assert report.is_sound, [*report.faults, *(found.text for found in report.differences)]


@given(streams(), plans)
@settings(some_examples, max_examples=8)
async def test_whatever_happened_the_book_verifies(stream: Stream, plan: Sequence[str]) -> None:
    log = Log(stream, every(4), hours=3)
    async with partition(entries_in_memory_max=20) as where:
        await folded(log, where, plan)
        await where.stop()
        sound(await verified(where))
        await where.begin()


@given(streams(), plans)
@settings(some_examples, max_examples=5)
async def test_a_replay_under_other_rules_is_a_fold_under_those_rules(stream: Stream, plan: Sequence[str]) -> None:
    """Every program in the stream but the broken one is replaced; what rules decide must come out the same, and the
    final standings must be those that were given."""
    log = Log(stream, every(4), hours=3)
    async with partition() as where, partition() as other:
        await folded(log, where, plan)
        await where.stop()
        given_before = where.rows("board_results")
        assert isinstance(await replayed(where, order_for(OTHER_RULES)), Effect)
        assert where.rows("board_results") == given_before
        instead = [({**each, "program": _instead(each)} if "program" in each else each, at) for each, at in stream]
        await folded(Log(instead, every(4), hours=3), other)
        for table in CHANGED_BY_RULES:
            assert where.rows(table) == other.rows(table), table
        # It is a truth like any other: the engine goes on from it, and everything verifies.
        sound(await verified(where))
        await where.begin()
        await fed(where, posted(1_000, "ann", 3), hour=24 * 365)
        await where.stop()
        sound(await verified(where))
        rebuilt = await replayed(where, None)
        assert isinstance(rebuilt, Report)
        sound(rebuilt)
        await where.begin()


def _instead(each: dict[str, Any]) -> str:
    return "rubbish" if each["program"] == "rubbish" else "other"


# --- by hand ----------------------------------------------------------------------------------------------------

HOUR_US = 3_600_000_000
POSTS = 'give = [{ to = "actor", metric = "points", amount = "%s" }]'
BOARD = """
[metrics.points]
[[rules]]
on = "posted"
%s
[boards.top]
metric = "points"
periods = ["all", "day"]
"""
ONE, TWO, THREE = (BOARD % (POSTS % amount) for amount in ("value", "-value", "value * value"))


def posted(number: int, actor: str, value: int) -> dict[str, Any]:
    return event("posted", f"e{number}", actor=actor, value=value)


async def fed(where: Partition, *events: dict[str, Any], hour: int = 0) -> None:
    """One record, folded and settled."""
    await where.feed([record(events, times_us=[START_US] * len(events), log_time_us=START_US + hour * HOUR_US)])
    await where.caught_up()
    await where.settle()


def close(id: str) -> dict[str, Any]:
    return {"type": "accrue.close", "id": id, "data": {"period": "2026-03-27"}}


def standings(where: Partition, period: str = "2026-03-27") -> list[tuple[int, str, str]]:
    return [(row[3], row[6], row[7]) for row in where.rows("board_results") if row[2] == period]


async def test_final_standings_stay_as_they_were_given_through_two_replays() -> None:
    async with partition() as where:
        await fed(where, program(ONE), posted(1, "ann", 3), posted(2, "bob", 5))
        await fed(where, close("c1"))
        given_then = standings(where)
        assert given_then == [(1, "bob", "[5]"), (2, "ann", "[3]")]
        await where.stop()
        await replayed(where, order_for(TWO, "r1"))
        await where.begin()
        assert where.tally("points", "bob") == -5
        second = {**posted(3, "cat", 7)}
        day = START_US + 24 * HOUR_US
        await where.feed([record([second, posted(4, "ann", 2)], times_us=[day, day], log_time_us=day)])
        await fed(where, {"type": "accrue.close", "id": "c2", "data": {"period": "2026-03-28"}}, hour=30)
        under_two = standings(where, "2026-03-28")
        assert under_two == [(1, "ann", "[-2]"), (2, "cat", "[-7]")]
        await where.stop()
        await replayed(where, order_for(THREE, "r2"))
        assert where.tally("points", "cat") == 49
        assert standings(where) == given_then
        assert standings(where, "2026-03-28") == under_two
        sound(await verified(where))
        await where.begin()


async def test_a_period_closed_before_a_replay_is_not_closed_again_under_it() -> None:
    async with partition() as where:
        await fed(where, program(ONE), posted(1, "ann", 3))
        await fed(where, close("c1"))
        await where.stop()
        await replayed(where, order_for(ONE.replace('"day"', '"week"')))
        periods = {row[1]: row[3] for row in where.rows("periods")}
        assert periods["2026-03-27"] > 0
        assert where.rows("failed_events") == []
        sound(await verified(where))
        await where.begin()


async def test_a_replay_that_was_decided_and_not_finished_stops_the_engine_until_it_is() -> None:
    async with partition() as where:
        await fed(where, program(ONE), posted(1, "ann", 3))
        await where.stop()
        old_book = where.file.read_bytes()
        await replayed(where, order_for(TWO), swapped=False)  # the process died before the swap
        assert where.file.read_bytes() == old_book
        await where.begin()
        with pytest.raises(Misconfigured, match="accrue replay"):
            await where.running
        await where.stop()
        assert where.tally("points", "ann") == 3
        assert await replayed(where, None) is None  # finished: the two books cannot be compared
        assert where.tally("points", "ann") == -3
        await where.begin()
        await fed(where, posted(2, "bob", 1), hour=1)
        assert where.tally("points", "bob") == -1
        await where.stop()
        sound(await verified(where))
        await where.begin()


async def test_what_the_log_has_beyond_the_book_is_replayed_too() -> None:
    async with partition() as where:
        await fed(where, program(ONE), posted(1, "ann", 3))
        await where.feed([record([posted(2, "bob", 4)], times_us=[START_US], log_time_us=START_US + HOUR_US)])
        await where.caught_up()
        await where.stop()  # not settled
        assert where.tally("points", "bob") is None
        assert isinstance(await replayed(where, order_for(TWO)), Effect)
        assert (where.tally("points", "ann"), where.tally("points", "bob")) == (-3, -4)
        sound(await verified(where))
        await where.begin()


async def test_a_damaged_book_is_repaired_by_a_replay() -> None:
    async with partition() as where:
        await fed(where, program(ONE), posted(1, "ann", 3), posted(2, "bob", 5))
        await where.stop()
        with where.by_hand() as book:
            book.execute("UPDATE tallies SET value = 4 WHERE subject = 'ann'")
            book.execute("DELETE FROM tallies WHERE subject = 'bob'")
        report = await replayed(where, None)
        assert isinstance(report, Report)
        assert report.differing == {"tallies": 4}  # two subjects, in all and on the day
        sound(await verified(where))
        await where.begin()


async def test_the_epoch_of_a_rebuilt_book_is_not_behind_the_old_one() -> None:
    async with partition() as where:
        await fed(where, program(ONE), posted(1, "ann", 3))
        for _ in range(5):
            await where.restart()
        before = where.worker.checkpoint.epoch
        await where.stop()
        await replayed(where, None)
        await where.begin()
        assert where.worker.checkpoint.epoch > before


async def test_what_another_program_would_change_is_told() -> None:
    rules = ONE + '[badges.rich]\nwhen = "points >= 4"\n[streaks.days]\non = "posted"\nevery = "day"\n'
    async with partition() as where:
        await fed(where, program(rules), *(posted(n, f"user{n}", n) for n in range(1, 9)))
        await where.stop()
        before = where.file.read_bytes()
        told = await tried(where, rules.replace('"value"', '"9 - 2 * value"').replace(">= 4", ">= 5"))
        (points,) = told.metrics
        assert (points.subjects, points.gaining, points.losing, points.net) == (7, 2, 5, -36)
        assert [(moved.subject, moved.before, moved.after) for moved in points.gains] == [
            ("user1", 1, 7),
            ("user2", 2, 5),
        ]
        assert points.losses[0].subject == "user8"
        (rich,) = told.badges
        assert (rich.won, rich.winners, rich.lost, rich.losers) == (
            2,
            ["user1", "user2"],
            5,
            [f"user{n}" for n in range(4, 9)],
        )
        everybody = told.boards[0]
        assert (everybody.board, everybody.period) == ("top", "all")
        assert [(move.subject, move.before, move.after) for move in everybody.top[:2]] == [
            ("user1", 8, 1),
            ("user2", 7, 2),
        ]
        assert told.streaks == {}
        assert (await tried(where, rules)).is_none
        assert where.file.read_bytes() == before
        await where.begin()
