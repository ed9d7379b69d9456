"""The servers that a deployment may stand on, in every combination that is played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from accrue.boards.base import BoardKey
from accrue.boards.redis_layout import keys
from servers.cluster import RedisCluster
from servers.fixtures import running
from servers.kafka import KafkaServer
from servers.postgres import PostgresServer
from servers.rabbitmq import RabbitmqServer
from servers.redis import RedisServer
from servers.server import Server

LOGS: dict[str, type[RabbitmqServer] | type[KafkaServer] | type[PostgresServer] | None] = {
    "RabbitMQ": RabbitmqServer,
    "Kafka": KafkaServer,
    "PostgreSQL": None,
    "another PostgreSQL": PostgresServer,
}
"""What the log may stand in. In `PostgreSQL` it shares the server with the book."""

BOARDS: dict[str, type[RedisServer] | type[RedisCluster]] = {"Redis": RedisServer, "Redis Cluster": RedisCluster}

ANY_BOARD = "any", "all"
OPTIONS: dict[str, dict[str, Any]] = {
    "Redis": {},
    "Redis Cluster": {"settings": {"cluster-require-full-coverage": "no"}},
}
"""What a cluster is best given: the slots of a node that is away are no reason for the others to refuse theirs."""


class Engines(NamedTuple):
    """What a deployment stands on, by name; the book is always in PostgreSQL."""

    log: str = "RabbitMQ"
    boards: str = "Redis"

    @property
    def names(self) -> list[str]:
        """Of every server, the log's last."""
        return list(dict.fromkeys(["PostgreSQL", self.boards, self.log]))


@dataclass(frozen=True)
class Servers:
    """Any number of deployments may use them, one after the other. `log` is None when it is on the book's server."""

    engines: Engines
    postgres: PostgresServer
    boards: RedisServer | RedisCluster
    log: RabbitmqServer | KafkaServer | PostgresServer | None

    @property
    def all(self) -> dict[str, Server]:
        """By name, as in `Engines.names`."""
        there = (self.postgres, self.boards, self.log)
        return dict(zip(self.engines.names, (server for server in there if server is not None), strict=True))

    @property
    def log_server(self) -> Server:
        """The one that has the log."""
        return self.log or self.postgres

    @property
    def cluster(self) -> RedisCluster:
        """That of the boards, which has to be one."""
        assert isinstance(self.boards, RedisCluster)
        return self.boards

    def log_url(self, name: str) -> str:
        """A log of that name."""
        if self.log is None or isinstance(self.log, PostgresServer):
            server = self.log or self.postgres
            return server.url_of(server.new_database())
        return self.log.url_of(name)

    def boards_of(self, name: str, tenant: str) -> RedisServer:
        """The server that has the boards of a tenant: in a cluster one of its nodes, which stays the same one."""
        if isinstance(self.boards, RedisServer):
            return self.boards
        return self.boards.node_of(keys(name, BoardKey(tenant, *ANY_BOARD)).mark)


@contextmanager
def served(engines: Engines) -> Iterator[Servers]:
    """Servers that run while the block does. What is not installed skips the test, or fails it on CI."""
    kind = LOGS[engines.log]
    with ExitStack() as stack:
        yield Servers(
            engines,
            postgres=stack.enter_context(running(PostgresServer)),
            boards=stack.enter_context(running(BOARDS[engines.boards], aof=True, **OPTIONS[engines.boards])),
            log=stack.enter_context(running(kind)) if kind is not None else None,
        )
