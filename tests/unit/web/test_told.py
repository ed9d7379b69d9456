"""What a worker tells other processes of its records, and what it makes of questions that are none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from accrue.clock import ManualClock
from accrue.errors import Unavailable
from accrue.web.asking import Asking
from accrue.web.body import Receive, Scope, Send
from accrue.web.told import PATH, Told
from unit.web.loopback import raw, served


async def rest(scope: Scope, receive: Receive, send: Send) -> None:
    """Everything else."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"rest"})


async def outcomes(partition: int, position: int) -> bytes | None:
    """Knows a few records."""
    if partition != 3:
        raise Unavailable("not here")
    return {17: b"\0\1", 18: b""}.get(position)


TOLD = Told(rest, outcomes)


class Whereabouts:
    """Everything is at one address, and at another one after a look."""

    def __init__(self, url: str, *, moved_to: str | None = None, silent: bool = False) -> None:
        self.url, self.moved_to, self.silent, self.looks = url, moved_to or url, silent, 0

    def address(self, partition: int) -> str:
        return self.url

    def is_silent(self, partition: int) -> bool:
        return self.silent

    async def look(self) -> None:
        self.looks += 1
        self.url = self.moved_to


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("GET", "partition=3&position=17", 200),
        ("GET", "partition=3&position=99", 404),
        ("GET", "partition=0&position=17", 503),
        ("POST", "partition=3&position=17", 405),
        ("GET", "partition=3", 422),
        ("GET", "partition=3&position=x", 422),
        ("GET", "partition=3&position=%D9%A1", 422),
        ("GET", f"partition=3&position={'9' * 400}", 422),
        ("GET", "partition=3&position=17&more=1", 422),
        ("GET", "partition=%FF&position=17", 400),
    ],
)
async def test_a_question_has_an_answer_whatever_it_is(method: str, query: str, status: int) -> None:
    app: Any = TOLD
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as client:
        answer = await client.request(method, f"{PATH}?{query}")
        assert answer.status_code == status
        assert (answer.headers["content-type"] == "application/problem+json") == (status != 200)
        assert (await client.get("/v1/users/ada")).text == "rest"


async def test_what_is_told_is_what_who_asks_gets() -> None:
    async with served(TOLD) as url, Asking(Whereabouts(url), ManualClock()) as asking:
        assert await asking.outcomes(3, 17) == b"\0\1"
        assert await asking.outcomes(3, 18) == b""
        assert await asking.outcomes(3, 99) is None
        for _ in range(2):  # an answer that says no does not stop anybody from asking again
            with pytest.raises(Unavailable, match="does not know what became of position 17"):
                await asking.outcomes(0, 17)


async def test_who_does_not_answer_is_left_alone_for_a_while() -> None:
    clock = ManualClock()
    async with (
        raw(None, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\1") as worker,
        Asking(Whereabouts(worker.url), clock) as asking,
    ):
        for _ in range(3):
            with pytest.raises(Unavailable):
                await asking.outcomes(3, 17)
        assert len(worker.requests) == 1
        clock.advance(seconds=2)
        assert await asking.outcomes(3, 17) == b"\1"


async def test_where_a_partition_has_moved_the_new_worker_is_asked() -> None:
    async with served(TOLD) as url, raw(None) as gone:
        for was in (gone.url, ""):
            where = Whereabouts(was, moved_to=url)
            async with Asking(where, ManualClock()) as asking:
                assert await asking.outcomes(3, 17) == b"\0\1"
                assert where.looks == 1
                assert await asking.outcomes(3, 18) == b""
                assert where.looks == 1


async def test_a_worker_that_cannot_be_asked_is_not_looked_for() -> None:
    where = Whereabouts("", silent=True)
    async with Asking(where, ManualClock()) as asking:
        with pytest.raises(Unavailable, match="could be asked"):
            await asking.outcomes(3, 17)
    assert where.looks == 0
