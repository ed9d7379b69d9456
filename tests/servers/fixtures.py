"""The fixtures of the real servers. A server starts when a test first asks for it, and serves the rest of the run.

`postgres_url`, `redis_url`, `rabbitmq_url` and `kafka_url` give a test a place of its own on the server that all share.
A test that stops, kills, pauses or wipes a server takes one of its own, with `own_server`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from servers.cluster import RedisCluster
from servers.install import Missing
from servers.kafka import KafkaServer
from servers.postgres import PostgresServer
from servers.rabbitmq import RabbitmqServer
from servers.redis import RedisServer
from servers.server import Server

S = TypeVar("S", bound=Server)


@contextmanager
def running(kind: Callable[..., S], **options: Any) -> Iterator[S]:
    """A server of its own while the block runs. Without its program the test skips; on CI (`CI=true`) it fails."""
    try:
        server = kind(**options)
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def own_server() -> Iterator[Callable[..., Any]]:
    """`own_server(RedisServer, aof=True)`: started, the test's own to break, gone after it."""
    with ExitStack() as stack:
        yield lambda kind, **options: stack.enter_context(running(kind, **options))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running(PostgresServer) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database."""
    database = postgres_server.new_database()
    yield postgres_server.url_of(database)
    postgres_server.drop_database(database)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running(RedisServer) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty Redis. It is one for the whole run, so a test has it to itself only while it runs."""
    redis_server.wipe()
    return redis_server.url


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    with running(RedisCluster) as cluster:
        yield cluster


@pytest.fixture
def redis_cluster_url(redis_cluster: RedisCluster) -> str:
    """An empty Redis Cluster, with the same reservation."""
    redis_cluster.wipe()
    return redis_cluster.url


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitmqServer]:
    with running(RabbitmqServer) as server:
        yield server


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitmqServer) -> str:
    """A name of streams that nothing has used."""
    return rabbitmq_server.url_of(f"t{uuid4().hex}")


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    with running(KafkaServer) as server:
        yield server


@pytest.fixture
def kafka_url(kafka_server: KafkaServer) -> str:
    """A topic that nobody has made yet."""
    return kafka_server.url_of(f"t{uuid4().hex}")
