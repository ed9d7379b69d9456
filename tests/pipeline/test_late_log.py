"""A gateway that starts while the log is down: what it accepts is spooled, and is counted when the log is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from accrue.backends import open_node_backends, open_shared_book
from accrue.clock import SystemClock
from accrue.config import BookConfig, Config, LogConfig, NodeConfig, ProcessConfig, SpoolConfig
from accrue.engine import Accrue
from accrue.errors import AccrueError, Misconfigured, Unavailable
from accrue.log import late
from accrue.log.late import LateLog
from accrue.log.postgres import PostgresLog
from accrue.node import Node, running
from pipeline.nodes import LEASE_S, PROGRAM, until
from servers.ports import free_port
from servers.postgres import PostgresServer


def start(config: Config, *, works: bool = False) -> AbstractAsyncContextManager[Node]:
    return running(config, SystemClock(), works=works)


@pytest.fixture
async def log_server(own_server: Callable[..., PostgresServer]) -> PostgresServer:
    return own_server(PostgresServer)


@pytest.fixture
async def config(log_server: PostgresServer, postgres_url: str, tmp_path: Path) -> Config:
    """A deployment with one tenant whose log is down."""
    config = Config(
        data_dir=None,
        partitions=2,
        log=LogConfig(url=log_server.url),
        book=BookConfig(url=postgres_url),
        node=NodeConfig(lease_s=LEASE_S),
        process=ProcessConfig(settle_interval_s=0.2, tick_ms=5),
    )
    async with start(config, works=True) as node:
        await Accrue(node, "red").use_program(PROGRAM)
    log_server.kill()
    return replace(config, data_dir=tmp_path / "gateway")


async def test_what_is_accepted_without_the_log_is_counted_when_it_is_back(
    config: Config, log_server: PostgresServer
) -> None:
    async with start(config) as gateway:
        face = Accrue(gateway, "red")
        for number in range(3):
            tracked = await face.track("comment", id=str(number), actor="ada")
            assert (tracked.durable, tracked.position) == ("spooled", None)
    async with start(config) as gateway:  # again, with what is in the spool
        face = Accrue(gateway, "red")
        assert (await face.track("comment", id="3", actor="ada")).durable == "spooled"
        await asyncio.to_thread(log_server.start)
        assert gateway.spool is not None
        await until(lambda: gateway.spool.status().waiting == 0)  # type: ignore[union-attr]  # it was asserted
        tracked = await face.track("comment", id="4", actor="ada")
        assert tracked.durable == "disk"
        assert tracked.position
        async with start(replace(config, data_dir=None), works=True) as worker:
            await until(lambda: len(worker.live.statuses()) == 2)
            assert (await Accrue(worker, "red").user("ada")).tallies["points"]["all"] == 25


async def test_when_another_log_comes_the_gateway_ends_and_keeps_its_spool(
    config: Config, log_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "REFUSED_S_MAX", 0.3)
    await asyncio.to_thread(log_server.start)
    await asyncio.to_thread(log_server.ask, "DROP TABLE log_records, log_partitions, log_meta")
    log_server.kill()
    async with start(config) as gateway:
        assert (await Accrue(gateway, "red").track("comment", id="a", actor="ada")).durable == "spooled"
        await asyncio.to_thread(log_server.start)
        async with asyncio.timeout(20):
            await asyncio.wait([gateway.running])
        with pytest.raises(Misconfigured, match="put the right log back"):
            gateway.running.result()
        assert gateway.spool is not None
        assert gateway.spool.status().waiting == 1
    other = await PostgresLog.open(log_server.url, partitions=2, create_identity="not used")
    assert [await other.end(partition) for partition in range(2)] == [0, 0]
    await other.close()


async def test_who_cannot_do_without_the_log_is_refused_without_it(config: Config) -> None:
    for wanted, works, kind in (
        (config, True, Unavailable),
        (replace(config, spool=SpoolConfig(enabled=False)), False, Unavailable),
        (replace(config, data_dir=None), False, Unavailable),
        (replace(config, partitions=3), False, Misconfigured),
    ):
        with pytest.raises(kind):
            async with start(wanted, works=works):
                pass


@pytest.mark.parametrize("scheme", ["postgresql", "rabbitmq-stream", "kafka"])
async def test_a_log_where_nobody_listens_is_late_when_the_book_knows_it_and_else_refused(
    scheme: str, postgres_url: str
) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}/{'x' if scheme == 'postgresql' else ''}"
    config = Config(data_dir=None, log=LogConfig(url=url), book=BookConfig(url=postgres_url))
    async with AsyncExitStack() as stack:
        with pytest.raises(AccrueError):
            await open_node_backends(config, stack)
    book = await open_shared_book(postgres_url)
    await book.found(partitions=1, log_identity="ours", created_us=1)
    await book.close()
    async with AsyncExitStack() as stack:
        log, _, _ = await open_node_backends(config, stack)
        assert isinstance(log, LateLog)
        assert log.identity == "ours"
