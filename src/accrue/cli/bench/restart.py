"""`accrue bench restart`: killed with so many events acked and none settled, how soon is everything queryable again?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from msgspec import Struct

from accrue.cli.bench.place import directory
from accrue.cli.bench.report import Miscounted, bounded, machine, show
from accrue.cli.options import AsJson
from accrue.clock import Clock, SystemClock

EVENTS_MAX = 10_000_000

Said = TypeVar("Said", bound=Struct)


class Figures(Struct, frozen=True, kw_only=True):
    """`seconds` is from starting the process to the first page that shows everything: the interpreter, its imports,
    opening and folding. `fold_seconds` is without the process's own start. `log_bytes` is what it had to read."""

    events: int
    subjects: int
    log_bytes: int
    seconds: float
    fold_seconds: float
    events_per_s: float
    settlements_inside: int
    checked_total: int


class Job(Struct, frozen=True, kw_only=True):
    """What both processes have to know: from it follows every event."""

    data_dir: str
    events: int
    subjects: int
    end_us: int


class Filled(Struct, frozen=True):
    """Every event is acked, up to this position."""

    position: int


class Queryable(Struct, frozen=True):
    """Every event can be queried, `seconds` after the engine began to open. `settled_before` is the checkpoint that
    the start found."""

    seconds: float
    settlements: int
    settled_before: int


class Checked(Struct, frozen=True):
    """The sum of all totals, each of which is what a plain count says."""

    total: int


def restart(
    events: Annotated[int, typer.Option("--events", help="How many events nobody settled.")] = 3_000_000,
    subjects: Annotated[int, typer.Option("--subjects", help="Users and posts together.")] = 100_000,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """How long a start takes after a kill -9, with the log full of events that the book has not seen.

    A process takes the events and is killed when all are acked; a second one starts on what is left. Every total is
    checked at the end.

    \b
    Example:
      accrue bench restart --events 200000 --json
    """
    bounded("--events", events, 1, EVENTS_MAX)
    bounded("--subjects", subjects, 2, EVENTS_MAX)
    clock = SystemClock()
    with directory(place) as data_dir:
        job = Job(data_dir=str(data_dir / "data"), events=events, subjects=subjects, end_us=clock.now_us())
        figures = measure(job, clock)
        facts = machine(data_dir)
    show("restart", figures, facts, as_json=as_json)


def measure(job: Job, clock: Clock) -> Figures:
    """One kill and one start. Raises `Miscounted`."""
    with _process("fill", job) as victim:
        _said(victim, Filled)
        victim.kill()
    log_bytes = sum(file.stat().st_size for file in Path(job.data_dir).glob("log.db*"))
    began = clock.monotonic_s()
    with _process("start", job) as second:
        queryable = _said(second, Queryable)
        seconds = clock.monotonic_s() - began
        checked = _said(second, Checked)
    if queryable.settled_before:
        raise Miscounted(f"Position {queryable.settled_before} was settled before the kill: these are other events.")
    return Figures(
        events=job.events,
        subjects=job.subjects,
        log_bytes=log_bytes,
        seconds=seconds,
        fold_seconds=queryable.seconds,
        events_per_s=job.events / seconds,
        settlements_inside=queryable.settlements,
        checked_total=checked.total,
    )


def _process(what: str, job: Job) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "accrue.cli.bench.restart_process", what, msgspec.json.encode(job).decode()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _said(process: subprocess.Popen[bytes], wanted: type[Said]) -> Said:
    """The next thing the process says. Raises `Miscounted` when it ends instead; why stands on standard error."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Miscounted("The process of the bench ended early.")
    return msgspec.json.decode(line, type=wanted)
