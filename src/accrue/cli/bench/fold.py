"""`accrue bench fold`: from the bytes of events to everything queryable, log synced, book settled meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from accrue.cli.bench import naive, workload
from accrue.cli.bench.drive import engine, pour, program_file, queryable, run
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import Miscounted, bounded, machine, show
from accrue.cli.options import AsJson
from accrue.clock import Clock, SystemClock
from accrue.collector import calm
from accrue.config import DEFAULT_TENANT
from accrue.core.decide import Decider
from accrue.core.reader import read
from accrue.engine import Accrue
from accrue.ingest.checked import EVENTS_PER_REQUEST_MAX

EVENTS_MAX = 10_000_000


class Figures(Struct, frozen=True, kw_only=True):
    """`decode_per_s` is decoding alone, of the same lines into the fields the program reads; `ratio` is the whole
    way against it. `settlements` and `rows_written` count those inside the measured time and one after it."""

    events: int
    subjects: int
    bytes_per_event: float
    events_per_s: float
    durable_per_s: float
    decode_per_s: float
    ratio: float
    seconds: float
    settlements_inside: int
    settlements: int
    rows_written: int
    repeats_dropped: int
    checked_total: int


def fold(
    events: Annotated[int, typer.Option("--events", help="How many events.")] = 1_000_000,
    subjects: Annotated[int, typer.Option("--subjects", help="Users and posts together.")] = 100_000,
    batch: Annotated[int, typer.Option("--batch", help="Events a request.")] = 1_000,
    settle_interval_s: Annotated[float, typer.Option("--settle-interval-s", help="Seconds between settlements.")] = 1.5,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """How many events a second become boards, badges, streaks and counters, from their bytes on.

    Unique ids, repeats exact, six rules with conditions, a cap and a `once`; every total is checked at the end.

    \b
    Example:
      accrue bench fold --events 200000 --json
    """
    bounded("--events", events, 1, EVENTS_MAX)
    bounded("--subjects", subjects, 2, EVENTS_MAX)
    bounded("--batch", batch, 1, EVENTS_PER_REQUEST_MAX)
    bounded("--settle-interval-s", settle_interval_s, 0.01, 3_600)
    clock = SystemClock()
    stream = workload.community(events=events, subjects=subjects, end_us=clock.now_us())
    with directory(place) as data_dir:
        figures = run(measure(data_dir / "data", stream, clock, subjects, batch, settle_interval_s))
        facts = machine(data_dir)
    show("fold", figures, facts, as_json=as_json)


async def measure(
    data_dir: Path, stream: workload.Stream, clock: Clock, subjects: int, batch: int, settle_interval_s: float
) -> Figures:
    """One run. Raises `Miscounted` when a total is not what a plain count says."""
    events = len(stream)
    bodies = list(workload.bodies(stream, batch=batch))
    expected = naive.community_totals(stream)
    async with engine(data_dir, "community", settle_interval_s=settle_interval_s) as accrue:
        with calm():
            began = clock.monotonic_s()
            position = await pour(accrue, bodies)
            durable_s = clock.monotonic_s() - began
            await queryable(accrue, position)
            seconds = clock.monotonic_s() - began
            inside = accrue.parts.live.statuses()[0].settlements
            decode_s = _decode_s(bodies, clock)
        checked_total = await naive.check(accrue, expected, events=events)
        repeated = await _send_again(accrue, bodies[0])
        await accrue.settle()
        status = accrue.parts.live.statuses()[0]
    return Figures(
        events=events,
        subjects=subjects,
        bytes_per_event=sum(map(len, bodies)) / events,
        events_per_s=events / seconds,
        durable_per_s=events / durable_s,
        decode_per_s=events / decode_s,
        ratio=decode_s / seconds,
        seconds=seconds,
        settlements_inside=inside,
        settlements=status.settlements,
        rows_written=status.rows_written,
        repeats_dropped=repeated,
        checked_total=checked_total,
    )


async def _send_again(accrue: Accrue, body: bytes) -> int:
    """Send a body a second time. Returns how many of its events were repeats: all, or `Miscounted`."""
    outcomes = await accrue.outcomes(await accrue.send(body))
    if set(outcomes) != {"repeated"}:
        raise Miscounted("Events that were sent again were counted again.")
    return len(outcomes)


def _decode_s(bodies: list[bytes], clock: Clock) -> float:
    """The time it takes only to decode the same lines, into the fields that the program reads."""
    decoder = Decider(DEFAULT_TENANT, read(program_file("community").read_text())).decoder
    began = clock.monotonic_s()
    for body in bodies:
        decoder.decode_lines(body)
    return clock.monotonic_s() - began
