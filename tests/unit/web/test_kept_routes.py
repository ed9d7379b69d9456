"""Over HTTP: failed events, conflicts, the versions of a program, and everything of something."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from accrue import Accrue
from accrue.errors import Unavailable

TOML = {"content-type": "text/plain"}
BROKEN = """
[metrics.points]
[[rules]]
on = "paid"
give = [{ to = "actor", metric = "points", amount = "value / data.people" }]
[badges.rich]
when = "points >= 6"
[boards.best]
metric = "points"
periods = ["all", "week"]
"""
FIXED = BROKEN.replace("data.people", "max(1, data.people)")


async def program(client: httpx.AsyncClient, text: str) -> None:
    answer = await client.put("/v1/admin/program", content=text, headers=TOML)
    assert answer.status_code == 200, answer.text


async def paid(client: httpx.AsyncClient, *ids: str, actor: str = "ann", people: int = 0) -> int:
    """Send some; returns the position of their record."""
    sent = [{"id": id, "type": "paid", "actor": actor, "value": 6, "data": {"people": people}} for id in ids]
    answer = await client.post("/v1/events?wait=applied", json=sent)
    assert answer.status_code == 202, answer.text
    position: int = answer.json()["position"]
    return position


async def got(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_failed_event_is_listed_shown_and_replayed_after_the_fix(client: httpx.AsyncClient) -> None:
    await program(client, BROKEN)
    position = await paid(client, "p1", "p2")
    first = position << 20

    page = await got(client, "/v1/failed")
    assert page["waiting"] == 2
    assert page["reasons"] == [{"type": "paid", "reason": "a division by zero", "events": 2}]
    assert [(event["sequence"], event["position"], event["index"], event["id"]) for event in page["events"]] == [
        (first, position, 0, "p1"),
        (first + 1, position, 1, "p2"),
    ]
    shown = await got(client, f"/v1/failed/{first + 1}")
    assert json.loads(shown["body"])["id"] == "p2"
    assert shown["time"] == "2026-11-21T05:00:00Z"

    again = await client.post("/v1/failed/replay", json={"sequences": [first]})
    assert again.json()["results"] == [{"sequence": first, "outcome": "failed", "reason": "a division by zero"}]
    await program(client, FIXED)
    done = await client.post("/v1/failed/replay", json={"sequences": [first, first]})
    assert done.json()["results"] == [{"sequence": first, "outcome": "applied"}]
    assert done.json()["durable"] == "memory"
    assert (await got(client, "/v1/tallies/points/ann"))["value"] == 6
    assert (await client.get(f"/v1/failed/{first}")).status_code == 404

    dropped = await client.post("/v1/failed/drop", json={"sequences": [first + 1]})
    assert dropped.json()["results"] == [{"sequence": first + 1, "outcome": "dropped"}]
    assert (await got(client, "/v1/failed")) == {"waiting": 0, "reasons": [], "events": []}
    assert (await got(client, "/v1/tallies/points/ann"))["value"] == 6


async def test_a_replay_that_is_not_applied_in_time_is_still_accepted(
    accrue: Accrue, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await program(client, BROKEN)
    first = await paid(client, "p1") << 20

    async def never(tenant: str, position: int, *, timeout_s: float) -> int:
        raise Unavailable("Not applied yet.")

    monkeypatch.setattr(accrue.parts.live, "applied", never)
    answer = await client.post("/v1/failed/replay", json={"sequences": [first]})

    assert answer.json()["results"] == [{"sequence": first, "outcome": "accepted"}]


async def test_when_one_cannot_be_replayed_none_is(client: httpx.AsyncClient) -> None:
    await program(client, BROKEN)
    first = await paid(client, "p1") << 20
    await program(client, FIXED)
    before = (await got(client, "/readyz"))["partitions"][0]["position"]

    answer = await client.post("/v1/failed/replay", json={"sequences": [first, first + 7]})

    assert answer.status_code == 404
    assert f"No failed event waits at {first + 7}" in answer.json()["detail"]
    assert (await got(client, "/readyz"))["partitions"][0]["position"] == before
    assert (await got(client, "/v1/failed"))["waiting"] == 1


async def test_failed_events_are_paged_and_told_by_type(client: httpx.AsyncClient) -> None:
    await program(client, BROKEN)
    await paid(client, *(f"p{n}" for n in range(5)))
    adjusted = {
        "id": "a",
        "type": "accrue.adjust",
        "data": {"metric": "stars", "subject": "a", "amount": 1, "reason": "r"},
    }
    await client.post("/v1/events?wait=applied", json=adjusted)

    found: list[str] = []
    cursor = ""
    while True:
        page = await got(client, f"/v1/failed?type=paid&limit=2{cursor}")
        found += [event["id"] for event in page["events"]]
        assert page["waiting"] == 5
        assert [reason["type"] for reason in page["reasons"]] == ["paid"]
        if "cursor" not in page:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == ["p0", "p1", "p2", "p3", "p4"]
    assert (await got(client, "/v1/failed"))["waiting"] == 6


async def test_reasons_are_counted_for_prometheus(client: httpx.AsyncClient) -> None:
    await program(client, BROKEN)
    first = await paid(client, "p1", "p2") << 20
    await client.post("/v1/failed/drop", json={"sequences": [first]})

    figures = (await client.get("/metrics")).text.splitlines()
    said = 'accrue_failed_events_waiting{reason="a division by zero",tenant="default",type="paid"} 1.0'
    assert said in figures


async def test_a_conflict_is_shown_with_both_bodies(client: httpx.AsyncClient) -> None:
    await program(client, FIXED)
    await paid(client, "p1", actor="ann")
    at = await paid(client, "p1", actor="bob") << 20

    page = await got(client, "/v1/conflicts")
    assert page == {"conflicts": [{"sequence": at, "position": at >> 20, "index": 0, "id": "p1"}]}
    shown = await got(client, f"/v1/conflicts/{at}")
    assert [json.loads(shown[body])["actor"] for body in ("first", "body")] == ["ann", "bob"]


async def test_every_version_of_the_program_is_listed_with_where_it_begins(client: httpx.AsyncClient) -> None:
    await program(client, BROKEN)
    await program(client, FIXED)
    await program(client, FIXED)

    versions = (await got(client, "/v1/programs"))["programs"]
    assert [(v["version"], v["source"], v["current"], v["sequence"] >> 20 == v["position"]) for v in versions] == [
        (1, "file", False, True),
        (2, "sent", False, True),
        (3, "sent", True, True),
    ]
    assert versions[2]["time"] == "2026-11-21T05:00:00Z"
    assert (await got(client, "/v1/programs/2"))["text"] == BROKEN
    unknown = await client.get("/v1/programs/4")
    assert (unknown.status_code, unknown.json()["field"]) == (404, "version")


async def test_all_tallies_and_all_awards_come_one_a_line(client: httpx.AsyncClient) -> None:
    await program(client, FIXED)
    await paid(client, "p1", actor="ann")
    await paid(client, "p2", actor="bob", people=2)

    tallies = await client.get("/v1/tallies/points?period=week")
    assert tallies.headers["content-type"] == "application/x-ndjson"
    assert sorted((json.loads(line) for line in tallies.text.splitlines()), key=lambda tally: tally["subject"]) == [
        {"metric": "points", "subject": "ann", "period": "2026-W47", "value": 6},
        {"metric": "points", "subject": "bob", "period": "2026-W47", "value": 3},
    ]
    (award,) = map(json.loads, (await client.get("/v1/awards")).text.splitlines())
    assert (award["badge"], award["holder"]) == ("rich", "ann")
    document = await got(client, "/openapi.json")
    said = document["paths"]["/v1/awards"]["get"]["responses"]["200"]["content"]
    assert list(said) == ["application/x-ndjson"]


@pytest.mark.parametrize(
    ("path", "status", "field", "nearest"),
    [
        ("/v1/boards/best?period=wek", 404, "period", "week"),
        ("/v1/tallies/points?period=wek", 404, "period", "week"),
        ("/v1/tallies/pionts", 404, "metric", "points"),
        ("/v1/failed?tenant=defualt", 404, "tenant", "default"),
        ("/v1/conflicts?tenant=defualt", 404, "tenant", "default"),
        ("/v1/programs?tenant=defualt", 404, "tenant", "default"),
        ("/v1/awards?tenant=defualt", 404, "tenant", "default"),
        ("/v1/failed/-1", 404, "sequence", None),
        ("/v1/failed/9223372036854775808", 404, "sequence", None),
        ("/v1/failed/\u0663", 404, "sequence", None),
        ("/v1/conflicts/1e3", 404, "sequence", None),
        ("/v1/failed?limit=101", 422, "limit", None),
        ("/v1/conflicts?cursor=next", 422, "cursor", None),
    ],
)
async def test_what_is_not_there_is_a_problem_that_helps(
    client: httpx.AsyncClient, path: str, status: int, field: str, nearest: str | None
) -> None:
    await program(client, FIXED)
    answer = await client.get(path)

    assert (answer.status_code, answer.json()["field"], answer.json().get("nearest")) == (status, field, nearest)


@pytest.mark.parametrize("sequences", [[], [0], [-1], [2**63], ["1"], [1.5], list(range(1, 1_002)), None])
@pytest.mark.parametrize("act", ["replay", "drop"])
async def test_a_list_that_is_none_is_refused(client: httpx.AsyncClient, act: str, sequences: object) -> None:
    answer = await client.post(f"/v1/failed/{act}", json={"sequences": sequences})

    assert answer.status_code == 422
    assert answer.json()["field"].startswith("$.sequences")


async def test_the_repeat_window_is_published(client: httpx.AsyncClient) -> None:
    assert (await got(client, "/readyz"))["partitions"][0]["repeat_window_s"] == 86_400.0
