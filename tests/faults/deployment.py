"""A deployment as an operator has it: servers, two gateways and two workers, each a process."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from faults import workload
from faults.engines import Servers
from faults.shifted import ShiftedClock
from servers.ports import free_port
from servers.process import Process

ROOT = Path(__file__).resolve().parents[2]
READY_S_MAX = 60.0
LOOK_S = 0.05
GATEWAYS, WORKERS = 2, 2
GRACE_S = 60
"""After the end of a period, before it closes."""
EVENING_S = 120
"""Before midnight, when an evening begins: longer than clients are at work before a fault."""

SETTINGS = """
[programs]
{programs}

[process]
settle_interval_s = 1
close_grace_min = {grace_min:g}
repeat_window_h = {window_h:g}
"""
"""It settles often, so that a fault meets settlements."""
OPEN = {"grace_min": 1e9, "window_h": 24}
CLOSING = {"grace_min": GRACE_S / 60, "window_h": 960}
"""Ids are remembered for longer than the day between two evenings: log time follows a clock that was set by an hour a
record, so for a while that of one gateway is a day behind the other's."""


class Node:
    """A gateway or a worker, at a port of its own. With `shifts` it goes by its `clock` from its next start on."""

    def __init__(self, role: str, number: int, folder: Path, options: list[str], *, shifts: bool) -> None:
        self.role, self.name, self.port = role, f"{role} {number}", free_port()
        self._folder, self._options = folder / f"{role}-{number}", options
        self._folder.mkdir()
        self.log = self._folder / "log"
        self._process: Process | None = None
        self.shifts, self.clock = shifts, ShiftedClock(self._folder / "clock")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    def start(self) -> None:
        """Start it; `wait` until it is there."""
        module = ["faults.shifted", str(self.clock.path)] if self.shifts else ["accrue.cli.main"]
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
    """Processes on the servers, with a database, streams and keys of their own.

    With `closes` its periods close, by a clock that all its processes go by: see `evening` and `midnight`. Else none
    does, because events of long ago are sent.
    """

    def __init__(self, servers: Servers, folder: Path, *, closes: bool = False) -> None:
        self.servers, self.folder, self.name = servers, folder, f"t{uuid4().hex[:12]}"
        self.closes, self._midnight_us = closes, 0
        self.database = servers.postgres.new_database()
        self.urls = {
            "log": servers.log_url(self.name),
            "book": servers.postgres.url_of(self.database),
            "boards": f"{servers.boards.url}?name={self.name}",
        }
        program, settings = folder / "program.toml", folder / "accrue.toml"
        program.write_text(workload.PROGRAM)
        programs = "\n".join(f'{tenant} = "{program.name}"' for tenant in workload.TENANTS)
        options = [word for name, url in self.urls.items() for word in (f"--{name}", url)]
        options += ["--config", str(settings), "--partitions", str(workload.PARTITIONS)]
        settings.write_text(SETTINGS.format(programs=programs, **(CLOSING if closes else OPEN)))
        self._options = options
        self.gateways = [self._node("gateway", number) for number in range(GATEWAYS)]
        self.workers = [self._node("worker", number) for number in range(WORKERS)]

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
        worker = self._node("worker", len(self.workers))
        worker.clock.set(self.gateways[0].clock.now_us())
        self.workers.append(worker)
        worker.start()
        worker.wait()
        return worker

    def evening(self) -> int:
        """Have all clocks say that another day is about to end, and return when its last hour began."""
        zone = ZoneInfo(workload.ZONE)
        before = datetime.fromtimestamp(self._midnight_us // 1_000_000 or time.time(), zone).date()
        day = before + timedelta(days=1 if self._midnight_us else 2)
        self._midnight_us = round(datetime.combine(day, datetime.min.time(), zone).timestamp()) * 1_000_000
        self._set_clocks(self._midnight_us - EVENING_S * 1_000_000)
        return self._midnight_us - workload.HOUR_US

    def midnight(self) -> None:
        """Have all clocks say that the day is over, and the grace after it, too."""
        self._set_clocks(self._midnight_us + (GRACE_S + 1) * 1_000_000)

    def _set_clocks(self, now_us: int) -> None:
        for node in self.nodes:
            node.clock.set(now_us)

    def _node(self, role: str, number: int) -> Node:
        return Node(role, number, self.folder, self._options, shifts=self.closes)

    def owner(self, partition: int) -> Node:
        """The worker that has the partition, as the book says."""
        row = self.row(partition)
        (found,) = [worker for worker in self.workers if row["address"].endswith(f":{worker.port}")]
        return found

    def is_shared_evenly(self) -> bool:
        """Whether every partition is worked on by a worker that runs, and none of these has two more than another."""
        running = {str(worker.port): 0 for worker in self.workers if worker.running}
        for partition in range(workload.PARTITIONS):
            port = self.row(partition)["address"].rpartition(":")[2]
            if port not in running:
                return False
            running[port] += 1
        return max(running.values()) - min(running.values()) < 2

    def row(self, partition: int) -> dict[str, str]:
        """The partition in the book."""
        columns = "epoch", "position", "owner", "address"
        sql = f"SELECT {', '.join(columns)} FROM partitions WHERE partition = {partition}"
        values = self.servers.postgres.ask(sql, database=self.database).split("|")
        return dict(zip(columns, values, strict=True))

    def epoch(self, partition: int) -> int:
        return int(self.row(partition)["epoch"])

    def closed(self) -> set[tuple[str, str]]:
        """The periods that are closed, as the book says: tenant and period."""
        rows = self.servers.postgres.ask("SELECT tenant, period FROM periods WHERE closed > 0", database=self.database)
        return {(tenant, period) for tenant, _, period in (row.partition("|") for row in rows.splitlines())}

    def close(self) -> None:
        for node in self.nodes:
            if node.running:
                node.kill()


@contextmanager
def deployed(servers: Servers, folder: Path, *, closes: bool = False) -> Iterator[Deployment]:
    """A deployment that runs while the block does."""
    folder.mkdir(parents=True)
    deployment = Deployment(servers, folder, closes=closes)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()
