"""When boards in memory are sorted again, and what happens meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from accrue.boards import memory
from accrue.boards.base import ANY, BoardKey, Page, Seen
from accrue.boards.members import Columns
from accrue.boards.memory import DEPARTED_MIN, MemoryBoards
from accrue.boards.snapshot import Snapshot, taken
from accrue.core.ranking import Order, Row
from accrue.errors import Gone
from contract.published import Published

KEY = BoardKey("club", "writers", "all")
ORDER = Order((True,), "first")
INTERVAL_US = 1_000
STALE_US = 10_000
LATER_US = 2 * INTERVAL_US


def made(**settings: Any) -> Published:
    return Published(MemoryBoards(**settings))


def large() -> Published:
    """Boards that take every board for a large one."""
    return made(instance="one", small_members_max=0, refresh_interval_us=INTERVAL_US, stale_us_max=STALE_US)


async def publish(boards: Published, *, removed: list[str] | None = None, **scores: int) -> None:
    rows = [Row(subject, (score,), 0) for subject, score in scores.items()]
    await boards.set(KEY, ORDER, rows, removed=removed or [])


async def page(boards: Published, *, now_us: int, limit: int = 10, cursor: str | None = None, seen: Seen = ANY) -> Page:
    return await boards.page(KEY, limit=limit, offset=0, cursor=cursor, style="ordinal", now_us=now_us, seen=seen)


def shown(page: Page) -> dict[str, int]:
    return {standing.subject: standing.scores[0] for standing in page.standings}


class Sorts:
    """Stands in for the sort: counts, and holds each one up until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.fails = False
        self.may_end = threading.Event()
        self.may_end.set()

    def taken(
        self, columns: Columns, order: Order, *, names: list[str], epoch: int, as_of_us: int, position: int
    ) -> Snapshot:
        self.begun += 1
        assert self.may_end.wait(timeout=5), "a failed test never let the sort end"
        if self.fails:
            raise MemoryError
        return taken(columns, order, names=names, epoch=epoch, as_of_us=as_of_us, position=position)


@pytest.fixture
def sorts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sorts]:
    sorts = Sorts()
    monkeypatch.setattr(memory, "taken", sorts.taken)
    yield sorts
    sorts.may_end.set()


async def under_way(boards: Published, now_us: int) -> asyncio.Task[Page]:
    """A read that waits for the sort it has just started."""
    reading = asyncio.create_task(page(boards, now_us=now_us))
    await asyncio.sleep(0)
    assert not reading.done()
    return reading


async def test_a_small_board_is_sorted_on_every_read_after_a_change_and_only_then(sorts: Sorts) -> None:
    boards = made(instance="one")
    await publish(boards, ada=1)

    seen = []
    for score in (2, 3):
        await publish(boards, ada=score)
        seen += [shown(await page(boards, now_us=0)), shown(await page(boards, now_us=0))]

    assert seen == [{"ada": 2}, {"ada": 2}, {"ada": 3}, {"ada": 3}]
    assert sorts.begun == 2


async def test_a_large_board_is_not_sorted_again_before_its_snapshot_is_an_interval_old() -> None:
    boards = large()
    await publish(boards, ada=1)
    await page(boards, now_us=0)
    await publish(boards, ada=2)

    young = await page(boards, now_us=INTERVAL_US - 1)
    old = await page(boards, now_us=INTERVAL_US)

    assert (shown(young), young.as_of_us) == ({"ada": 1}, 0)
    assert (shown(old), old.as_of_us) == ({"ada": 2}, INTERVAL_US)


async def test_a_clock_that_was_set_back_does_not_keep_a_board_old() -> None:
    boards = large()
    await publish(boards, ada=1)
    await page(boards, now_us=10 * STALE_US)
    await publish(boards, ada=2)

    assert shown(await page(boards, now_us=0)) == {"ada": 2}


async def test_reads_during_a_sort_answer_from_the_old_snapshot(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    before = await page(boards, now_us=0)
    await publish(boards, ada=2)
    sorts.may_end.clear()
    reading = await under_way(boards, LATER_US)

    meanwhile = await page(boards, now_us=LATER_US)

    assert meanwhile == before
    sorts.may_end.set()
    assert shown(await reading) == {"ada": 2}


async def test_a_read_waits_for_the_sort_under_way_rather_than_show_what_is_very_old(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    await page(boards, now_us=0)
    await publish(boards, ada=2)
    sorts.may_end.clear()
    readings = [await under_way(boards, STALE_US), await under_way(boards, STALE_US)]

    sorts.may_end.set()

    assert [shown(each) for each in await asyncio.gather(*readings)] == [{"ada": 2}, {"ada": 2}]
    assert sorts.begun == 2


async def test_first_reads_share_one_sort(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    sorts.may_end.clear()
    readings = [await under_way(boards, number) for number in range(5)]

    sorts.may_end.set()

    assert [shown(each) for each in await asyncio.gather(*readings)] == [{"ada": 1}] * 5
    assert sorts.begun == 1


async def test_a_read_that_wants_a_position_is_never_answered_from_before_it(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    first = await page(boards, now_us=0, seen=Seen(published=7, wanted=0), limit=10)
    await publish(boards, ada=2, bob=1)

    known = await page(boards, now_us=1, seen=Seen(published=9, wanted=7))
    young = await page(boards, now_us=1, seen=Seen(published=9, wanted=8))
    again = await page(boards, now_us=1, seen=Seen(published=9, wanted=9))

    assert (shown(first), shown(known), shown(young)) == ({"ada": 1}, {"ada": 1}, {"ada": 2, "bob": 1})
    assert again == young
    assert sorts.begun == 2
    near = await boards.around(KEY, "bob", before=1, after=1, style="ordinal", now_us=1, seen=Seen(9, 9))
    assert near.epoch == young.epoch


async def test_reads_that_want_what_the_sort_under_way_lacks_share_the_next_one(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    await page(boards, now_us=0)
    await publish(boards, ada=2)
    sorts.may_end.clear()
    early = await under_way(boards, LATER_US)
    await publish(boards, ada=3)
    late = [asyncio.create_task(page(boards, now_us=LATER_US, seen=Seen(5, 5))) for _ in range(3)]
    ranks = asyncio.create_task(boards.ranks(KEY, ["ada"], style="ordinal", now_us=LATER_US, seen=Seen(5, 5)))
    await asyncio.sleep(0)

    sorts.may_end.set()

    assert shown(await early) == {"ada": 2}
    assert [shown(each) for each in await asyncio.gather(*late)] == [{"ada": 3}] * 3
    assert (await ranks)[0].standing.scores == (3,)
    assert sorts.begun == 3


async def test_a_cursor_to_a_snapshot_from_before_the_wanted_position_is_gone() -> None:
    boards = large()
    await publish(boards, ada=2, bob=1)
    cursor = (await page(boards, now_us=0, limit=1, seen=Seen(published=3, wanted=3))).cursor
    assert shown(await page(boards, now_us=0, cursor=cursor, seen=Seen(published=9, wanted=9))) == {"bob": 1}
    await publish(boards, bob=9)

    assert shown(await page(boards, now_us=0, cursor=cursor, seen=Seen(published=9, wanted=3))) == {"bob": 1}
    with pytest.raises(Gone, match="after"):
        await page(boards, now_us=0, cursor=cursor, seen=Seen(published=9, wanted=9))


async def test_what_is_published_during_a_sort_is_not_waiting_nor_in_it_but_in_the_next(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1, bob=2)
    sorts.may_end.clear()
    reading = await under_way(boards, 0)

    await publish(boards, ada=9, cy=5, removed=["bob"])
    await publish(boards, dee=7)
    sorts.may_end.set()

    assert shown(await reading) == {"bob": 2, "ada": 1}
    assert shown(await page(boards, now_us=LATER_US)) == {"ada": 9, "dee": 7, "cy": 5}


async def test_a_cancelled_read_leaves_the_sort_to_the_next_one(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    sorts.may_end.clear()
    reading = await under_way(boards, 0)
    waiting = await under_way(boards, 0)

    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    sorts.may_end.set()

    assert shown(await waiting) == {"ada": 1}
    assert shown(await page(boards, now_us=1)) == {"ada": 1}
    assert sorts.begun == 1


async def test_a_failed_sort_is_the_readers_error_and_tried_again(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    await page(boards, now_us=0)
    await publish(boards, ada=2)
    sorts.fails = True
    with pytest.raises(MemoryError):
        await page(boards, now_us=LATER_US)

    sorts.fails = False

    assert shown(await page(boards, now_us=LATER_US)) == {"ada": 2}


async def test_dropping_and_closing_during_a_sort_leave_nothing_behind(sorts: Sorts) -> None:
    boards = large()
    await publish(boards, ada=1)
    sorts.may_end.clear()
    reading = await under_way(boards, 0)
    await boards.drop(KEY)
    await publish(boards, bob=1)
    closing = asyncio.create_task(boards.close())
    await asyncio.sleep(0)
    assert not closing.done()

    sorts.may_end.set()
    await closing

    assert shown(await reading) == {"ada": 1}
    assert not await boards.has(KEY)


async def test_a_cursor_from_before_a_restart_is_gone() -> None:
    cursors = []
    for instance in ("before", "after"):
        boards = made(instance=instance)
        await publish(boards, ada=2, bob=1)
        cursors.append((await page(boards, now_us=0, limit=1)).cursor)

    assert shown(await page(boards, now_us=0, cursor=cursors[1])) == {"bob": 1}
    with pytest.raises(Gone):
        await page(boards, now_us=0, cursor=cursors[0])


async def test_only_the_last_few_snapshots_are_kept_for_cursors() -> None:
    boards = made(instance="one", kept_snapshots_max=2)
    cursors = []
    for score in range(4):
        await publish(boards, ada=100, bob=score)
        cursors.append((await page(boards, now_us=score, limit=1)).cursor)

    with pytest.raises(Gone):
        await page(boards, now_us=9, cursor=cursors[0])
    kept = [shown(await page(boards, now_us=9, cursor=cursor)) for cursor in cursors[1:]]
    assert kept == [{"bob": 1}, {"bob": 2}, {"bob": 3}]


async def test_only_snapshots_that_a_cursor_leads_to_are_kept() -> None:
    boards = made(instance="one", kept_snapshots_max=1)
    await publish(boards, ada=2, bob=1)
    cursor = (await page(boards, now_us=0, limit=1)).cursor

    for score in range(5, 9):
        await publish(boards, ada=score)
        await page(boards, now_us=score)

    assert shown(await page(boards, now_us=9, cursor=cursor)) == {"bob": 1}


async def test_kept_snapshots_stay_within_their_size() -> None:
    boards = made(instance="one", kept_size_bytes_max=0)
    await publish(boards, ada=2, bob=1)
    cursor = (await page(boards, now_us=0, limit=1)).cursor
    assert shown(await page(boards, now_us=0, cursor=cursor)) == {"bob": 1}

    await publish(boards, ada=3)
    await page(boards, now_us=1)

    with pytest.raises(Gone):
        await page(boards, now_us=1, cursor=cursor)


async def test_a_dropped_board_gives_the_room_of_its_snapshots_back() -> None:
    boards = made(instance="one")
    for score in range(3):
        await publish(boards, ada=100, bob=score)
        await page(boards, now_us=score, limit=1)
    number = boards._tenants["club"][KEY].number
    assert boards._kept.oldest(number) is not None

    await boards.drop(KEY)

    assert boards._kept.oldest(number) is None


async def test_members_that_come_and_go_unread_do_not_pile_up() -> None:
    boards = made(instance="one")
    await publish(boards, ada=2, bob=1)
    cursor = (await page(boards, now_us=0, limit=1)).cursor

    for number in range(5 * DEPARTED_MIN):
        await publish(boards, **{f"user:{number}": 1}, removed=[f"user:{number}"])

    slots = len(boards._tenants["club"][KEY].members.names)
    assert slots <= DEPARTED_MIN + 4
    with pytest.raises(Gone):
        await page(boards, now_us=1, cursor=cursor)
    assert shown(await page(boards, now_us=1)) == {"ada": 2, "bob": 1}


async def test_a_large_publication_lets_other_tasks_run() -> None:
    boards = made(instance="one")
    rows = [Row(f"user:{number}", (number,), 0) for number in range(3 * memory.ROWS_PER_SLICE)]
    publishing = asyncio.create_task(boards.set(KEY, ORDER, rows))

    turns = 0
    while not publishing.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns >= 3
