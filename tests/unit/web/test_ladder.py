"""Who answers: this process, the tenant's worker, or the book."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from accrue import errors
from accrue.clock import ManualClock
from accrue.connect.http import BrokenOff
from accrue.errors import Unavailable
from accrue.web.body import App, Receive, Scope, Send, read_body
from accrue.web.ladder import Ladder, Neighbours
from accrue.web.problems import ELSEWHERE

BOARD, USER, RANKS = "/v1/boards/writers", "/v1/users/ada", "/v1/boards/writers/ranks"


class Says:
    """An app that answers with its name, or 503; it reads the body, as a real one does."""

    def __init__(self, name: str, *, status: int = 200, elsewhere: bool = False) -> None:
        self.name, self.status, self.bodies = name, status, [b""][:0]
        self.headers = [(ELSEWHERE, b"1")] if elsewhere else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.bodies.append((await receive()).get("body", b""))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.name.encode()})


class Elsewhere:
    """A forwarder whose other side answers, or does not."""

    def __init__(self, *, answers: bool = True) -> None:
        self.app, self.answers, self.addresses = Says("worker"), answers, [""][:0]

    async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.addresses.append(address)
        if not self.answers:
            raise Unavailable("nobody there")
        await self.app(scope, receive, send)


async def known(tenant: str) -> None:
    """There is every tenant."""


def ladder(
    *,
    own: App | None = None,
    stale: App | None = None,
    here: bool = False,
    shares_boards: bool = True,
    elsewhere: Any = None,
    address: str = "http://worker",
    moves_to: str = "",
    find: Callable[[str], Awaitable[None]] = known,
) -> httpx.AsyncClient:
    async def look() -> None:
        nonlocal address
        address = moves_to

    neighbours = Neighbours(
        is_here=lambda tenant: here,
        address_of=lambda tenant: address and f"{address}/{tenant}",
        look=look,
        forwarder=elsewhere or Elsewhere(),
        clock=ManualClock(),
        find=find,
    )
    app: Any = Ladder(own or Says("own"), stale or Says("book"), neighbours, shares_boards=shares_boards)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://accrue")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/events"), ("POST", f"{BOARD}/scores"), ("PUT", "/v1/admin/program"), ("GET", "/metrics")],
)
async def test_what_enters_the_log_and_what_is_of_this_process_is_answered_here(method: str, path: str) -> None:
    async with ladder(stale=Says("book")) as client:
        assert (await client.request(method, path, content=b"{}")).text == "own"


async def test_boards_are_read_here_and_profiles_of_the_worker() -> None:
    elsewhere = Elsewhere()
    async with ladder(elsewhere=elsewhere) as client:
        assert (await client.get(BOARD)).text == "own"
        assert (await client.post(RANKS, content=b"{}")).text == "own"
        assert (await client.get(USER, headers={"accrue-tenant": "red"})).text == "worker"
        assert (await client.get(f"{USER}?tenant=blue")).text == "worker"
        assert (await client.post("/v1/admin/failed/replay", content=b"{}")).text == "worker"
    assert elsewhere.addresses == ["http://worker/red", "http://worker/blue", "http://worker/default"]


async def test_with_boards_in_the_workers_memory_they_are_asked_of_the_worker() -> None:
    async with ladder(shares_boards=False) as client:
        assert (await client.get(BOARD)).text == "worker"


async def test_of_a_tenant_that_is_worked_on_here_everything_is_answered_here() -> None:
    async with ladder(here=True) as client:
        for path in (BOARD, USER, "/v1/admin/failed"):
            assert (await client.get(path)).text == "own"


async def test_a_board_that_is_not_there_is_asked_of_the_worker_and_then_of_the_book() -> None:
    for answers, said in ((True, "worker"), (False, "book")):
        elsewhere, book = Elsewhere(answers=answers), Says("book")
        async with ladder(own=Says("own", status=503, elsewhere=True), stale=book, elsewhere=elsewhere) as client:
            assert (await client.get(BOARD)).text == said
            asked = await client.post(RANKS, content=b'{"subjects":["ada"]}')
            assert asked.text == said
        assert (elsewhere.app if answers else book).bodies[-1] == b'{"subjects":["ada"]}'


async def test_boards_that_do_not_answer_are_not_asked_of_the_worker_who_has_the_same() -> None:
    elsewhere = Elsewhere()
    async with ladder(own=Says("own", status=503), elsewhere=elsewhere) as client:
        assert (await client.get(BOARD)).text == "book"
    assert elsewhere.addresses == []


async def test_a_read_without_a_worker_is_of_the_book_unless_it_has_to_show_a_position() -> None:
    for address in ("", "http://gone"):
        async with ladder(elsewhere=Elsewhere(answers=False), address=address) as client:
            assert (await client.get(USER)).text == "book"
            refused = await client.get(f"{USER}?after=7")
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            refused = await client.post("/v1/admin/failed/replay", content=b"{}")
            assert refused.status_code == 503


async def test_a_worker_that_is_not_as_far_as_a_read_wants_is_asked_by_others_all_the_same() -> None:
    class Behind(Elsewhere):
        async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
            self.answers = b"after" not in scope["query_string"]
            await super().forward(address, scope, receive, send)

    async with ladder(elsewhere=Behind()) as client:
        assert (await client.get(f"{USER}?after=7")).status_code == 503
        assert (await client.get(USER)).text == "worker"


class MovedFrom(Elsewhere):
    """The worker at one address says that the tenant is another's."""

    def __init__(self, address: str, *, reads: bool = False) -> None:
        super().__init__()
        self.old, self.reads = address, reads

    async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.addresses.append(address)
        if self.reads:
            await read_body(receive, dict(scope["headers"]))
        if address.startswith(self.old):
            raise errors.Elsewhere("the partition is changing hands")
        await self.app(scope, receive, send)


async def test_a_worker_that_has_the_tenant_no_more_is_not_taken_for_dead_and_the_new_one_is_asked_at_once() -> None:
    moved = MovedFrom("http://worker")
    async with ladder(elsewhere=moved, moves_to="http://other") as client:
        assert (await client.get(USER)).text == "worker"
    assert moved.addresses == ["http://worker/default", "http://other/default"]

    between = MovedFrom("http://worker")
    async with ladder(elsewhere=between, moves_to="http://worker") as client:  # nobody has it yet
        for _ in range(2):
            assert (await client.get(USER)).text == "book"
        assert (await client.post("/v1/admin/failed/replay", content=b"{}")).status_code == 503
    assert len(between.addresses) == 3


async def test_who_has_sent_a_body_is_not_asked_for_it_again() -> None:
    moved = MovedFrom("http://worker", reads=True)
    async with ladder(elsewhere=moved, moves_to="http://other") as client:
        async with asyncio.timeout(5):
            answer = await client.request("GET", USER, content=b"{}")
    assert answer.text == "book"
    assert moved.addresses == ["http://worker/default"]


async def test_what_is_worked_on_here_falls_back_on_the_book_when_its_boards_are_gone() -> None:
    async with ladder(own=Says("own", status=503), here=True) as client:
        assert (await client.get(BOARD)).text == "book"
        waited = await client.get(f"{BOARD}?after=7")
        assert (waited.status_code, waited.text) == (503, "own")


async def test_any_other_answer_is_the_answer() -> None:
    for status in (404, 410, 422):
        async with ladder(own=Says("own", status=status)) as client:
            assert (await client.get(BOARD)).status_code == status


@pytest.mark.parametrize("path", ["/v1/events?tenant=red", f"{BOARD}?tenant=red", f"{USER}?tenant=red"])
async def test_a_tenant_is_looked_for_before_anything_is_said_of_it(path: str) -> None:
    looked: list[str] = []
    method = "POST" if "events" in path else "GET"

    async def find(tenant: str) -> None:
        looked.append(tenant)
        if len(looked) > 1:
            raise Unavailable("the book does not say")

    own = Says("own")
    async with ladder(own=own, find=find, here=True) as client:
        assert (await client.request(method, path, content=b"{}")).status_code == 200
        refused = await client.request(method, path, content=b"{}")
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert (await client.put("/v1/admin/program?tenant=red", content=b"new")).text == "own"
        assert (await client.get("/metrics")).text == "own"
    assert looked == ["red"] * 3
    assert len(own.bodies) == 3


async def test_half_an_answer_is_broken_off_and_not_followed_by_another() -> None:
    class BreaksOff:
        async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise BrokenOff("The answer broke off.")

    with pytest.raises(BrokenOff):
        await ladder(elsewhere=BreaksOff()).get(USER)
