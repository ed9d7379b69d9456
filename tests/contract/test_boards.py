"""What every kind of boards promises, against the plain rules of core/ranking.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accrue.boards.base import BoardKey, Page
from accrue.core.event import MAGNITUDE_MAX
from accrue.core.ranking import Order, Row, Standing, Style, Ties, around, ranks_of, standings
from accrue.errors import Gone, Lost, NotFound, Rejected
from contract.published import BACKENDS, Make, Published

KEY = BoardKey("club", "writers", "all")
BY_POINTS = Order((True,), "first")
STYLES: tuple[Style, ...] = get_args(Style)
NOW_US = 1_700_000_000_000_000


pytestmark = pytest.mark.parametrize("make", BACKENDS, indirect=True)

SUBJECTS = st.sampled_from(["a", "aa", "B", "z", "é", "user:7", "user:12", "\uffee", "\U0001f600", "post 1"])
SCORES = st.one_of(st.integers(-2, 2), st.sampled_from([-MAGNITUDE_MAX, MAGNITUDE_MAX]))
ORDERS = st.builds(Order, st.lists(st.booleans(), min_size=1, max_size=3).map(tuple), st.sampled_from(get_args(Ties)))


@st.composite
def publications(draw: st.DrawFn) -> tuple[Order, list[tuple[list[Row], list[str]]]]:
    """An order, and what is published to a board with it: rows, and subjects to remove."""
    order = draw(ORDERS)
    scores = st.tuples(*[SCORES for _ in order.descending])
    rows = st.builds(Row, SUBJECTS, scores, st.sampled_from([0, 1, 2, 2**62]))
    steps = st.tuples(st.lists(rows, max_size=8), st.lists(SUBJECTS, max_size=3))
    return order, draw(st.lists(steps, min_size=1, max_size=4))


async def make_with_snapshots(make: Make) -> Published:
    boards = await make()
    if not boards.abilities.snapshots:
        pytest.skip("these boards keep no snapshots")
    return boards


def points(**scores: int) -> list[Row]:
    """Rows of one score; who comes first reached it first."""
    return [Row(subject, (score,), at) for at, (subject, score) in enumerate(scores.items(), start=1)]


async def top(
    boards: Published,
    *,
    limit: int = 100,
    offset: int = 0,
    cursor: str | None = None,
    style: Style = "ordinal",
    now_us: int = NOW_US,
    key: BoardKey = KEY,
) -> Page:
    return await boards.page(key, limit=limit, offset=offset, cursor=cursor, style=style, now_us=now_us)


async def neighbours(boards: Published, subject: str, *, before: int, after: int, style: Style) -> Page:
    return await boards.around(KEY, subject, before=before, after=after, style=style, now_us=NOW_US)


def subjects(standings: Sequence[Standing]) -> list[str]:
    return [standing.subject for standing in standings]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=publications(), style=st.sampled_from(STYLES))
async def test_every_read_agrees_with_the_plain_rules(
    make: Make, case: tuple[Order, list[tuple[list[Row], list[str]]]], style: Style
) -> None:
    order, steps = case
    boards = await make()
    model: dict[str, Row] = {}
    for number, (rows, removed) in enumerate(steps):
        await boards.set(KEY, order, rows, removed=removed)
        model.update({row.subject: row for row in rows})
        for subject in removed:
            model.pop(subject, None)
        expected = standings(model.values(), order, style)

        page = await top(boards, style=style, now_us=NOW_US + number)
        asked = [*model, "nobody", *model][::2]
        ranks = await boards.ranks(KEY, asked, style=style, now_us=NOW_US + number)

        assert page.standings == expected
        assert page.members == len(model)
        assert [(each.standing, each.relative_rank, each.percentile) for each in ranks] == [
            tuple(each) for each in ranks_of(model.values(), order, style, asked)
        ]
        for subject in model:
            near = await neighbours(boards, subject, before=1, after=2, style=style)
            assert near.standings == around(expected, subject, before=1, after=2)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=publications(), style=st.sampled_from(STYLES), limit=st.integers(1, 4))
async def test_pages_joined_by_their_cursors_are_the_whole_board(
    make: Make, case: tuple[Order, list[tuple[list[Row], list[str]]]], style: Style, limit: int
) -> None:
    order, steps = case
    boards = await make()
    for rows, removed in steps:
        await boards.set(KEY, order, rows, removed=removed)
    whole = await top(boards, style=style)

    page = await top(boards, limit=limit, style=style)
    joined = list(page.standings)
    while page.cursor is not None:
        page = await top(boards, limit=limit, cursor=page.cursor)
        joined += page.standings

    assert joined == whole.standings


async def test_the_order_of_publishing_does_not_change_the_board(make: Make) -> None:
    rows = [Row(f"user:{number}", (number % 3,), number % 2) for number in range(40)]
    forward, backward = await make(), await make()

    await forward.set(KEY, BY_POINTS, rows)
    for row in reversed(rows):
        await backward.set(KEY, BY_POINTS, [row])

    assert (await top(forward)).standings == (await top(backward)).standings


async def test_publishing_twice_changes_nothing(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2))
    before = await top(boards)

    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2))

    assert (await top(boards)).standings == before.standings


async def test_a_removed_member_is_gone_and_may_come_back(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2, cy=1))

    await boards.set(KEY, BY_POINTS, [], removed=["bob", "nobody"])

    page = await top(boards)
    assert subjects(page.standings) == ["ada", "cy"]
    assert page.members == 2
    with pytest.raises(NotFound):
        await neighbours(boards, "bob", before=1, after=1, style="ordinal")

    await boards.set(KEY, BY_POINTS, points(bob=9))
    assert subjects((await top(boards)).standings) == ["bob", "ada", "cy"]


async def test_a_subject_both_set_and_removed_is_removed(make: Make) -> None:
    boards = await make()

    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2), removed=["ada"])

    assert subjects((await top(boards)).standings) == ["bob"]


async def test_who_takes_the_room_of_a_removed_member_does_not_take_its_name_in_older_pages(make: Make) -> None:
    boards = await make_with_snapshots(make)
    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2, cy=1))
    first = await top(boards, limit=1)

    await boards.set(KEY, BY_POINTS, [], removed=["bob", "cy"])
    await top(boards)
    await boards.set(KEY, BY_POINTS, points(dee=7, eve=8))
    await top(boards)

    assert subjects((await top(boards, cursor=first.cursor)).standings) == ["bob", "cy"]


async def test_ranks_do_not_drift_while_paging(make: Make) -> None:
    boards = await make_with_snapshots(make)
    await boards.set(KEY, BY_POINTS, points(ada=4, bob=3, cy=2, dee=1))
    first = await top(boards, limit=2, style="competition")

    await boards.set(KEY, BY_POINTS, points(dee=9))
    fresh = await top(boards, limit=2, now_us=NOW_US + 1)
    second = await top(boards, limit=2, cursor=first.cursor, now_us=NOW_US + 2)

    assert subjects(fresh.standings) == ["dee", "ada"]
    assert [(each.rank, each.subject) for each in second.standings] == [(3, "cy"), (4, "dee")]
    assert (second.epoch, second.as_of_us) == (first.epoch, first.as_of_us)
    assert second.cursor is None


async def test_a_cursor_keeps_the_style_it_began_with(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=4, bob=4, cy=4))
    first = await top(boards, limit=1, style="dense")

    second = await top(boards, cursor=first.cursor, style="ordinal")

    assert [standing.rank for standing in second.standings] == [1, 1]


async def test_paging_goes_on_from_around_a_member(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=4, bob=3, cy=2, dee=1))

    near = await neighbours(boards, "bob", before=0, after=1, style="ordinal")

    assert subjects(near.standings) == ["bob", "cy"]
    assert subjects((await top(boards, cursor=near.cursor)).standings) == ["dee"]


async def test_an_epoch_grows_with_each_change_and_stays_without(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=1))
    first = await top(boards, now_us=NOW_US)
    again = await top(boards, now_us=NOW_US + 1)
    await boards.set(KEY, BY_POINTS, points(ada=2))
    changed = await top(boards, now_us=NOW_US + 2)

    assert again.epoch == first.epoch
    assert changed.epoch > first.epoch
    assert changed.as_of_us == NOW_US + 2


async def test_a_cursor_of_a_dropped_board_is_gone_also_when_the_board_is_back(make: Make) -> None:
    boards = await make_with_snapshots(make)
    await boards.set(KEY, BY_POINTS, points(ada=2, bob=1))
    first = await top(boards, limit=1)

    await boards.drop(KEY)
    await boards.set(KEY, BY_POINTS, points(ada=2, bob=1))
    await top(boards, limit=1)

    with pytest.raises(Gone) as gone:
        await top(boards, cursor=first.cursor)
    assert gone.value.field == "cursor"


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "é" * 8, "A" * 40, "A" * 100_000, "AAAA=", "a b"])
async def test_a_text_that_is_no_cursor_is_refused(make: Make, cursor: str) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=2, bob=1))

    with pytest.raises(Rejected) as refused:
        await top(boards, cursor=cursor)
    assert refused.value.field == "cursor"
    assert not isinstance(refused.value, Gone)


async def test_a_cursor_changed_in_any_character_is_refused(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=2, bob=1))
    cursor = (await top(boards, limit=1)).cursor
    assert cursor is not None

    for at, character in enumerate(cursor[:-1]):
        changed = cursor[:at] + ("B" if character == "A" else "A") + cursor[at + 1 :]
        with pytest.raises(Rejected, match="not handed out"):
            await top(boards, cursor=changed)


async def test_a_cursor_of_another_board_is_refused(make: Make) -> None:
    boards = await make()
    other = KEY._replace(period="2026-W47")
    for key in (KEY, other):
        await boards.set(key, BY_POINTS, points(ada=2, bob=1))
    cursor = (await top(boards, limit=1, key=other)).cursor

    with pytest.raises(Rejected, match="not handed out"):
        await top(boards, cursor=cursor)


async def test_a_board_is_here_from_publishing_until_it_is_dropped(make: Make) -> None:
    boards = await make()
    assert not await boards.has(KEY)

    await boards.set(KEY, BY_POINTS, [])
    assert await boards.has(KEY)
    empty = await top(boards)
    assert (empty.standings, empty.members, empty.cursor) == ([], 0, None)

    await boards.drop(KEY)
    await boards.drop(KEY)
    assert not await boards.has(KEY)
    with pytest.raises(NotFound):
        await top(boards)


async def test_tenants_boards_and_periods_are_apart(make: Make) -> None:
    boards = await make()
    keys = [KEY, KEY._replace(tenant="guild"), KEY._replace(board="readers"), KEY._replace(period="2026")]
    for number, key in enumerate(keys):
        await boards.set(key, BY_POINTS, [Row(f"user:{number}", (1,), 1)])

    assert [subjects((await top(boards, key=key)).standings) for key in keys] == [
        ["user:0"],
        ["user:1"],
        ["user:2"],
        ["user:3"],
    ]


@pytest.mark.parametrize(
    ("board", "period", "field", "nearest"),
    [
        ("writer", "all", "board", "writers/all"),
        ("writers", "2026-W46", "period", "writers/2026-W47"),
        ("xyz", "all", "board", None),
        ("guests", "all", "board", None),
    ],
)
async def test_an_unknown_board_names_the_nearest_of_its_tenant(
    make: Make, board: str, period: str, field: str, nearest: str | None
) -> None:
    boards = await make()
    for key in (KEY, KEY._replace(period="2026-W47"), BoardKey("another", "guests", "all")):
        await boards.set(key, BY_POINTS, points(ada=1))
    unknown = BoardKey("club", board, period)

    for read in (
        top(boards, key=unknown),
        boards.around(unknown, "ada", before=1, after=1, style="ordinal", now_us=NOW_US),
        boards.ranks(unknown, ["ada"], style="ordinal", now_us=NOW_US),
    ):
        with pytest.raises(NotFound) as missing:
            await read
        assert (missing.value.field, missing.value.nearest) == (field, nearest)


async def test_around_a_stranger_is_not_found_and_ranks_leave_it_out(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=1))

    with pytest.raises(NotFound) as missing:
        await neighbours(boards, "nobody", before=1, after=1, style="ordinal")
    assert missing.value.field == "subject"
    assert await boards.ranks(KEY, ["nobody"], style="ordinal", now_us=NOW_US) == []
    assert await boards.ranks(KEY, [], style="dense", now_us=NOW_US) == []


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [(0, 0, []), (-1, 0, []), (2, -5, ["ada", "bob"]), (5, 2, ["cy"]), (5, 3, []), (2**70, 2**70, []), (1, 1, ["bob"])],
)
async def test_limits_and_offsets_out_of_range_are_answered(
    make: Make, limit: int, offset: int, expected: list[str]
) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2, cy=1))

    page = await top(boards, limit=limit, offset=offset)

    assert subjects(page.standings) == expected
    assert page.members == 3
    assert (page.cursor is not None) == (page.standings != [] and page.standings[-1].place < 3)


async def test_around_with_nothing_before_or_after_is_the_member_alone(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2, cy=1))

    page = await neighbours(boards, "bob", before=-4, after=-4, style="ordinal")

    assert subjects(page.standings) == ["bob"]


async def test_another_order_for_the_same_board_is_refused_until_it_is_dropped(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=3, bob=2))
    ascending = Order((False,), "first")

    with pytest.raises(Lost):
        await boards.set(KEY, ascending, points(ada=3))
    await boards.drop(KEY)
    await boards.set(KEY, ascending, points(ada=3, bob=2))

    assert subjects((await top(boards)).standings) == ["bob", "ada"]


@pytest.mark.parametrize("order", [Order((True,), "id"), Order((True, False, True), "id")])
async def test_rows_with_a_wrong_number_of_scores_are_refused_whole(make: Make, order: Order) -> None:
    boards = await make()
    await boards.set(KEY, order, [])
    right = Row("ada", (1,) * len(order.descending), 1)

    for wrong in ((1, 1), ()):
        with pytest.raises(Rejected):
            await boards.set(KEY, order, [right, Row("bob", wrong, 1)])

    assert (await top(boards)).members == 0


async def test_a_large_publication_is_set_whole(make: Make) -> None:
    boards = await make()
    rows = [Row(f"user:{number}", (number,), 1) for number in range(10_000)]

    await boards.set(KEY, BY_POINTS, rows, removed=[f"user:{number}" for number in range(5_000)])

    page = await top(boards, limit=2)
    assert subjects(page.standings) == ["user:9999", "user:9998"]
    assert page.members == 5_000


async def test_closing_twice_is_harmless(make: Make) -> None:
    boards = await make()
    await boards.set(KEY, BY_POINTS, points(ada=3))

    await boards.close()
    await boards.close()

    assert boards.abilities.shared or not await boards.has(KEY)
