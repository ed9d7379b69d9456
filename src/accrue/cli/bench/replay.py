"""`accrue bench replay`: folding the archive again, against folding the same events as they came in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from accrue import backends, offline
from accrue.cli.bench import fold as fold_bench
from accrue.cli.bench import workload
from accrue.cli.bench.drive import engine_settings, run
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import Miscounted, bounded, machine, show
from accrue.cli.options import AsJson
from accrue.clock import Clock, SystemClock
from accrue.collector import calm
from accrue.ingest.checked import EVENTS_PER_REQUEST_MAX
from accrue.process.replay.archived import archive_of
from accrue.process.replay.refold import refolding
from accrue.process.replay.verify import compare_books


class Figures(Struct, frozen=True, kw_only=True):
    """`events_per_s` is from the archive's compressed segments to a whole new book, settled; `fold_events_per_s` is
    `accrue bench fold` of the same events in the same run, to boards that can be read, and `ratio` the first by the
    second. `verify_events_per_s` is all of `accrue verify` on the same data. `rows_checked` were the same."""

    events: int
    subjects: int
    segments: int
    events_per_s: float
    fold_events_per_s: float
    ratio: float
    seconds: float
    rows_written: int
    verify_events_per_s: float
    rows_checked: int


def replay(
    events: Annotated[int, typer.Option("--events", help="How many events.")] = 1_000_000,
    subjects: Annotated[int, typer.Option("--subjects", help="Users and posts together.")] = 100_000,
    batch: Annotated[int, typer.Option("--batch", help="Events a request.")] = 1_000,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """How many events a second become a new book when the archive is folded again.

    The events are those of `accrue bench fold`, which runs first; every row of the two books is compared at the end.

    \b
    Example:
      accrue bench replay --events 200000 --json
    """
    bounded("--events", events, 1, fold_bench.EVENTS_MAX)
    bounded("--subjects", subjects, 2, fold_bench.EVENTS_MAX)
    bounded("--batch", batch, 1, EVENTS_PER_REQUEST_MAX)
    clock = SystemClock()
    stream = workload.community(events=events, subjects=subjects, end_us=clock.now_us())
    with directory(place) as data_dir:
        figures = run(measure(data_dir / "data", data_dir, stream, clock, subjects, batch))
        facts = machine(data_dir)
    show("replay", figures, facts, as_json=as_json)


async def measure(
    data_dir: Path, folder: Path, stream: workload.Stream, clock: Clock, subjects: int, batch: int
) -> Figures:
    """One run. Raises `Miscounted` when the two books differ."""
    live = await fold_bench.measure(data_dir, stream, clock, subjects, batch, settle_interval_s=1.5)
    config = engine_settings(data_dir, settle_interval_s=60.0)
    shop = backends.workshop(config, clock, folder)
    async with offline.seen(data_dir) as (snapshot, checkpoint):
        log, book = archive_of(snapshot, checkpoint), await shop.scratch.fresh("replayed")
        try:
            with calm():
                began = clock.monotonic_s()
                async with refolding(log, book, shop, instead={}) as fold:
                    await fold.reach(checkpoint.position, lambda events: None)
                    seconds = clock.monotonic_s() - began
            rebuilt = await shop.scratch.snapshot("replayed")
            report = await compare_books(snapshot, checkpoint, rebuilt, fold.worker, shop, on_step=_untold)
            await rebuilt.close()
        finally:
            await log.close()
            await book.close()
    if not report.is_sound:
        told = [*report.faults, *(found.text for found in report.differences)]
        raise Miscounted("\n".join(["The replayed book differs from the live one.", *told]))
    with calm():
        began = clock.monotonic_s()
        verified = await offline.verify_directory(config, clock, folder=folder, on_step=_untold)
        verify_s = clock.monotonic_s() - began
    if not verified.is_sound:
        raise Miscounted("\n".join(["The live book is not what its archive says.", *verified.faults]))
    return Figures(
        events=verified.events,
        subjects=subjects,
        segments=verified.segments,
        events_per_s=verified.events / seconds,
        fold_events_per_s=live.events_per_s,
        ratio=verified.events / seconds / live.events_per_s,
        seconds=seconds,
        rows_written=fold.worker.written.rows,
        verify_events_per_s=verified.events / verify_s,
        rows_checked=sum(report.compared.values()),
    )


def _untold(step: str, done: int, of: int) -> None:
    """Nobody is told how far it is: a bar would be measured, too."""
