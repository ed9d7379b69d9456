"""Rules and events in, totals out, through the engine as applications use it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accrue import Accrue
from accrue.clock import ManualClock
from accrue.config import Config, ProcessConfig
from accrue.core.program import ProgramError
from accrue.errors import NotFound, Rejected
from accrue.process.closer import Closer

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY_S = 86_400

RULES = """
[metrics.points]
[metrics.reputation]
initial = 1
min = 1
[metrics.best]
[metrics.time]

[[rules]]
on = "posted"
give = [{ to = "actor", metric = "points", amount = "data.n" }]

[boards.writers]
metric = "points"
periods = ["all", "day"]
[boards.best]
metric = "best"
[boards.fastest]
order = ["time asc"]

[badges.ten]
when = "points >= 10"
"""


@asynccontextmanager
async def engine(
    folder: Path, text: str = RULES, *, clock: ManualClock | None = None, **others: str
) -> AsyncIterator[Accrue]:
    files = {}
    for tenant, rules in {"default": text, **others}.items():
        files[tenant] = folder / f"{tenant}.toml"
        files[tenant].write_text(rules)
    config = Config(data_dir=folder / "data", programs=files, process=ProcessConfig(tick_ms=1))
    async with Accrue.open(config, clock=clock or ManualClock(round(MONDAY.timestamp() * 1_000_000))) as accrue:
        yield accrue


def in_the_book(folder: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "data" / "book.db")
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows


async def posted(accrue: Accrue, id: str, n: Any = 1, actor: str = "ann", **fields: Any) -> str:
    return (await accrue.track("posted", id=id, actor=actor, data={"n": n}, wait="applied", **fields)).outcome


async def test_repeats_count_once_and_conflicts_are_kept_and_listed(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        outcomes = [await posted(accrue, "1", 5), await posted(accrue, "1", 5), await posted(accrue, "1", 6)]
        assert outcomes == ["applied", "repeated", "conflicting"]
        assert (await accrue.user("ann")).tallies["points"]["all"] == 5
    async with engine(tmp_path) as accrue:
        assert await posted(accrue, "1", 5) == "repeated"
        assert (await accrue.user("ann")).tallies["points"]["all"] == 5

    ((event_id, body),) = in_the_book(tmp_path, "SELECT event_id, body FROM conflicts")
    assert event_id == "1"
    assert msgspec.json.decode(body)["data"] == {"n": 6}


async def test_an_unknown_type_is_accepted_and_counted_as_unmatched(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        tracked = await accrue.track("nonsense", id="1", actor="ann", wait="applied")
        assert tracked.outcome == "unmatched"
        assert accrue.parts.live.status().events["default"].unmatched == 1


async def test_an_event_on_which_a_rule_fails_is_parked_whole_and_the_next_one_counts(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        assert await posted(accrue, "1", "many") == "failed"
        assert await posted(accrue, "2", 3) == "applied"
        assert await posted(accrue, "1", "many") == "repeated"
        assert (await accrue.user("ann")).tallies["points"]["all"] == 3

    ((event_id, reason, body),) = in_the_book(tmp_path, "SELECT event_id, reason, body FROM failed_events")
    assert (event_id, reason) == ("1", "the amount is not a number")
    assert msgspec.json.decode(body) == {"id": "1", "type": "posted", "actor": "ann", "data": {"n": "many"}}


async def test_an_adjustment_is_an_event_with_floors_and_badges(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:

        async def adjust(id: str, metric: str, amount: Any) -> str:
            data = {"metric": metric, "subject": "ann", "amount": amount, "reason": "a correction"}
            return (await accrue.track("accrue.adjust", id=id, data=data, wait="applied")).outcome

        assert await adjust("1", "points", 12) == "applied"
        assert await adjust("1", "points", 12) == "repeated"
        assert await adjust("2", "reputation", -50) == "applied"
        assert await adjust("3", "nothing", 1) == "failed"
        ann = await accrue.user("ann")
        assert (ann.tallies["points"]["all"], ann.tallies["reputation"]["all"]) == (12, 1)
        assert [badge.badge for badge in ann.badges] == ["ten"]


async def test_scores_are_set_kept_when_better_or_added(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        for board, mode, value in [
            ("best", "best", 5),
            ("best", "best", 3),
            ("best", "add", 2),
            ("fastest", "best", 90),
            ("fastest", "best", 95),
            ("fastest", "best", 80),
            ("writers", "set", 9),
            ("writers", "set", 4),
        ]:
            receipt = await accrue.board(board).submit("ann", value, mode=mode)  # type: ignore[arg-type]
            assert await accrue.outcomes(receipt) == ["applied"]
        tallies = (await accrue.user("ann")).tallies
        assert [tallies[metric]["all"] for metric in ("best", "time", "points")] == [7, 80, 4]


async def test_a_new_program_counts_from_its_place_in_the_log(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        await posted(accrue, "1", 5)
        doubled = RULES.replace('"data.n"', '"data.n * 2"')
        assert await accrue.use_program(doubled)
        assert not await accrue.use_program(doubled)
        await posted(accrue, "2", 5)
        assert (await accrue.user("ann")).tallies["points"]["all"] == 15

        with pytest.raises(ProgramError, match="did you mean"):
            await accrue.use_program(RULES.replace('metric = "points"\nperiods', 'metric = "ponts"\nperiods'))
        await posted(accrue, "3", 5)
        assert (await accrue.user("ann")).tallies["points"]["all"] == 25
    assert [row[0] for row in in_the_book(tmp_path, "SELECT version FROM programs ORDER BY 1")] == [1, 2]


async def test_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    async with engine(tmp_path, other=RULES.replace('"data.n"', '"data.n * 100"')) as accrue:
        other = accrue.tenant("other")
        assert [await posted(accrue, "1", 1), await posted(other, "1", 2)] == ["applied", "applied"]
        assert (await accrue.user("ann")).tallies["points"]["all"] == 1
        assert (await other.user("ann")).tallies["points"]["all"] == 200
        assert [row.values for row in (await other.board("writers").top()).rows] == [[200]]
        assert (await accrue.user("ann")).badges == []
        with pytest.raises(NotFound, match="Did you mean 'other'"):
            await accrue.tenant("othr").user("ann")


async def test_a_subject_never_heard_of_has_the_initial_value(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        assert (await accrue.user("nobody")).tallies["reputation"] == {"all": 1}
        assert (await accrue.tally("points", "nobody")).value == 0
        assert (await accrue.board("writers").top()).rows == []


async def test_a_closed_period_keeps_its_standings_whatever_comes_late(tmp_path: Path) -> None:
    clock = ManualClock(round(MONDAY.timestamp() * 1_000_000))
    async with engine(tmp_path, clock=clock) as accrue:
        await posted(accrue, "1", 5, time=MONDAY)
        await posted(accrue, "2", 7, actor="bob", time=MONDAY)
        closer = Closer(accrue.parts.worker, accrue.parts.acceptor, clock, grace_us=3_600_000_000)
        assert await closer.close_due() == 0
        clock.advance(seconds=DAY_S)
        assert await closer.close_due() == 1
        await posted(accrue, "3", 9, time=MONDAY)

        page = await accrue.board("writers").top(period="2026-03-02")
        assert page.final
        assert [(row.rank, row.subject, row.values) for row in page.rows] == [(1, "bob", [7]), (2, "ann", [5])]
        assert (await accrue.tally("points", "ann", period="2026-03-02")).value == 14
        assert (await accrue.tally("points", "ann")).value == 14
        again = await accrue.parts.acceptor.close_period("default", "2026-03-02")
        assert await accrue.outcomes(again) == ["repeated"]
        await accrue.settle()
        assert await closer.close_due() == 0
        assert (await accrue.board("writers").top(period="2026-03-02")).rows == page.rows
    rows = in_the_book(tmp_path, "SELECT place, subject, scores FROM board_results ORDER BY 1")
    assert rows == [(1, "bob", "[7]"), (2, "ann", "[5]")]


async def test_a_range_that_a_new_program_no_longer_has_does_not_stop_others_from_closing(tmp_path: Path) -> None:
    ranged = RULES.replace('"all", "day"]', '"all", "day", "cup"]') + (
        "[ranges.cup]\none = { from = 2026-03-01, to = 2026-03-03 }\n"
    )
    clock = ManualClock(round(MONDAY.timestamp() * 1_000_000))
    async with engine(tmp_path, ranged, clock=clock) as accrue:
        await posted(accrue, "1", 5)
        assert [row.values for row in (await accrue.board("writers").top(period="cup")).rows] == [[5]]
        await accrue.use_program(RULES)
        clock.advance(seconds=2 * DAY_S)
        closer = Closer(accrue.parts.worker, accrue.parts.acceptor, clock, grace_us=3_600_000_000)
        assert await closer.close_due() == 1
        await posted(accrue, "2", 1)
        page = await accrue.board("writers").top(period="2026-03-02")
        assert page.final


async def test_a_board_is_whole_after_a_restart_and_after_a_change_of_its_order(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        for number, actor in enumerate(["ann", "bob", "cat"]):
            await posted(accrue, f"{number}", number, actor=actor)
    async with engine(tmp_path) as accrue:
        await posted(accrue, "9", 10, actor="ann")
        rows = (await accrue.board("writers").top()).rows
        assert [(row.subject, row.values) for row in rows] == [("ann", [10]), ("cat", [2]), ("bob", [1])]
        await accrue.use_program(RULES.replace('metric = "points"\nperiods', 'order = ["points asc"]\nperiods'))
        rows = (await accrue.board("writers").top()).rows
        assert [row.subject for row in rows] == ["bob", "cat", "ann"]


async def test_awards_and_tallies_of_everybody_hold_what_is_settled_and_what_is_not(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        for number, actor in enumerate(["ann", "bob", "cat"]):
            await posted(accrue, f"{number}", 10 * number, actor=actor)
        await accrue.settle()
        await posted(accrue, "3", 10, actor="ann")
        await posted(accrue, "4", 10, actor="dan")
        queries = accrue.parts.queries
        tallies = [row async for rows in queries.tallies("default", "points") for row in rows]
        assert sorted(tallies) == [("ann", 10), ("bob", 10), ("cat", 20), ("dan", 10)]
        awards = [badge.holder async for badges in queries.awards("default") for badge in badges]
        assert sorted(map(str, awards)) == ["ann", "bob", "cat", "dan"]


async def test_an_event_that_failed_has_not_used_up_the_once_of_its_rule(tmp_path: Path) -> None:
    once = RULES.replace('on = "posted"', 'on = "posted"\nname = "n"\nonce = ["actor"]')
    async with engine(tmp_path, once) as accrue:
        bodies = [
            {"type": "posted", "id": f"{number}", "actor": "ann", "data": {"n": n}}
            for number, n in enumerate(["many", 3, 4])
        ]
        receipt = await accrue.send_many(bodies)
        assert await accrue.outcomes(receipt) == ["failed", "applied", "applied"]
        assert (await accrue.user("ann")).tallies["points"]["all"] == 3


async def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    async with engine(tmp_path) as accrue:
        with pytest.raises(Rejected, match="time zone"):
            await posted(accrue, "1", time=datetime(2026, 3, 2))  # noqa: DTZ001 - that is what is refused


async def test_the_same_program_is_taken_again_only_when_the_time_zone_data_is_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[metrics.points]\n[[rules]]\non = "posted"\ngive = [{ to = "actor", metric = "points" }]\n'
    (tmp_path / "program.toml").write_text(text)
    async with Accrue.open(program=tmp_path / "program.toml", data_dir=tmp_path / "data") as accrue:
        assert not await accrue.use_program(text)

        monkeypatch.setattr("accrue.engine.tzdata_version", lambda: "2199.1")

        assert await accrue.use_program(text)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"value": Decimal("NaN")}, "value"),
        ({"value": 2**53}, "value"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 257}, "subject"),
        ({"subject": "x\0y"}, "$"),
        ({"id": "accrue.close:2026-11-21"}, "id"),
    ],
)
async def test_a_score_obeys_what_every_event_obeys(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    (tmp_path / "program.toml").write_text("[metrics.points]\n[boards.b]\nmetric = 'points'\n")
    async with Accrue.open(program=tmp_path / "program.toml", data_dir=tmp_path / "data") as accrue:
        with pytest.raises(Rejected) as refused:
            await accrue.board("b").submit(**{"subject": "ann", "value": 1, **fields})

        assert refused.value.field == field
        await accrue.board("b").submit("ann", 5)

    async with Accrue.open(program=tmp_path / "program.toml", data_dir=tmp_path / "data") as accrue:
        assert (await accrue.tally("points", "ann")).value == 5


async def test_a_program_that_gives_old_numbers_another_meaning_is_refused(tmp_path: Path) -> None:
    (tmp_path / "program.toml").write_text("[metrics.points]\n")
    async with Accrue.open(program=tmp_path / "program.toml", data_dir=tmp_path / "data") as accrue:
        with pytest.raises(ProgramError, match="'points' was kept for users with 0 decimal digits"):
            await accrue.use_program("[metrics.points]\nscale = 2\n")


async def test_a_part_that_dies_is_not_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(self: Closer) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(Closer, "run", dies)
    (tmp_path / "program.toml").write_text("[metrics.points]\n")
    async with Accrue.open(program=tmp_path / "program.toml", data_dir=tmp_path / "data") as accrue:
        with pytest.raises(KeyError):
            await accrue.parts.running
