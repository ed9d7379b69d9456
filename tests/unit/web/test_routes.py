"""What can be asked over HTTP, and what comes back."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from accrue import Accrue
from accrue.errors import AccrueError, Conflict, Corrupt, Fenced, Full, Gone, NotFound, Rejected, TooLarge, Unavailable
from accrue.server import create_app

NDJSON = {"content-type": "application/x-ndjson"}
TOML = {"content-type": "text/plain"}


def comment(id: str, actor: str = "ada", **fields: Any) -> dict[str, Any]:
    return {"id": id, "type": "comment.created", "actor": actor, "object": "post-1", **fields}


async def sent(client: httpx.AsyncClient, *events: dict[str, Any]) -> int:
    """Send events and return once reads show them."""
    answer = await client.post("/v1/events?wait=applied", json=list(events))
    assert answer.status_code == 202, answer.text
    position: int = answer.json()["position"]
    return position


# --- events -------------------------------------------------------------------------------------------------------


async def test_one_event_is_answered_with_its_position(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/events", json=comment("c1"))

    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said["durable"] == "memory"
    assert said["position"] > 0
    assert said["results"] == [{"id": "c1", "status": "accepted"}]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b' \n[{"id":"a","type":"t"},{"id":"b","type":"t"}]', "application/json"),
        (b'{"id":"a","type":"t"}\n\n{"id":"b","type":"t"}\n', "application/x-ndjson"),
        (b'[{"id":"a","type":"t"},{"id":"b","type":"t"}]', "application/json; charset=utf-8"),
    ],
)
async def test_several_events_have_a_result_each(client: httpx.AsyncClient, body: bytes, content_type: str) -> None:
    answer = await client.post("/v1/events", content=body, headers={"content-type": content_type})

    assert [result["id"] for result in answer.json()["results"]] == ["a", "b"]


async def test_an_idempotency_key_makes_ids_so_that_the_same_request_counts_once(client: httpx.AsyncClient) -> None:
    event = {"type": "comment.created", "actor": "ada"}
    for _ in range(2):
        answer = await client.post("/v1/events?wait=applied", json=[event], headers={"idempotency-key": "k1"})

    assert answer.json()["results"] == [{"id": "k1:0", "status": "accepted", "outcome": "repeated"}]
    assert (await client.get("/v1/tallies/points/ada")).json()["value"] == 5


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/events", comment("c1")),
        ("/v1/boards/writers/scores", {"subject": "ada", "value": 7, "mode": "add", "id": "c1"}),
    ],
)
async def test_what_cannot_be_applied_in_time_is_still_accepted(
    accrue: Accrue, monkeypatch: pytest.MonkeyPatch, path: str, sent: object
) -> None:
    async def never(receipt: object) -> list[str]:
        raise Unavailable("Not applied yet.")

    monkeypatch.setattr(accrue, "outcomes", never)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(accrue)), base_url="http://accrue") as late:
        answer = await late.post(f"{path}?wait=applied", json=sent)

    assert answer.status_code == 202
    assert answer.json()["results"] == [{"id": "c1", "status": "accepted"}]


async def test_the_tenant_is_named_by_a_header_or_a_parameter(client: httpx.AsyncClient) -> None:
    await client.put("/v1/admin/program?tenant=forum", content="[metrics.karma]", headers=TOML)

    by_header = await client.post("/v1/events", json={"id": "a", "type": "t"}, headers={"accrue-tenant": "forum"})
    by_parameter = await client.get("/v1/users/ada?tenant=forum")

    assert by_header.status_code == 202
    assert by_parameter.json()["tallies"] == {"karma": {"all": 0}}


# --- scores and programs ------------------------------------------------------------------------------------------


async def test_a_score_is_set_kept_when_better_or_added(client: httpx.AsyncClient) -> None:
    for value, mode in ((12.5, "set"), (11, "best"), ("13.25", "best"), (0.05, "add")):
        score = {"subject": "ada", "value": value, "mode": mode}
        answer = await client.post("/v1/boards/runners/scores?wait=applied", json=score)
        assert answer.json()["results"][0]["outcome"] == "applied"

    page = (await client.get("/v1/boards/runners")).json()
    assert page["rows"] == [{"rank": 1, "subject": "ada", "values": ["13.3"]}]


async def test_a_score_with_an_id_counts_once(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        score = {"subject": "ada", "value": 7, "mode": "add", "id": "s1"}
        answer = await client.post("/v1/boards/writers/scores?wait=applied", json=score)

    assert answer.json()["results"] == [{"id": "s1", "status": "accepted", "outcome": "repeated"}]
    assert (await client.get("/v1/tallies/points/ada")).json()["value"] == 7


async def test_a_program_is_loaded_and_read_back(client: httpx.AsyncClient) -> None:
    text = "# mine\n[metrics.karma]\n[boards.best]\nmetric = 'karma'\n"

    first = await client.put("/v1/admin/program", content=text, headers=TOML)
    again = await client.put("/v1/admin/program", content=text, headers=TOML)

    assert first.json() == {"tenant": "default", "changed": True}
    assert again.json() == {"tenant": "default", "changed": False}
    assert (await client.get("/v1/admin/program")).text == text
    assert (await client.get("/v1/boards/best")).json()["rows"] == []


# --- reads --------------------------------------------------------------------------------------------------------


async def test_a_board_is_read_in_pages_of_one_snapshot(client: httpx.AsyncClient) -> None:
    await sent(client, *[comment(f"c{i}", f"user-{i // 2}") for i in range(10)])

    first = (await client.get("/v1/boards/writers?limit=3&style=dense")).json()
    second = (await client.get("/v1/boards/writers", params={"limit": 3, "cursor": first["cursor"]})).json()
    other = await client.get("/v1/boards/writers", params={"period": "day", "cursor": first["cursor"]})
    assert (other.status_code, other.json()["field"]) == (422, "cursor")
    assert "send it with the period" in other.json()["detail"]

    assert [row["rank"] for row in first["rows"]] == [1, 1, 1]
    assert [row["subject"] for row in first["rows"] + second["rows"]] == [f"user-{i}" for i in range(5)]
    assert (first["epoch"], first["members"]) == (second["epoch"], 5)


async def test_a_large_board_read_after_a_position_shows_it_and_its_age_is_stated_otherwise(
    accrue: Accrue, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accrue.parts.boards, "_small_members_max", 0)  # every board is a large one
    await sent(client, comment("c1", "ada"), comment("c2", "bob"))
    first = (await client.get("/v1/boards/writers?limit=1")).json()
    position = await sent(client, comment("c3", "cat"))

    stale = (await client.get("/v1/boards/writers")).json()
    near = await client.get(f"/v1/boards/writers/around/cat?after={position}")
    ranks = await client.post(f"/v1/boards/writers/ranks?after={position}", json={"subjects": ["cat"]})
    fresh = (await client.get(f"/v1/boards/writers?after={position}")).json()
    gone = await client.get(f"/v1/boards/writers?after={position}&cursor={first['cursor']}")

    assert (stale["members"], stale["epoch"]) == (2, first["epoch"])
    assert (near.status_code, ranks.json()["missing"], fresh["members"]) == (200, [], 3)
    assert (gone.status_code, gone.json()["field"]) == (410, "cursor")
    page = await client.get(f"/v1/boards/writers?limit=1&cursor={first['cursor']}")
    assert [row["subject"] for row in page.json()["rows"]] == ["bob"]


async def test_the_library_shows_what_it_was_asked_to_wait_for_on_large_boards_too(
    accrue: Accrue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accrue.parts.boards, "_small_members_max", 0)
    board = accrue.board("writers")
    for number, who in enumerate(("ada", "bob", "cat")):
        tracked = await accrue.track("comment.created", actor=who, object="p", wait="applied")
        assert (await board.around(who)).members == number + 1
        assert [rank.subject for rank in (await board.ranks([who])).ranks] == [who]
        assert (await board.top(after=tracked.position)).members == (await board.top()).members == number + 1


async def test_a_closed_period_is_answered_with_what_late_events_changed(
    accrue: Accrue, client: httpx.AsyncClient
) -> None:
    await sent(client, comment("c1", "ada"), comment("c2", "ada"), comment("c3", "bob"))
    day = (await client.get("/v1/boards/writers?period=day")).json()["period"]
    await accrue.outcomes(await accrue.parts.acceptor.close_period("default", day))
    position = await sent(client, comment("c4", "cat"), comment("c5", "bob"))

    page = (await client.get(f"/v1/boards/writers?period={day}&limit=1&style=dense&after={position}")).json()
    near = (await client.get(f"/v1/boards/writers/around/bob?period={day}")).json()
    ranks = (await client.post(f"/v1/boards/writers/ranks?period={day}", json={"subjects": ["cat", "bob"]})).json()

    bob = {"subject": "bob", "rank": 2, "final": [5], "corrected": [10]}
    cat = {"subject": "cat", "rank": None, "final": None, "corrected": [5]}
    assert page["rows"] == [{"rank": 1, "subject": "ada", "values": [10]}]
    assert (page["final"], page["corrections"]) == (True, [bob, cat])
    assert (near["final"], near["corrections"]) == (True, [bob])
    assert (ranks["final"], ranks["missing"], ranks["corrections"]) == (True, ["cat"], [bob, cat])


async def test_a_cursor_that_nobody_handed_out_is_refused(client: httpx.AsyncClient) -> None:
    await sent(client, comment("c1"))

    answer = await client.get("/v1/boards/writers?cursor=made-up")

    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


async def test_a_member_is_read_with_its_neighbours(client: httpx.AsyncClient) -> None:
    await sent(client, *[comment(f"c{i}-{n}", f"user-{i}") for i in range(5) for n in range(i)])

    page = (await client.get("/v1/boards/writers/around/user-2?above=1&below=1")).json()

    assert [(row["rank"], row["subject"]) for row in page["rows"]] == [(2, "user-3"), (3, "user-2"), (4, "user-1")]


async def test_ranks_of_many_are_read_at_once(client: httpx.AsyncClient) -> None:
    await sent(client, comment("c1", "ada"), comment("c2", "ada"), comment("c3", "bob"), comment("c4", "eve"))

    ranks = (await client.post("/v1/boards/writers/ranks", json={"subjects": ["eve", "zoe", "ada"]})).json()

    assert [(row["rank"], row["relative_rank"], row["subject"]) for row in ranks["ranks"]] == [
        (1, 1, "ada"),
        (2, 2, "eve"),
    ]
    assert ranks["missing"] == ["zoe"]


@pytest.mark.parametrize("id", ["a/b", "a b+c", "/", "a//b/", "%2F", "...", "?#&=", "ünï", "日本/語", "x" * 256])
async def test_an_id_may_hold_any_character(client: httpx.AsyncClient, id: str) -> None:
    await sent(client, comment("c1", id, object=id))

    path = quote(id, safe="")
    user = (await client.get(f"/v1/users/{path}")).json()
    around = (await client.get(f"/v1/boards/writers/around/{path}")).json()

    assert (user["id"], user["tallies"]["points"]["all"]) == (id, 5)
    assert (await client.get(f"/v1/objects/{path}")).json()["tallies"]["views"]["all"] == 1
    assert (await client.get(f"/v1/tallies/points/{path}")).json() == {
        "metric": "points", "subject": id, "period": "all", "value": 5
    }  # fmt: skip
    assert [row["subject"] for row in around["rows"]] == [id]


async def test_a_slash_in_an_id_may_stand_bare(client: httpx.AsyncClient) -> None:
    await sent(client, comment("c1", "team/ada"))

    assert (await client.get("/v1/tallies/points/team/ada")).json()["value"] == 5
    assert (await client.get("/v1/boards/writers/around/team/ada")).json()["rows"][0]["subject"] == "team/ada"


async def test_a_date_is_one_of_the_tenants_time_zone(client: httpx.AsyncClient) -> None:
    await sent(client, comment("c1", time="2026-11-21T04:59:59Z"), comment("c2", "bob", time="2026-11-21T05:00:00Z"))

    async def on(at: str) -> list[str]:
        page = (await client.get("/v1/boards/writers", params={"period": "day", "at": at})).json()
        return [page["period"], *(row["subject"] for row in page["rows"])]

    assert await on("2026-11-20") == ["2026-11-20", "ada"]
    assert await on("2026-11-21") == ["2026-11-21", "bob"]
    assert await on("2026-11-21T05:00:00+01:00") == ["2026-11-20", "ada"]
    bare = await client.get("/v1/boards/writers?period=day&at=2026-11-21T05:00:00+01:00")
    assert bare.json()["period"] == "2026-11-20"


async def test_a_read_after_a_position_shows_it(client: httpx.AsyncClient) -> None:
    position = (await client.post("/v1/events", json=comment("c1"))).json()["position"]
    async with asyncio.timeout(10):
        while (answer := await client.get(f"/v1/users/ada?after={position}")).status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1

    assert answer.json()["tallies"]["points"]["all"] == 5


async def test_a_read_after_a_position_that_does_not_come_is_put_off(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/users/ada?after=1000000")

    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:accrue:problem:unavailable"
    assert int(answer.headers["retry-after"]) >= 1


async def test_head_is_get_without_the_body_and_options_names_the_methods(client: httpx.AsyncClient) -> None:
    assert (await client.head("/v1/users/ada")).status_code == 200
    assert "GET" in (await client.options("/v1/users/ada")).headers["allow"]


RETRY_AFTER: dict[type, str] = {Unavailable: "3", Full: "1"}

# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Rejected("wrong", field="limit"), 422),
        (NotFound("none", nearest="x"), 404),
        (TooLarge("large"), 413),
        (Gone("gone"), 410),
        (Conflict("other"), 409),
        (Unavailable("later", retry_after_s=2.5), 503),
        (Full("full"), 507),
        (Fenced("fenced"), 503),
        (Corrupt("a secret place is damaged"), 500),
        (AccrueError("a secret"), 500),
        (KeyError("a secret"), 500),
    ],
)
async def test_every_error_is_a_problem_on_both_ways_in(
    accrue: Accrue, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(type(accrue.parts.acceptor), "events", failing)
    monkeypatch.setattr(type(accrue.parts.queries), "profile", failing)

    for answer in (await client.post("/v1/events", json=comment("c1")), await client.get("/v1/users/ada")):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        problem = answer.json()
        assert problem["status"] == status
        assert answer.headers.get("retry-after") == RETRY_AFTER.get(type(error))
        assert "secret" not in answer.text


# --- operation ----------------------------------------------------------------------------------------------------


async def test_the_server_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    position = await sent(client, comment("c1"))

    assert (await client.get("/healthz")).json() == {"status": "alive"}
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["partitions"][0]["published"]) == (200, position)


async def test_a_server_whose_worker_stopped_is_alive_but_not_ready(accrue: Accrue, client: httpx.AsyncClient) -> None:
    accrue.parts.running.cancel()
    await asyncio.wait([accrue.parts.running])

    answer = await client.get("/readyz")

    assert (answer.status_code, "stopped" in answer.json()["detail"]) == (503, True)
    assert (await client.get("/healthz")).status_code == 200


async def test_the_figures_count_events_requests_and_acks(client: httpx.AsyncClient) -> None:
    await sent(client, comment("c1"), comment("c1"), comment("c2", type="nobody.knows"))
    await client.post("/v1/events", content=b"{", headers={"content-type": "application/json"})
    await client.get("/v1/users/ada")
    await client.get("/v1/users/bob")
    await client.get("/no/such/thing")

    figures = (await client.get("/metrics")).text

    for line in (
        'accrue_events_total{outcome="unmatched",tenant="default"} 1.0',
        'accrue_http_requests_total{method="POST",route="/v1/events",status="202"} 1.0',
        'accrue_http_requests_total{method="POST",route="/v1/events",status="400"} 1.0',
        'accrue_http_requests_total{method="GET",route="/v1/users/{id}",status="200"} 2.0',
        'accrue_http_requests_total{method="GET",route="none",status="404"} 1.0',
        "accrue_ack_seconds_count 1.0",
        "accrue_ingest_queue_events 0.0",
        'accrue_settlements_total{partition="0"} 0.0',
    ):
        assert line in figures
    for name in (
        r'accrue_dirty_rows{partition="0"}',
        r'accrue_repeats_size_bytes{partition="0"}',
        "process_resident_memory_bytes",
    ):
        assert re.search(rf"^{name} [1-9]", figures, re.MULTILINE)


async def test_the_document_describes_every_route_and_all_its_references_lead_somewhere(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()

    assert document["openapi"].startswith("3.1")
    assert {f"{method} {path}" for path, item in document["paths"].items() for method in item} == {
        "post /v1/events",
        "post /v1/boards/{board}/scores",
        "post /v1/boards/{board}/ranks",
        "get /v1/boards/{board}",
        "get /v1/boards/{board}/around/{subject}",
        "get /v1/users/{id}",
        "get /v1/objects/{id}",
        "get /v1/tallies/{metric}/{subject}",
        "get /v1/tallies/{metric}",
        "get /v1/awards",
        "get /v1/failed",
        "get /v1/failed/{sequence}",
        "post /v1/failed/replay",
        "post /v1/failed/drop",
        "get /v1/conflicts",
        "get /v1/conflicts/{sequence}",
        "get /v1/programs",
        "get /v1/programs/{version}",
        "get /v1/admin/program",
        "put /v1/admin/program",
        "get /healthz",
        "get /readyz",
        "get /metrics",
    }
    text = (await client.get("/openapi.json")).text
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', text)):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
    events = document["paths"]["/v1/events"]["post"]
    assert set(events["requestBody"]["content"]) == {"application/json", "application/x-ndjson"}
    assert "application/json" in document["paths"]["/v1/boards/{board}/scores"]["post"]["requestBody"]["content"]


async def test_the_examples_of_the_document_are_accepted(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    content = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]

    for content_type, said in content.items():
        for example in said["examples"].values():
            value = example["value"]
            kind = {"content": value} if isinstance(value, str) else {"json": value}
            answer = await client.post("/v1/events", headers={"content-type": content_type}, **kind)
            assert answer.status_code == 202
            assert {result["status"] for result in answer.json()["results"]} == {"accepted"}


async def test_the_docs_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    home = await client.get("/")
    page = await client.get("/docs")

    assert home.headers["location"] == "docs"
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"(https?:)?//[a-z]", page.text)
    assert "<script src" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_the_app_works_where_it_is_mounted(call: Any) -> None:
    body = b'{"id":"c1","type":"comment.created","actor":"a/b"}'
    headers = [(b"content-type", b"application/json")]

    events = await call("POST", b"/engine/v1/events", headers=headers, parts=(body,), root_path="/engine")
    user = await call("GET", b"/engine/v1/users/a%2Fb", root_path="/engine")

    assert events.status == 202
    assert (user.status, user.json["id"]) == (200, "a/b")


async def test_a_body_is_read_in_pieces_and_refused_as_soon_as_it_is_too_large(call: Any) -> None:
    json_type = (b"content-type", b"application/json")
    whole = b'{"id":"c1","type":"t"}'

    pieces = await call("POST", b"/v1/events", headers=[json_type], parts=(whole[:5], whole[5:9], whole[9:]))
    endless = await call("POST", b"/v1/events", headers=[json_type], parts=[b" " * 70_000] * 40)
    announced = await call("POST", b"/v1/events", headers=[json_type, (b"content-length", b"9" * 5000)], parts=())
    gone = await call("POST", b"/v1/events", headers=[json_type], parts=(whole[:5], None))

    assert [answer.status for answer in (pieces, endless, announced, gone)] == [202, 413, 413, 400]
