"""Failed events through the fold, the settlement and a restart: parked whole, replayed by newer rules, or dropped."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accrue.core.event import Stamp
from accrue.core.record import EVENTS_PER_RECORD_MAX, FORMAT, Batch, Record, encode
from accrue.errors import NotFound, Rejected
from accrue.process.kept import KeptState
from accrue.process.outcome import APPLIED, CONFLICTING, FAILED, REPEATED, UNMATCHED
from pipeline.partition import TENANT, Partition, event, program, record

DAY_US = 86_400_000_000
FIRST_US = 20_000 * DAY_US
BROKEN = """
[metrics.points]
periods = ["day"]
[metrics.seen]
[[rules]]
name = "paid once"
on = "paid"
when = "not stamp.crawler"
once = ["actor"]
give = [{ to = "actor", metric = "points", amount = "data.euros / data.people" }]
[[rules]]
on = "seen"
give = [{ to = "actor", metric = "seen" }]
"""
FIXED = BROKEN.replace("data.euros / data.people", "data.euros / max(1, data.people)")
FIRST_DAY, SECOND_DAY = "2024-10-04", "2024-10-05"  # days 20,000 and 20,001 after 1970


@pytest.fixture
async def partition(tmp_path: Path) -> AsyncIterator[Partition]:
    async with Partition(tmp_path) as opened:
        yield opened


class Fed:
    """Feeds one event a record, each at the next position, and gives its sequence number."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.position = 0

    async def __call__(
        self, *events: dict[str, Any], time_us: int = FIRST_US + DAY_US, stamp: Stamp | None = None
    ) -> int:
        body = b"\n".join(msgspec.json.encode(each) for each in events)
        stamps = {} if stamp is None else dict.fromkeys(range(len(events)), stamp)
        batch = Batch(TENANT, body, [time_us] * len(events), stamps)
        await self.partition.feed([encode(Record(FORMAT, FIRST_US, [batch]))])
        await self.partition.caught_up()
        self.position += 1
        return self.position * EVENTS_PER_RECORD_MAX

    def outcomes(self) -> list[int]:
        return list(self.partition.worker.outcomes(self.position) or b"")


@pytest.fixture
async def feed(partition: Partition) -> Fed:
    fed = Fed(partition)
    await fed(program(BROKEN, "p1"))
    return fed


def kept(partition: Partition) -> KeptState:
    return KeptState(partition.worker, partition.book, partition.log, partition=0)


def paid(id: str, *, euros: int = 6, people: int = 0, **fields: Any) -> dict[str, Any]:
    return event("paid", id, actor="ann", data={"euros": euros, "people": people}, **fields)


def replay(sequence: int, id: str) -> dict[str, Any]:
    return event("accrue.failed.replay", id, data={"sequence": sequence})


def drop(sequence: int, id: str) -> dict[str, Any]:
    return event("accrue.failed.drop", id, data={"sequence": sequence})


async def waiting(partition: Partition) -> list[tuple[int, str]]:
    return [(row.sequence, row.reason) for row in await kept(partition).failed(TENANT, after=0, rows=100)]


@pytest.mark.parametrize("between", ["nothing", "settle", "restart"])
async def test_after_the_fix_a_replayed_event_counts_at_its_own_time_once(
    partition: Partition, feed: Fed, between: str
) -> None:
    failed = await feed(paid("e1"), time_us=FIRST_US)
    assert feed.outcomes() == [FAILED]
    assert await waiting(partition) == [(failed, "a division by zero")]
    if between != "nothing":
        await partition.settle()
    if between == "restart":
        await partition.restart()

    await feed(program(FIXED, "p2"))
    await feed(replay(failed, "r1"))
    assert feed.outcomes() == [APPLIED]
    await feed(replay(failed, "r2"))
    assert feed.outcomes() == [UNMATCHED]
    await feed(paid("e1"))
    assert feed.outcomes() == [REPEATED]
    await feed(paid("e2", people=2))  # the same actor: `once` has seen it

    assert await waiting(partition) == []
    await partition.settle()
    assert partition.rows("failed_events") == []
    assert [partition.tally("points", "ann", period) for period in ("all", FIRST_DAY, SECOND_DAY)] == [6, 6, None]


async def test_one_that_fails_again_stays_with_the_new_reason_and_without_effect(
    partition: Partition, feed: Fed
) -> None:
    failed = await feed(paid("e1"))
    await partition.settle()

    await feed(program(BROKEN.replace("data.euros / data.people", "data.nothing"), "p2"))
    await feed(replay(failed, "r1"))

    assert feed.outcomes() == [FAILED]
    assert await waiting(partition) == [(failed, "the amount is missing")]
    assert kept(partition).failed_reasons(TENANT) == {("paid", "the amount is missing"): 1}
    await partition.settle()
    await partition.restart()
    assert await waiting(partition) == [(failed, "the amount is missing")]
    assert kept(partition).failed_reasons(TENANT) == {("paid", "the amount is missing"): 1}
    assert partition.rows("tallies") == []


async def test_one_that_nothing_listens_to_any_more_is_not_lost(partition: Partition, feed: Fed) -> None:
    failed = await feed(paid("e1"))
    await feed(program("[metrics.points]", "p2"))
    await feed(replay(failed, "r1"))

    assert feed.outcomes() == [FAILED]
    assert await waiting(partition) == [(failed, "nothing in the program listens to 'paid'")]


@pytest.mark.parametrize("settled", [False, True])
async def test_a_dropped_event_never_counts_and_its_id_stays_used(
    partition: Partition, feed: Fed, settled: bool
) -> None:
    failed = await feed(paid("e1"))
    if settled:
        await partition.settle()
    await feed(drop(failed, "d1"))
    assert feed.outcomes() == [APPLIED]

    await feed(program(FIXED, "p2"))
    await feed(replay(failed, "r1"), drop(failed, "d2"), paid("e1"))

    assert feed.outcomes() == [UNMATCHED, UNMATCHED, REPEATED]
    await partition.settle()
    assert (partition.rows("failed_events"), partition.rows("tallies")) == ([], [])
    assert kept(partition).failed_reasons(TENANT) == {}


async def test_what_follows_a_replay_in_its_record_sees_what_it_did(partition: Partition, feed: Fed) -> None:
    failed = await feed(paid("e1"))
    await partition.settle()
    await feed(program(FIXED, "p2"))
    await feed(replay(failed, "r1"), paid("e2", people=2), replay(failed, "r2"), event("seen", "s", actor="ann"))

    assert feed.outcomes() == [APPLIED, APPLIED, UNMATCHED, APPLIED]
    await partition.settle()
    assert (partition.tally("points", "ann"), partition.tally("seen", "ann")) == (6, 1)  # `once` has seen her


async def test_what_ingest_stamped_on_it_is_read_again(partition: Partition, feed: Fed) -> None:
    other = BROKEN.replace('when = "not stamp.crawler"', 'when = "data.people / data.people > 0"')
    await feed(program(other, "p2"))
    failed = await feed(paid("e1"), stamp=Stamp(crawler=True))
    await partition.settle()

    await feed(program(FIXED, "p3"))
    await feed(replay(failed, "r1"))

    assert feed.outcomes() == [APPLIED]  # decided, and a crawler gets nothing
    await partition.settle()
    assert partition.rows("tallies") == []


async def test_a_settlement_under_way_loses_neither_the_event_nor_its_replay(partition: Partition, feed: Fed) -> None:
    failed = await feed(paid("e1"))

    async def meanwhile() -> None:
        partition.book.while_settling = None
        await feed(program(FIXED, "p2"))
        await feed(replay(failed, "r1"))

    partition.book.while_settling = meanwhile
    await partition.settle()
    assert [row[1] for row in partition.rows("failed_events")] == [failed]  # as it was where the settlement began
    assert await waiting(partition) == []

    await partition.settle()
    assert partition.rows("failed_events") == []
    assert partition.tally("points", "ann") == 6


async def test_a_settlement_that_fails_offers_both_again(tmp_path: Path) -> None:
    async with Partition(tmp_path, faults=["before", "before"]) as partition:
        feed = Fed(partition)
        await feed(program(BROKEN, "p1"))
        one, two = await feed(paid("e1")), await feed(paid("e2"))
        await partition.settle()
        partition.book.faults = ["before"]
        await feed(drop(one, "d1"))
        await partition.settle()

        assert [row[1] for row in partition.rows("failed_events")] == [two]


async def test_an_adjustment_that_failed_is_replayed_too(partition: Partition, feed: Fed) -> None:
    data = {"metric": "stars", "subject": "ann", "amount": 3, "reason": "thanks"}
    failed = await feed(event("accrue.adjust", "a1", data=data))
    assert await waiting(partition) == [(failed, "there is no metric 'stars'")]

    await feed(program(BROKEN + "[metrics.stars]\n", "p2"))
    await feed(replay(failed, "r1"))

    await partition.settle()
    assert partition.tally("stars", "ann") == 3
    assert await waiting(partition) == []


async def test_a_program_that_failed_is_not_replayed_and_says_what_to_do(partition: Partition, feed: Fed) -> None:
    failed = await feed(program("rubbish", "p2"))
    with pytest.raises(Rejected, match=r"'accrue\.program', which is not replayed"):
        await kept(partition).replayable(TENANT, failed)

    await feed(replay(failed, "r1"))
    assert feed.outcomes() == [UNMATCHED]
    assert len(await waiting(partition)) == 1


async def test_one_parked_before_its_time_was_kept_is_refused_and_stays(partition: Partition, feed: Fed) -> None:
    failed = await feed(paid("e1"))
    await partition.settle()
    await partition.stop()
    with partition.by_hand() as hand:
        hand.execute("UPDATE failed_events SET time_us = -1")
    await partition.begin()

    with pytest.raises(Rejected, match="parked by an earlier version"):
        await kept(partition).replayable(TENANT, failed)
    await feed(program(FIXED, "p2"), replay(failed, "r1"))
    assert feed.outcomes() == [APPLIED, UNMATCHED]
    assert len(await waiting(partition)) == 1


async def test_naming_what_is_no_failed_event_does_nothing(partition: Partition, feed: Fed) -> None:
    applied = await feed(event("seen", "s1", actor="ann"))
    await feed(replay(applied, "r1"), drop(applied, "d1"), replay(5, "r2"), event("accrue.failed.drop", "d2", data={}))

    assert feed.outcomes() == [UNMATCHED, UNMATCHED, UNMATCHED, FAILED]
    with pytest.raises(NotFound):
        await kept(partition).failed_event(TENANT, applied)
    await partition.settle()
    assert partition.tally("seen", "ann") == 1


async def test_pages_go_over_memory_and_book_as_over_one_list(partition: Partition, feed: Fed) -> None:
    chance = random.Random(7)
    expected: dict[int, str] = {}
    for number in range(60):
        act = chance.choice(["park", "park", "park", "park", "drop", "settle"])
        if act == "settle":
            await partition.settle()
        elif act == "park" or not expected:
            expected[await feed(paid(f"e{number}"))] = "paid"
            expected[await feed(event("accrue.adjust", f"a{number}", data={}))] = "accrue.adjust"
        else:
            gone = chance.choice(sorted(expected))
            del expected[gone]
            await feed(drop(gone, f"d{number}"))
        for rows, type in ((1, ""), (3, ""), (3, "paid"), (100, "accrue.adjust")):
            found: list[int] = []
            while some := await kept(partition).failed(TENANT, after=found[-1] if found else 0, rows=rows, type=type):
                found += [row.sequence for row in some]
            assert found == sorted(at for at, its in expected.items() if type in ("", its))
        assert sum(kept(partition).failed_reasons(TENANT).values()) == len(expected)


# --- conflicts ----------------------------------------------------------------------------------------------------


def seen(id: str, actor: str) -> dict[str, Any]:
    return event("seen", id, actor=actor)


@pytest.mark.parametrize("settlements", [[], [1], [3], [1, 2, 3, 4, 5]])
async def test_a_conflict_is_kept_and_shown_with_the_body_that_stands(
    partition: Partition, feed: Fed, settlements: list[int]
) -> None:
    sent = [
        [seen("x", "ann"), seen("y", "bob")],
        [seen("x", "ann"), seen("x", "cat"), seen("\u00e9/x", "dan")],
        [seen("x", "eve"), seen("other", "x")],
        [event("unknown", "z"), seen("\u00e9/x", "eve")],
    ]
    at: list[int] = []
    for number, events in enumerate(sent, start=1):
        at.append(await feed(*events))
        if number in settlements:
            await partition.settle()

    found = await kept(partition).conflicts(TENANT, after=0, rows=100)
    assert [(row.sequence, row.event_id) for row in found] == [
        (at[1] + 1, "x"),
        (at[2], "x"),
        (at[3] + 1, "\u00e9/x"),
    ]
    firsts = [await kept(partition).first_body(row) for row in found]
    assert [msgspec.json.decode(first)["actor"] for first in firsts if first] == ["ann", "ann", "dan"]
    assert await kept(partition).conflicts(TENANT, after=at[1] + 1, rows=1) == found[1:2]
    assert await kept(partition).conflict(TENANT, at[2]) == found[1]
    with pytest.raises(NotFound):
        await kept(partition).conflict(TENANT, at[2] + 1)


async def test_an_id_written_with_escapes_is_found_too(partition: Partition, feed: Fed) -> None:
    line = b'{"id":"\\u0078y","type":"seen","actor":"ann"}'
    await partition.feed([encode(Record(FORMAT, FIRST_US, [Batch(TENANT, line, [FIRST_US], {})]))])
    feed.position += 1
    await feed(seen("xy", "bob"))
    assert feed.outcomes() == [CONFLICTING]

    (row,) = await kept(partition).conflicts(TENANT, after=0, rows=9)
    assert await kept(partition).first_body(row) == line.decode()


async def test_a_first_one_of_another_tenant_is_none(partition: Partition, feed: Fed) -> None:
    await partition.feed(
        [record([program("[metrics.a]", "p"), seen("x", "eve")], times_us=[1, 1], log_time_us=FIRST_US, tenant="u")]
    )
    feed.position += 1
    await feed(seen("x", "ann"))
    await partition.feed([record([seen("x", "joe")], times_us=[1], log_time_us=FIRST_US, tenant="u")])
    feed.position += 1
    await feed(seen("x", "bob"))

    (row,) = await kept(partition).conflicts(TENANT, after=0, rows=9)
    assert '"ann"' in (await kept(partition).first_body(row) or "")
