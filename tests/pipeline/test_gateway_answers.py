"""What a gateway says to those who wait until their events are applied: the same as the process that applied them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from accrue.config import Config
from accrue.engine import Accrue
from accrue.errors import Unavailable
from accrue.process import afar, outcome
from accrue.process.routed import RoutedLive
from accrue.server import create_app
from accrue.web.asking import Asking
from pipeline.nodes import Servers, servers, tenants, until
from unit.web.loopback import served, talking

PROGRAM = """
[metrics.points]
[[rules]]
on = "comment"
give = [{ to = "actor", metric = "points", amount = 5 }]
[[rules]]
on = "share"
give = [{ to = "actor", metric = "points", amount = "100 / value" }]
[boards.writers]
metric = "points"
periods = ["all"]
"""

EVENTS = b"""
{"id": "a", "type": "comment", "actor": "ada"}
{"id": "b", "type": "share", "actor": "ada", "value": 0}
{"id": "c", "type": "nothing", "actor": "ada"}
{"id": "d", "type": "comment", "actor": 7}
{"id": "e", "type": "comment", "actor": "bob"}
""".strip()
AGAIN = b"""
{"id": "a", "type": "comment", "actor": "ada"}
{"id": "e", "type": "comment", "actor": "eve"}
{"id": "f", "type": "comment", "actor": "ada"}
""".strip()
NDJSON = {"content-type": "application/x-ndjson"}
ADA = b'{"id": "%d", "type": "comment", "actor": "ada"}'


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Servers]:
    """Engines without a process."""
    async with servers(tmp_path, partitions=1) as engines:
        yield engines


async def send(client: httpx.AsyncClient, body: bytes, tenant: str = "default") -> dict[str, Any]:
    """Send events and wait until they are applied."""
    answer = await client.post(f"/v1/events?wait=applied&tenant={tenant}", content=body, headers=NDJSON)
    assert answer.status_code == 202
    found: dict[str, Any] = answer.json()
    return found


async def test_it_is_the_answer_of_a_process_that_is_alone(engines: Servers) -> None:
    async def answers(client: httpx.AsyncClient) -> list[Any]:
        assert (await client.put("/v1/admin/program", content=PROGRAM, headers=TOML)).status_code == 200
        said = [(await send(client, body))["results"] for body in (EVENTS, AGAIN)]
        for _ in range(2):
            score = {"id": "s", "subject": "ada", "value": 7, "mode": "set"}
            said.append((await client.post("/v1/boards/writers/scores?wait=applied", json=score)).json()["results"])
        return said

    async with Accrue.open(Config(data_dir=None)) as accrue, served(create_app(accrue)) as url, talking(url) as alone:
        expected = await answers(alone)
    async with engines.served(), engines.served(works=False) as gateway:
        assert await answers(gateway.client) == expected
    assert [[result.get("outcome", result["status"]) for result in results] for results in expected] == [
        ["applied", "failed", "unmatched", "rejected", "applied"],
        ["repeated", "conflicting", "applied"],
        ["applied"],
        ["repeated"],
    ]


async def test_a_worker_that_comes_later_says_it_too(engines: Servers) -> None:
    async with engines.served(works=False) as gateway:
        async with engines.served() as first:
            await tenants(first.node, "red")
        waiting = asyncio.create_task(send(gateway.client, ADA % 1, "red"))
        await asyncio.sleep(0.1)
        async with engines.served():
            assert [result["outcome"] for result in (await waiting)["results"]] == ["applied"]


async def test_a_worker_that_has_not_caught_up_yet_is_asked_again(
    engines: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, tell = 0, RoutedLive.outcomes_here

    async def late(self: RoutedLive, partition: int, position: int, *, timeout_s: float) -> bytes | None:
        nonlocal refused
        found = await tell(self, partition, position, timeout_s=timeout_s)  # so that the boards show it
        if refused < 2:
            refused += 1
            raise Unavailable("not caught up yet")
        return found

    monkeypatch.setattr(RoutedLive, "outcomes_here", late)
    async with engines.served() as there, engines.served(works=False) as gateway:
        await tenants(there.node, "red")
        assert (await send(gateway.client, ADA % 1, "red"))["results"][0]["outcome"] == "applied"
    assert refused == 2


@pytest.mark.parametrize("worker", ["forgot", "cannot be reached", "stands still"])
async def test_a_worker_that_does_not_say_it_leaves_it_out(
    engines: Servers, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accrue.web.asking.ANSWER_S_MAX", 0.3)
    async with engines.served() as there, engines.served(works=False) as gateway:
        await tenants(gateway.node, "red")
        if worker == "forgot":
            monkeypatch.setattr(outcome, "RECENT_SIZE_BYTES_MAX", 0)
        else:
            silent = await _silent(worker == "stands still")
            host, port = silent.sockets[0].getsockname()
            if worker == "cannot be reached":
                silent.close()
            monkeypatch.setattr(gateway.node.directory, "address", lambda _: f"http://{host}:{port}")
        for number in range(3):
            found = await send(gateway.client, ADA % number, "red")
            assert found["results"] == [{"id": str(number), "status": "accepted"}]
            assert found["position"] == await there.node.log.end(0)
        if worker != "forgot":
            silent.close()


async def test_the_events_of_a_record_are_asked_about_once(engines: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    waits = False
    ask, append = Asking.outcomes, engines.log.append

    async def once_all_are_there(partition: int, record: bytes) -> int:
        nonlocal waits
        if not waits:  # the first is on its way: the others are to come before it is there
            waits = True
            await until(lambda: gateway.node.commit.queue_events == 49)
        return await append(partition, record)

    async def counting(self: Asking, partition: int, position: int) -> bytes | None:
        asked.append(position)
        return await ask(self, partition, position)

    monkeypatch.setattr(Asking, "outcomes", counting)
    monkeypatch.setattr(afar, "AGAIN_S", 60)  # an answer that is not there at once is no reason to ask again
    async with engines.served() as there, engines.served(works=False) as gateway:
        await tenants(there.node, "red")
        monkeypatch.setattr(engines.log, "append", once_all_are_there)
        first = asyncio.create_task(send(gateway.client, ADA % 0, "red"))
        await until(lambda: waits)
        found = await asyncio.gather(first, *(send(gateway.client, ADA % number, "red") for number in range(1, 50)))
    assert {result["outcome"] for answer in found for result in answer["results"]} == {"applied"}
    positions = {answer["position"] for answer in found}
    assert sorted(asked) == sorted(positions)
    assert len(positions) == 2


async def test_a_tenant_that_came_through_another_process_is_known_at_once(engines: Servers) -> None:
    async with (
        engines.served() as worker,
        engines.served(works=False) as one,
        engines.served(works=False) as two,
    ):
        await until(lambda: bool(worker.node.live.statuses()))
        for number in range(3):
            name = f"t{number}"
            assert (await one.client.put(f"/v1/admin/program?tenant={name}", content=PROGRAM, headers=TOML)).is_success
            assert (await send(two.client, ADA % 1, name))["results"][0]["outcome"] == "applied"
            name = f"u{number}"
            assert (await one.client.put(f"/v1/admin/program?tenant={name}", content=PROGRAM, headers=TOML)).is_success
            answer = await two.client.get(f"/v1/boards/writers?tenant={name}")
            assert (answer.status_code, answer.json()["rows"]) == (200, [])


async def test_names_of_no_tenant_do_not_become_questions_to_the_book(
    engines: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    versions = engines.book.versions

    async def counting() -> dict[str, int]:
        nonlocal asked
        asked += 1
        return await versions()

    async with engines.served(works=False) as gateway:
        monkeypatch.setattr(afar, "POLL_S", 3600)
        monkeypatch.setattr(engines.book, "versions", counting)

        async def status(name: str) -> int:
            return (await gateway.client.get(f"/v1/users/ada?tenant={name}")).status_code

        await asyncio.gather(*(gateway.node.live.find(f"none{number}") for number in range(50)))
        assert asked == 1
        assert await asyncio.gather(*(status(f"none{number}") for number in range(50))) == [404] * 50
        assert asked == 1


async def test_while_the_book_is_out_of_reach_nobody_is_told_that_there_is_no_such_tenant(
    engines: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone() -> dict[str, int]:
        raise Unavailable("the book is out of reach")

    async with engines.served(works=False) as gateway:
        monkeypatch.setattr(engines.book, "versions", gone)
        answers = await asyncio.gather(*(gateway.client.get("/v1/users/ada?tenant=red") for _ in range(5)))
        assert {answer.status_code for answer in answers} == {503}
        monkeypatch.undo()
        assert (await gateway.client.get("/v1/users/ada?tenant=red")).status_code == 404


TOML = {"content-type": "application/toml"}


async def _silent(still: bool) -> asyncio.Server:
    """A server that takes connections, and says nothing."""

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    return await asyncio.start_server(nothing, "127.0.0.1", 0)
