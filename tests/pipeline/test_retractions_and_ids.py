"""What becomes of an event id that a retraction named, when something else than its event comes under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.partition import Partition, event, program
from pipeline.refolded import verified
from pipeline.test_retractions import DAY_US, RULES, START_US, Told, liked, retract

WITH_FAILURES = RULES.replace('"karma" }', '"karma", amount = "data.karma" }')


@pytest.fixture
async def told(tmp_path: Path) -> Any:
    async with Partition(tmp_path) as where:
        told = Told(where)
        await told(program(RULES))
        yield told


async def replay_failed(told: Told) -> list[str]:
    """Replay the one failed event there is."""
    await told.where.settle()
    ((_, sequence, *_),) = told.where.rows("failed_events")
    return await told(
        {"type": "accrue.failed.replay", "id": f"replay {told.log_time_us}", "data": {"sequence": sequence}}
    )


async def test_taking_back_twice_what_has_not_come_is_told_so_twice(told: Told) -> None:
    assert await told(retract("1", "r"), retract("1", "r2")) == ["unmatched", "unmatched"]
    assert await told(liked("1")) == ["retracted"]
    assert await told(retract("1", "r3")) == ["applied"]


@pytest.mark.parametrize("restart", [False, True])
async def test_an_id_that_became_a_retraction_is_awaited_no_longer(told: Told, restart: bool) -> None:
    """Else a fold with a restart in it would decide otherwise than one without."""
    await told(liked("1"), retract("r2", "r"), retract("1", "r2"))
    if restart:
        await told.where.settle()
        await told.where.restart()
    told.log_time_us += 2 * DAY_US  # the id is not remembered any more, its retraction would be
    assert await told(liked("r2")) == ["applied"]
    await told.where.settle()
    await told.where.stop()
    report = await verified(told.where)
    await told.where.begin()
    assert report.is_sound, report.differences


@pytest.mark.parametrize("restart", [False, True])
async def test_a_failed_event_that_is_awaited_has_no_effect_when_it_is_replayed(told: Told, restart: bool) -> None:
    await told(program(WITH_FAILURES, "p2"))
    assert await told(liked("1")) == ["failed"]
    told.log_time_us += 4 * DAY_US  # longer ago than events are remembered and can be taken back
    assert await told(retract("1", "r"), program(RULES, "p3")) == ["unmatched", "applied"]
    if restart:
        await told.where.settle()
        await told.where.restart()
    assert await replay_failed(told) == ["retracted"]
    assert await told.tally("points", "bob") is None
    assert told.where.rows("failed_events") == []


async def test_what_is_not_kept_at_a_replay_cannot_be_taken_back(told: Told) -> None:
    """When it failed nothing of it had to be kept; now something would have to be, and its type does not ask for it."""
    await told(program(WITH_FAILURES, "p2"))
    assert await told(liked("1")) == ["failed"]
    await told(program(RULES.replace('types = ["liked", ', "types = ["), "p3"))
    assert await replay_failed(told) == ["applied"]
    assert await told(retract("1", "r")) == ["failed"]
    assert await told.tally("points", "bob") == 3
    assert [row[1] for row in told.where.rows("applied_events")] == []


async def test_taking_back_is_no_day_for_a_badge_that_counts_days(told: Told) -> None:
    """Each day has to be seen by an event that comes on it, not by one that goes."""
    badge = """[badges.devoted]\nwhen = "points >= 10"\ndays = 2\n"""
    await told(program(RULES + badge, "p2"))
    await told(liked("1", 1))
    await told(liked("2", 20), time_us=START_US + DAY_US)
    assert await told(retract("1", "r")) == ["applied"]
    assert ("devoted", "bob") not in await told.awards()
    await told(liked("3", 1), time_us=START_US + 2 * DAY_US)
    assert ("devoted", "bob") in await told.awards()


async def test_why_a_retraction_failed_can_be_counted(told: Told) -> None:
    """A reason that names the event would be another one each time: counts would count nothing, and fill memory."""
    await told(event("fixed", "1", actor="bob"), event("fixed", "2", actor="bob"))
    assert await told(retract("1", "r"), retract("2", "r2")) == ["failed", "failed"]
    assert len(set(await told.reasons())) == 1
