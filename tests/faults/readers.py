"""Readers who go on all the time, and somebody who looks at the boards in Redis behind everybody's back.

What they hold every answer against: it is never an error of ours, what is old says so, and what was promised to be
shown is. Amounts only grow here, so a board that shows less than before has gone back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from redis import Redis, RedisError

from accrue.boards.base import BoardKey
from accrue.boards.redis_layout import keys
from faults import workload
from faults.clients import Caller, Ledger
from faults.deployment import Deployment

PAUSE_S = 0.03
LOOK_S = 0.02


class Read(NamedTuple):
    """One read: when it was answered, of which kind, whose, with what, after how long. `status` 0 is no answer."""

    at_s: float
    kind: str
    tenant: str
    status: int
    is_stale: bool
    took_s: float


class Reader(threading.Thread):
    """Reads through one gateway until told to stop: what was `promised`, which may take as long as a read waits for a
    position, or what there is. `ending` are periods that end meanwhile."""

    def __init__(
        self, ledger: Ledger, port: int, *, seed: int, clients: int, promised: bool, ending: Collection[str]
    ) -> None:
        super().__init__(name=f"reader of {port}", daemon=True)
        self._ledger, self._caller, self._clients, self._asks_promised = ledger, Caller([port]), clients, promised
        self._ending = [("ending", f"/v1/boards/top?period={quote(period)}&limit=100") for period in sorted(ending)]
        self._random = Random(f"{seed} {port} reads")
        self._stopped = threading.Event()
        self.reads: list[Read] = []

    def run(self) -> None:
        while not self._stopped.wait(PAUSE_S):
            tenant = self._random.choice(workload.TENANTS)
            if self._asks_promised:
                self._promised(tenant)
            else:
                self._any(tenant)
        self._caller.close()

    def stop(self) -> None:
        self._stopped.set()

    def _any(self, tenant: str) -> None:
        user, number = f"u{self._random.randrange(workload.USERS)}", self._random.randrange(workload.OBJECTS)
        kind, path = self._random.choice(
            [
                ("board", f"/v1/boards/top?limit={1 + number}"),
                ("board", f"/v1/boards/lucky/around/{user}?above={number}"),
                ("board", "/v1/boards/popular"),
                ("profile", f"/v1/users/{user}"),
                ("profile", f"/v1/objects/o{number}"),
                ("profile", f"/v1/tallies/points/{user}"),
                ("operation", "/metrics"),
                ("operation", "/readyz"),
                *self._ending,
            ]
        )
        answer = self._read(kind, path, tenant)
        if answer and answer.get("final"):
            first = self._ledger.finals.setdefault((tenant, path), answer["rows"])
            if answer["rows"] != first:
                self._ledger.wrong.append(f"{path} of {tenant} ended with {first}, and now with {answer['rows']}")

    def _promised(self, tenant: str) -> None:
        """A read that names a position shows what stands there, or says that it cannot."""
        client = f"c{self._random.randrange(self._clients)}"
        position, least = self._ledger.promised(tenant, client)
        if not position:
            return
        if self._random.random() < 0.5:
            answer = self._read("profile after", f"/v1/tallies/sent/{client}?after={position}", tenant)
            shown = answer["value"] if answer else None
        else:
            answer = self._read("board after", f"/v1/boards/senders?after={position}&limit=100", tenant)
            rows = {row["subject"]: row["values"][0] for row in answer["rows"]} if answer else {}
            shown = rows.get(client, 0) if answer else None
        if shown is not None and (shown < least or (answer or {}).get("stale")):
            self._ledger.wrong.append(f"after {position} {client} of {tenant} has {least}, but is shown {answer}")

    def _read(self, kind: str, path: str, tenant: str) -> dict[str, Any] | None:
        began_s = time.monotonic()
        said = self._caller.ask("GET", path, tenant)
        now_s = time.monotonic()
        status, answer = said or (0, {})
        self.reads.append(Read(now_s, kind, tenant, status, bool(answer.get("stale")), now_s - began_s))
        if status not in (0, 200, 404, 503):
            self._ledger.wrong.append(f"{path} of {tenant} was answered with {status}: {answer}")
        return answer if status == 200 else None


class Watcher(threading.Thread):
    """Looks at a board of every tenant in Redis, and at its mark."""

    def __init__(self, ledger: Ledger, deployment: Deployment) -> None:
        super().__init__(name="watcher", daemon=True)
        self._ledger, self._name = ledger, deployment.name
        urls = {tenant: deployment.servers.boards_of(deployment.name, tenant).url for tenant in workload.TENANTS}
        there = {
            url: Redis.from_url(url, decode_responses=True, socket_timeout=1) for url in dict.fromkeys(urls.values())
        }
        self._redis = {tenant: there[url] for tenant, url in urls.items()}
        self._stopped, self._looking = threading.Event(), threading.Lock()
        self._seen: dict[str, tuple[int, int, dict[str, float]]] = {}
        self.looks = 0

    def run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            for tenant in workload.TENANTS:
                with self._looking:
                    self._look(tenant)
        for redis in self._redis.values():
            redis.close()

    def stop(self) -> None:
        self._stopped.set()

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """While the block runs Redis itself loses something: what it shows begins anew."""
        with self._looking:
            yield
            self._seen = {}

    def _look(self, tenant: str) -> None:
        place = keys(self._name, BoardKey(tenant, "senders", "all"))
        try:
            with self._redis[tenant].pipeline(transaction=True) as pipeline:
                pipeline.hmget(place.mark, "epoch", "position")
                pipeline.zrange(place.order, 0, -1, withscores=True)
                (epoch, position), rows = pipeline.execute()
        except RedisError:
            return
        self.looks += 1
        values = {member.rpartition(":")[2]: -score for member, score in rows}
        before = self._seen.get(tenant, (0, 0, {}))
        now = int(epoch or 0), int(position or 0), values
        less = [who for who, value in before[2].items() if values.get(who, 0) < value]
        if now[:2] < before[:2] or now[0] < before[0] or less:
            self._ledger.wrong.append(f"the board of {tenant} went back from {before} to {now}")
        self._seen[tenant] = now
