"""What PostgreSQL makes newly possible: answers that are lost on the way, servers that stand still, locks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from msgspec.structs import replace

from accrue.book import postgres, postgres_owning, postgres_read, postgres_settle
from accrue.book.base import AwardRow, Checkpoint, Settlement, TallyRow, Written
from accrue.book.owning import Owned
from accrue.book.postgres import PostgresBook
from accrue.connect import postgres as connecting
from accrue.errors import Fenced, Unavailable
from contract.books import T, claimed, moved, segment
from contract.wire import Wire
from servers.postgres import PostgresServer

WAIT_S_MAX = 20
"""Only so that what never happens fails its test instead of hanging it."""

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND application_name = 'accrue' AND datname = current_database()
"""


def tally(subject: str, value: int = 1) -> TallyRow:
    return TallyRow(T, "points", "all", subject, value, 7)


def a_settlement(before: Checkpoint, **rows: Any) -> Settlement:
    return Settlement(before=before, after=moved(before), **rows)


async def values(book: PostgresBook, *subjects: str) -> list[int]:
    return [row.value for row in (await book.load(T, subjects, ["all"])).tallies]


@pytest.fixture
async def book(postgres_schema: str) -> AsyncIterator[PostgresBook]:
    book = await PostgresBook.open(postgres_schema)
    yield book
    await book.close()


@pytest.fixture
async def hand(postgres_schema: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Somebody at a prompt."""
    connection = await asyncpg.connect(postgres_schema)
    yield connection
    await connection.close()


@pytest.fixture
async def wire(postgres_schema: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    monkeypatch.setattr(postgres_settle, "READ_BACK_PAUSE_S", 0.01)
    monkeypatch.setattr(connecting, "BACK_OFF_S_MIN", 0.0)
    monkeypatch.setattr(connecting, "BACK_OFF_S_MAX", 0.0)
    port = urlsplit(postgres_schema).port
    assert port is not None
    wire = Wire(port)
    wire.open()
    yield wire
    await wire.close()


def over(wire: Wire, url: str) -> str:
    """The same place, over the wire."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{wire.port}")).geturl()


@pytest.fixture
async def far(postgres_schema: str, wire: Wire, book: PostgresBook) -> AsyncIterator[PostgresBook]:
    """The same book as `book`, over the wire."""
    far = await PostgresBook.open(over(wire, postgres_schema))
    yield far
    await far.close()


async def until_somebody_waits(hand: asyncpg.Connection[Any]) -> None:
    """For a lock."""
    async with asyncio.timeout(WAIT_S_MAX):
        while not await hand.fetchval(WAITING):
            await hand.execute("SELECT pg_stat_clear_snapshot()")  # in a transaction it would see the same again


@asynccontextmanager
async def held(hand: asyncpg.Connection[Any], lock: str) -> AsyncIterator[None]:
    """Somebody has a lock, and leaves nothing behind."""
    transaction = hand.transaction()
    await transaction.start()
    await hand.execute(lock)
    try:
        yield
    finally:
        await transaction.rollback()


# An answer that is lost


async def test_a_commit_whose_answer_was_lost_is_found_to_have_happened(far: PostgresBook, wire: Wire) -> None:
    before = await claimed(far)
    wire.fault = "after"

    assert await far.settle(a_settlement(before, tallies=[tally("ada", 5)])) == Written(rows=2, transactions=1)

    assert wire.struck.is_set()
    assert await far.checkpoint(0) == moved(before)
    assert await values(far, "ada") == [5]


async def test_a_commit_that_never_arrived_is_an_error_and_may_be_tried_again(far: PostgresBook, wire: Wire) -> None:
    settlement = a_settlement(await claimed(far), tallies=[tally("ada", 5)], segments=[segment(0, 1)])
    wire.fault = "before"

    with pytest.raises(Unavailable):
        await far.settle(settlement)

    assert wire.struck.is_set()
    assert await far.checkpoint(0) == settlement.before
    assert await values(far, "ada") == []
    assert await far.settle(settlement) == Written(rows=3, transactions=1)


async def test_a_commit_that_is_still_on_its_way_is_waited_for(
    far: PostgresBook, wire: Wire, hand: asyncpg.Connection[Any]
) -> None:
    """Given a connection that broke with the COMMIT in it, the book still shows the old checkpoint when it is looked at
    too early: an answer from then would fence the worker by its own settlement."""
    before = await claimed(far)
    wire.fault = "late"

    async with asyncio.TaskGroup() as group:
        settling = group.create_task(far.settle(a_settlement(before, tallies=[tally("ada", 5)])))
        await wire.struck.wait()
        await until_somebody_waits(hand)
        assert await far.checkpoint(0) == before
        wire.let_go.set()

    assert settling.result() == Written(rows=2, transactions=1)
    assert await values(far, "ada") == [5]


async def test_a_lost_commit_after_which_another_worker_is_found_is_fenced(
    far: PostgresBook, wire: Wire, book: PostgresBook
) -> None:
    before = await claimed(far)
    wire.fault = "after"
    wire.refuses_afterwards = True

    async with asyncio.TaskGroup() as group:
        settling = group.create_task(outcome(far.settle(a_settlement(before, tallies=[tally("ada", 5)]))))
        await wire.struck.wait()
        await book.claim(0, owner="two", log_identity="log-a")
        wire.refusing = False

    assert isinstance(settling.result(), Fenced)


async def outcome(attempt: Any) -> Any:
    try:
        return await attempt
    except Exception as error:
        return error


@pytest.mark.parametrize(("fault", "rows"), [("after", 1 + 2 + 1 + 2), ("before", 1 + 3)])
async def test_what_could_not_be_found_out_is_found_out_by_the_next_settlement(
    far: PostgresBook, wire: Wire, monkeypatch: pytest.MonkeyPatch, fault: str, rows: int
) -> None:
    """The worker then offers everything once more, and what came since."""
    before = await claimed(far)
    first = a_settlement(before, tallies=[tally("ada", 5)], segments=[segment(0, 1)])
    wire.fault, wire.refuses_afterwards = fault, True
    with monkeypatch.context() as patched:
        patched.setattr(postgres_settle, "READ_BACK_WAIT_S_MAX", 0.2)
        with pytest.raises(Unavailable):
            await far.settle(first)
        with pytest.raises(Unavailable):
            await far.settle(first)
    wire.refusing = False

    after = replace(moved(first.after), epoch=before.epoch)
    again = Settlement(before=before, after=after, tallies=[tally("ada", 6)], segments=[segment(0, 1), segment(0, 11)])
    written = await far.settle(again)

    assert written == Written(rows=rows, transactions=1)
    assert await far.checkpoint(0) == after
    assert await values(far, "ada") == [6]
    assert [found.first async for found in far.segments(0)] == [1, 11]


async def test_what_was_never_found_out_does_not_matter_after_a_new_claim(
    far: PostgresBook, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await claimed(far)
    wire.fault, wire.refuses_afterwards = "after", True
    with monkeypatch.context() as patched:
        patched.setattr(postgres_settle, "READ_BACK_WAIT_S_MAX", 0.2)
        with pytest.raises(Unavailable):
            await far.settle(a_settlement(before, tallies=[tally("ada", 5)]))
    wire.refusing = False

    anew = await claimed(far)

    assert anew == replace(moved(before), epoch=2)
    assert (await far.settle(a_settlement(anew, tallies=[tally("ada", 6)]))).rows == 2


async def test_a_settlement_that_was_given_up_at_its_commit_is_found_out_too(far: PostgresBook, wire: Wire) -> None:
    first = a_settlement(await claimed(far), tallies=[tally("ada", 5)], segments=[segment(0, 1)])
    wire.fault = "late"
    giving_up = asyncio.create_task(far.settle(first))
    await wire.struck.wait()
    giving_up.cancel()
    await asyncio.wait([giving_up])
    wire.let_go.set()

    assert (await far.settle(first)).transactions == 1

    assert await far.checkpoint(0) == first.after
    assert [found.first async for found in far.segments(0)] == [1]


async def test_a_connection_that_the_server_ends_is_replaced(book: PostgresBook, hand: asyncpg.Connection[Any]) -> None:
    before = await claimed(book)
    settlement = a_settlement(before, tallies=[tally("ada", 5), tally("bob", 6)])
    async with asyncio.TaskGroup() as group, held(hand, "LOCK TABLE tallies"):
        settling = group.create_task(outcome(book.settle(settlement)))
        await until_somebody_waits(hand)
        await hand.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND application_name = 'accrue' AND datname = current_database()"
        )

    assert isinstance(settling.result(), Unavailable)
    assert await book.checkpoint(0) == before
    assert (await book.settle(settlement)).rows == 3


# Locks


async def test_of_two_transactions_in_each_others_way_the_settlement_is_tried_again(
    book: PostgresBook, hand: asyncpg.Connection[Any]
) -> None:
    before = await claimed(book)
    await book.settle(a_settlement(before, tallies=[tally("bob", 1)]))
    await hand.execute("SET deadlock_timeout = '20s'")  # so that the server chooses the other one
    async with asyncio.TaskGroup() as group, held(hand, "SELECT FROM tallies WHERE subject = 'bob' FOR UPDATE"):
        settlement = a_settlement(moved(before), tallies=[tally("ada", 5), tally("bob", 6)])
        settling = group.create_task(book.settle(settlement))
        await until_somebody_waits(hand)
        await hand.execute("SELECT FROM partitions FOR UPDATE")

    assert settling.result() == Written(rows=3, transactions=1)
    assert sorted(await values(book, "ada", "bob")) == [5, 6]


async def test_a_settlement_that_waits_holds_up_neither_reads_nor_heartbeats(
    book: PostgresBook, hand: asyncpg.Connection[Any]
) -> None:
    """Otherwise an owner that settles for long would look dead, and lose what it settles."""
    before = await claimed(book)
    async with asyncio.TaskGroup() as group, held(hand, "LOCK TABLE tallies IN SHARE MODE"):
        settling = group.create_task(book.settle(a_settlement(before, tallies=[tally("ada", 5)])))
        await until_somebody_waits(hand)
        await book.beat(0, epoch=1)
        assert await book.owners() == [Owned(0, "one", 1, 1, "")]
        assert await values(book, "ada") == []
        assert not settling.done()

    assert await values(book, "ada") == [5]


async def test_a_crowd_of_readers_holds_up_neither_settlements_nor_heartbeats(
    book: PostgresBook, hand: asyncpg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await claimed(book)
    async with asyncio.TaskGroup() as group, held(hand, "LOCK TABLE awards"):
        readers = [group.create_task(book.holdings(T, "ada")) for _ in range(postgres.READ_CONNECTIONS_MAX)]
        await until_somebody_waits(hand)
        await book.settle(a_settlement(before, tallies=[tally("ada", 5)]))
        await book.beat(0, epoch=1)
        monkeypatch.setattr(postgres_read, "READ_WAIT_S_MAX", 0.2)
        with pytest.raises(Unavailable, match=r"All 4 connections .* are busy"):
            await book.checkpoint(0)
        assert not any(reader.done() for reader in readers)

    assert [reader.result() for reader in readers] == [[]] * len(readers)


async def test_a_worker_that_is_stopped_in_a_settlement_loses_its_locks_to_who_claims(
    postgres_schema: str, wire: Wire, book: PostgresBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a worker that stands still behind its fence, the row of its partition is locked and nobody hangs up."""
    monkeypatch.setitem(postgres.DURABLE, "idle_in_transaction_session_timeout", "300ms")
    far = await PostgresBook.open(over(wire, postgres_schema))
    before = await claimed(far)
    wire.word, wire.fault = b"INSERT INTO tallies", "stuck"
    async with asyncio.TaskGroup() as group:
        settling = group.create_task(outcome(far.settle(a_settlement(before, tallies=[tally("ada", 5)]))))
        await wire.struck.wait()

        taken = await book.claim(0, owner="two", log_identity="log-a", seen=(1, 0))
        wire.let_go.set()

    assert taken == replace(before, epoch=2)
    assert isinstance(settling.result(), Unavailable)
    with pytest.raises(Fenced):
        await far.settle(a_settlement(before, tallies=[tally("ada", 5)]))
    assert await values(book, "ada") == []
    await far.close()


# A server that stands still


async def test_a_paused_server_hangs_nobody_and_nothing_is_lost(
    own_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "BACK_OFF_S_MIN", 0.0)
    monkeypatch.setattr(connecting, "BACK_OFF_S_MAX", 0.0)
    server = own_server(PostgresServer)
    book = await PostgresBook.open(server.url)
    before = await claimed(book)
    await values(book, "ada")
    large = [segment(0, 1 + 10 * n)._replace(data=bytes(1 << 20)) for n in range(24)]  # more than the system buffers
    settlement = a_settlement(before, tallies=[tally("ada", 5)], segments=large)
    with monkeypatch.context() as patched:
        patched.setattr(postgres_read, "READ_WAIT_S_MAX", 0.3)
        patched.setattr(postgres_settle, "SETTLE_WAIT_S_MAX", 0.3)
        patched.setattr(postgres_owning, "BEAT_WAIT_S_MAX", 0.3)
        server.pause()
        async with asyncio.timeout(WAIT_S_MAX):
            for attempt in (values(book, "ada"), book.settle(settlement), book.beat(0, epoch=1), book.owners()):
                with pytest.raises(Unavailable, match="did not answer within"):
                    await attempt
        server.resume()

    assert await book.settle(settlement) == Written(rows=26, transactions=1)
    assert await values(book, "ada") == [5]
    await book.close()


# The event loop


class Counted:
    """Counts what is taken out of a sequence, or made."""

    def __init__(self) -> None:
        self.taken = 0

    def of(self, kind: type, content: Any) -> Any:
        """A sequence of that kind that counts what slices of it hold."""
        counted = self

        class Sliced(kind):  # type: ignore[misc]
            def __getitem__(self, index: Any) -> Any:
                found = super().__getitem__(index)
                counted.taken += len(found) if isinstance(index, slice) else 0
                return found

        return Sliced(content)

    async def most_in_a_turn(self, work: Any) -> int:
        """Of the event loop, while the work goes on."""
        most, task = 0, asyncio.ensure_future(work)
        while not task.done():
            before = self.taken
            await asyncio.sleep(0)
            most = max(most, self.taken - before)
        await task
        return most


async def test_the_loop_gets_its_turn_while_rows_are_written(book: PostgresBook) -> None:
    counted = Counted()
    tallies = counted.of(list, [tally(f"user-{n}", n) for n in range(20_000)])

    settling = book.settle(a_settlement(await claimed(book), tallies=tallies))

    assert await counted.most_in_a_turn(settling) == postgres_settle.ROWS_PER_SLICE
    assert counted.taken == len(tallies)


async def test_the_loop_gets_its_turn_while_a_blob_is_written(book: PostgresBook) -> None:
    counted = Counted()
    large = segment(0, 1)._replace(data=counted.of(bytes, bytes(range(256)) * 20_000))

    settling = book.settle(a_settlement(await claimed(book), segments=[large]))

    assert await counted.most_in_a_turn(settling) == postgres_settle.PIECE_SIZE_BYTES
    assert [found async for found in book.segments(0)] == [large]


async def test_the_loop_gets_its_turn_while_rows_are_read(book: PostgresBook, monkeypatch: pytest.MonkeyPatch) -> None:
    tallies = [tally(f"user-{n}", n) for n in range(20_000)]
    await book.settle(a_settlement(await claimed(book), tallies=tallies))
    counted = Counted()

    def make(columns: Any) -> TallyRow:
        counted.taken += 1
        return TallyRow(*columns)

    monkeypatch.setattr(postgres_read, "_TALLIES", make)

    loading = book.load(T, [row.subject for row in tallies], ["all"])

    assert await counted.most_in_a_turn(loading) == postgres_read.ROWS_PER_SLICE
    assert counted.taken == len(tallies)


PAGES = {
    "load_tallies": ((T, '["ada"]', ["all"]), "tallies_pkey"),
    "load_awards": ((T, '["ada"]'), "awards_pkey"),
    "tallies_after": ((T, "points", "all", "", 10), "tallies_by_metric"),
    "awards_after": ((T, 5, "", "", "", 10), "awards_by_sequence"),
    "holdings": ((T, "ada"), "awards_by_holder"),
}


@pytest.mark.parametrize("query", PAGES)
async def test_a_read_goes_by_its_index_also_while_the_server_has_no_statistics(book: PostgresBook, query: str) -> None:
    """Left to itself the planner would read and sort all that a tenant has."""
    arguments, index = PAGES[query]
    tallies = [TallyRow(T, "points", period, f"user-{n}", n, 7) for n in range(5_000) for period in ("all", "day:1")]
    awards = [AwardRow(T, "b", "", f"user-{n}", f"user-{n}", 1, n, 0) for n in range(5_000)]
    await book.settle(a_settlement(await claimed(book), tallies=tallies, awards=awards))

    async def explained(connection: Any) -> list[str]:
        return [row[0] for row in await connection.fetch("EXPLAIN " + postgres_read._SQL[query], *arguments)]

    plan = "\n".join(await book._reader.run(explained, wait_s_max=WAIT_S_MAX))
    assert f"Index Scan using {index}" in plan
    assert "Hash" not in plan
    if query != "holdings":
        assert "Sort" not in plan
