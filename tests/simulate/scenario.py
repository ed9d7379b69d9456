"""One seed: a deployment, clients, faults and time, and at every rest a comparison with the model.

1. draw a program, settings, rates of faults and a moment near a change of the clocks;
2. let clients send, again and again; time pass; periods close; programs change; the process die; settlements fall;
3. at some instants bring everything to rest and compare all that can be seen with the model;
4. at the end compare once more, and fold the whole log again from nothing: the same digest, or one of them is wrong.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from accrue.book.archive import check_chain, unpack
from accrue.book.base import Segment
from accrue.config import Config, IngestConfig, ProcessConfig
from accrue.core.record import decode
from accrue.errors import Fenced, Rejected, Unavailable
from accrue.ingest.accept import Receipt
from accrue.process.digest import digest
from accrue.process.world import Memory
from accrue.testing.deployment import Deployment
from accrue.testing.faults import Faults, Rates
from accrue.testing.loop import LoopClock, SimulatedLoop
from accrue.wiring import Alone
from pipeline.partition import TABLES, Partition
from simulate.comparison import Models, compare, sequence_of
from simulate.programs import ProgramMaker
from simulate.traffic import DAY_S, HOUR_S, MINUTE_S, OBJECTS, USERS, Traffic

HOUR_US = 3_600_000_000
CHANGES = (
    ("Europe/Paris", "2026-03-29T01:00"),
    ("Europe/Paris", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Asia/Kathmandu", "2026-12-31T18:15"),
    ("UTC", "2027-01-01T00:00"),
)
"""Zones, and instants (in UTC) at which their clocks change or a year ends."""

SUBJECTS = tuple(dict.fromkeys((*USERS, *OBJECTS, "eve")))
WAIT_S = 10_000.0
RESTS_MAX = 100


class Wrong(AssertionError):
    """The engine and the model differ, or a promise was broken."""


@dataclass
class Report:
    """What a seed went through."""

    seed: int
    events: int
    starts: int
    turns: int
    struck: Counter[str]
    outcomes: Counter[str]


def run(seed: int, folder: Path) -> Report:
    """Run one seed. Raises `Wrong` with what differs, and whatever the engine itself should not have raised."""
    random = Random(seed)
    faults = Faults(seed + 1, Rates().scaled(random.choice((0.0, 0.3, 1.0, 1.0, 2.5))))
    loop = SimulatedLoop(faults.delay_s)
    scenario = Scenario(seed, random, faults, loop, folder)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scenario.run())


class Scenario:
    """One deployment and everybody around it."""

    def __init__(self, seed: int, random: Random, faults: Faults, loop: SimulatedLoop, folder: Path) -> None:
        self._seed, self._random, self._faults, self._loop, self._folder = seed, random, faults, loop, folder
        timezone, change = random.choice(CHANGES)
        instant = datetime.fromisoformat(change).replace(tzinfo=UTC)
        start = instant - timedelta(seconds=random.choice((0, MINUTE_S, HOUR_S, DAY_S, 3 * DAY_S)))
        self._clock = LoopClock(loop, start_us=round(start.timestamp()) * 1_000_000)
        tenants = ["one", "two"] if random.random() < 0.15 else ["one"]
        self._makers = {name: ProgramMaker(random, timezone=timezone, around=instant.date()) for name in tenants}
        self._traffic = {name: Traffic(random) for name in tenants}
        self._config = self._drawn_config()
        settings = self._config.process
        self._memory = Memory(
            repeat_window_us=round(settings.repeat_window_h * HOUR_US),
            once_window_us=round(settings.once_window_h * HOUR_US),
        )
        self._models = Models(
            repeat_window_us=self._memory.repeat_window_us, once_window_us=self._memory.once_window_us
        )
        self._deployment = Deployment(
            folder / "live",
            self._config,
            loop=loop,
            clock=self._clock,
            faults=faults,
            log_in_memory=random.random() < 0.7,
        )
        self._acked: list[tuple[int, int, list[bytes]]] = []

    async def run(self) -> Report:
        try:
            for tenant in self._makers:
                await self._use_program(tenant)
            for _ in range(self._random.randint(8, 26)):
                await self._step()
            await self._rest_and_compare()
            await self._replay_and_compare()
        finally:
            await self._deployment.bury()
        communities = self._models.communities.values()
        return Report(
            seed=self._seed,
            events=sum(community.counts.total() for community in communities),
            starts=self._deployment.starts,
            turns=self._loop.turns,
            struck=self._faults.struck,
            outcomes=sum((community.counts for community in communities), Counter[str]()),
        )

    # --- what happens -------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        """One of the things that happen, while the faults do what they do."""
        random, faults = self._random, self._faults
        if faults.strikes("crash"):
            self._deployment.kill_after(random.randrange(1, 120))
        if faults.strikes("hand_over"):
            self._deployment.hand_over()
        if faults.strikes("settle_now"):
            await self._tried(lambda parts: parts.worker.settle())
        what = random.random()
        tenant = random.choice(list(self._makers))
        if what < 0.55:
            await self._send_some()
        elif what < 0.68:
            self._loop.skip(random.choice((1, MINUTE_S, 10 * MINUTE_S, HOUR_S, 5 * HOUR_S, DAY_S, 2 * DAY_S)))
            self._clock.set_off(seconds=random.choice((0, 0, 0, -2, -HOUR_S, 90)))
            await asyncio.sleep(random.choice((0.0, 0.1, 6.0)))  # the closer looks every five seconds
        elif what < 0.74:
            self._makers[tenant].change()
            await self._use_program(tenant)
        elif what < 0.80:
            await self._score(tenant)
        elif what < 0.85:
            await self._close(tenant)
        elif what < 0.90:
            await self._tried(lambda parts: self._read(parts, tenant))
        elif what < 0.94:
            await self._rest_and_compare(some=True)
        elif what < 0.96:
            await self._deployment.stop()  # as it should be stopped; the next question starts it again
        else:
            await asyncio.sleep(random.choice((0.01, 0.5, 3.0)))

    async def _send_some(self) -> None:
        """A few clients at once, each with a batch; who is not answered asks again, with the same ids."""
        clients = []
        for _ in range(self._random.choice((1, 1, 2, 3))):
            tenant = self._random.choice(list(self._traffic))
            traffic = self._traffic[tenant]
            lines = traffic.again() if self._faults.strikes("repeat") else traffic.batch(self._clock.now_us())
            if lines:
                clients.append(self._send(tenant, lines, self._random.choice((0.0, 0.0, 0.01, 0.5))))
        await asyncio.gather(*clients)

    async def _send(self, tenant: str, lines: list[bytes], after_s: float) -> None:
        await asyncio.sleep(after_s)
        receipt = await self._insist(lambda parts: parts.acceptor.events(tenant, b"\n".join(lines), "ndjson"))
        bad = [result for result in receipt.results if result.status != "accepted"]
        altered = {result.id for result in bad}
        if any(result.status == "rejected" and result.field != "$.id" for result in bad):
            raise Wrong(f"refused: {bad}")
        if receipt.position is None:
            raise Wrong("nothing was accepted")
        if not altered:
            self._acked.append((receipt.position, receipt.first_index, lines))

    async def _use_program(self, tenant: str) -> None:
        id, text = f"program of {self._traffic[tenant].id()}", self._makers[tenant].text()
        receipt = await self._insist(lambda parts: parts.acceptor.program(tenant, text, id=id))
        position = receipt.position or 0
        await self._insist(lambda parts: parts.worker.applied(position, timeout_s=WAIT_S))

    async def _score(self, tenant: str) -> None:
        id = self._traffic[tenant].id()
        subject, value, mode = self._traffic[tenant].score()

        async def submit(parts: Alone) -> Receipt:
            board = sorted(parts.live.program(tenant).boards)[0]
            return await parts.acceptor.score(
                tenant,
                board,
                id=id,
                subject=subject,
                value=value,
                mode=mode,
                time_us=None,
            )

        await self._insist(submit)

    async def _close(self, tenant: str) -> None:
        """Close a period by hand: one that something was counted in, however open it still is, or no period at all."""
        await self._feed()
        state = self._models.communities[tenant].state
        known = sorted({period for _, period, _ in state.tallies if period != "all"})
        period = self._random.choice([*known, "1999", "nonsense", "season:none"])
        await self._insist(lambda parts: parts.acceptor.close_period(tenant, period))

    async def _read(self, parts: Alone, tenant: str) -> None:
        """Ask for boards and people: reading must not change anything."""
        for board in parts.live.program(tenant).boards.values():
            await parts.queries.board(
                tenant, board.name, period=self._random.choice(board.periods), at_us=self._clock.now_us()
            )
        await parts.queries.profile(tenant, "user", self._random.choice(SUBJECTS))

    # --- asking a deployment that may die ----------------------------------------------------------------------------

    async def _insist(self, question: Callable[[Alone], Coroutine[Any, Any, Any]]) -> Any:
        """Ask until there is an answer. What a program cannot do is an answer too."""
        while True:
            try:
                return await self._deployment.ask(question)
            except (Unavailable, Fenced):
                await asyncio.sleep(self._random.choice((0.0, 0.01, 0.3)))

    async def _tried(self, question: Callable[[Alone], Coroutine[Any, Any, Any]]) -> None:
        """Ask beside everything else; what becomes of it is of no interest."""

        async def ask() -> None:
            with suppress(Unavailable, Fenced, Rejected):
                await self._deployment.ask(question)

        asking = asyncio.ensure_future(ask())
        if self._random.random() < 0.5:
            await asking
        else:
            self._beside = asking

    # --- comparing ---------------------------------------------------------------------------------------------------

    async def _rest_and_compare(self, *, some: bool = False) -> None:
        """No faults for a while: wait until everything is applied, and compare it with the model. `some`: not all."""
        self._faults.off = True
        periods = self._some_periods() if some else None
        for _ in range(RESTS_MAX):
            end = await self._insist(_at_rest)
            await self._feed()
            found = await self._insist(lambda parts: compare(parts, self._models, SUBJECTS, periods=periods))
            if await self._insist(_at_rest) == end == self._models.position:
                break  # else something came meanwhile
        else:
            raise Wrong("it does not come to rest")
        self._faults.off = False
        if found:
            raise Wrong("\n".join([f"at position {end}:", *found]))

    def _some_periods(self) -> list[str]:
        known = {period for each in self._models.communities.values() for _, period, _ in each.state.tallies}
        return self._random.sample(sorted(known), min(len(known), 4))

    async def _feed(self) -> None:
        """Let the models see what the log has beyond them; everything that was acked must be there."""
        history = await self._deployment.history()
        for position, record in history.items():
            if position > self._models.position:
                self._models.feed(position, record)
        for position, first, lines in self._acked:
            at, there = 0, []
            for batch in decode(history[position]).batches:
                there += batch.body.split(b"\n")
            at = first
            if there[at : at + len(lines)] != lines:
                raise Wrong(f"acked at {position}, {first}, and not there: {lines}")
        self._acked.clear()

    async def _replay_and_compare(self) -> None:
        """Settle, and fold the whole log anew: tables and indexes must have the same digest; the archive is the log."""
        self._faults.off = True
        for _ in range(RESTS_MAX):
            await self._insist(_at_rest)
            await self._insist(_settled)
            history = await self._deployment.history()
            worker = (await self._deployment.parts()).worker
            settled = worker.checkpoint.position
            if settled == worker.position == max(history):
                live = digest(_tables(self._deployment.book_file), worker.world.indexes)
                break  # else a period was closed meanwhile
        else:
            raise Wrong("it is never settled up to where the log ends")
        segments = await self._insist(_segments)
        check_chain(segments)
        archived = [record for segment in segments for record in unpack(segment)]
        if archived[: len(history)] != list(history.items()):
            raise Wrong("the archive is not what the log was")
        self._compare_lists()
        await self._deployment.bury()  # a death that is still to come would take this fold's calls with it
        async with Partition(self._folder / "replay", memory=self._memory) as again:
            await again.feed(list(history.values()))
            await again.caught_up()
            await again.settle()
            found = again.digest()
            if found != live:
                raise Wrong("\n".join(["a replay from nothing gives another state:", *live.differences(found)]))

    def _compare_lists(self) -> None:
        """What failed and what conflicted, as the book lists it."""
        tables = _tables(self._deployment.book_file)
        for table, of in (("failed_events", "failed"), ("conflicts", "conflicts")):
            listed = {(row[0], row[1], row[2]) for row in tables[table]}
            said = {
                (tenant, sequence_of(place), id)
                for tenant, community in self._models.communities.items()
                for place, id in getattr(community, of)
            }
            if listed != said:
                raise Wrong(f"{table}: {sorted(listed ^ said)} on one side only")

    def _drawn_config(self) -> Config:
        choice = self._random.choice
        return Config(
            data_dir=None,
            ingest=IngestConfig(),
            process=ProcessConfig(
                tick_ms=choice((10, 50, 400)),
                settle_interval_s=choice((0.1, 2.0, 30.0, 600.0)),
                settle_dirty_rows=choice((8, 60, 400_000)),
                settle_archive_bytes=choice((600, 64 << 20)),
                entries_in_memory_max=choice((1, 20, 5_000_000)),
                repeat_window_h=choice((2.0, 24.0)),
                once_window_h=choice((6.0, 960.0)),
                close_grace_min=choice((1.0, 60.0)),
            ),
        )


async def _at_rest(parts: Alone) -> int:
    """Everything in the log is applied. Returns how far that is."""
    end = await parts.log.end(0)
    await parts.worker.applied(end, timeout_s=WAIT_S)
    return end


async def _settled(parts: Alone) -> None:
    await parts.worker.settle()


async def _segments(parts: Alone) -> list[Segment]:
    return [segment async for segment in parts.book.segments(0)]


def _tables(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table of the book that the log determines."""
    connection = sqlite3.connect(file)
    try:
        return {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY {columns}").fetchall()
            for table, (columns, _) in TABLES.items()
        }
    finally:
        connection.close()
