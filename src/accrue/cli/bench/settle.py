"""`accrue bench settle`: how many rows are written for so many events, every row of every table counted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from accrue.cli.bench import naive, workload
from accrue.cli.bench.drive import engine, pour, queryable, run
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import bounded, machine, show
from accrue.cli.options import AsJson
from accrue.clock import SystemClock
from accrue.collector import calm
from accrue.config import ProcessConfig

EVENTS_MAX = 10_000_000
BATCH = 1_000
TALLIES_PER_EVENT = 3
"""What each event changes under programs/readers.toml: one number of the reader, the post and its owner."""


class Figures(Struct, frozen=True, kw_only=True):
    """`row_writes` counts every row of every table, written or deleted: tallies, archive, repeats, checkpoint, all.

    `naive_rows` is one UPDATE for each number an event changes, without the row that the event itself would need;
    `reduction` is against that. `reduction_at_one_row_an_event` is against a design that writes only one row for
    each event, whatever it changes.
    """

    events: int
    active_subjects: int
    row_writes: int
    transactions: int
    naive_rows: int
    reduction: float
    reduction_at_one_row_an_event: float


class Both(Struct, frozen=True):
    """The same number of events over few and over many subjects."""

    viral: Figures
    mixed: Figures


def settle(
    events: Annotated[int, typer.Option("--events", help="How many events, in each of the two.")] = 1_000_000,
    viral_subjects: Annotated[int, typer.Option("--viral-subjects", help="Active subjects of the first.")] = 1_000,
    mixed_subjects: Annotated[int, typer.Option("--mixed-subjects", help="Active subjects of the second.")] = 100_000,
    settle_interval_s: Annotated[
        float, typer.Option("--settle-interval-s", help="Seconds between settlements.")
    ] = ProcessConfig().settle_interval_s,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """How many rows the database has to take, against one UPDATE for every number an event changes.

    It settles at the interval, at the limits of what waits, and at the end.

    \b
    Example:
      accrue bench settle --events 200000 --json
    """
    bounded("--events", events, 1, EVENTS_MAX)
    bounded("--viral-subjects", viral_subjects, 3, EVENTS_MAX)
    bounded("--mixed-subjects", mixed_subjects, 3, EVENTS_MAX)
    bounded("--settle-interval-s", settle_interval_s, 0.01, 3_600)
    with directory(place) as data_dir:
        both = Both(
            viral=run(measure(data_dir / "viral", events, viral_subjects, settle_interval_s)),
            mixed=run(measure(data_dir / "mixed", events, mixed_subjects, settle_interval_s)),
        )
        facts = machine(data_dir)
    show("settle", both, facts, as_json=as_json)


async def measure(data_dir: Path, events: int, subjects: int, settle_interval_s: float) -> Figures:
    """One workload. Raises `Miscounted`."""
    stream = workload.readers(events=events, subjects=subjects, end_us=SystemClock().now_us())
    expected = naive.reader_totals(stream)
    async with engine(data_dir, "readers", settle_interval_s=settle_interval_s) as accrue:
        with calm():
            await queryable(accrue, await pour(accrue, workload.bodies(stream, batch=BATCH)))
        await accrue.settle()
        status = accrue.parts.live.statuses()[0]
        await naive.check(accrue, expected, events=events)
    naive_rows = TALLIES_PER_EVENT * events
    return Figures(
        events=events,
        active_subjects=sum(len(subjects) for subjects in expected.totals.values()),
        row_writes=status.rows_written,
        transactions=status.settlements,
        naive_rows=naive_rows,
        reduction=1 - status.rows_written / naive_rows,
        reduction_at_one_row_an_event=1 - status.rows_written / events,
    )
