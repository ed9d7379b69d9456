"""What a gateway answers while its log is out of reach: 202, and that it is spooled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from accrue import Accrue
from accrue.clock import SystemClock
from accrue.config import DEFAULT_TENANT
from accrue.errors import Unavailable
from accrue.ingest.accept import Acceptor
from accrue.ingest.commit import CommitLimits, GroupCommit
from accrue.ingest.spool import Spool, SpoolLimits
from accrue.ingest.spooled_log import SpooledLog
from accrue.server import create_app
from unit.ingest.unsteady import LOG, TIMES, UnsteadyLog

EVENT = {"id": "e1", "type": "comment.created", "actor": "ada"}


@pytest.fixture
async def cut_off(accrue: Accrue, tmp_path: Path) -> AsyncIterator[Accrue]:
    """The engine with a log that is out of reach, and a spool that takes five records."""
    log = UnsteadyLog(lambda: "refused")
    spool = await Spool.open(tmp_path / "spool.db", log_identity=LOG, limits=SpoolLimits(records_max=5))
    clock = SystemClock()
    way = SpooledLog(log, spool, clock, times=TIMES)
    commit = GroupCommit(way, clock, partition=0, last_log_time_us=0, limits=CommitLimits())
    running = asyncio.ensure_future(commit.run())
    parts = accrue.parts
    acceptor = Acceptor(commit, parts.live, parts.kept, clock, durability=lambda: "confirmed")
    yield Accrue(msgspec.structs.replace(parts, acceptor=acceptor), DEFAULT_TENANT)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await spool.close()


@pytest.fixture
async def client(cut_off: Accrue) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(cut_off))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("wait", ["durable", "applied"])
async def test_events_are_accepted_as_spooled_without_a_position(client: httpx.AsyncClient, wait: str) -> None:
    answer = await client.post("/v1/events", params={"wait": wait}, json=[EVENT, {"id": "e2"}])

    assert answer.status_code == 202
    document = answer.json()
    assert (document["durable"], document["position"]) == ("spooled", None)
    assert [result["status"] for result in document["results"]] == ["accepted", "rejected"]
    assert "outcome" not in document["results"][0]
    assert "?after=" in document["detail"]


@pytest.mark.parametrize("wait", ["durable", "applied"])
async def test_a_score_is_accepted_as_spooled(client: httpx.AsyncClient, wait: str) -> None:
    answer = await client.post("/v1/boards/writers/scores", params={"wait": wait}, json={"subject": "a", "value": 1})

    assert answer.status_code == 202
    assert (answer.json()["durable"], answer.json()["position"]) == ("spooled", None)


async def test_past_the_bounds_of_the_spool_it_is_503_with_when_to_come_again(client: httpx.AsyncClient) -> None:
    answers = [await client.post("/v1/events", json={**EVENT, "id": f"e{number}"}) for number in range(6)]

    assert [answer.status_code for answer in answers] == [202] * 5 + [503]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "spool" in answers[-1].json()["detail"]


async def test_the_library_says_so_too(cut_off: Accrue) -> None:
    tracked = await cut_off.track("comment.created", actor="ada", wait="applied")

    assert (tracked.position, tracked.durable, tracked.outcome) == (None, "spooled", "accepted")


async def test_a_program_that_is_only_spooled_is_not_said_to_be_in_force(cut_off: Accrue) -> None:
    with pytest.raises(Unavailable, match="when the log is back"):
        await cut_off.use_program("[metrics.points]\n")


async def test_an_answer_that_is_not_spooled_says_nothing_of_it(accrue: Accrue) -> None:
    transport = httpx.ASGITransport(create_app(accrue))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        document = (await client.post("/v1/events", json=EVENT)).json()

    assert set(document) == {"durable", "position", "results"}
