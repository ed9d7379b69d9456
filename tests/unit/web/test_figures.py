"""/metrics: bounded however many tenants there are, and what a process among several counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from accrue import Accrue
from accrue.boards.base import Usage
from accrue.errors import Unavailable
from accrue.log.base import Retention
from accrue.process.base import Seat, Seen, Status
from accrue.process.observer import Observer
from accrue.process.outcome import Counts
from accrue.serve import figures
from accrue.server import create_app, create_node_app, observer_of
from accrue.web.body import Receive, Scope, Send
from pipeline.nodes import servers, tenants

OLD_BOARD = "/v1/boards/writers?period=2020-01-01"
"""Nobody is on it, so it is asked of the worker, and then of the book."""

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Fixed(Observer):
    """An observer that has seen something in particular."""

    status: Status

    def partitions(self) -> dict[int, Seen]:
        return {0: Seen(begin=3, end=9, behind_s=1.5, unsettled_s=70.0)}

    def retention(self) -> Retention:
        return Retention(age_s=86_400, size_bytes=1 << 30)

    def boards(self) -> dict[str, Usage]:
        return {"ann": Usage(2, 10, 4_000)}

    def seats(self) -> list[Seat]:
        return [Seat(0, 3, 77, True), Seat(1, 1, 5, False)]


def fixed(accrue: Accrue, **changed: object) -> Fixed:
    status = replace(accrue.parts.live.statuses()[0], **changed)
    return Fixed(
        accrue.parts.log, accrue.parts.boards, accrue.parts.clock, statuses=lambda: {0: status}, directory=None
    )


@asynccontextmanager
async def asking(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://accrue") as client:
        yield client


async def figures_of(client: httpx.AsyncClient) -> Figures:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def lines(found: Figures, name: str, label: str = "tenant") -> Iterator[str]:
    return (dict(labels)[label] for (sample, labels) in found if sample == name)


async def test_what_was_observed_is_told(accrue: Accrue) -> None:
    observer = fixed(accrue, publishing_fails="the boards are full", position=8)
    async with asking(create_app(accrue, observer=observer)) as client:
        found = await figures_of(client)
    first, second = (("partition", "0"),), (("partition", "1"),)
    expected = {
        ("accrue_position", first): 8,
        ("accrue_log_begin_position", first): 3,
        ("accrue_log_end_position", first): 9,
        ("accrue_lag_seconds", first): 1.5,
        ("accrue_unsettled_seconds", first): 70,
        ("accrue_publishing_fails", first): 1,
        ("accrue_failing", first): 0,
        ("accrue_log_retention_seconds", ()): 86_400,
        ("accrue_log_retention_bytes", ()): 1 << 30,
        ("accrue_boards_members", (("tenant", "ann"),)): 10,
        ("accrue_boards_size_bytes", (("tenant", "ann"),)): 4_000,
        ("accrue_partition_taken", first): 1,
        ("accrue_partition_epoch", first): 3,
        ("accrue_partition_heartbeats_total", first): 77,
        ("accrue_partition_taken", second): 0,
    }
    assert {name: found[name] for name in expected} == expected


async def test_ten_thousand_tenants_have_a_bounded_number_of_lines(accrue: Accrue) -> None:
    names = [f"tenant {number}" for number in range(10_000)]
    events = {name: Counts(applied=2, failed=1) for name in names}
    async with asking(create_app(accrue, observer=fixed(accrue, events=events))) as client:
        found = await figures_of(client)
        again = await figures_of(client)
    shown = set(lines(found, "accrue_events_total"))
    assert len(shown) == figures.TENANTS_SHOWN_MAX + 1
    applied = [found["accrue_events_total", (("outcome", "applied"), ("tenant", tenant))] for tenant in shown]
    assert sum(applied) == 20_000
    assert set(lines(again, "accrue_events_total")) == shown  # a counter that once was shown stays


async def test_a_gateway_counts_what_it_did_not_answer_itself(tmp_path: Path) -> None:
    class Worker:
        """The other process: it answers once."""

        left = 1

        async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
            if not self.left:
                raise Unavailable("killed")
            self.left = 0
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    async with servers(tmp_path) as deployment, deployment.node(address="http://worker") as worker:
        await tenants(worker, "ann")
        await worker.settle()
        async with deployment.node(works=False) as gateway:
            app = create_node_app(Accrue(gateway, "ann"), gateway, Worker(), observer_of(gateway))
            async with asking(app) as client:
                for path in ("/v1/users/bob", "/v1/users/bob", "/v1/users/cat", OLD_BOARD):
                    assert (await client.get(path, headers={"accrue-tenant": "ann"})).status_code == 200
                found = await figures_of(client)
    assert found["accrue_forwarded_requests_total", ()] == 1
    assert found["accrue_stale_reads_total", ()] == 2
    assert {
        tuple(value for _, value in labels): count
        for (name, labels), count in found.items()
        if name == "accrue_http_requests_total"
    } == {("GET", "/v1/users/{id}", "200"): 3, ("GET", "/v1/boards/{board}", "200"): 1}
    kept = {source: found["accrue_cached_reads_total", (("from", source),)] for source in ("kept", "shared", "asked")}
    assert kept == {"kept": 1, "shared": 0, "asked": 3}
    assert sum(found["accrue_partition_taken", (("partition", name),)] for name in "01") == 2
    assert not list(lines(found, "accrue_position", "partition"))  # the worker's to tell


@pytest.mark.parametrize("spooled", [False, True])
async def test_a_spool_is_told_of_where_there_is_one(accrue: Accrue, spooled: bool) -> None:
    class Spool:
        waiting, size_bytes, parked_events, out_of_reach_s = 4, 5_000, 2, 7.5

    parts = accrue.parts
    sources = figures.Sources(
        live=parts.live,
        kept=parts.kept,
        observed=observer_of(parts),
        traffic=figures.Traffic(),
        queue_events=lambda: 0,
        spool=Spool if spooled else None,
    )
    found = {family.name: family for family in figures.registry(sources).collect()}
    names = ("spool_records", "spool_size_bytes", "spool_parked_events", "log_out_of_reach_seconds")
    values = [found[f"accrue_{name}"].samples[0].value for name in names if f"accrue_{name}" in found]
    assert values == ([4, 5_000, 2, 7.5] if spooled else [])
