"""What is left after a fault, held against what was promised and against the model.

1. the archive is whole, and is the log up to its end (of which a part may be trimmed), where the checkpoint is;
2. every acked event is in the log, and nothing that was not sent; what a client sent in order stands there in order;
3. PostgreSQL has what the model makes of the log: counts of every outcome, tallies, awards, streaks, conflicts;
4. every gateway shows it; 5. so does Redis.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, closing
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import asyncpg
from redis.asyncio import Redis

from accrue.backends import open_node_backends
from accrue.boards.base import BoardKey
from accrue.boards.redis_layout import board_key, keys, read_what, row_of
from accrue.book.archive import check_chain, unpack
from accrue.book.base import Book
from accrue.config import BoardsConfig, BookConfig, Config, LogConfig
from accrue.core.ranking import Order
from accrue.log.base import Log
from faults import workload
from faults.clients import Caller, Ledger
from faults.deployment import Deployment
from faults.engines import ANY_BOARD
from faults.model import Models, is_own
from simulate.model.standings import Line

REST_S_MAX = 30.0
LOOK_S = 0.2
READ_SIZE_BYTES = 4 << 20
FAULTS_MAX = 8
SETTLE_S_MAX, STILL_S, LOOK_S = 60.0, 0.5, 0.05


class Judge:
    """Of one deployment; what it fed to the model it need not feed again."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._models = Models()
        self._found: list[str] = []
        self.closed = 0
        """Periods that were closed between the last two looks."""

    async def look(self, ledger: Ledger) -> tuple[list[str], Counter[str]]:
        """What is wrong, a sentence each, and what became of the events since the last look. Nothing may be under way:
        see `settled`."""
        self._found = []
        self._models.forget_lately()
        before, closed = self._outcomes(), self._closed()
        deployment = self.deployment
        config = Config(
            data_dir=None,
            partitions=workload.PARTITIONS,
            log=LogConfig(url=deployment.urls["log"]),
            book=BookConfig(url=deployment.urls["book"]),
            boards=BoardsConfig(url=deployment.urls["boards"]),
        )
        async with AsyncExitStack() as stack:
            log, book, _ = await open_node_backends(config, stack)
            await self._settled(log, book)
            for partition in range(workload.PARTITIONS):
                await self._log(partition, log, book)
        self._promised(ledger)
        connection = await asyncpg.connect(deployment.urls["book"])
        try:
            await self._book(connection)
        finally:
            await connection.close()
        for gateway in deployment.gateways:
            with closing(Caller([gateway.port])) as caller:
                self._gateway(caller)
        await self._redis()
        self.closed = self._closed() - closed
        said = self._found[:FAULTS_MAX]
        return said + ([f"and {len(self._found) - FAULTS_MAX} more"] if len(self._found) > FAULTS_MAX else []), (
            self._outcomes() - before
        )

    def _outcomes(self) -> Counter[str]:
        return sum(self._models.outcomes.values(), Counter[str]()) - self._models.own

    def _closed(self) -> int:
        return sum(len(self._models.closed(tenant)) for tenant in self._models.communities)

    def _differences(self, where: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
        for key in sorted({*found, *expected}, key=str):
            if found.get(key) != expected.get(key):
                self._found.append(f"{where} {key}: {found.get(key)}, but the log makes {expected.get(key)}")

    async def _settled(self, log: Log, book: Book) -> None:
        """Wait until everything is settled, spools are empty, and nothing comes any more."""
        at, since_s = list[int](), time.monotonic()
        try:
            async with asyncio.timeout(SETTLE_S_MAX):
                while time.monotonic() - since_s < STILL_S:
                    held = [await book.checkpoint(partition) for partition in range(workload.PARTITIONS)]
                    now = [checkpoint.position if checkpoint is not None else 0 for checkpoint in held]
                    ends = [await log.end(partition) for partition in range(workload.PARTITIONS)]
                    waits = any(gateway.figure("accrue_spool_records") for gateway in self.deployment.gateways)
                    if now != at or now != ends or waits:
                        at, since_s = now, time.monotonic()
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            self._found.append(f"not settled within {SETTLE_S_MAX:.0f} s: {at} of {ends}, spools wait: {waits}")

    # --- 1. ---------------------------------------------------------------------------------------------------------

    async def _log(self, partition: int, log: Log, book: Book) -> None:
        segments = [segment async for segment in book.segments(partition)]
        check_chain(segments)
        archived = [pair for segment in segments for pair in unpack(segment)]
        end, after = await log.end(partition), await log.begin(partition) - 1
        stored = list[tuple[int, bytes]]()
        while (at := stored[-1][0] if stored else after) < end:
            stored += await log.read(partition, after=at, size_bytes_max=READ_SIZE_BYTES)
        tail = [pair for pair in archived if pair[0] > after]
        if tail != stored:
            different = next((left for left, right in zip(tail, stored, strict=False) if left != right), None)
            where = f"first at {different[0]}" if different else f"{len(tail)} records of {len(stored)}"
            self._found.append(f"the archive of partition {partition} is not its log: {where}")
        held = await book.checkpoint(partition)
        if held is None or held.position != end:
            self._found.append(
                f"partition {partition} is settled up to {held and held.position}, the log ends at {end}"
            )
        for position, record in archived:
            if position > self._models.fed[partition]:
                self._models.feed(partition, position, record)

    # --- 2. ---------------------------------------------------------------------------------------------------------

    def _promised(self, ledger: Ledger) -> None:
        for tenant in workload.TENANTS:
            known = self._models.lines[tenant]
            lost = [line for line in ledger.acked[tenant] if line not in known]
            if lost:
                self._found.append(f"{len(lost)} acked events of {tenant} are lost, for example {min(lost)!r}")
            strange = [line for line in known if line not in ledger.begun[tenant] and not is_own(line)]
            if strange:
                self._found.append(f"the log of {tenant} has what nobody sent: {strange[0]!r}")
        for sent in ledger.in_order:
            places: dict[str, list[int]] = {}
            for tenant, line in sent:
                places.setdefault(tenant, []).append(self._models.lines[tenant].get(line, 0))
            for tenant, order in places.items():
                if any(later < earlier for earlier, later in pairwise(order)):
                    self._found.append(f"what one client sent to {tenant} in order is not in order in the log")

    # --- 3. ---------------------------------------------------------------------------------------------------------

    async def _book(self, connection: asyncpg.Connection[Any]) -> None:
        models = self._models
        counts: dict[str, dict[str, int]] = {}
        for row in await connection.fetch("SELECT facts FROM partitions"):
            counts.update(json.loads(row["facts"])["counts"])
        for tenant in workload.TENANTS:
            expected = {name: count for name, count in models.outcomes[tenant].items() if count}
            found = {name: count for name, count in counts.get(tenant, {}).items() if count}
            self._differences(f"the count of {tenant}'s events", found, expected)
            rows = await connection.fetch(
                "SELECT metric, period, subject, value, reached FROM tallies "
                "WHERE tenant = $1 AND metric NOT LIKE '%.%'",
                tenant,
            )
            tallies = {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}
            self._differences(f"PostgreSQL's tally of {tenant}", tallies, models.tallies(tenant))
            rows = await connection.fetch(
                "SELECT badge, level, subject, holder, time_us, sequence FROM awards WHERE tenant = $1", tenant
            )
            awards = {(row[0], row[1], row[2]): (row[3], row[4], row[5]) for row in rows}
            self._differences(f"PostgreSQL's award of {tenant}", awards, models.awards(tenant))
            rows = await connection.fetch("SELECT streak, subject, longest FROM streaks WHERE tenant = $1", tenant)
            self._differences(
                f"PostgreSQL's streak of {tenant}", {(row[0], row[1]): row[2] for row in rows}, models.streaks(tenant)
            )
            rows = await connection.fetch("SELECT event_id FROM conflicts WHERE tenant = $1 ORDER BY sequence", tenant)
            conflicts = [id for _, id in models.communities[tenant].conflicts]
            if [row[0] for row in rows] != conflicts:
                self._found.append(f"{len(rows)} conflicts of {tenant} are kept, of {len(conflicts)}")
            await self._finals(connection, tenant)

    async def _finals(self, connection: asyncpg.Connection[Any], tenant: str) -> None:
        """Final standings: once, as it stood when the log closed the period, and of no period that it did not."""
        rows = await connection.fetch("SELECT period FROM periods WHERE tenant = $1 AND closed > 0", tenant)
        if (found := {row[0] for row in rows}) != (closed := self._models.closed(tenant)):
            self._found.append(f"PostgreSQL has {sorted(found)} of {tenant} closed, the log {sorted(closed)}")
        rows = await connection.fetch(
            "SELECT board, period, rank, subject, scores FROM board_results WHERE tenant = $1 ORDER BY place", tenant
        )
        finals: dict[tuple[str, str], list[Line]] = {}
        for row in rows:
            finals.setdefault((row[0], row[1]), []).append(Line(row[2], row[3], tuple(json.loads(row[4]))))
        self._differences(f"the final standings of {tenant}", finals, self._models.finals(tenant))

    # --- 4. ---------------------------------------------------------------------------------------------------------

    def _gateway(self, caller: Caller) -> None:
        for tenant in workload.TENANTS:

            def read(path: str, tenant: str = tenant) -> dict[str, Any]:
                until_s = time.monotonic() + REST_S_MAX
                answer = caller.ask("GET", path, tenant)
                while time.monotonic() < until_s and (answer is None or answer[0] == 503 or answer[1].get("stale")):
                    time.sleep(LOOK_S)  # a gateway on a busy machine may think for a moment that a server is away
                    answer = caller.ask("GET", path, tenant)
                if answer is None or answer[0] != 200 or answer[1].get("stale"):
                    self._found.append(f"{path} of {tenant} is answered with {answer}")
                    return {}
                return answer[1]

            for board, period, lines in self._models.boards(tenant, lately=True):
                page = read(f"/v1/boards/{board}?period={quote(period)}&limit=1000")
                lines = self._shown_of(page, tenant, board, period, lines)
                rows = [(row["rank"], row["subject"], tuple(row["values"])) for row in page.get("rows", [])]
                if page and rows != [tuple(line) for line in lines]:
                    self._found.append(f"board {board}/{period} of {tenant} shows {rows[:3]}..., not {lines[:3]}...")
            self._profiles(tenant, read)

    def _shown_of(self, page: dict[str, Any], tenant: str, board: str, period: str, lines: list[Line]) -> list[Line]:
        """What a page has to show: the final standings of a closed period, and beside them what late events changed."""
        if page and page.get("final", False) is not (period in self._models.closed(tenant)):
            self._found.append(f"{board}/{period} of {tenant} is shown as final: {page.get('final', False)}")
        if not page.get("final"):
            return lines
        found = {row["subject"]: tuple(row["corrected"]) for row in page.get("corrections", [])}
        self._differences(
            f"a correction of {board}/{period} of {tenant}", found, self._models.corrections(tenant, board, period)
        )
        return self._models.finals(tenant).get((board, period), [])

    def _profiles(self, tenant: str, read: Callable[[str], dict[str, Any]]) -> None:
        tallies, state = self._models.tallies(tenant), self._models.communities[tenant].state
        for number in range(workload.USERS):
            user = f"u{number}"
            profile = read(f"/v1/users/{user}")
            if not profile:
                continue
            found = {metric: values["all"] for metric, values in profile["tallies"].items() if values.get("all")}
            expected = {
                metric: value for (metric, period, who), (value, _) in tallies.items() if (period, who) == ("all", user)
            }
            self._differences(
                f"the profile of {user} in {tenant}", found, {name: v for name, v in expected.items() if v}
            )
            levels = {level for (_, level, who), _ in state.awards.items() if who == user}
            if {badge["level"] for badge in profile["badges"]} != levels:
                self._found.append(f"{user} of {tenant} shows the badges {profile['badges']}, but has {levels}")
            last = state.attributes.get(("user", "last", user))
            if profile["attributes"].get("last") != last:
                self._found.append(f"{user} of {tenant} shows {profile['attributes']}, but last is {last}")

    # --- 5. ---------------------------------------------------------------------------------------------------------

    async def _redis(self) -> None:
        """As redis-cli would show it: the sorted set in its order, and the mark."""
        name = self.deployment.name
        for tenant in workload.TENANTS:
            url = self.deployment.servers.boards_of(name, tenant).url
            async with Redis.from_url(url, decode_responses=True) as redis:
                there = await self._listed(redis, tenant)
                lately = {(board, period) for board, period, _ in self._models.boards(tenant, lately=True)}
                expected = {
                    (board, period): lines for board, period, lines in self._models.boards(tenant, lately=False)
                }
                closed = self._models.closed(tenant)
                missing = {key for key in lately if key[1] not in closed} - {key[1:] for key in there}
                if missing:
                    self._found.append(f"Redis has no board {sorted(missing)[0]} of {tenant}")
                for key, text in there.items():
                    _, board, period = key
                    if period in closed:
                        self._found.append(f"Redis still has {board}/{period} of {tenant}, which is closed")
                    place, what = keys(name, key), read_what(text)
                    members = await redis.zrange(place.order, 0, -1, withscores=True)
                    shown = [row_of(what.as_order, member, f"{score:.0f}") for member, score in members]
                    self._compare_board(tenant, board, period, shown, expected.get((board, period), []))
                    await self._compare_rows(redis, place.rows, what.as_order, members, tenant)

    async def _listed(self, redis: Redis, tenant: str) -> dict[BoardKey, str]:
        """The boards of a tenant, and what each is. Those of closed periods are let go by and by."""
        until_s = time.monotonic() + REST_S_MAX
        while True:
            listed = await redis.hgetall(keys(self.deployment.name, BoardKey(tenant, *ANY_BOARD)).boards)
            there = {board_key(tenant, field): what for field, what in listed.items()}
            if time.monotonic() > until_s or not any(key.period in self._models.closed(tenant) for key in there):
                return there
            await asyncio.sleep(LOOK_S)

    def _compare_board(
        self, tenant: str, board: str, period: str, shown: list[tuple[str, tuple[int, ...]]], lines: Iterable[Line]
    ) -> None:
        expected = [(line.subject, line.scores) for line in lines]
        if shown != expected:
            different = [pair for pair in zip(shown, expected, strict=False) if pair[0] != pair[1]]
            self._found.append(
                f"Redis has {len(shown)} rows of {board}/{period} of {tenant}, the log makes {len(expected)}; they "
                f"differ first in {different[:1]}"
            )

    async def _compare_rows(
        self, redis: Redis, key: str, order: Order, members: list[tuple[str, float]], tenant: str
    ) -> None:
        """The hash leads from each subject to its row, and to nothing else."""
        rows = await redis.hgetall(key)
        if rows and {prefix + ":" + subject for subject, prefix in rows.items()} != {member for member, _ in members}:
            self._found.append(f"{key} of {tenant} leads to other rows than there are")
