"""`accrue bench hot`: everybody wants the same two rows, against the plain UPDATE of one row."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from accrue.cli.bench import hot_row, naive, workload
from accrue.cli.bench.drive import engine, pour, queryable, run
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import bounded, machine, show
from accrue.cli.bench.servers import scratch_database
from accrue.cli.options import AsJson
from accrue.clock import Clock, SystemClock
from accrue.collector import calm

EVENTS_MAX = 10_000_000
BATCH = 1_000


class Figures(Struct, frozen=True, kw_only=True):
    """`accrue_per_s` counts events from their bytes to queryable, each of which changes two numbers; `naive_per_s`
    transactions, each of which changes one, by so many `naive_clients`. Both are on disk when they are done: Accrue's
    log in the directory, and what each writes to a database in `book`, the directory too or a PostgreSQL server."""

    events: int
    accrue_per_s: float
    naive_per_s: float
    ratio: float
    naive_updates: int
    naive_clients: int
    book: str
    settlements: int
    checked_total: int


def hot(
    events: Annotated[int, typer.Option("--events", help="How many events.")] = 500_000,
    naive_seconds: Annotated[float, typer.Option("--naive-seconds", help="How long to run the other design.")] = 3.0,
    book: Annotated[
        str | None,
        typer.Option(
            "--book",
            metavar="URL",
            help="postgresql://; databases are made there, and dropped. SQLite in the directory if left out.",
        ),
    ] = None,
    clients: Annotated[int, typer.Option("--clients", help="Who updates the row, on PostgreSQL.")] = 32,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """One post goes viral: against `UPDATE tallies SET value = value + 1`, one durable transaction each.

    \b
    Example:
      accrue bench hot --events 100000 --json
      accrue bench hot --book postgresql://accrue:secret@127.0.0.1/postgres
    """
    bounded("--events", events, 1, EVENTS_MAX)
    bounded("--naive-seconds", naive_seconds, 0.01, 60)
    bounded("--clients", clients, 1, 1_000)
    clock = SystemClock()
    stream = workload.one_post(events=events, end_us=clock.now_us())
    with directory(place) as data_dir:
        figures = run(measure(data_dir, stream, clock, naive_seconds, book=book, clients=clients))
        facts = machine(data_dir)
    show("hot", figures, facts, as_json=as_json)


async def measure(
    data_dir: Path, stream: workload.Stream, clock: Clock, naive_seconds: float, *, book: str | None, clients: int
) -> Figures:
    """The naive design for a while, then the engine, each in a database of its own. Raises `Miscounted`."""
    events = len(stream)
    if book is None:
        updates, naive_s = await hot_row.on_sqlite(data_dir / "naive.db", clock, naive_seconds)
    else:
        async with scratch_database(book) as url:
            updates, naive_s = await hot_row.on_postgres(url, clock, naive_seconds, clients=clients)
    bodies = list(workload.bodies(stream, batch=BATCH))
    async with AsyncExitStack() as stack:
        url = "" if book is None else await stack.enter_async_context(scratch_database(book))
        accrue = await stack.enter_async_context(
            engine(data_dir / "data", "views", settle_interval_s=1.0, book_url=url)
        )
        with calm():
            began = clock.monotonic_s()
            await queryable(accrue, await pour(accrue, bodies))
            seconds = clock.monotonic_s() - began
        checked_total = await naive.check(accrue, naive.view_totals(stream), events=events)
        await accrue.settle()
        settlements = accrue.parts.live.statuses()[0].settlements
    accrue_per_s, naive_per_s = events / seconds, updates / naive_s
    return Figures(
        events=events,
        accrue_per_s=accrue_per_s,
        naive_per_s=naive_per_s,
        ratio=accrue_per_s / naive_per_s,
        naive_updates=updates,
        naive_clients=1 if book is None else clients,
        book="sqlite" if book is None else "postgresql",
        settlements=settlements,
        checked_total=checked_total,
    )
