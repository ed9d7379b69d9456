"""A deployment as an operator has it: PostgreSQL, Redis and a log, two gateways and two workers, each a process."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from uuid import uuid4

from faults import workload
from servers.fixtures import running
from servers.kafka import KafkaServer
from servers.ports import free_port
from servers.postgres import PostgresServer
from servers.process import Process
from servers.rabbitmq import RabbitmqServer
from servers.redis import RedisServer
from servers.server import Server

ROOT = Path(__file__).resolve().parents[2]
READY_S_MAX = 60.0
LOOK_S = 0.05
GATEWAYS, WORKERS = 2, 2

SETTINGS = """
[programs]
{programs}

[process]
settle_interval_s = 1
close_grace_min = 1e9
"""
"""It settles often, so that a fault meets settlements; and no period closes, because events of long ago are sent."""


LOGS: dict[str, type[RabbitmqServer] | type[KafkaServer] | None] = {
    "RabbitMQ": RabbitmqServer,
    "Kafka": KafkaServer,
    "PostgreSQL": None,
}
"""What the log may stand in. In PostgreSQL it shares the server with the book."""


@dataclass(frozen=True)
class Servers:
    """Any number of deployments may use them, one after the other. `log` is None when it stands in PostgreSQL."""

    postgres: PostgresServer
    redis: RedisServer
    log: RabbitmqServer | KafkaServer | None

    @property
    def all(self) -> dict[str, Server]:
        """By name, the log's last."""
        logs = {name: self.log for name, kind in LOGS.items() if kind is not None and isinstance(self.log, kind)}
        return {"PostgreSQL": self.postgres, "Redis": self.redis, **logs}

    def log_url(self, name: str) -> str:
        """A log of that name."""
        if self.log is None:
            return self.postgres.url_of(self.postgres.new_database())
        return self.log.url_of(name)


@contextmanager
def served(log: str = "RabbitMQ") -> Iterator[Servers]:
    """Servers that run while the block does. What is not installed skips the test, or fails it on CI."""
    kind = LOGS[log]
    with ExitStack() as stack:
        yield Servers(
            postgres=stack.enter_context(running(PostgresServer)),
            redis=stack.enter_context(running(RedisServer, aof=True)),
            log=stack.enter_context(running(kind)) if kind is not None else None,
        )


class Node:
    """A gateway or a worker, at a port of its own. `ahead_s` is how far its clock is ahead."""

    def __init__(self, role: str, number: int, folder: Path, options: list[str]) -> None:
        self.role, self.name, self.port = role, f"{role} {number}", free_port()
        self._folder, self._options = folder / f"{role}-{number}", options
        self._folder.mkdir()
        self.log = self._folder / "log"
        self._process: Process | None = None
        self.ahead_s = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    def start(self) -> None:
        """Start it; `wait` until it is there."""
        module = ["accrue.cli.main"] if not self.ahead_s else ["faults.shifted", str(self.ahead_s)]
        place = ["--port", str(self.port), "--data-dir", str(self._folder)]
        self._process = Process(
            [sys.executable, "-m", *module, self.role, *self._options, *place],
            log=self.log,
            directory=self._folder,
            environment={"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]), "COLUMNS": "200"},
        )

    def wait(self) -> None:
        """Until it answers. AssertionError with the end of its log when it does not."""
        self._until(200, "GET", "/healthz")

    def wait_for_tenant(self, tenant: str) -> None:
        """Until it takes events of a tenant: one that is none is refused for what it is."""
        self._until(422, "POST", f"/v1/events?tenant={tenant}", b"{}")

    def _until(self, status: int, method: str, path: str, body: bytes | None = None) -> None:
        until_s = time.monotonic() + READY_S_MAX
        while time.monotonic() < until_s and self.running:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                if connection.getresponse().status == status:
                    return
            except (OSError, HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(LOOK_S)
        raise AssertionError(f"{self.name} does not answer:\n{self.said()[-3_000:]}")

    def kill(self) -> None:
        self._running().kill()
        self._process = None

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._running().stop(signal.SIGTERM)
        self._process = None

    def pause(self) -> None:
        self._running().pause()

    def resume(self) -> None:
        self._running().resume()

    def figure(self, name: str) -> float:
        """A figure of its /metrics, the sum of all its lines. It has to run."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def said(self) -> str:
        """Everything it said so far, without colours."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    def _running(self) -> Process:
        assert self._process is not None, f"{self.name} is not running"
        return self._process


class Deployment:
    """Processes on the servers, with a database, streams and keys of their own."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.servers, self.folder, self.name = servers, folder, f"t{uuid4().hex[:12]}"
        self.database = servers.postgres.new_database()
        self.urls = {
            "log": servers.log_url(self.name),
            "book": servers.postgres.url_of(self.database),
            "boards": f"{servers.redis.url}?name={self.name}",
        }
        program, settings = folder / "program.toml", folder / "accrue.toml"
        program.write_text(workload.PROGRAM)
        programs = "\n".join(f'{tenant} = "{program.name}"' for tenant in workload.TENANTS)
        options = [word for name, url in self.urls.items() for word in (f"--{name}", url)]
        options += ["--config", str(settings), "--partitions", str(workload.PARTITIONS)]
        settings.write_text(SETTINGS.format(programs=programs))
        self.gateways = [Node("gateway", number, folder, options) for number in range(GATEWAYS)]
        self.workers = [Node("worker", number, folder, options) for number in range(WORKERS)]
        self._options = options

    @property
    def nodes(self) -> list[Node]:
        return [*self.gateways, *self.workers]

    @property
    def ports(self) -> list[int]:
        """Of the gateways that run."""
        return [gateway.port for gateway in self.gateways if gateway.running]

    def start(self) -> None:
        """Start what does not run, and wait for it."""
        for node in self.nodes:
            if not node.running:
                node.start()
        for node in self.nodes:
            node.wait()
        for gateway in self.gateways:  # which learn of a new program by and by
            for tenant in workload.TENANTS:
                gateway.wait_for_tenant(tenant)

    def add_worker(self) -> Node:
        """One more, started."""
        worker = Node("worker", len(self.workers), self.folder, self._options)
        self.workers.append(worker)
        worker.start()
        worker.wait()
        return worker

    def owner(self, partition: int) -> Node:
        """The worker that has the partition, as the book says."""
        row = self.row(partition)
        (found,) = [worker for worker in self.workers if row["address"].endswith(f":{worker.port}")]
        return found

    def row(self, partition: int) -> dict[str, str]:
        """The partition in the book."""
        columns = "epoch", "position", "owner", "address"
        sql = f"SELECT {', '.join(columns)} FROM partitions WHERE partition = {partition}"
        values = self.servers.postgres.ask(sql, database=self.database).split("|")
        return dict(zip(columns, values, strict=True))

    def epoch(self, partition: int) -> int:
        return int(self.row(partition)["epoch"])

    def close(self) -> None:
        for node in self.nodes:
            if node.running:
                node.kill()


@contextmanager
def deployed(servers: Servers, folder: Path) -> Iterator[Deployment]:
    """A deployment that runs while the block does."""
    folder.mkdir(parents=True)
    deployment = Deployment(servers, folder)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()
