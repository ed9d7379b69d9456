"""The worker at its edges: settlements that fail, are given up or meet half a record; logs that do not fit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accrue.book.base import Settlement, TallyRow, Written
from accrue.book.sqlite import SqliteBook
from accrue.errors import Corrupt, Fenced, Unavailable
from accrue.log.memory import MemoryLog
from accrue.process import settle
from accrue.process.fold import Fold, Stretch
from accrue.process.outcome import NAMES
from pipeline.partition import NEVER_S, Partition, event, program, record

NOW_US = 1_774_569_600_000_000
RULES = '[metrics.points]\n[[rules]]\non = "a"\ngive = [{ to = "actor", metric = "points", amount = "value" }]\n'


def one(id: str, *, actor: str = "ann", value: Any = 1) -> bytes:
    return record([event("a", id, actor=actor, value=value)], times_us=[NOW_US], log_time_us=NOW_US)


START = record([program(RULES)], times_us=[NOW_US], log_time_us=NOW_US)


async def test_what_a_failed_settlement_held_is_in_the_next_one(tmp_path: Path) -> None:
    async with Partition(tmp_path, faults=["before", "before"]) as partition:
        await partition.feed([START, one("1"), one("2", actor="bob", value="x")])
        await partition.caught_up()
        before = partition.worker.status().dirty_rows
        with pytest.raises(Unavailable):
            await partition.worker.settle()
        assert partition.worker.status().dirty_rows == before > 0
        await partition.feed([one("3", value=10), one("4", actor="cat")])
        await partition.caught_up()
        with pytest.raises(Unavailable):
            await partition.worker.settle()
        assert partition.worker.status().dirty_rows > 0
        assert partition.rows("tallies") == []

        await partition.worker.settle()

        assert partition.worker.status().dirty_rows == 0
        assert (partition.tally("points", "ann"), partition.tally("points", "cat")) == (11, 1)
        assert len(partition.rows("failed_events")) == 1
        assert [segment async for segment in partition.book.segments(0)][-1].last == 5
        assert partition.worker.status().settlements == 1


async def test_a_log_that_cannot_be_trimmed_leaves_what_is_settled_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()

        async def away(_: int, *, up_to: int) -> None:
            raise Unavailable("The log is out of reach.")

        monkeypatch.setattr(partition.log, "trim", away)
        await partition.worker.settle()
        status = partition.worker.status()
        assert (status.settled, status.dirty_rows, status.failing) == (2, 0, None)


async def test_what_changes_while_the_book_writes_is_in_the_next_settlement(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()

        async def meanwhile() -> None:
            await partition.feed([one("2", value=10), one("3", actor="bob", value="x")])
            await partition.caught_up()

        partition.book.while_settling = meanwhile
        await partition.worker.settle()
        partition.book.while_settling = None
        assert partition.tally("points", "ann") == 1
        assert partition.rows("failed_events") == []

        await partition.worker.settle()
        assert partition.tally("points", "ann") == 11
        assert len(partition.rows("failed_events")) == 1


async def test_nothing_new_is_no_settlement(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START])
        await partition.caught_up()
        await partition.worker.settle()
        await partition.worker.settle()
        assert partition.worker.status().settlements == 1


async def test_settlements_asked_for_at_once_follow_each_other(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()
        await asyncio.gather(*(partition.worker.settle() for _ in range(5)))
        assert partition.worker.status().settlements == 1
        assert partition.tally("points", "ann") == 1


async def test_who_gives_up_waiting_for_a_settlement_spoils_nothing(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            begun.set()
            await go_on.wait()

        partition.book.while_settling = slowly
        asking = asyncio.create_task(partition.worker.settle())
        await begun.wait()
        asking.cancel()
        await partition.feed([one("2", value=10)])
        await partition.caught_up()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        partition.book.while_settling = None

        assert partition.worker.checkpoint.position == 2
        await partition.worker.settle()
        assert partition.tally("points", "ann") == 11


async def test_a_worker_that_is_stopped_while_a_settlement_fails_stops(tmp_path: Path) -> None:
    """The error of the settlement must not hide that it was to stop: it would try again, and live on without a fold."""
    async with Partition(tmp_path, settle_interval_s=0.001) as partition:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def fails() -> None:
            begun.set()
            await go_on.wait()
            raise Unavailable("the book is away")

        partition.book.while_settling = fails
        await partition.feed([START, one("1")])
        await begun.wait()
        partition.running.cancel()
        await asyncio.sleep(0)
        go_on.set()
        async with asyncio.timeout(5):
            await asyncio.wait([partition.running])
        assert partition.running.cancelled()


async def test_a_settlement_given_up_while_it_is_put_together_keeps_everything_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.process.settle.SLICE_ROWS", 1)
    async with Partition(tmp_path) as partition:
        await partition.feed([START, *(one(f"{n}", actor=f"user-{n}", value=n) for n in range(1, 30))])
        await partition.caught_up()
        asking = asyncio.create_task(partition.worker.settle())
        state = partition.worker.world.tenants["t"]
        await partition.until(lambda: bool(state.settling))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await partition.feed([one("more", actor="user-1", value=100)])
        await partition.caught_up()

        await partition.worker.settle()

        found = {row[3]: row[4] for row in partition.rows("tallies")}
        assert found == {**{f"user-{n}": n for n in range(1, 30)}, "user-1": 101}


async def test_half_a_record_is_never_settled(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()
        fold = partition.worker._fold
        apply = fold.apply

        async def fails_at_the_end(position: int, folded: Any) -> bytes:
            await apply(position, folded)
            raise RuntimeError("a defect")

        fold.apply = fails_at_the_end  # type: ignore[method-assign]
        await partition.feed([one("2", value=10)])
        with pytest.raises(Unavailable, match="stopped"):
            await partition.caught_up()
        with pytest.raises(Unavailable, match="in the middle of a record"):
            await partition.worker.settle()
        assert partition.worker.status().failing == "a defect"

        await partition.restart()
        await partition.caught_up()
        await partition.worker.settle()
        assert partition.tally("points", "ann") == 11


async def test_a_worker_that_lost_its_partition_stops_and_writes_nothing(tmp_path: Path) -> None:
    async with Partition(tmp_path, settle_interval_s=0.001) as partition:
        await partition.book.claim(0, owner="another", log_identity="log")
        await partition.feed([START, one("1")])
        with pytest.raises(Fenced):
            await partition.running
        assert partition.rows("tallies") == []
        with pytest.raises(Unavailable, match="has stopped"):
            await partition.worker.applied(99, timeout_s=1)


async def test_applied_waits_and_gives_up_in_time(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        with pytest.raises(Unavailable, match="Position 1 is not applied yet; the boards are at 0"):
            await partition.worker.applied(1, timeout_s=0.001)
        waiting = asyncio.create_task(partition.worker.applied(2, timeout_s=20))
        await partition.feed([START, one("1")])
        await waiting
        assert partition.worker.position == 2


async def test_the_outcomes_of_a_record_are_remembered_event_by_event(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        events = [
            event("a", "1", actor="ann", value=1),
            event("a", "1", actor="ann", value=1),
            event("a", "1", actor="ann", value=2),
            event("a", "2", actor="ann"),
            event("b", "3"),
            event("accrue.nonsense", "4"),
        ]
        await partition.feed([START, record(events, times_us=[NOW_US] * 6, log_time_us=NOW_US)])
        await partition.caught_up()
        outcomes = partition.worker.outcomes(2)
        assert outcomes is not None
        names = [NAMES[outcome] for outcome in outcomes]
        assert names == ["applied", "repeated", "conflicting", "failed", "unmatched", "unmatched"]
        assert partition.worker.outcomes(3) is None


async def test_events_before_there_is_a_program_are_unmatched(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([one("1"), START, one("2")])
        await partition.caught_up()
        await partition.worker.settle()
        assert partition.tally("points", "ann") == 1
        assert partition.worker.status().events["t"].unmatched == 1


async def test_the_fold_holds_back_at_twice_the_dirty_limit_until_a_settlement_made_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.process.worker.RETRY_S", 0.0)
    async with Partition(tmp_path, settle_dirty_rows=3, faults=["before"]) as partition:
        settled_at: list[int] = []

        async def noted() -> None:
            settled_at.append(partition.worker.position)

        partition.book.while_settling = noted
        await partition.feed([START, *(one(f"{n}", actor=f"user-{n}") for n in range(40))])
        await partition.caught_up()
        assert len(settled_at) >= 4  # nobody asked and the interval is an hour: the limit did
        assert max(after - before for before, after in zip([0, *settled_at], settled_at, strict=False)) <= 3 * 3
        await partition.worker.settle()
        assert len(partition.rows("tallies")) == 40


async def test_what_a_settlement_under_way_holds_counts_when_the_fold_holds_back(tmp_path: Path) -> None:
    async with Partition(tmp_path, settle_dirty_rows=4) as partition:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            begun.set()
            await go_on.wait()

        partition.book.while_settling = slowly
        await partition.feed([START, *(one(f"{n}", actor=f"user-{n}") for n in range(4))])
        await begun.wait()
        await partition.feed([one(f"{n}", actor=f"user-{n}") for n in range(4, 40)])
        try:
            await partition.held_back()
            assert partition.worker.position == 1 + 2 * 4  # four rows that the settlement holds, and four more
        finally:
            partition.book.while_settling = None
            go_on.set()
        await partition.caught_up()
        await partition.worker.settle()
        assert len(partition.rows("tallies")) == 40


@pytest.mark.parametrize(
    ("table", "flood"),
    [
        ("failed_events", lambda n: event("a", f"{n}", actor="ann", data={"text": "x" * 1_000})),
        ("conflicts", lambda n: event("a", "same", actor="ann", value=n + 2, data={"text": "x" * 1_000})),
    ],
)
async def test_whole_events_that_wait_for_a_settlement_are_bounded_in_bytes(
    tmp_path: Path, table: str, flood: Callable[[int], dict[str, Any]]
) -> None:
    """Their archive is compressed to nearly nothing here; they themselves are not."""
    async with Partition(tmp_path, settle_archive_bytes=20_000) as partition:
        most: list[int] = []

        async def noted() -> None:
            most.append(partition.worker._waiting_size_bytes())

        partition.book.while_settling = noted
        await partition.feed([START, one("same")])
        await partition.feed([record([flood(n)], times_us=[NOW_US], log_time_us=NOW_US) for n in range(200)])
        await partition.caught_up()

        assert len(most) >= 5  # nobody asked, the interval is an hour and the rows are few: the bytes did
        assert max(most) < 2 * 20_000 + 2_000
        await partition.worker.settle()
        assert len(partition.rows(table)) == 200
        assert partition.worker._waiting_size_bytes() == 0


async def test_an_older_log_is_refused(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()
        await partition.worker.settle()
        before = await partition.book.checkpoint(0)
        await partition.stop()
        partition.log = MemoryLog(identity="log")
        await partition.feed([START])
        with pytest.raises(Corrupt, match="ends at 1, but 2 is settled already"):
            await partition.begin()
        assert await partition.book.checkpoint(0) == before  # nobody was fenced
        await partition.book.close()
        partition.log = MemoryLog(identity="log")
        await partition.feed([START, one("1")])
        await partition.begin()
        assert partition.tally("points", "ann") == 1


async def test_a_log_that_is_another_one_is_refused(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START])
        await partition.caught_up()
        await partition.worker.settle()
        await partition.stop()
        own, partition.log = partition.log, MemoryLog(identity="another")
        with pytest.raises(Corrupt, match="another"):  # not "an older log", although it ends at 0
            await partition.begin()
        await partition.book.close()
        partition.log = own
        await partition.begin()


async def test_a_log_that_begins_past_the_checkpoint_is_refused(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1"), one("2")])
        await partition.caught_up()
        before = await partition.book.checkpoint(0)
        await partition.stop()
        await partition.log.trim(0, up_to=2)
        with pytest.raises(Corrupt, match="begins after position 2"):
            await partition.begin()
        assert partition.rows("tallies") == []
        assert await partition.book.checkpoint(0) == before


async def test_a_damaged_record_stops_the_worker_and_is_not_passed_over(tmp_path: Path) -> None:
    async with Partition(tmp_path) as partition:
        await partition.feed([START, b"rubbish", one("1")])
        with pytest.raises(Corrupt, match="cannot be read"):
            await partition.running
        assert partition.worker.position == 1


async def test_memory_forgets_only_what_the_book_has(tmp_path: Path) -> None:
    async with Partition(tmp_path, entries_in_memory_max=1) as partition:
        await partition.feed([START, *(one(f"{n}", actor=f"user-{n % 10}") for n in range(30))])
        await partition.caught_up()
        await partition.worker.settle()
        await partition.feed([one("x", actor="user-1")])
        await partition.caught_up()
        await partition.worker.settle()
        assert partition.worker.status().entries_in_memory == 2  # one cell, and that its subject is known
        await partition.feed([one("y", actor="user-2")])
        await partition.caught_up()
        cells = await partition.live.cells("t", "user-3", ["all"])
        assert list(cells.values()) == [3]
        await partition.worker.settle()
        assert [partition.tally("points", f"user-{n}") for n in (1, 2, 3)] == [4, 4, 3]


async def test_the_book_is_asked_again_while_it_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accrue.process.patience.RETRY_S", 0.0)
    async with Partition(tmp_path) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()
        await partition.worker.settle()
        await partition.restart()
        load, failures = partition.book.load, [Unavailable("away"), Unavailable("still away")]

        async def away(*arguments: Any) -> Any:
            if failures:
                raise failures.pop()
            return await load(*arguments)

        partition.book.load = away
        await partition.feed([one("2", value=10)])
        await partition.caught_up()
        await partition.worker.settle()
        assert partition.tally("points", "ann") == 11


async def test_starting_reads_no_more_than_the_book_and_changes_nothing(tmp_path: Path) -> None:
    async with Partition(tmp_path, settle_interval_s=NEVER_S) as partition:
        await partition.feed([START, one("1")])
        await partition.caught_up()
        await partition.worker.settle()
        before = partition.digest()
        for _ in range(3):
            await partition.restart()
        assert partition.digest() == before
        book = await SqliteBook.open(tmp_path / "book.db")
        rows = [row async for batch in book.tallies("t", "points", "all") for row in batch]
        await book.close()
        assert [(row.subject, row.value) for row in rows if isinstance(row, TallyRow)] == [("ann", 1)]


async def test_what_was_settled_is_let_go_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "SLICE_ROWS", 4)
    async with Partition(tmp_path) as partition:
        settled: list[Settlement] = []
        commit = partition.book.settle

        async def keep(settlement: Settlement) -> Written:
            settled.append(settlement)
            return await commit(settlement)

        monkeypatch.setattr(partition.book, "settle", keep)
        await partition.feed([START, *(one(f"{n}", actor=f"user-{n}") for n in range(9))])
        await partition.caught_up()
        await partition.worker.settle()
        assert settled[0].tallies == []
        assert len(partition.rows("tallies")) == 9
        assert await partition.live.cells("t", "user-3", ["all"]) != {}


async def test_small_records_that_wait_are_folded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stretches: list[int] = []
    set_aside = Fold._set_aside

    def noted(fold: Fold, tenant: str, stretch: Stretch) -> None:
        stretches.append(len(stretch.events))
        set_aside(fold, tenant, stretch)

    monkeypatch.setattr(Fold, "_set_aside", noted)
    async with Partition(tmp_path, tick_s=0.01) as partition:
        await partition.feed([START, one("first")])
        await partition.caught_up()
        adjusting = event("accrue.adjust", "x", data={"metric": "points", "subject": "ann", "amount": 5, "reason": "r"})
        own = record([adjusting], times_us=[NOW_US], log_time_us=NOW_US)
        await partition.feed([*(one(f"a{n}") for n in range(50)), own, *(one(f"b{n}") for n in range(50))])
        await partition.caught_up()

        assert sum(stretches) == 1 + 1 + 50 + 1 + 50
        assert max(stretches) > 25  # those that came while the worker rested
        assert [partition.worker.outcomes(position) for position in range(1, 104)] == [b"\0"] * 103
        await partition.settle()
        assert partition.tally("points", "ann") == 1 + 50 + 5 + 50
