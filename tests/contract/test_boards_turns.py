"""What boards promise their publisher: nobody else gets through, and what is not there any more is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise

import pytest

from accrue.boards.base import BoardKey, Boards, Change, Mark, Turn, Usage
from accrue.core.ranking import Order, Row, Style
from accrue.errors import Fenced, Gone, Lost, Misconfigured, Rejected
from contract.published import BACKENDS, LOG, Make

pytestmark = pytest.mark.parametrize("make", BACKENDS, indirect=True)

TENANT = "club"
KEY = BoardKey(TENANT, "writers", "all")
OTHER = BoardKey(TENANT, "readers", "2026-W47")
BY_POINTS = Order((True,), "first")
FIRST = Turn(7, 1, 0)


def rows(**scores: int) -> list[Row]:
    return [Row(subject, (score,), at) for at, (subject, score) in enumerate(scores.items(), start=1)]


def change(
    key: BoardKey = KEY, *, program: int = 3, order: Order = BY_POINTS, new: bool = False, **scores: int
) -> Change:
    return Change(key, order, program, rows(**scores), new=new)


async def shown(boards: Boards, key: BoardKey = KEY, *, style: Style = "ordinal") -> dict[str, int]:
    page = await boards.page(key, limit=1_000, offset=0, cursor=None, style=style, now_us=0)
    return {standing.subject: standing.scores[0] for standing in page.standings}


async def begun(boards: Boards, turn: Turn = FIRST) -> Turn:
    return (await boards.begin(TENANT, turn, log=LOG)).turn


async def test_whoever_begins_is_told_the_mark_and_the_boards_with_their_programs(make: Make) -> None:
    boards = (await make()).boards
    first = await boards.begin(TENANT, FIRST, log=LOG)
    assert (first.found, first.boards) == (None, {})

    turn = await boards.publish(
        TENANT, [change(new=True, ada=1), change(OTHER, program=9, new=True)], turn=first.turn, position=2**62
    )
    second = await boards.begin(TENANT, Turn(8, 1, 0), log=LOG)

    assert turn != first.turn
    assert second.found == Mark(7, 2**62)
    assert second.boards == {KEY: 3, OTHER: 9}
    assert await boards.marks([TENANT, "nobody"]) == [Mark(8, 2**62), None]


Write = Callable[[Boards, Turn], Awaitable[object]]
WRITES: dict[str, Write] = {
    "publish": lambda boards, turn: boards.publish(TENANT, [change(ada=99)], turn=turn, position=99),
    "the mark alone": lambda boards, turn: boards.publish(TENANT, [], turn=turn, position=99),
    "rebuild": lambda boards, turn: boards.rebuild(KEY, BY_POINTS, 3, [rows(eve=99)], turn=turn),
    "drop": lambda boards, turn: boards.drop(KEY, turn=turn),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_whose_tenant_was_taken_over_is_fenced_and_changes_nothing(make: Make, write: str) -> None:
    boards = (await make()).boards
    stale = await boards.publish(TENANT, [change(new=True, ada=1)], turn=await begun(boards), position=10)
    await begun(boards, Turn(8, 1, 0))

    with pytest.raises(Fenced):
        await WRITES[write](boards, stale)
    with pytest.raises(Fenced):
        await begun(boards, Turn(7, 2, 0))

    assert await shown(boards) == {"ada": 1}
    assert await boards.marks([TENANT]) == [Mark(8, 10)]


async def test_a_worker_that_is_replaced_in_the_middle_of_a_publication_does_not_get_to_its_end(make: Make) -> None:
    boards = (await make()).boards
    many = {f"user:{number}": number for number in range(10_000)}
    turn = await boards.publish(TENANT, [change(new=True, ada=1)], turn=await begun(boards), position=10)

    publishing = asyncio.create_task(boards.publish(TENANT, [change(**many)], turn=turn, position=11))
    await asyncio.sleep(0)
    await begun(boards, Turn(8, 1, 0))

    with pytest.raises(Fenced):
        await publishing
    assert await boards.marks([TENANT]) == [Mark(8, 10)]
    assert (await boards.usage(TENANT)).members < 10_001


@pytest.mark.parametrize("write", WRITES)
async def test_a_packet_that_comes_late_changes_nothing(make: Make, write: str) -> None:
    """Given a write whose answer was not waited for; its publisher began again; then it arrives."""
    boards = (await make()).boards
    late = await boards.publish(TENANT, [change(new=True, ada=1)], turn=await begun(boards), position=10)
    turn = await begun(boards, Turn(7, 2, 0))
    with pytest.raises(Lost):
        await WRITES[write](boards, late)

    turn = await boards.publish(TENANT, [change(ada=2)], turn=turn, position=12)
    for old in (late, Turn(7, 2, 0), turn._replace(step=turn.step + 1)):
        with pytest.raises(Lost):
            await WRITES[write](boards, old)

    assert await shown(boards) == {"ada": 2}
    assert await boards.marks([TENANT]) == [Mark(7, 12)]


async def test_a_beginning_that_comes_late_does_not_stop_the_one_that_came_after_it(make: Make) -> None:
    boards = (await make()).boards
    turn = await begun(boards, Turn(7, 2, 0))

    for late in (Turn(7, 1, 0), Turn(7, 2, 0)):
        with pytest.raises(Lost):
            await begun(boards, late)

    await boards.publish(TENANT, [change(new=True, ada=1)], turn=turn, position=1)


async def test_boards_that_nobody_began_hold_no_turn(make: Make) -> None:
    boards = (await make()).boards
    for write in WRITES.values():
        with pytest.raises(Lost):
            await write(boards, FIRST)


async def test_the_boards_of_another_log_are_refused(make: Make) -> None:
    boards = (await make()).boards
    turn = await boards.publish(TENANT, [change(new=True, ada=1)], turn=await begun(boards), position=10)

    with pytest.raises(Misconfigured, match="another log"):
        await boards.begin(TENANT, Turn(8, 1, 0), log="the log of another deployment")

    await boards.publish(TENANT, [change(ada=2)], turn=turn, position=11)


async def test_an_empty_publication_moves_the_mark_alone(make: Make) -> None:
    boards = (await make()).boards
    turn = await boards.publish(TENANT, [change(new=True, ada=1)], turn=await begun(boards), position=10)

    await boards.publish(TENANT, [], turn=turn, position=11)

    assert await boards.marks([TENANT]) == [Mark(7, 11)]
    assert await shown(boards) == {"ada": 1}


@pytest.mark.parametrize(
    "there",
    [None, change(program=4), change(order=Order((False,), "first")), change(order=Order((True,), "last"))],
)
async def test_rows_for_a_board_that_is_not_there_as_it_is_meant_are_refused(make: Make, there: Change | None) -> None:
    boards = (await make()).boards
    made = [] if there is None else [there._replace(new=True)]
    turn = await boards.publish(TENANT, made, turn=await begun(boards), position=10)

    with pytest.raises(Lost):
        await boards.publish(TENANT, [change(ada=1)], turn=turn, position=11)

    assert await boards.marks([TENANT]) == [Mark(7, 10)]
    assert await boards.has(KEY) == (there is not None)
    assert await boards.has(KEY, program=5) is False


async def test_a_new_board_begins_empty_whatever_was_there(make: Make) -> None:
    boards = (await make()).boards
    turn = await boards.publish(TENANT, [change(new=True, ada=1, bob=2)], turn=await begun(boards), position=10)

    await boards.publish(TENANT, [change(new=True, cy=3)], turn=turn, position=11)

    assert await shown(boards) == {"cy": 3}


async def test_a_rebuilt_board_replaces_the_one_before_and_leaves_the_mark(make: Make) -> None:
    boards = (await make()).boards
    turn = await boards.publish(TENANT, [change(new=True, ada=1, bob=2)], turn=await begun(boards), position=10)

    turn = await boards.rebuild(KEY, Order((False,), "id"), 5, [rows(cy=3, dee=4), rows(eve=2)], turn=turn)
    turn = await boards.rebuild(OTHER, BY_POINTS, 5, [], turn=turn)
    await boards.publish(TENANT, [change(program=5, order=Order((False,), "id"), fay=1)], turn=turn, position=11)

    assert list((await shown(boards)).items()) == [("fay", 1), ("eve", 2), ("cy", 3), ("dee", 4)]
    assert await shown(boards, OTHER) == {}
    assert await boards.has(KEY, program=5)


async def test_readers_see_a_board_before_or_after_it_is_rebuilt_and_never_half_of_it(make: Make) -> None:
    boards = (await make()).boards
    old = {f"user:{number}": 1 for number in range(50)}
    new = {f"user:{number}": 2 for number in range(1_500)}
    turn = await boards.publish(TENANT, [change(new=True, **old)], turn=await begun(boards), position=10)
    batches = [rows(**dict.fromkeys(list(new)[at : at + 100], 2)) for at in range(0, 1_500, 100)]

    rebuilding = asyncio.create_task(boards.rebuild(KEY, BY_POINTS, 3, batches, turn=turn))
    seen: set[tuple[int, frozenset[int]]] = set()
    while not rebuilding.done():
        page = await boards.page(KEY, limit=100, offset=0, cursor=None, style="ordinal", now_us=0)
        seen.add((page.members, frozenset(standing.scores[0] for standing in page.standings)))
        await asyncio.sleep(0)
    await rebuilding

    assert (50, frozenset({1})) in seen
    assert seen <= {(50, frozenset({1})), (1_500, frozenset({2}))}
    assert (await shown(boards)).keys() <= new.keys()


async def test_a_rebuilding_that_is_given_up_leaves_the_board_and_can_be_begun_again(make: Make) -> None:
    boards = (await make()).boards
    turn = await boards.publish(TENANT, [change(new=True, ada=1)], turn=await begun(boards), position=10)

    def broken() -> Iterator[Sequence[Row]]:
        yield rows(bob=2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await boards.rebuild(KEY, BY_POINTS, 3, broken(), turn=turn)
    assert await shown(boards) == {"ada": 1}

    await boards.rebuild(KEY, BY_POINTS, 3, [rows(cy=3)], turn=await begun(boards, Turn(7, 2, 0)))
    assert await shown(boards) == {"cy": 3}


async def test_many_boards_and_many_rows_are_published_together(make: Make) -> None:
    boards = (await make()).boards
    keys = [KEY._replace(period=f"2026-{day:03}") for day in range(250)]
    many = {f"user:{number}": number for number in range(1_700)}
    changes = [change(key, new=True, ada=at, bob=-at) for at, key in enumerate(keys, start=1)]

    turn = await boards.publish(TENANT, [change(new=True, **many), *changes], turn=await begun(boards), position=10)
    await boards.publish(TENANT, [change(key, ada=0) for key in keys], turn=turn, position=11)

    assert await shown(boards) == {f"user:{number}": number for number in range(700, 1_700)}
    assert [await shown(boards, key) for key in keys[::50]] == [{"ada": 0, "bob": -at} for at in range(1, 251, 50)]


async def test_of_two_rows_for_one_subject_the_later_stands(make: Make) -> None:
    boards = (await make()).boards
    twice = Change(KEY, BY_POINTS, 3, [Row("ada", (1,), 1), Row("bob", (2,), 2), Row("ada", (3,), 3)], new=True)

    turn = await boards.publish(TENANT, [twice], turn=await begun(boards), position=10)
    await boards.publish(TENANT, [twice._replace(new=False, removed=["bob"])], turn=turn, position=11)

    assert await shown(boards) == {"ada": 3}


ODD = ["", "%", "{}", "{club}", "}{", "a b", "a:b", "a/b", "a%2Fb", "é\U0001f600", "\n", "'\"\\", "club", "Club"]


async def test_any_name_is_a_name_of_its_own(make: Make) -> None:
    boards = (await make()).boards
    keys = [BoardKey(tenant, board, "all") for tenant in ODD for board in ("a", "b/c")]
    keys += [BoardKey("club", board, period) for board in ODD for period in ("x", "x/y", "{z}", "%78")]
    turns: dict[str, Turn] = {}
    for at, key in enumerate(keys):
        if key.tenant not in turns:
            turns[key.tenant] = (await boards.begin(key.tenant, FIRST, log=LOG)).turn
        turns[key.tenant] = await boards.publish(
            key.tenant, [change(key, new=True, **{f"of {at}": at})], turn=turns[key.tenant], position=1
        )

    assert [await shown(boards, key) for key in keys] == [{f"of {at}": at} for at in range(len(keys))]
    found = await boards.begin("club", Turn(8, 1, 0), log=LOG)
    assert found.boards.keys() == {key for key in keys if key.tenant == "club"}


async def test_usage_counts_boards_and_members_and_weighs_them(make: Make) -> None:
    boards = (await make()).boards
    assert await boards.usage(TENANT) == Usage(0, 0, 0)
    few = await boards.publish(
        TENANT, [change(new=True, ada=1), change(OTHER, new=True, ada=1, bob=2)], turn=await begun(boards), position=1
    )
    small = await boards.usage(TENANT)
    many = {f"user:{number}": number for number in range(5_000)}
    await boards.publish(TENANT, [change(**many)], turn=few, position=2)
    large = await boards.usage(TENANT)

    assert (small.boards, small.members) == (2, 3)
    assert (large.boards, large.members) == (2, 5_003)
    assert 100 < (large.size_bytes - small.size_bytes) / 5_000 < 400


@pytest.mark.parametrize("order", [BY_POINTS, Order((True,), "id"), Order((True,), "last")])
async def test_without_snapshots_no_row_comes_twice_and_none_that_stays_is_skipped(make: Make, order: Order) -> None:
    boards = await make()
    if boards.abilities.snapshots:
        pytest.skip("pages of these boards are of one snapshot")
    score = {f"user:{number}": 1_000 - 10 * (number // 3) for number in range(60)}
    await boards.set(KEY, order, [Row(subject, (value,), 1) for subject, value in score.items()])
    moved: set[str] = set()
    seen: list[str] = []
    cursor, page_number = None, 0
    while True:
        page = await boards.page(KEY, limit=7, offset=0, cursor=cursor, style="competition", now_us=0)
        seen += [standing.subject for standing in page.standings]
        for above, below in pairwise(page.standings):
            assert above.scores >= below.scores
            assert above.rank <= below.rank
        cursor, page_number = page.cursor, page_number + 1
        assert page_number < 100
        if cursor is None:
            break
        # The last row of the page goes up or away, a row further down comes up, and newcomers stand all around.
        last, far = page.standings[-1].subject, f"user:{59 - page_number}"
        moved |= {last, far}
        rows_now = [Row(far, (2_000,), 1), Row(f"new {page_number}", (955,), 2), Row(last, (3_000,), 1)]
        await boards.set(KEY, order, rows_now, removed=[last] if page_number % 2 else [])

    stayed = [subject for subject in score if subject not in moved]
    assert [subject for subject in seen if subject in set(stayed)] == sorted(stayed, key=lambda who: (-score[who], who))
    assert len(seen) == len(set(seen))


async def test_a_cursor_of_a_board_that_is_ordered_otherwise_now_is_gone(make: Make) -> None:
    boards = (await make()).boards
    turn = await boards.publish(TENANT, [change(new=True, ada=1, bob=2)], turn=await begun(boards), position=1)
    page = await boards.page(KEY, limit=1, offset=0, cursor=None, style="ordinal", now_us=0)

    await boards.rebuild(KEY, Order((False,), "first"), 3, [rows(ada=1, bob=2)], turn=turn)

    with pytest.raises(Gone) as gone:
        await boards.page(KEY, limit=1, offset=0, cursor=page.cursor, style="ordinal", now_us=0)
    assert gone.value.field == "cursor"


async def test_dense_ranks_of_a_board_past_the_limit_are_refused_with_what_to_do(make: Make) -> None:
    boards = await make()
    largest = boards.abilities.dense_members_max
    if largest is None:
        pytest.skip("these boards have no such limit")
    await boards.set(KEY, BY_POINTS, [Row(f"user:{number}", (number // 2,), 1) for number in range(largest)])
    near = await boards.around(KEY, "user:0", before=1, after=1, style="dense", now_us=0)
    (rank,) = await boards.ranks(KEY, ["user:2"], style="dense", now_us=0)
    assert ([row.rank for row in near.standings], rank.standing.rank) == (
        [largest // 2 - 1, largest // 2, largest // 2],
        largest // 2 - 1,
    )

    await boards.set(KEY, BY_POINTS, rows(ada=1))

    for read in (
        boards.page(KEY, limit=1, offset=0, cursor=None, style="dense", now_us=0),
        boards.around(KEY, "ada", before=1, after=1, style="dense", now_us=0),
        boards.ranks(KEY, ["ada"], style="dense", now_us=0),
    ):
        with pytest.raises(Rejected, match="style=competition") as refused:
            await read
        assert refused.value.field == "style"
