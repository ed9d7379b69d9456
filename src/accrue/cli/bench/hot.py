"""`accrue bench hot`: everybody wants the same two rows, against the plain UPDATE of one row."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from accrue.cli.bench import naive, workload
from accrue.cli.bench.drive import engine, pour, queryable, run
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import Miscounted, bounded, machine, show
from accrue.cli.options import AsJson
from accrue.clock import Clock, SystemClock
from accrue.collector import calm
from accrue.connect.sqlite import SqliteThread

EVENTS_MAX = 10_000_000
BATCH = 1_000


class Figures(Struct, frozen=True, kw_only=True):
    """`accrue_per_s` counts events from their bytes to queryable, each of which changes two numbers; `naive_per_s`
    transactions, each of which changes one. Both are on disk when they are done, in the same directory."""

    events: int
    accrue_per_s: float
    naive_per_s: float
    ratio: float
    naive_updates: int
    settlements: int
    checked_total: int


def hot(
    events: Annotated[int, typer.Option("--events", help="How many events.")] = 500_000,
    naive_seconds: Annotated[float, typer.Option("--naive-seconds", help="How long to run the other design.")] = 3.0,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """One post goes viral: against `UPDATE tallies SET value = value + 1`, one durable transaction each.

    \b
    Example:
      accrue bench hot --events 100000 --json
    """
    bounded("--events", events, 1, EVENTS_MAX)
    bounded("--naive-seconds", naive_seconds, 0.01, 60)
    clock = SystemClock()
    stream = workload.one_post(events=events, end_us=clock.now_us())
    with directory(place) as data_dir:
        figures = run(measure(data_dir, stream, clock, naive_seconds))
        facts = machine(data_dir)
    show("hot", figures, facts, as_json=as_json)


async def measure(data_dir: Path, stream: workload.Stream, clock: Clock, naive_seconds: float) -> Figures:
    """The naive design for a while, then the engine. Raises `Miscounted`."""
    events = len(stream)
    updates, naive_s = await _naive(data_dir / "naive.db", clock, naive_seconds)
    bodies = list(workload.bodies(stream, batch=BATCH))
    async with engine(data_dir / "data", "views", settle_interval_s=1.0) as accrue:
        with calm():
            began = clock.monotonic_s()
            await queryable(accrue, await pour(accrue, bodies))
            seconds = clock.monotonic_s() - began
        checked_total = await naive.check(accrue, naive.view_totals(stream), events=events)
        await accrue.settle()
        settlements = accrue.parts.live.status().settlements
    accrue_per_s, naive_per_s = events / seconds, updates / naive_s
    return Figures(
        events=events,
        accrue_per_s=accrue_per_s,
        naive_per_s=naive_per_s,
        ratio=accrue_per_s / naive_per_s,
        naive_updates=updates,
        settlements=settlements,
        checked_total=checked_total,
    )


async def _naive(path: Path, clock: Clock, seconds: float) -> tuple[int, float]:
    """One durable transaction for each event, for about so long: WAL and synchronous=FULL, as the log has them."""
    thread = SqliteThread(path)  # opens exactly so
    await thread.open()

    def work(connection: sqlite3.Connection) -> tuple[int, float]:
        connection.execute("CREATE TABLE tallies (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)")
        connection.execute("INSERT INTO tallies VALUES (1, 0)")
        updates, began = 0, clock.monotonic_s()
        while (spent := clock.monotonic_s() - began) < seconds or not updates:
            connection.execute("UPDATE tallies SET value = value + 1 WHERE id = 1")
            updates += 1
        (value,) = connection.execute("SELECT value FROM tallies").fetchone()
        if value != updates:
            raise Miscounted(f"The naive design counted {value} of {updates}.")
        return updates, spent

    try:
        return await thread.run(work)
    finally:
        await thread.close()
