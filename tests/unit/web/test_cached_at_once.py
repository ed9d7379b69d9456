"""Many who read the same at once: one asks for all, and what becomes of the others when that one fails or leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from accrue.clock import ManualClock
from accrue.web.body import Message, Receive, Scope, Send
from accrue.web.cached import Cached
from unit.web.board import Board, asked, get, getting, never, turns


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def cached(board: Board, clock: ManualClock) -> Cached:
    return Cached(board, clock)


async def test_many_who_ask_at_once_cost_one(cached: Cached, board: Board) -> None:
    board.gate.clear()
    waiting = getting(cached, 50)
    await turns()
    board.gate.set()

    assert {got.body for got in await asyncio.gather(*waiting)} == {b"answer 1"}
    assert len(board.asked) == 1
    assert (cached.misses, cached.shared) == (1, 49)


async def test_who_waits_gets_the_refusal_and_the_next_one_asks_again(cached: Cached, board: Board) -> None:
    board.status = 503
    board.gate.clear()
    waiting = getting(cached, 3)
    await turns()
    board.gate.set()

    assert [got.status for got in await asyncio.gather(*waiting)] == [503, 503, 503]
    board.status = 200
    assert (await get(cached)).status == 200
    assert len(board.asked) == 2


async def test_when_the_one_who_asks_fails_the_others_find_out_for_themselves(cached: Cached, board: Board) -> None:
    board.gate.clear()
    board.failing = [1]
    first, *others = getting(cached, 4)
    await turns()
    board.gate.set()
    with pytest.raises(RuntimeError):
        await first

    assert [got.status for got in await asyncio.gather(*others)] == [200, 200, 200]
    assert len(board.asked) == 4


async def test_when_the_one_who_asks_is_cancelled_another_takes_over(cached: Cached, board: Board) -> None:
    board.gate.clear()
    first, *others = getting(cached, 4)
    await turns()
    first.cancel()
    await turns()
    assert len(board.asked) == 2
    board.gate.set()

    assert {got.body for got in await asyncio.gather(*others)} == {b"answer 2"}
    with suppress(asyncio.CancelledError):
        await first


async def test_who_takes_over_and_is_answered_at_once_answers_all(cached: Cached, board: Board) -> None:
    board.gate.clear()
    first, *others = getting(cached, 4)
    await turns()
    first.cancel()
    board.gate.set()

    assert {got.body for got in await asyncio.gather(*others)} == {b"answer 2"}
    assert len(board.asked) == 2
    with suppress(asyncio.CancelledError):
        await first


async def test_one_who_waits_may_leave_without_taking_the_others_along(cached: Cached, board: Board) -> None:
    board.gate.clear()
    first, second, third = getting(cached, 3)
    await turns()
    second.cancel()
    await turns()
    board.gate.set()

    assert (await first).body == (await third).body == b"answer 1"
    with suppress(asyncio.CancelledError):
        await second


async def test_an_answer_that_breaks_off_is_nobodys(cached: Cached, board: Board) -> None:
    board.whole = False

    got = await get(cached)

    assert got.messages == []  # so the server knows that there was none
    board.whole = True
    assert (await get(cached)).body == b"answer 2"


async def test_a_client_that_does_not_read_holds_up_nobody_else(cached: Cached, board: Board) -> None:
    async def stuck(message: Message) -> None:
        await asyncio.Event().wait()

    slow = asyncio.create_task(cached(asked(b"/v1/users/ada").scope, never, stuck))
    (other,) = getting(cached, 1)

    assert (await other).body == b"answer 1"
    slow.cancel()
    with suppress(asyncio.CancelledError):
        await slow


async def test_an_export_is_sent_as_it_comes_to_each_who_asks(clock: ManualClock) -> None:
    rest = asyncio.Event()
    exports = 0

    async def export(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal exports
        exports += 1
        await asyncio.sleep(0)  # so that the others are there and wait
        headers = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for line in (b"1\n", b"2\n", b"3\n"):
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await rest.wait()
        await send({"type": "http.response.body", "body": b"4\n"})

    cached = Cached(export, clock, answer_size_bytes_max=3)
    readers = [asked(b"/v1/tallies/points") for _ in range(3)]
    reading = [asyncio.create_task(cached(reader.scope, never, reader.send)) for reader in readers]
    await turns()

    assert exports == 3
    assert [reader.body for reader in readers] == [b"1\n2\n3\n"] * 3
    rest.set()
    await asyncio.gather(*reading)
    assert [reader.body for reader in readers] == [b"1\n2\n3\n4\n"] * 3
    assert readers[0].headers[b"cache-control"] == b"no-cache"
    assert readers[0].headers[b"vary"] == b"accrue-tenant"
    assert b"etag" not in readers[0].headers
    assert cached.entries == 0
