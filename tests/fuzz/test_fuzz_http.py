"""Requests that schemathesis makes of the OpenAPI document, good and bad ones, to a server that listens.

Every answer has a status, a Content-Type and a shape that the document names; what is refused is refused by a problem
of a known kind; nothing is a 500; and afterwards the engine goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import schemathesis
from hypothesis import given
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accrue import Accrue
from accrue.config import Config, ProcessConfig, ServerConfig
from accrue.server import create_app, listening
from accrue.web.problems import MEDIA_TYPE, TYPE_PREFIX
from fuzz.examples import tried

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
KINDS = {
    400: "malformed",
    404: "not-found",
    405: "wrong-method",
    409: "conflict",
    410: "gone",
    413: "too-large",
    415: "wrong-media-type",
    422: "rejected",
    503: "unavailable",
}
PROGRAM = """
[metrics.points]
[metrics.views]
[[rules]]
on = "comment.created"
give = [{ to = "actor", metric = "points", amount = "data.n" }, { to = "object", metric = "views" }]
[boards.writers]
metric = "points"
periods = ["all", "day"]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in a thread of its own, as a process would be."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "program.toml").write_text(PROGRAM)
    config = Config(
        data_dir=folder / "data",
        program=folder / "program.toml",
        server=ServerConfig(port=0),
        process=ProcessConfig(tick_ms=1),
    )
    found: list[str] = []
    ready = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        enough = asyncio.Event()
        stop.append((asyncio.get_running_loop(), enough))
        async with Accrue.open(config) as accrue, listening(accrue, config.server) as url:
            found.append(url)
            ready.set()
            await enough.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accrue.server.create_app", partial(create_app, read_wait_s_max=0.01))
        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="server")
        thread.start()
        assert ready.wait(20)
        yield found[0]
        loop, enough = stop[0]
        loop.call_soon_threadsafe(enough.set)
        thread.join()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
def test_every_answer_is_a_documented_one(url: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 12

    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not any(operation.iter_parameters()) and not operation.body:
            continue  # there is nothing about it that could be wrong

        @tried(12)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            answer = case.call()
            assert answer.status_code != 500, answer.content
            case.validate_response(answer, checks=CHECKS)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == [MEDIA_TYPE.decode()]
                assert answer.json()["type"] == TYPE_PREFIX + KINDS[answer.status_code]

        ask()

    with httpx.Client(base_url=url) as client:
        assert client.get("/readyz").status_code == 200
        event = {"id": f"{mode.value}-last", "type": "comment.created", "actor": "last", "data": {"n": 1}}
        answer = client.post("/v1/events?wait=applied", json=event)
        assert answer.json()["results"][0]["outcome"] in (
            "applied",
            "unmatched",
        )  # it may have a program of its own now
