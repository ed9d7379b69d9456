"""Reading right after the rules changed: what old rules left behind never makes a 500."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from accrue import Accrue
from accrue.clock import ManualClock

TOML = {"content-type": "text/plain"}
BEFORE = """
[metrics.points]
[metrics.likes]
[[rules]]
on = "posted"
give = [{ to = "actor", metric = "points", amount = "value" }, { to = "actor", metric = "likes" }]
set = [{ on = "actor", attribute = "country", value = "data.country" }]
[boards.best]
order = ["points desc", "likes desc"]
periods = ["all", "day"]
[badges.writer]
levels = { bronze = "points >= 1", silver = "points >= 2" }
[streaks.daily]
on = "posted"
every = "day"
"""
CHANGES = {
    "a badge is gone": BEFORE.replace("[badges.writer]", "[badges.other]"),
    "a level is gone": BEFORE.replace('bronze = "points >= 1", ', ""),
    "a board has fewer keys": BEFORE.replace(', "likes desc"', ""),
    "a board has more keys": BEFORE.replace('"likes desc"]', '"likes desc", "more asc"]') + "[metrics.more]\n",
    "a board has other keys": BEFORE.replace('"points desc", "likes desc"', '"likes asc", "points asc"'),
    "a board is gone": BEFORE.replace("[boards.best]", "[boards.other]"),
    "a period is gone": BEFORE.replace('periods = ["all", "day"]', 'periods = ["all", "week"]'),
    "a metric is gone": BEFORE.replace(', "likes desc"', "")
    .replace("[metrics.likes]\n", "")
    .replace(', { to = "actor", metric = "likes" }', ""),
    "a streak and an attribute are gone": BEFORE[: BEFORE.index("[streaks")].replace(
        'set = [{ on = "actor", attribute = "country", value = "data.country" }]\n', ""
    ),
    "everything is gone": "[metrics.none]\n",
}
URLS = [
    "/v1/users/ann",
    "/v1/objects/ann",
    "/v1/tallies/points/ann",
    "/v1/tallies/likes/ann?period=day",
    "/v1/boards/best",
    "/v1/boards/best?period=day",
    "/v1/boards/best?period=day&at=2026-11-20",
    "/v1/boards/best/around/ann",
    "/v1/boards/best/around/ann?period=day&style=dense",
    "/readyz",
    "/metrics",
]


async def posted(client: httpx.AsyncClient, id: str, actor: str, value: int) -> None:
    event: dict[str, Any] = {"id": id, "type": "posted", "actor": actor, "value": value, "data": {"country": "FR"}}
    answer = await client.post("/v1/events?wait=applied", json=event)
    assert answer.json()["results"][0]["outcome"] == "applied"


@pytest.mark.parametrize("settled", [False, True], ids=["in memory", "settled"])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_old_rules_left_behind_never_makes_a_500(
    client: httpx.AsyncClient, accrue: Accrue, clock: ManualClock, change: str, settled: bool
) -> None:
    assert (await client.put("/v1/admin/program", content=BEFORE, headers=TOML)).status_code == 200
    for number, actor in enumerate(["ann", "bob", "cat", "dan"]):
        await posted(client, actor, actor, number + 1)
    cursors = [
        (await client.get(f"/v1/boards/best?limit=2{period}")).json()["cursor"] for period in ("", "&period=day")
    ]
    if settled:  # and the day is over: its standings are in the book, with the keys of then
        clock.advance(seconds=30 * 3_600)
        await accrue.parts.acceptor.close_period("default", "2026-11-21")
        await posted(client, "last", "ann", 1)
        await accrue.settle()

    assert (await client.put("/v1/admin/program", content=CHANGES[change], headers=TOML)).status_code == 200

    answers = [await client.get(url) for url in URLS]
    answers += [
        await client.get(f"/v1/boards/best?limit=2&cursor={cursor}{period}")
        for cursor, period in zip(cursors, ("", "&period=day"), strict=True)
    ]
    answers.append(await client.get("/v1/boards/best?period=2026-11-21"))
    answers.append(await client.post("/v1/boards/best/ranks", json={"subjects": ["ann", "bob", "eve"]}))
    answers.append(await client.post("/v1/boards/best/scores?wait=applied", json={"subject": "ann", "value": 7}))
    answers.append(await client.post("/v1/events?wait=applied", json={"id": "new", "type": "posted", "actor": "ann"}))
    assert {answer.status_code for answer in answers} <= {200, 202, 404, 410, 422}, [
        (str(answer.url), answer.text) for answer in answers if answer.status_code >= 500
    ]
    await accrue.settle()
    assert not accrue.parts.running.done()


async def test_a_badge_whose_rule_is_gone_is_not_shown_until_the_rule_is_back(client: httpx.AsyncClient) -> None:
    await client.put("/v1/admin/program", content=BEFORE, headers=TOML)
    await posted(client, "1", "ann", 5)

    await client.put("/v1/admin/program", content=CHANGES["a badge is gone"], headers=TOML)
    assert (await client.get("/v1/users/ann")).json()["badges"] == []

    await client.put("/v1/admin/program", content=BEFORE, headers=TOML)
    badges = (await client.get("/v1/users/ann")).json()["badges"]
    assert {(badge["badge"], badge["level"]) for badge in badges} == {("writer", "bronze"), ("writer", "silver")}
