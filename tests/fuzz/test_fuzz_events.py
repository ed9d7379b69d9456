"""Whatever a body holds, it is answered; whatever is accepted is folded, settled and counted exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given

from accrue import Accrue
from accrue.clock import ManualClock
from accrue.config import Config, ProcessConfig
from accrue.process.outcome import NAMES
from accrue.server import create_app
from fuzz.examples import tried
from fuzz.json_texts import bodies

PROGRAM = """
[tenant]
timezone = "America/New_York"
[lookups.worth]
1 = 10
ann = 2.5
true = 7
[metrics.points]
[metrics.exact]
scale = 9
[metrics.views]
of = "object"
[metrics.floored]
initial = 1
min = 0
[metrics.best]
[caps.daily]
metric = "floored"
limit = 10
per = "day"

[[rules]]
on = ["a", "streak"]
when = "data.n != 3 or data.tags"
give = [
  { to = "actor", metric = "points", amount = "data.n * data.n" },
  { to = "data.who", metric = "points" },
  { to = "owner", metric = "best", amount = "value", mode = "most" },
]
[[rules]]
on = "b"
give = [{ to = "actor", metric = "points", amount = "len(data.text) + lookup('worth', data.kind, 1) - floor(value)" }]
[[rules]]
on = "capped"
give = [{ to = "actor", metric = "floored", amount = "value * value * (1 if data.flag else -1)" }]
cap = "daily"
[[rules]]
on = "scaled"
give = [{ to = "actor", metric = "exact", amount = "value / 3 + data.m" }]
[[rules]]
name = "once"
on = "once"
once = ["actor", "day", "data.kind", "data.n"]
give = [{ to = "actor", metric = "points" }]
[[rules]]
name = "once ever"
on = "once"
once = ["object", "data.deep"]
give = [{ to = "object", metric = "views" }]
[[rules]]
on = "attributes"
set = [
  { on = "actor", attribute = "kind", value = "data.kind" },
  { on = "object", attribute = "size", value = "data.n" },
]
[[rules]]
on = "objects"
when = "stamp.crawler or object.size == data.n or actor.kind in data.tags or 'x' in data.text"
give = [{ to = "object", metric = "views", amount = "round(value, 2)" }]

[retract]
types = ["capped", "scaled", "once", "attributes"]

[boards.points]
order = ["points desc", "floored asc"]
periods = ["all", "day", "hour", "week"]
[boards.exact]
metric = "exact"
[boards.views]
metric = "views"
ties = "last"

[badges.some]
levels = { one = "points >= 1 and day.points >= 1", many = "points > 1000 or kind == 'x'" }
[badges.seen]
subject = "object"
when = "views >= 1 and size != null"
once = "owner"
[badges.gone]
when = "floored > 1"
revocable = true
[badges.steady]
when = "points >= 1"
days = 2
[streaks.daily]
on = "streak"
every = "day"
when = "value != 2"
[streaks.unbroken]
every = "event"
on = ["a", "b"]
breaks_when = "data.flag"
"""
NOW_US = 1_795_237_200_000_000


@pytest.fixture
async def accrue(tmp_path: Path) -> AsyncIterator[Accrue]:
    program = tmp_path / "program.toml"
    program.write_text(PROGRAM)
    config = Config(data_dir=tmp_path / "data", program=program, process=ProcessConfig(tick_ms=1))
    async with Accrue.open(config, clock=ManualClock(NOW_US)) as accrue:
        yield accrue


@pytest.fixture
async def client(accrue: Accrue) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(accrue, read_wait_s_max=0.01))  # type: ignore[arg-type]  # ours is wider
    async with httpx.AsyncClient(transport=transport, base_url="http://accrue") as client:
        yield client


@tried(400)
@given(body=bodies())
async def test_every_body_is_answered_and_what_is_accepted_is_folded_and_settled(
    accrue: Accrue, client: httpx.AsyncClient, body: tuple[str, bytes]
) -> None:
    content_type, content = body
    before = counted(accrue)

    answer = await client.post("/v1/events?wait=applied", content=content, headers={"content-type": content_type})

    assert answer.status_code in (202, 400, 413, 422), answer.text
    results = msgspec.json.decode(answer.content).get("results", [])
    accepted = [result for result in results if result["status"] == "accepted"]
    assert bool(accepted) == (answer.status_code == 202)
    assert all(result["outcome"] in NAMES for result in accepted)
    assert all(result["detail"] and result["field"] for result in results if result["status"] == "rejected")
    await accrue.settle()  # what the book cannot hold would stop the worker here
    assert not accrue.parts.running.done()
    assert accrue.parts.worker.status().failing is None
    assert counted(accrue) - before == len(accepted)


def counted(accrue: Accrue) -> int:
    """Events that were folded, by whatever outcome."""
    return accrue.parts.worker.status().events["default"].events
