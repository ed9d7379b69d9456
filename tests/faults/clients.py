"""Clients as they should be: what was not answered, or answered with 503, is sent again with the same ids.

Each remembers what it was promised. A request that runs out of time is not taken back: it may still get in.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import Any

from faults import workload

ANSWER_S_MAX = 8.0
"""More than a gateway waits for the log before it spools."""
RETRY_S = 0.1
BATCHES_MAX = 5_000


@dataclass
class Ledger:
    """What was sent and what was promised. Lines are whole events, as sent."""

    begun: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))  # tenant -> lines
    acked: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    in_order: list[list[tuple[str, bytes]]] = field(default_factory=list)
    """Of each client that never changed the gateway: the first lines of its batches, (tenant, line), as acked."""
    position: dict[str, int] = field(default_factory=dict)  # tenant -> the last one that was promised
    heads: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    """Tenant -> client -> batches that have a position."""
    requests: int = 0
    unanswered: int = 0
    busy: int = 0
    spooled: int = 0
    finals: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    """Tenant and path -> the first rows that were shown as final."""
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """What ought to have been so while something was away, and was not in time: a busy machine can do that."""
    acked_at_s: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, tenant: str, body: bytes) -> None:
        with self.lock:
            self.begun[tenant].update(body.split(b"\n"))

    def ack(self, tenant: str, client: str, body: bytes, answer: dict[str, Any], *, new: bool) -> None:
        with self.lock:
            self.acked[tenant].update(body.split(b"\n"))
            self.acked_at_s.append(time.monotonic())
            self.spooled += answer["durable"] == "spooled"
            if answer["position"] is not None:
                self.position[tenant] = max(answer["position"], self.position.get(tenant, 0))
                self.heads[tenant][client] += new

    def promised(self, tenant: str, client: str) -> tuple[int, int]:
        """A position, and how many batches of a client were counted by then."""
        with self.lock:
            return self.position.get(tenant, 0), self.heads[tenant][client]

    def acked_between(self, from_s: float, to_s: float) -> int:
        with self.lock:
            return sum(from_s <= at_s <= to_s for at_s in self.acked_at_s)


class Caller:
    """A connection to one of several gateways: the first, until it does not answer. `turns` says how often that was."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._connection: HTTPConnection | None = None
        self.turns = 0

    def ask(self, method: str, path: str, tenant: str, body: bytes | None = None) -> tuple[int, dict[str, Any]] | None:
        """Status and answer; None when there was none."""
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self._ports[0], timeout=ANSWER_S_MAX)
        headers = {"Accrue-Tenant": tenant}
        if body is not None:
            headers["Content-Type"] = "application/json" if body[:1] == b"[" else "application/x-ndjson"
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            said = answer.read()
        except (OSError, HTTPException):
            self.leave()
            return None
        if not said or "json" not in (answer.getheader("content-type") or ""):
            return answer.status, {}
        return answer.status, json.loads(said)

    def close(self) -> None:
        """Nothing is asked any more."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def leave(self) -> None:
        """Go on with another gateway."""
        self.close()
        self._ports.append(self._ports.pop(0))
        self.turns += 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all clients of a load have to know. They rest up to `pause_s` between two requests."""

    seed: int
    begin_us: int
    pause_s: float
    ports: list[int]


class Client(threading.Thread):
    """One of the clients of a load."""

    def __init__(self, ledger: Ledger, number: int, plan: Plan) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self._ledger, self._number, self._plan = ledger, number, plan
        self._random = Random(f"{plan.seed} {number} pace")
        home = number % len(plan.ports)
        self._caller = Caller(plan.ports[home:] + plan.ports[:home])
        self._acked: list[tuple[str, bytes]] = []
        self._order: list[tuple[str, bytes]] = []
        self._ending, self._give_up = threading.Event(), threading.Event()

    def run(self) -> None:
        for number in range(BATCHES_MAX):
            if self._ending.wait(self._plan.pause_s * self._random.random()):
                break
            tenant = self._random.choice(workload.TENANTS)
            body = workload.batch(self._plan.seed, self._number, number, begin_us=self._plan.begin_us)
            if self._send(tenant, body, new=True):
                self._acked.append((tenant, body))
                self._order.append((tenant, body.partition(b"\n")[0]))
            if self._acked and (chance := self._random.random()) < 0.2:
                tenant, body = self._random.choice(self._acked[-200:])
                self._send(tenant, workload.contradicting(body) if chance < 0.05 else body, new=False)
        self._caller.close()
        if not self._caller.turns:
            with self._ledger.lock:
                self._ledger.in_order.append(self._order)

    def stop(self) -> None:
        """Begin nothing new."""
        self._ending.set()

    def give_up(self) -> None:
        """What is not acked by now never will be."""
        self._ending.set()
        self._give_up.set()

    def _send(self, tenant: str, body: bytes, *, new: bool) -> bool:
        ledger = self._ledger
        ledger.begin(tenant, body)
        while not self._give_up.is_set():
            ledger.requests += 1
            said = self._caller.ask("POST", "/v1/events", tenant, body)
            if said is None:
                ledger.unanswered += 1
            elif said[0] == 202:
                refused = [result for result in said[1]["results"] if result["status"] != "accepted"]
                if refused:
                    ledger.wrong.append(f"an event was refused: {refused[0]}")
                    return False
                ledger.ack(tenant, f"c{self._number}", body, said[1], new=new)
                return True
            elif said[0] == 503:
                ledger.busy += 1
            else:
                ledger.wrong.append(f"POST /v1/events was answered with {said[0]}: {str(said[1])[:300]}")
                return False
            self._give_up.wait(RETRY_S)
        return False


class Load:
    """So many clients at once."""

    def __init__(self, ledger: Ledger, clients: int, plan: Plan) -> None:
        self._clients = [Client(ledger, number, plan) for number in range(clients)]

    def start(self) -> None:
        for client in self._clients:
            client.start()

    def stop(self, *, patience_s: float) -> None:
        """Let what is under way come to its end, for so long."""
        for client in self._clients:
            client.stop()
        until_s = time.monotonic() + patience_s
        for client in self._clients:
            client.join(max(until_s - time.monotonic(), 0))
        for client in self._clients:
            client.give_up()
        for client in self._clients:
            client.join(2 * ANSWER_S_MAX)
