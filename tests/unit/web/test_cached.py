"""Reads that are kept for a moment: what is shared, with whom, for how long, and what never is."""

from __future__ import annotations

from typing import Any

import pytest

from accrue.clock import ManualClock
from accrue.web.cached import ENTRY_SIZE_BYTES, Cached
from unit.web.board import Board, asked, get, getting, never, turns


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def cached(board: Board, clock: ManualClock) -> Cached:
    return Cached(board, clock)


# --- how long -----------------------------------------------------------------------------------------------------


async def test_an_answer_is_kept_for_a_second_and_says_how_old_it_is(cached: Cached, clock: ManualClock) -> None:
    first = await get(cached)
    second = await get(cached)
    clock.advance(seconds=0.999)
    third = await get(cached)
    clock.advance(seconds=0.001)
    fourth = await get(cached)

    assert [got.body for got in (first, second, third, fourth)] == [b"answer 1", b"answer 1", b"answer 1", b"answer 2"]
    assert [got.headers.get(b"age") for got in (first, second, third, fourth)] == [None, b"0", b"1", None]
    assert first.headers[b"cache-control"] == third.headers[b"cache-control"] == b"max-age=1"
    assert third.headers[b"vary"] == b"accrue-tenant"
    assert (cached.hits, cached.misses) == (2, 2)


async def test_its_age_counts_from_when_it_was_asked_for(cached: Cached, board: Board, clock: ManualClock) -> None:
    board.gate.clear()
    (slow,) = getting(cached, 1)
    await turns()
    clock.advance(seconds=0.9)
    board.gate.set()
    await slow

    assert (await get(cached)).headers[b"age"] == b"1"
    clock.advance(seconds=0.1)
    assert (await get(cached)).body == b"answer 2"


async def test_with_nothing_kept_every_read_asks_and_has_an_etag(board: Board, clock: ManualClock) -> None:
    board.parts = [b"the same"]
    cached = Cached(board, clock, fresh_s=0)

    first = await get(cached)
    second = await get(cached, headers=[(b"if-none-match", first.headers[b"etag"])])

    assert len(board.asked) == 2
    assert first.headers[b"cache-control"] == b"no-cache"
    assert (second.status, second.body) == (304, b"")


# --- with whom ----------------------------------------------------------------------------------------------------


async def test_no_tenant_ever_sees_the_answer_of_another(cached: Cached) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"headers": [(b"accrue-tenant", b"forum")]},
        {"headers": [(b"accrue-tenant", b"shop")]},
        {"query": b"tenant=forum"},
        {"query": b"tenant=shop"},
        {"query": b"tenant=shop", "headers": [(b"accrue-tenant", b"forum")]},
        {"headers": [(b"accrue-tenant", b"forum"), (b"accrue-tenant", b"shop")]},
        {"headers": [(b"accrue-tenant", b"shop"), (b"accrue-tenant", b"forum")]},
    ]

    bodies = [(await get(cached, **way)).body for way in ways]
    again = [(await get(cached, **way)).body for way in ways]

    assert len(set(bodies)) == len(ways)
    assert again == bodies


async def test_addresses_are_told_apart_as_they_were_sent(cached: Cached) -> None:
    paths = (b"/v1/tallies/a%2Fb/c", b"/v1/tallies/a/b%2Fc", b"/v1/tallies/a/b/c", b"/v1/objects/c", b"/v1/boards/c")

    bodies = [(await get(cached, path)).body for path in paths]

    assert len(set(bodies)) == len(paths)
    assert (await get(cached, paths[0], query=b"period=day")).body not in bodies


async def test_without_the_path_as_sent_the_decoded_one_is_the_key(cached: Cached) -> None:
    bodies = []
    for id in ("ada", "bob", "ada"):
        got = asked(b"/v1/users/" + id.encode())
        del got.scope["raw_path"]
        await cached(got.scope, never, got.send)
        bodies.append(got.body)

    assert bodies == [b"answer 1", b"answer 2", b"answer 1"]


@pytest.mark.parametrize(
    ("path", "how"),
    [
        (b"/v1/boards/writers/ranks", {"method": "POST"}),
        (b"/v1/awards", {}),
        (b"/v1/failed", {}),
        (b"/healthz", {}),
        (b"/v1/users/ada", {"headers": [(b"accrue-forwarded", b"gateway-1")]}),
    ],
)
async def test_whatever_else_is_asked_goes_through_as_it_is(
    cached: Cached, board: Board, path: bytes, how: dict[str, Any]
) -> None:
    for _ in range(2):
        got = await get(cached, path, **how)

    assert len(board.asked) == 2
    assert board.asked[1] is got.scope
    assert set(got.headers) == {b"content-type", b"content-length"}


@pytest.mark.parametrize("query", [b"after=7", b"period=day&after=7", b"%61fter=7", b"period=day&aft%65r=7", b"after"])
async def test_a_read_that_must_show_what_was_written_is_always_asked(
    cached: Cached, board: Board, query: bytes
) -> None:
    for _ in range(2):
        got = await get(cached, query=query)

    assert len(board.asked) == 2
    assert got.headers[b"cache-control"] == b"no-cache"
    assert b"etag" in got.headers


async def test_a_value_that_only_looks_like_it_is_kept(cached: Cached, board: Board) -> None:
    for _ in range(2):
        await get(cached, query=b"cursor=after%3D7&style=dense")

    assert len(board.asked) == 1


async def test_a_mounted_application_is_recognised(cached: Cached, board: Board) -> None:
    for _ in range(2):
        got = asked(b"/accrue/v1/users/ada")
        got.scope["root_path"] = "/accrue"
        await cached(got.scope, never, got.send)

    assert len(board.asked) == 1


@pytest.mark.parametrize("status", [404, 422, 503])
async def test_only_a_200_is_kept_and_nobody_else_may_keep_another(cached: Cached, board: Board, status: int) -> None:
    board.status = status
    first = await get(cached)
    board.status = 200
    second = await get(cached)

    assert (first.status, second.status) == (status, 200)
    assert first.headers[b"cache-control"] == b"no-store"
    assert first.headers[b"vary"] == b"accrue-tenant"
    assert b"etag" not in first.headers


async def test_the_route_that_the_framework_found_is_noted_for_all(cached: Cached) -> None:
    first, second = await get(cached), await get(cached)

    assert first.scope["path_template"] == second.scope["path_template"] == "/v1/users/{id}"


# --- ETag, HEAD ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("{etag}", 304),
        ("W/{etag}", 304),
        ('"a, b", {etag}', 304),
        ('W/"other",W/{etag} , "more"', 304),
        ("*", 304),
        ('"other"', 200),
        ("{bare}", 200),
        ('"W/{bare}"', 200),
        ("", 200),
        ('"', 200),
    ],
)
async def test_a_client_that_has_the_answer_is_told_so(cached: Cached, wanted: str, status: int) -> None:
    etag = (await get(cached)).headers[b"etag"].decode()
    assert etag[0] == etag[-1] == '"'
    value = wanted.format(etag=etag, bare=etag.strip('"')).encode()

    got = await get(cached, headers=[(b"if-none-match", value)])

    assert got.status == status
    assert got.body == (b"" if status == 304 else b"answer 1")
    assert got.headers[b"etag"].decode() == etag
    assert {b"cache-control", b"vary", b"age"} <= set(got.headers)
    assert (b"content-length" in got.headers) == (status == 200)


async def test_the_tag_is_that_of_the_bytes(cached: Cached, board: Board, clock: ManualClock) -> None:
    board.parts = [b"same", b" bytes"]
    first = await get(cached)
    clock.advance(seconds=2)
    board.parts = [b"same bytes"]
    second = await get(cached)
    clock.advance(seconds=2)
    board.parts = [b"other bytes"]
    third = await get(cached)

    assert first.headers[b"etag"] == second.headers[b"etag"] != third.headers[b"etag"]
    assert first.body == b"same bytes"
    assert first.headers[b"content-length"] == b"10"


async def test_several_lines_of_if_none_match_are_one_list(cached: Cached) -> None:
    etag = (await get(cached)).headers[b"etag"]

    got = await get(cached, headers=[(b"if-none-match", etag), (b"if-none-match", b'"other"')])

    assert got.status == 304


async def test_a_condition_is_one_clients_alone(cached: Cached, board: Board) -> None:
    board.gate.clear()
    (first,) = getting(cached, 1, headers=[(b"if-none-match", b"*"), (b"range", b"bytes=0-1"), (b"accept", b"*/*")])
    (second,) = getting(cached, 1)
    await turns()
    board.gate.set()

    assert (await first).status == 304
    assert (await second).body == b"answer 1"
    assert board.asked[0]["headers"] == [(b"accept", b"*/*")]


async def test_a_refusal_is_never_unchanged(cached: Cached, board: Board) -> None:
    board.status = 404

    assert (await get(cached, headers=[(b"if-none-match", b"*")])).status == 404


async def test_head_and_get_share_one_answer(cached: Cached, board: Board) -> None:
    head = await get(cached, method="HEAD")
    whole = await get(cached)
    again = await get(cached, method="HEAD")

    assert [scope["method"] for scope in board.asked] == ["GET"]
    assert head.scope["method"] == "HEAD"
    assert (head.body, whole.body, again.body) == (b"", b"answer 1", b"")
    assert head.headers[b"content-length"] == again.headers[b"content-length"] == b"8"
    assert head.headers[b"etag"] == whole.headers[b"etag"]


# --- limits -------------------------------------------------------------------------------------------------------


async def test_what_was_used_longest_ago_goes_when_there_are_too_many(board: Board, clock: ManualClock) -> None:
    cached = Cached(board, clock, entries_max=2)
    await get(cached, b"/v1/users/a")
    await get(cached, b"/v1/users/b")
    await get(cached, b"/v1/users/a")
    await get(cached, b"/v1/users/c")

    assert cached.entries == 2
    assert (await get(cached, b"/v1/users/a")).body == b"answer 1"
    assert (await get(cached, b"/v1/users/b")).body == b"answer 4"


async def test_what_was_used_longest_ago_goes_when_it_is_too_much(board: Board, clock: ManualClock) -> None:
    cached = Cached(board, clock, size_bytes_max=3 * (ENTRY_SIZE_BYTES + 1_000))
    board.parts = [b"x" * 900]
    for id in b"abcde":
        await get(cached, b"/v1/users/%c" % id, query=b"cursor=" + b"y" * 50)

    assert cached.entries == 3
    assert cached.size_bytes == 3 * (ENTRY_SIZE_BYTES + 900 + len(b"/v1/users/a") + 57)


async def test_what_is_not_fresh_any_more_goes_with_the_next(cached: Cached, clock: ManualClock) -> None:
    for id in b"abc":
        await get(cached, b"/v1/users/%c" % id)
    clock.advance(seconds=1)
    await get(cached, b"/v1/users/a")

    assert cached.entries == 1
    assert cached.size_bytes == ENTRY_SIZE_BYTES + len(b"answer 4") + len(b"/v1/users/a")


async def test_too_large_an_answer_is_given_but_not_kept(board: Board, clock: ManualClock) -> None:
    cached = Cached(board, clock, answer_size_bytes_max=ENTRY_SIZE_BYTES)
    board.parts = [b"x" * ENTRY_SIZE_BYTES]

    assert (await get(cached)).body == board.parts[0]
    assert (cached.entries, cached.size_bytes) == (0, 0)
