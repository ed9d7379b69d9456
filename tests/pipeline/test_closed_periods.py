"""Closed periods: the final standings stay as they were given, in every form of reading, and what came late is shown
beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accrue import Accrue
from accrue.book.base import PeriodRow
from accrue.clock import ManualClock
from accrue.config import Config
from accrue.core.ranking import Order, Row, Style, Ties, percentile, ranks_of, standings
from accrue.errors import NotFound, Rejected
from accrue.process.close import Members, final_standings
from accrue.process.closer import Closer
from accrue.process.results import BoardPeriod, Rows, Standings
from accrue.serve.answers import BoardPage, Correction

DAY_US = 86_400_000_000
MONDAY_US = 1_772_442_000_000_000  # 2026-03-02 09:00 UTC
DAY = "2026-03-02"
RULES = """
[metrics.points]
scale = 1
[metrics.goals]
[[rules]]
on = "scored"
give = [
  { to = "actor", metric = "points", amount = "value" },
  { to = "actor", metric = "goals", amount = "data.goals" },
]
[boards.table]
order = ["points desc", "goals desc"]
periods = ["all", "day"]
"""
GIVEN = [("ann", 9, 1), ("bob", 7, 2), ("cat", 7, 2), ("dan", 7, 1), ("eve", 1, 1)]
STYLES: dict[Style, list[int]] = {
    "ordinal": [1, 2, 3, 4, 5],
    "competition": [1, 2, 2, 4, 5],
    "dense": [1, 2, 2, 3, 4],
}


@asynccontextmanager
async def opened(folder: Path, clock: ManualClock) -> AsyncIterator[Accrue]:
    file = folder / "program.toml"
    file.write_text(RULES)
    async with Accrue.open(Config(data_dir=folder / "data"), program=file, clock=clock) as accrue:
        yield accrue


async def scored(accrue: Accrue, id: str, who: str, points: float, goals: int) -> None:
    body = {"type": "scored", "id": id, "actor": who, "value": points, "data": {"goals": goals}}
    receipt = await accrue.send_many([{**body, "time": "2026-03-02T09:00:00Z"}])
    assert await accrue.outcomes(receipt) == ["applied"]


async def closed(accrue: Accrue) -> None:
    receipt = await accrue.parts.acceptor.close_period("default", DAY)
    assert await accrue.outcomes(receipt) == ["applied"]


@pytest.fixture(params=["waiting for the settlement", "settled", "after a restart"])
async def accrue(request: Any, tmp_path: Path) -> AsyncIterator[Accrue]:
    """An engine with one closed day, whose final standings are in memory, in the book and forgotten in memory."""
    clock = ManualClock(MONDAY_US + 3_600_000_000)
    async with opened(tmp_path, clock) as first:
        for number, (who, points, goals) in enumerate(GIVEN):
            await scored(first, f"e{number}", who, points, goals)
        await closed(first)
        if request.param != "after a restart":
            if request.param == "settled":
                await first.settle()
            yield first
            return
    async with opened(tmp_path, clock) as again:
        yield again


def told(page: BoardPage) -> list[tuple[int, str]]:
    return [(row.rank, row.subject) for row in page.rows]


async def all_pages(accrue: Accrue, limit: int, style: Style) -> list[tuple[int, str]]:
    page = await accrue.board("table").top(limit, period=DAY, style=style)
    rows = told(page)
    while page.cursor is not None:
        page = await accrue.board("table").top(limit, period=DAY, cursor=page.cursor)
        assert (page.final, page.members) == (True, 5)
        rows += told(page)
        assert len(rows) <= 5
    return rows


@pytest.mark.parametrize("style", STYLES)
async def test_every_style_is_answered_also_in_pages_around_a_member_and_for_many(accrue: Accrue, style: Style) -> None:
    expected = list(zip(STYLES[style], [who for who, _, _ in GIVEN], strict=True))
    queries = accrue.parts.queries

    for limit in (1, 2, 5, 9):
        assert await all_pages(accrue, limit, style) == expected
    page = await queries.board("default", "table", period=DAY, style=style, offset=3)
    assert (told(page), page.cursor, page.as_of) == (expected[3:], None, "2026-03-03T00:00:00Z")

    for at, (_, who) in enumerate(expected):
        near = await queries.around("default", "table", who, period=DAY, before=1, after=2, style=style)
        assert told(near) == expected[max(at - 1, 0) : at + 3]
        assert near.final
    asked = ["eve", "nobody", "cat", "bob", "eve"]
    ranks = await queries.ranks("default", "table", asked, period=DAY, style=style)
    rows = [Row(who, (10 * points, goals), 10 - at) for at, (who, points, goals) in enumerate(GIVEN, start=-9)]
    rows = [row._replace(reached=number) for number, row in enumerate(rows)]
    model = ranks_of(rows, Order((True, True), "first"), style, asked)
    assert [(rank.rank, rank.subject, rank.relative_rank, rank.percentile) for rank in ranks.ranks] == [
        (each.standing.rank, each.standing.subject, each.relative_rank, _percentile(rows, each.standing, style))
        for each in model
    ]
    assert (ranks.missing, ranks.final, ranks.corrections) == (["nobody"], True, [])


def _percentile(rows: list[Row], standing: Any, style: Style) -> float:
    return percentile(standings(rows, Order((True, True), "first"), style), standing.rank)


async def test_what_comes_late_is_shown_beside_the_standings_which_stay(accrue: Accrue) -> None:
    before = await all_pages(accrue, 2, "competition")
    await scored(accrue, "late 1", "dan", 0.5, 0)
    await scored(accrue, "late 2", "new", 100, 3)
    await scored(accrue, "late 3", "eve", 5, 1)
    await scored(accrue, "late 4", "eve", -5, -1)  # and so eve has what it had
    corrections = [
        Correction(subject="dan", rank=4, final=["7", 1], corrected=["7.5", 1]),
        Correction(subject="new", rank=None, final=None, corrected=["100", 3]),
    ]

    for _ in range(2):  # before these are settled, and after
        page = await accrue.board("table").top(2, period=DAY)
        assert (page.corrections, page.more_corrections) == (corrections, False)
        assert await all_pages(accrue, 2, "competition") == before
        near = await accrue.board("table").around("dan", period=DAY, before=1, after=1)
        assert (told(near), near.corrections) == (before[2:], corrections[:1])
        assert (await accrue.board("table").around("ann", period=DAY, after=1)).corrections == []
        ranks = await accrue.board("table").ranks(["new", "ann"], period=DAY)
        assert (ranks.missing, ranks.corrections) == (["new"], corrections[1:])
        with pytest.raises(NotFound, match="final standings"):
            await accrue.board("table").around("new", period=DAY)
        await accrue.settle()

    assert (await accrue.tally("points", "dan", period=DAY)).value == "7.5"
    assert (await accrue.board("table").top(1)).rows[0].subject == "new"  # and all of it counts for all time
    await scored(accrue, "late 5", "dan", 0.5, 0)  # after what was settled late, more of it
    assert (await accrue.board("table").top(period=DAY)).corrections[0].corrected == ["8", 1]


async def test_more_corrections_than_an_answer_lists_are_said_to_be_more(
    accrue: Accrue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.serve.final.CORRECTIONS_MAX", 2)
    await scored(accrue, "late 1", "zoe", 1, 0)
    await accrue.settle()
    for who in ("yan", "ann"):
        await scored(accrue, f"late {who}", who, 1, 0)
    page = await accrue.board("table").top(period=DAY)
    assert ([each.subject for each in page.corrections], page.more_corrections) == (["ann", "yan"], True)


@pytest.mark.parametrize("wrong", ["final.", "final.1.dense.0123456789abcdef", "final.-1.dense.x", "final.9.none.0"])
async def test_a_cursor_that_was_not_handed_out_is_refused(accrue: Accrue, wrong: str) -> None:
    with pytest.raises(Rejected, match="not handed out"):
        await accrue.board("table").top(period=DAY, cursor=wrong)


async def test_a_cursor_of_another_board_or_of_an_open_period_is_refused(accrue: Accrue) -> None:
    final = (await accrue.board("table").top(1, period=DAY)).cursor
    live = (await accrue.board("table").top(1)).cursor
    for cursor, period in ((final, "all"), (live, DAY)):
        with pytest.raises(Rejected, match="not handed out"):
            await accrue.board("table").top(1, period=period, cursor=cursor)


async def test_who_pages_while_the_period_is_closed_goes_on_in_the_same_snapshot(tmp_path: Path) -> None:
    async with opened(tmp_path, ManualClock(MONDAY_US + 3_600_000_000)) as accrue:
        for number, (who, points, goals) in enumerate(GIVEN):
            await scored(accrue, f"e{number}", who, points, goals)
        first = await accrue.board("table").top(2, period=DAY)
        await closed(accrue)
        second = await accrue.board("table").top(9, period=DAY, cursor=first.cursor)
        assert told(first) + told(second) == [(1, "ann"), (2, "bob"), (2, "cat"), (4, "dan"), (5, "eve")]
        assert (first.epoch, first.final, second.final) == (second.epoch, False, False)


async def test_a_page_of_a_closed_period_reads_only_its_rows(accrue: Accrue, monkeypatch: pytest.MonkeyPatch) -> None:
    await accrue.settle()
    read: list[int] = []
    results = accrue.parts.book.results

    async def counted(*where: Any, **which: Any) -> Any:
        rows = await results(*where, **which)
        read.append(len(rows))
        return rows

    def whole(*_: Any) -> Any:
        raise AssertionError("all tallies of the period were asked for")

    monkeypatch.setattr(accrue.parts.book, "results", counted)
    monkeypatch.setattr(accrue.parts.book, "tallies", whole)
    await accrue.board("table").top(2, period=DAY)
    await accrue.board("table").around("cat", period=DAY, before=1, after=1)
    await accrue.board("table").ranks(["cat"], period=DAY)
    assert read == [2, 3]


ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(["a", "aa", "B", "z", "é", "user:7", "user:12", "\uffee", "\U0001f600"]),
        st.tuples(st.integers(-2, 2), st.sampled_from([0, 1, -(2**53 - 1), 2**53 - 1])),
        st.integers(0, 2),
    ),
    unique_by=lambda row: row.subject,
    max_size=9,
)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, descending=st.tuples(st.booleans(), st.booleans()), ties=st.sampled_from(["first", "last", "id"]))
def test_final_standings_are_those_of_the_plain_rules(
    rows: list[Row], descending: tuple[bool, ...], ties: Ties, monkeypatch_slices: None
) -> None:
    order = Order(descending, ties)
    members = Members([0, 0])
    for row in rows:
        for at, score in enumerate(row.scores):
            members.put(at, row.subject, score, row.reached)
    assert [row for some in members.rows() for row in some] == rows
    found = asyncio.run(final_standings(BoardPeriod("t", "b", "p"), members, order))
    plain = {style: standings(rows, order, style) for style in STYLES}
    made = found.page(1, 99)
    assert [(row.place, row.subject) for row in made] == [(each.place, each.subject) for each in plain["ordinal"]]
    assert [tuple(msgspec.json.decode(row.scores)) for row in made] == [each.scores for each in plain["ordinal"]]
    assert [row.rank for row in made] == [each.rank for each in plain["competition"]]
    assert [row.dense for row in made] == [each.rank for each in plain["dense"]]
    assert found.place_of == {each.subject: each.place for each in plain["ordinal"]}


@pytest.fixture(scope="module")
def monkeypatch_slices() -> Any:
    """Slices so small that every board has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accrue.process.close.SLICE_ROWS", 2)
        yield


@given(sizes=st.lists(st.integers(1, 4), max_size=4), start=st.integers(0, 12), rows=st.integers(0, 9))
def test_the_rows_of_many_standings_are_taken_like_those_of_a_list(sizes: list[int], start: int, rows: int) -> None:
    every = [Standings(BoardPeriod("t", f"b{number}", "p"), columns=1) for number, _ in enumerate(sizes)]
    for standings_, size in zip(every, sizes, strict=True):
        for place in range(1, size + 1):
            standings_.add(f"u{place}", place, place)
            standings_.scores[0].append(-place)
    expected = [row for standings_ in every for row in standings_.page(1, 9)]
    assert len(Rows(every)) == len(expected) == sum(sizes)
    assert list(Rows(every)) == expected
    assert Rows(every)[start : start + rows] == expected[start : start + rows]
    assert Rows(every)[::-2] == expected[::-2]


async def test_many_periods_are_looked_at_in_slices_and_each_id_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.process.closer.SLICE_PERIODS", 2)
    monkeypatch.setattr("accrue.process.closer.CLOSES_PER_ROUND_MAX", 3)
    clock = ManualClock(MONDAY_US)
    async with opened(tmp_path, clock) as accrue:
        world = accrue.parts.worker.world
        for day in range(1, 8):
            period = f"2026-02-0{day}"
            world.put_period(PeriodRow("default", period, MONDAY_US - 10 * DAY_US, 0))
        world.put_period(PeriodRow("default", "2026-03", MONDAY_US, 0))  # no board is kept for months
        closer = Closer(accrue.parts.worker, accrue.parts.acceptor, clock, grace_us=DAY_US)
        calendar, read = accrue.parts.live.program("default").calendar, list[str]()
        parse = calendar.parse

        def counted(period: str) -> Any:
            read.append(period)
            return parse(period)

        monkeypatch.setattr(calendar, "parse", counted)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        due = await closer._due()
        beside.cancel()

        assert turns >= 4
        assert [period for _, period in due["default"]] == ["2026-02-01", "2026-02-02", "2026-02-03"]
        for _ in range(3):
            await closer._due()
        assert sorted(read) == [f"2026-02-0{day}" for day in range(1, 8)] + ["2026-03"]
