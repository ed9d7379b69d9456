"""Taking events back: what they gave goes, after caps and floors, once, whenever the retraction comes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accrue.core.program import ProgramError
from accrue.core.reader import read
from pipeline.partition import Partition, event, program, record

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START_US = 1_774_569_600_000_000  # 2026-03-27 00:00 UTC
DAY = "2026-03-27"

RULES = """
[metrics.points]
[metrics.reputation]
initial = 1
min = 1
[metrics.cents]
scale = 2
[metrics.likes]
[metrics.karma]
initial = 5

[[rules]]
on = "liked"
give = [{ to = "object", metric = "likes" }, { to = "owner", metric = "points", amount = "value" }]
[[rules]]
on = "liked"
give = { to = "owner", metric = "karma" }

[[rules]]
on = "voted"
give = { to = "owner", metric = "reputation", amount = "value" }

[[rules]]
on = "praised"
cap = "daily"
give = { to = "owner", metric = "points", amount = "value" }

[[rules]]
on = "viewed"
give = { to = "owner", metric = "cents", amount = 0.004 }

[[rules]]
name = "first sight"
on = "seen"
once = ["actor"]
give = { to = "actor", metric = "points" }

[[rules]]
on = "fixed"
give = { to = "actor", metric = "points" }

[caps.daily]
metric = "points"
limit = 10

[boards.writers]
metric = "points"
periods = ["all", "day"]

[badges.loved]
when = "points >= 10"
revocable = true
[badges.kept]
when = "points >= 10"
[badges.praiseworthy]
subject = "object"
when = "likes >= 2"
revocable = true
[badges.steady]
when = "streak.writing >= 2"
revocable = true

[streaks.writing]
on = "wrote"
every = "day"

[retract]
types = ["liked", "voted", "praised", "viewed", "seen", "wrote"]
days = 3
"""


def retract(ref: str, id: str) -> dict[str, Any]:
    return {"type": "accrue.retract", "id": id, "ref": ref}


class Told:
    """A partition that is told one event a record, a minute of log time after the other."""

    def __init__(self, where: Partition) -> None:
        self.where = where
        self.log_time_us = START_US
        self.records = 0

    async def __call__(self, *events: dict[str, Any], time_us: int = START_US) -> list[str]:
        """What became of each of these events, all in one record."""
        self.log_time_us += 60_000_000
        times_us = [time_us] * len(events)
        await self.where.feed([record(events, times_us=times_us, log_time_us=self.log_time_us)])
        await self.where.caught_up()
        outcomes = self.where.worker.outcomes(await self.where.log.end(0))
        assert outcomes is not None
        names = ("applied", "repeated", "conflicting", "failed", "unmatched", "retracted")
        return [names[code] for code in outcomes]

    async def tally(self, metric: str, subject: str, period: str = "all") -> int | None:
        await self.where.settle()
        return self.where.tally(metric, subject, period)

    async def awards(self) -> set[tuple[str, str]]:
        """(badge, holder), revoked ones left out."""
        await self.where.settle()
        return {(row[1], row[4]) for row in self.where.rows("awards") if not row[7]}

    async def reasons(self) -> list[str]:
        await self.where.settle()
        return [row[3] for row in self.where.rows("failed_events")]


@pytest.fixture
async def told(tmp_path: Path) -> Any:
    async with Partition(tmp_path) as where:
        told = Told(where)
        await told(program(RULES))
        yield told


def liked(id: str, value: int = 3) -> dict[str, Any]:
    return event("liked", id, actor="eve", object="p", owner="bob", value=value)


async def test_what_an_event_gave_is_taken_back_in_every_period(told: Told) -> None:
    await told(liked("1"), liked("2", 4))
    assert await told(retract("1", "r")) == ["applied"]
    assert await told.tally("points", "bob") == 4
    assert await told.tally("points", "bob", DAY) == 4
    assert await told.tally("karma", "bob") == 6
    assert await told.tally("likes", "p") == 1


async def test_taking_back_twice_takes_back_once(told: Told) -> None:
    await told(liked("1"), liked("2", 4))
    assert await told(retract("1", "r"), retract("1", "r2"), retract("1", "r")) == ["applied", "applied", "repeated"]
    await told.where.settle()
    await told.where.restart()
    assert await told(retract("1", "r3")) == ["applied"]
    assert await told.tally("points", "bob") == 4


async def test_a_retraction_may_come_first_also_in_the_same_record(told: Told) -> None:
    assert await told(retract("1", "r"), retract("2", "r2"), liked("1"), liked("1")) == [
        "unmatched", "unmatched", "retracted", "repeated",
    ]  # fmt: skip
    await told.where.settle()
    await told.where.restart()
    assert await told(liked("2"), liked("3")) == ["retracted", "applied"]
    assert await told.tally("points", "bob") == 3
    assert await told(retract("1", "r4")) == ["applied"]
    assert await told.tally("points", "bob") == 3
    assert {row[1]: row[2] for row in told.where.rows("applied_events")} == {
        "1": "retracted", "2": "retracted", "3": "applied", "r": "retraction", "r2": "retraction", "r4": "retraction",
    }  # fmt: skip


async def test_a_retraction_waits_no_longer_than_the_window(told: Told) -> None:
    await told(retract("1", "r"))
    told.log_time_us += 3 * DAY_US
    assert await told(liked("1")) == ["applied"]
    assert await told.tally("points", "bob") == 3


async def test_a_retraction_cannot_be_retracted(told: Told) -> None:
    await told(liked("1"), retract("1", "r"))
    assert await told(retract("r", "rr")) == ["failed"]
    assert await told.reasons() == ["a retraction cannot be retracted; send the event again, with a new id"]
    assert await told.tally("points", "bob") == 0


@pytest.mark.parametrize("restart", [False, True])
async def test_what_came_too_long_ago_or_is_not_retractable_cannot_be_taken_back(told: Told, restart: bool) -> None:
    await told(liked("0", 0), liked("1"), event("fixed", "2", actor="bob"), retract("2", "r"))
    told.log_time_us += 3 * DAY_US
    if restart:
        await told.where.settle()
        await told.where.restart()
    await told(event("fixed", "3", actor="bob"))
    assert await told(liked("4"), retract("1", "r1"), retract("3", "r3")) == ["applied", "unmatched", "failed"]
    assert await told.tally("points", "bob") == 8
    reason = "the event is not of a type that [retract] names, or came too long ago to be taken back"
    assert await told.reasons() == [reason, reason]
    assert [row[1:3] for row in told.where.rows("applied_events")] == [
        ("1", "awaited"), ("4", "applied"), ("r1", "retraction"),
    ]  # fmt: skip


async def test_after_the_floor(told: Told) -> None:
    """-5 from 4 gave -3: that is what comes back. And a floor holds for what is taken back, too."""
    await told(event("voted", "1", owner="bob", value=3), event("voted", "2", owner="bob", value=-5))
    await told(retract("2", "r2"))
    assert await told.tally("reputation", "bob") == 4
    await told(event("voted", "3", owner="bob", value=-2), retract("1", "r1"))
    assert await told.tally("reputation", "bob") == 1


async def test_after_the_cap_whose_room_stays_used(told: Told) -> None:
    await told(*(event("praised", f"{n}", owner="bob", value=8) for n in (1, 2)))
    assert await told.tally("points", "bob") == 10
    await told(retract("2", "r2"))
    assert await told.tally("points", "bob") == 8
    await told(event("praised", "3", owner="bob", value=8))
    assert await told.tally("points", "bob") == 8


async def test_a_once_that_was_used_up_stays_so(told: Told) -> None:
    await told(event("seen", "1", actor="eve"), retract("1", "r"), event("seen", "2", actor="eve"))
    assert await told.tally("points", "eve") == 0


async def test_a_carried_remainder_is_taken_back_too(told: Told) -> None:
    """Three views at 0.004 are 0.012: one cent, and 0.002 carried. Without the first they are 0.008: no cent."""
    await told(*(event("viewed", f"{n}", owner="bob") for n in (1, 2, 3)))
    assert (await told.tally("cents", "bob"), await told.tally("carry.cents", "bob")) == (1, 200_000_000_000)
    await told(retract("1", "r1"))
    assert (await told.tally("cents", "bob"), await told.tally("carry.cents", "bob")) == (0, 800_000_000_000)
    await told(retract("2", "r2"), retract("3", "r3"))
    assert (await told.tally("cents", "bob"), await told.tally("carry.cents", "bob")) == (0, 0)


async def test_a_unit_that_a_remainder_costs_is_taken_from_every_period(told: Told) -> None:
    """Also when the event gave something else first, which changed one of the periods only."""
    rules = """
    [[rules]]
    on = "paid"
    give = [{ to = "owner", metric = "cents", amount = 0 }, { to = "owner", metric = "cents", amount = "value" }]
    [boards.paid]
    metric = "cents"
    periods = ["hour", "day"]
    """
    await told(program(rules + RULES.replace('"wrote"]', '"wrote", "paid"]'), "p2"))
    for hour, value in enumerate((0.005, 0.004, 0.001)):
        await told(event("paid", f"{hour}", owner="bob", value=value), time_us=START_US + hour * HOUR_US)
    periods = ("all", DAY, f"{DAY}T01+0000", f"{DAY}T02+0000")
    assert [await told.tally("cents", "bob", period) for period in periods] == [1, 1, 0, 1]
    await told(retract("1", "r1"))
    assert [await told.tally("cents", "bob", period) for period in periods] == [0, 0, -1, 1]


async def test_badges_go_where_that_is_declared(told: Told) -> None:
    await told(liked("1", 5), liked("2", 5))
    assert await told.awards() == {("loved", "bob"), ("kept", "bob"), ("praiseworthy", "bob")}
    await told(retract("1", "r"))
    assert await told.awards() == {("kept", "bob")}


async def test_a_day_of_a_streak_stays_while_another_event_holds_it(told: Told) -> None:
    for day, ids in enumerate((("1",), ("2", "3"))):
        await told(*(event("wrote", id, actor="ann") for id in ids), time_us=START_US + day * DAY_US)
    assert ("steady", "ann") in await told.awards()
    await told(retract("2", "r2"))
    assert ("steady", "ann") in await told.awards()
    await told(retract("3", "r3"))
    assert await told.awards() == set()
    assert [row[3:5] for row in told.where.rows("streaks")] == [(1, 1)]


async def test_an_event_that_failed_and_was_taken_back_stays_without_effect(told: Told) -> None:
    assert await told(event("liked", "1", owner="bob", value=None), retract("1", "r")) == ["failed", "applied"]
    await told(program(RULES.replace('amount = "value" }]', "amount = 7 }]"), "p2"))
    await told.where.settle()
    (row,) = told.where.rows("failed_events")
    again = {"type": "accrue.failed.replay", "id": "again", "data": {"sequence": row[1]}}
    assert await told(again) == ["retracted"]
    assert await told.tally("points", "bob") is None
    assert await told.reasons() == []


async def test_when_looking_at_a_badge_fails_nothing_is_taken_back(told: Told) -> None:
    badge = '\n[badges.ratio]\nwhen = "points / likes_of_mine > 2"\nrevocable = true\n[metrics.likes_of_mine]\n'
    await told(program(RULES, "p2"), liked("1", 12))
    await told(program(RULES + badge, "p3"))
    assert await told(retract("1", "r")) == ["failed"]
    assert await told.tally("points", "bob") == 12
    assert ("loved", "bob") in await told.awards()
    assert [row[2] for row in told.where.rows("applied_events")] == ["applied"]
    await told(program(RULES, "p4"), liked("2", 1))
    assert await told.tally("points", "bob") == 13


async def test_what_the_program_of_then_gave_is_taken_back_under_another_one(told: Told) -> None:
    await told(liked("1", 5))
    fewer = RULES.replace('periods = ["all", "day"]', 'periods = ["all"]').replace(
        'amount = "value" }]', "amount = 1 }]"
    )
    await told(program(fewer, "p2"))
    await told.where.settle()
    await told.where.restart()
    await told(retract("1", "r"))
    assert (await told.tally("points", "bob"), await told.tally("points", "bob", DAY)) == (0, 0)


def test_a_program_says_which_types_can_be_taken_back() -> None:
    faults = {
        'types = ["liket"]': "'liket' is not a type that anything here listens to; did you mean 'liked'",
        "days = 0": "days is a whole number from 1 to 3650",
        "day = 1": "there is no key 'day' here",
        'types = "liked"': "types is a list of words",
    }
    rules = RULES.partition("[retract]")[0]
    for line, said in faults.items():
        with pytest.raises(ProgramError, match=said.partition(";")[0]):
            read(f"{rules}[retract]\n{line}\n")
    streak = '[streaks.run]\non = "liked"\nevery = "event"\n[retract]\ntypes = ["liked"]\n'
    with pytest.raises(ProgramError, match="moves the streak 'run' of events"):
        read(rules + streak)


# --- as if it had never come -------------------------------------------------------------------------------------

PLAIN_RULES = """
[metrics.points]
[metrics.cents]
scale = 2
[metrics.likes]

[[rules]]
on = "liked"
when = "value != 2"
give = [{ to = "object", metric = "likes" }, { to = "owner", metric = "points", amount = "value" },
        { to = "actor", metric = "cents", amount = "value / 7" }]

[boards.writers]
metric = "points"
periods = ["all", "day", "month"]
ties = "id"
[boards.paid]
metric = "cents"
periods = ["all", "week"]
ties = "id"

[badges.loved]
levels = { some = "points >= 3", many = "points >= 9" }
revocable = true

[streaks.liking]
on = "liked"
every = "day"

[retract]
types = ["liked"]
"""
likes = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]), st.sampled_from(["p", "q"]), st.integers(-3, 6), st.integers(0, 4)
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


@given(likes, st.data())
@settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
async def test_it_is_as_if_it_had_never_come(sent: list[tuple[str, str, int, int]], data: st.DataObject) -> None:
    """Without caps, floors and once, whenever each retraction comes: before its event, right after it, or last."""
    stream = [
        (event("liked", f"{n}", actor=actor, owner="eve", object=thing, value=value), START_US + day * DAY_US)
        for n, (actor, thing, value, day) in enumerate(sent)
    ]
    taken_back = data.draw(st.sets(st.integers(0, len(sent) - 1)))
    without = [each for n, each in enumerate(stream) if n not in taken_back]
    told = list(stream)
    for n in sorted(taken_back):
        told.insert(data.draw(st.integers(0, len(told))), (retract(f"{n}", f"r{n}"), START_US))
    cuts = data.draw(st.sampled_from([1, 3, 100]))
    found, expected = await _state(told, cuts), await _state(without, cuts)
    assert found == expected


async def _state(stream: Sequence[tuple[dict[str, Any], int]], size: int) -> dict[str, Any]:
    """What a person would look at, zeros left out."""
    with tempfile.TemporaryDirectory() as folder:
        async with Partition(Path(folder)) as where:
            await where.feed([record([program(PLAIN_RULES)], times_us=[START_US], log_time_us=START_US)])
            for start in range(0, len(stream), size):
                some = stream[start : start + size]
                events, times_us = [each for each, _ in some], [time_us for _, time_us in some]
                await where.feed([record(events, times_us=times_us, log_time_us=START_US)])
                if len(stream) % 2:
                    await where.caught_up()
                    await where.settle()
                    await where.restart()
            await where.caught_up()
            await where.settle()
            streaks = [(row[2], *row[3:5], msgspec.json.decode(row[6])) for row in where.rows("streaks")]
            return {
                "tallies": {row[1:4]: row[4] for row in where.rows("tallies") if row[4]},
                "awards": {(row[1], row[2], row[3]) for row in where.rows("awards") if not row[7]},
                "streaks": [row for row in streaks if row[2]],
                "failed": where.rows("failed_events"),
            }
