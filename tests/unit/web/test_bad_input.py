"""Whatever a client sends, the answer is one: a problem that names what is wrong, never a 500."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
TOML = {"content-type": "text/plain"}
GOOD = {"id": "e1", "type": "comment.created", "actor": "ada", "object": "post-1"}


def event(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


BAD_EVENTS = {
    "malformed": (b'{"id": "e1", ', 400, "$"),
    "empty": (b"", 400, "$"),
    "white space": (b" \n ", 400, "$"),
    "not UTF-8": (b'{"id":"\xff"}', 400, "$"),
    "byte order mark": (b"\xef\xbb\xbf" + event(), 400, "$"),
    "two values": (event() + b" 1", 400, "$"),
    "deep": (b"[" * 100_000, 400, "$"),
    "NaN": (b'{"id":"e1","type":"t","value":NaN}', 400, "$"),
    "Infinity": (b'{"id":"e1","type":"t","value":-Infinity}', 400, "$"),
    "half a pair": (b'{"id":"e1","type":"t","actor":"\\ud800"}', 400, "$"),
    "a number": (b"5", 422, "$"),
    "a text": (b'"event"', 422, "$"),
    "no event": (b"[]", 422, "$"),
    "no type": (b'{"id":"e1"}', 422, "$.type"),
    "no id": (b'{"type":"comment.created"}', 422, "$.id"),
    "wrong type": (event(actor=5), 422, "$.actor"),
    "unknown field": (event(actr="ada"), 422, "$.actr"),
    "long id": (event(id="x" * 129), 422, "$.id"),
    "empty subject": (event(actor=""), 422, "$.actor"),
    "U+0000": (event(actor="a\0b"), 422, "$"),
    "past 2^53-1": (event(value=2**53), 422, "$.value"),
    "far past": (b'{"id":"e1","type":"t","value":1e999}', 422, "$.value"),
    "inside data": (event(data={"n": -(2**60)}), 422, "$.data.n"),
    "before 1970": (event(time="1969-12-31T23:59:59Z"), 422, "$.time"),
    "after 2200": (event(time="2200-01-01T00:00:00Z"), 422, "$.time"),
    "no zone": (event(time="2026-11-21T05:00:00"), 422, "$.time"),
    "no time": (event(time="soon"), 422, "$.time"),
    "large data": (event(data={"text": "x" * 17_000}), 422, "$.data"),
    "the engine's own": (event(type="accrue.program", data={"text": ""}), 422, "$.type"),
    "a bad adjustment": (event(type="accrue.adjust", data={"metric": "points"}), 422, "$.data.subject"),
    "too many": (b"[" + b",".join([event()] * 1001) + b"]", 413, "$"),
    "too large": (b" " * (1 << 20) + event(), 413, None),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
async def test_a_bad_event_is_answered_with_what_is_wrong(client: httpx.AsyncClient, name: str) -> None:
    body, status, field = BAD_EVENTS[name]

    answer = await client.post("/v1/events", content=body, headers=JSON)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["status"] == status
    assert problem.get("field") == field
    assert problem["type"].startswith("urn:accrue:problem:")
    assert problem["detail"]


BAD_REQUESTS = {
    "no Content-Type": ("POST", "/v1/events", event(), {}, 415, "Content-Type"),
    "a form": (
        "POST",
        "/v1/events",
        b"a=b",
        {"content-type": "application/x-www-form-urlencoded"},
        415,
        "Content-Type",
    ),
    "long key": ("POST", "/v1/events", event(), {**JSON, "idempotency-key": "k" * 200}, 422, "Idempotency-Key"),
    "unknown tenant": ("POST", "/v1/events", event(), {**JSON, "accrue-tenant": "defalt"}, 404, "tenant"),
    "unknown parameter": ("POST", "/v1/events?wiat=applied", event(), JSON, 422, "wiat"),
    "wrong wait": ("POST", "/v1/events?wait=x", event(), JSON, 422, "wait"),
    "score: no JSON": ("POST", "/v1/boards/writers/scores", b"{", JSON, 400, "$"),
    "score: empty": ("POST", "/v1/boards/writers/scores", b"", JSON, 400, "$"),
    "score: no subject": ("POST", "/v1/boards/writers/scores", b'{"value":5}', JSON, 422, "$.subject"),
    "score: unknown field": ("POST", "/v1/boards/writers/scores", b'{"subject":"a","value":5,"x":1}', JSON, 422, "$.x"),
    "score: not a number": (
        "POST",
        "/v1/boards/writers/scores",
        b'{"subject":"a","value":"NaN"}',
        JSON,
        422,
        "$.value",
    ),
    "score: a flag": ("POST", "/v1/boards/writers/scores", b'{"subject":"a","value":true}', JSON, 422, "$.value"),
    "score: too large": ("POST", "/v1/boards/writers/scores", b'{"subject":"a","value":1e300}', JSON, 422, "$.value"),
    "score: too fine": ("POST", "/v1/boards/writers/scores", b'{"subject":"a","value":1e-30}', JSON, 422, "$.value"),
    "score: mode": ("POST", "/v1/boards/writers/scores", b'{"subject":"a","value":1,"mode":"x"}', JSON, 422, "$.mode"),
    "score: time": (
        "POST",
        "/v1/boards/writers/scores",
        b'{"subject":"a","value":1,"time":"1900-01-01T00:00:00Z"}',
        JSON,
        422,
        "$.time",
    ),
    "score: U+0000": ("POST", "/v1/boards/writers/scores", b'{"subject":"a\\u0000","value":1}', JSON, 422, "$"),
    "score: unknown board": ("POST", "/v1/boards/writrs/scores", b'{"subject":"a","value":1}', JSON, 404, "board"),
    "score: no type": ("POST", "/v1/boards/writers/scores", b'{"subject":"a","value":1}', {}, 415, "Content-Type"),
    "ranks: nobody": ("POST", "/v1/boards/writers/ranks", b'{"subjects":[]}', JSON, 422, "subjects"),
    "ranks: wrong type": ("POST", "/v1/boards/writers/ranks", b'{"subjects":[1]}', JSON, 422, "$.subjects[0]"),
    "ranks: too many": (
        "POST",
        "/v1/boards/writers/ranks",
        json.dumps({"subjects": ["a"] * 1001}).encode(),
        JSON,
        422,
        "subjects",
    ),
    "unknown board": ("GET", "/v1/boards/writrs", b"", {}, 404, "board"),
    "unknown period": ("GET", "/v1/boards/writers?period=fortnight", b"", {}, 404, "period"),
    "long period": ("GET", "/v1/boards/writers?period=" + "2026" * 99, b"", {}, 422, "period"),
    "period not kept": ("GET", "/v1/boards/writers?period=week", b"", {}, 404, "period"),
    "limit: text": ("GET", "/v1/boards/writers?limit=ten", b"", {}, 422, "limit"),
    "limit: nothing": ("GET", "/v1/boards/writers?limit=", b"", {}, 422, "limit"),
    "limit: zero": ("GET", "/v1/boards/writers?limit=0", b"", {}, 422, "limit"),
    "limit: large": ("GET", "/v1/boards/writers?limit=" + "9" * 40, b"", {}, 422, "limit"),
    "limit: twice": ("GET", "/v1/boards/writers?limit=1&limit=2", b"", {}, 422, "limit"),
    "offset": ("GET", "/v1/boards/writers?offset=-1", b"", {}, 422, "offset"),
    "style": ("GET", "/v1/boards/writers?style=sparse", b"", {}, 422, "style"),
    "at: text": ("GET", "/v1/boards/writers?period=day&at=yesterday", b"", {}, 422, "at"),
    "at: no such day": ("GET", "/v1/boards/writers?period=day&at=2026-02-30", b"", {}, 422, "at"),
    "at: no zone": ("GET", "/v1/boards/writers?period=day&at=2026-02-20T10:00:00", b"", {}, 422, "at"),
    "at: too far": ("GET", "/v1/boards/writers?period=day&at=2300-01-01T00:00:00Z", b"", {}, 422, "at"),
    "after: text": ("GET", "/v1/users/ada?after=now", b"", {}, 422, "after"),
    "after: negative": ("GET", "/v1/users/ada?after=-1", b"", {}, 422, "after"),
    "after: large": ("GET", "/v1/users/ada?after=" + "9" * 30, b"", {}, 422, "after"),
    "misspelt parameter": ("GET", "/v1/boards/writers?lmit=5", b"", {}, 422, "lmit"),
    "above": ("GET", "/v1/boards/writers/around/ada?above=101", b"", {}, 422, "above"),
    "below": ("GET", "/v1/boards/writers/around/ada?below=-1", b"", {}, 422, "below"),
    "not on the board": ("GET", "/v1/boards/writers/around/nobody", b"", {}, 404, "subject"),
    "reading: unknown tenant": ("GET", "/v1/users/ada?tenant=defalt", b"", {}, 404, "tenant"),
    "unknown metric": ("GET", "/v1/tallies/poins/ada", b"", {}, 404, "metric"),
    "id: not UTF-8": ("GET", "/v1/users/%FF", b"", {}, 400, "id"),
    "id: U+0000": ("GET", "/v1/users/a%00", b"", {}, 422, "id"),
    "id: long": ("GET", "/v1/users/" + "a" * 257, b"", {}, 422, "id"),
    "no id": ("GET", "/v1/users/", b"", {}, 404, "path"),
    "unknown route": ("GET", "/v1/bords/writers", b"", {}, 404, "path"),
    "wrong method": ("DELETE", "/v1/users/ada", b"", {}, 405, None),
    "events: wrong method": ("GET", "/v1/events", b"", {}, 405, None),
    "program: JSON": ("PUT", "/v1/admin/program", b"{}", JSON, 415, "Content-Type"),
    "program: empty": ("PUT", "/v1/admin/program", b" ", TOML, 400, "$"),
    "program: not UTF-8": ("PUT", "/v1/admin/program", b"\xff", TOML, 400, "$"),
    "program: too large": ("PUT", "/v1/admin/program", b"#" * (1 << 21), TOML, 413, None),
    "program: wrong": ("PUT", "/v1/admin/program", b"[metrcs.points]", TOML, 422, None),
    "program: tenant": ("PUT", "/v1/admin/program?tenant=" + "t" * 65, b"[metrics.x]", TOML, 422, "tenant"),
    "program: of nobody": ("GET", "/v1/admin/program?tenant=nobody", b"", {}, 404, "tenant"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_a_bad_request_is_answered_with_what_is_wrong(client: httpx.AsyncClient, name: str) -> None:
    method, url, body, headers, status, field = BAD_REQUESTS[name]

    answer = await client.request(method, url, content=body, headers=headers)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json().get("field") == field


@pytest.mark.parametrize(
    ("url", "nearest"),
    [
        ("/v1/boards/writrs", "writers"),
        ("/v1/users/ada?tenant=defalt", "default"),
        ("/v1/tallies/poins/ada", "points"),
        ("/v1/bords/writers", "/v1/boards/{board}"),
    ],
)
async def test_an_unknown_name_is_answered_with_the_nearest(client: httpx.AsyncClient, url: str, nearest: str) -> None:
    problem = (await client.get(url)).json()

    assert problem["nearest"] == nearest
    assert nearest in problem["detail"]


async def test_the_good_events_of_a_batch_are_accepted_beside_the_bad_ones(client: httpx.AsyncClient) -> None:
    body = b"[" + b",".join([event(id="a"), event(id="b", actor=5), event(id="a"), event(id="a", actor="eve")]) + b"]"

    answer = await client.post("/v1/events?wait=applied", content=body, headers=JSON)

    assert answer.status_code == 202
    assert [(result["status"], result.get("field")) for result in answer.json()["results"]] == [
        ("accepted", None),
        ("rejected", "$.actor"),
        ("repeated", None),
        ("rejected", "$.id"),
    ]
    tally = await client.get("/v1/tallies/points/ada")
    assert tally.json()["value"] == 5


async def test_when_no_event_is_accepted_the_problem_has_a_result_for_each(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/events", content=b'{"id":"a"}\nnonsense\n', headers=NDJSON)

    assert answer.status_code == 422
    assert [(result["id"], result["field"]) for result in answer.json()["results"]] == [("a", "$.type"), (None, "$")]


async def test_an_event_of_an_unknown_type_is_accepted_and_counted_as_unmatched(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/events?wait=applied", json={"id": "u1", "type": "nobody.knows"})

    assert answer.status_code == 202
    assert answer.json()["results"] == [{"id": "u1", "status": "accepted", "outcome": "unmatched"}]


async def test_a_wrong_program_is_refused_with_every_line_and_the_running_one_stays(
    client: httpx.AsyncClient,
) -> None:
    before = (await client.get("/v1/admin/program")).text
    wrong = "[metrics.points]\n[boards.b]\nmetric = 'poins'\n[[rules]]\non = 'x'\nwhen = 'actr == 1'\n"

    answer = await client.put("/v1/admin/program", content=wrong, headers=TOML)

    assert answer.status_code == 422
    assert {problem["line"] for problem in answer.json()["problems"]} >= {3, 6}
    assert (await client.get("/v1/admin/program")).text == before


async def test_a_method_that_is_not_there_is_answered_with_those_that_are(client: httpx.AsyncClient) -> None:
    events = await client.get("/v1/events")
    users = await client.delete("/v1/users/ada")

    assert events.headers["allow"] == "POST"
    assert "GET" in users.headers["allow"]


# --- anything at all ----------------------------------------------------------------------------------------------

POSTS = [
    ("POST", b"/v1/events", b"application/json"),
    ("POST", b"/v1/events", b"application/x-ndjson"),
    ("POST", b"/v1/boards/writers/scores", b"application/json"),
    ("POST", b"/v1/boards/writers/ranks", b"application/json"),
    ("PUT", b"/v1/admin/program", b"text/plain"),
]
SEEDS = [
    event(time="2026-11-21T05:00:00Z", value=1.5, data={"text": "x", "tags": ["a", {"b": None}]}),
    b"[" + event(id="a") + b"," + event(id="b") + b"]",
    b'{"subject":"ada","value":12.5,"mode":"add","id":"s1","time":"2026-11-21T05:00:00Z"}',
    b'{"subjects":["ada","bob"]}',
    b'[metrics.points]\n[boards.b]\nmetric="points"\n[[rules]]\non="x"\nwhen="value > 1"\n',
]
NASTY = [b"\\u0000", b"\\ud800", b"\x00", b"\xff", b"NaN", b"1e999", b"-0", b'"', b"[", b"{", b"\n", b"9" * 400, b"\\"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good body with a few things cut out and put in."""
    body = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 6)))
        body = body[:start] + draw(st.sampled_from(NASTY) | st.binary(max_size=4)) + body[end:]
    return body


members = st.fixed_dictionaries({}, optional=dict.fromkeys((*GOOD, "value", "time", "data", "subject"), json_values))
bodies = (
    st.binary(max_size=200)
    | mutants()
    | json_values.map(lambda v: json.dumps(v).encode())
    | members.map(lambda v: json.dumps(v).encode())
)
ANYTHING = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@ANYTHING
@given(target=st.sampled_from(POSTS), body=bodies, cut=st.integers(0, 200))
async def test_no_body_makes_a_fault_of_the_server(
    call: Any, target: tuple[str, bytes, bytes], body: bytes, cut: int
) -> None:
    method, path, content_type = target

    answer = await call(method, path, headers=[(b"content-type", content_type)], parts=(body[:cut], body[cut:]))

    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert answer.headers[b"content-type"] == b"application/problem+json"
        assert answer.json["status"] == answer.status


PATHS = [b"/v1/users/", b"/v1/objects/", b"/v1/tallies/points/", b"/v1/tallies/", b"/v1/boards/",
         b"/v1/boards/writers/around/", b"/v1/", b"/"]  # fmt: skip
names = st.sampled_from(["period", "at", "limit", "offset", "cursor", "style", "tenant", "above", "wait"]) | st.text(
    max_size=5
)
queries = st.lists(st.tuples(names, st.text(max_size=12)), max_size=3)


@ANYTHING
@given(
    start=st.sampled_from(PATHS),
    rest=st.binary(max_size=24) | st.text(max_size=12).map(lambda text: quote(text).encode()),
    query=queries.map(lambda pairs: urlencode(pairs).encode()) | st.binary(max_size=20),
    header=st.binary(max_size=12),
)
async def test_no_address_makes_a_fault_of_the_server(
    call: Any, start: bytes, rest: bytes, query: bytes, header: bytes
) -> None:
    answer = await call("GET", start + rest, query=query, headers=[(b"accrue-tenant", header)] if header else [])

    assert answer.status < 500, answer.body


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("style=weird", "style is ordinal, competition or dense, not 'weird'."),
        ("after=soon", "after is a whole number."),
        ("limit=1.5", "limit is a whole number."),
    ],
)
async def test_a_parameter_is_told_in_words_what_it_may_be(client: httpx.AsyncClient, query: str, said: str) -> None:
    assert (await client.get(f"/v1/boards/writers?{query}")).json()["detail"] == said


async def test_a_field_is_told_in_words_what_it_may_be(client: httpx.AsyncClient) -> None:
    score = {"id": "s", "subject": "ada", "value": 1, "mode": "weird"}
    assert (await client.post("/v1/boards/writers/scores", json=score)).json()["detail"] == (
        "mode is set, best or add, not 'weird'."
    )
    event = await client.post("/v1/events", json={"id": "e", "typ": "t"})
    assert event.json()["detail"] == "An event has no field 'typ', did you mean 'type'?"
