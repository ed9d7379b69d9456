"""`accrue bench naive`: the designs everybody writes first, and Accrue, under the same load, killed once in the middle.

For each design: 1. start it with nothing in it; 2. measure, in closed loop; 3. go on with a client that sends again
what was not answered, kill the process in the middle with SIGKILL, and start it again; 4. stop, and compare what it has
counted with how often each post was viewed. Every event has an id, and none is sent twice but for want of an answer.
The design that flushes is killed while it does, the others at any moment: it loses nothing in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from importlib.resources import as_file
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from rich.text import Text

from accrue.cli.bench import workload
from accrue.cli.bench.ack_client import TEMPLATES, Load, Requests
from accrue.cli.bench.drive import program_file, run
from accrue.cli.bench.insistent import Insistent, event_of
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import Machine, Miscounted, bounded, document, machine
from accrue.cli.bench.rivals import Rival, Running, naive_rivals, ours, running
from accrue.cli.bench.servers import emptied, empty, postgres_at, redis_at
from accrue.cli.options import AsJson
from accrue.cli.terminal import Cell, err, out, show_json, table
from accrue.clock import Clock, SystemClock
from accrue.errors import Unavailable

SUBJECTS = 20_000
"""A twentieth of them are posts: 1,000, as many as a page of a board shows."""

WARM_UP_S_MAX = 1.0
NAMES = ("zincrby", "incrbyfloat", "shards", "getdel", "accrue", "accrue-servers")


class Figures(Struct, frozen=True, kw_only=True):
    """One design. `per_s`, `p50_ms` and `p99_ms` are in closed loop.

    After the kill: `events` were sent, each with its own id and in the end each answered, `again` requests had to be
    sent again. Compared for each post: `lost` views are missing, `double` are too many; where both happened to one post
    they cancel out, so each is the least that is so. `shown_wrong` is the same for the board, where it is kept apart.
    """

    title: str
    per_s: float
    p50_ms: float
    p99_ms: float
    events: int
    again: int
    lost: int
    double: int
    shown_wrong: int | None = None


class Result(Struct, frozen=True, kw_only=True):
    """All of them, and Accrue against the tutorial's design: its rate, and the tutorial's p99 against its own."""

    connections: int
    designs: dict[str, Figures]
    rate_ratio: float | None
    p99_ratio: float | None


def naive(
    redis: Annotated[
        str | None, typer.Option("--redis", metavar="URL", help="An empty database; a private server if left out.")
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            "--postgres", metavar="URL", help="A database is made there, and dropped; a private server if left out."
        ),
    ] = None,
    only: Annotated[str, typer.Option("--only", help=f"Some of {', '.join(NAMES)}, with commas.")] = ",".join(NAMES),
    connections: Annotated[int, typer.Option("--connections", help="Connections of the client.")] = 32,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to measure, and how long around the kill.")] = 5,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """The designs everybody writes first, beside Accrue: rate, times, and what a kill in the middle costs.

    It needs a checkout of the repository, and Redis and PostgreSQL, named or installed. Takes about half a minute a
    design.

    \b
    Example:
      accrue bench naive --seconds 3 --only zincrby,accrue
    """
    bounded("--connections", connections, 1, 1_000)
    bounded("--seconds", seconds, 0.5, 600)
    names = [name.strip() for name in only.split(",")]
    if unknown := [name for name in names if name not in NAMES]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(NAMES)}.", param_hint="--only")
    clock = SystemClock()
    with directory(place) as folder:
        result = run(measure(folder, names, clock, redis, postgres, connections, seconds))
        facts = machine(folder)
    show(result, facts, as_json=as_json)


async def measure(
    folder: Path,
    names: list[str],
    clock: Clock,
    redis: str | None,
    postgres: str | None,
    connections: int,
    seconds: float,
) -> Result:
    """One after the other, each on emptied servers."""
    designs: dict[str, Figures] = {}
    with as_file(program_file("readers")) as program:
        async with redis_at(redis, folder) as redis_url, postgres_at(postgres, folder) as postgres_url:
            every = {rival.name: rival for rival in _rivals(program, folder, redis_url, postgres_url)}
            for name in names:
                err().print(f"{every[name].title} ...")
                await empty(redis_url)
                await emptied(postgres_url)
                views = Views(clock)
                async with running(every[name], folder / f"{name}.log") as found:
                    designs[name] = await _one(found, views, clock, connections, seconds)
    tutorial, mine = designs.get("zincrby"), designs.get("accrue") or designs.get("accrue-servers")
    return Result(
        connections=connections,
        designs=designs,
        rate_ratio=mine.per_s / tutorial.per_s if mine and tutorial else None,
        p99_ratio=tutorial.p99_ms / mine.p99_ms if mine and tutorial else None,
    )


def _rivals(program: Path, folder: Path, redis_url: str, postgres_url: str) -> list[Rival]:
    shared = ["--log", postgres_url, "--book", postgres_url, "--boards", redis_url]
    return [
        *naive_rivals(redis_url, postgres_url),
        ours("accrue", "Accrue", program, folder / "accrue"),
        ours("accrue-servers", "Accrue on both", program, folder / "accrue-servers", *shared),
    ]


async def _one(found: Running, views: Views, clock: Clock, connections: int, seconds: float) -> Figures:
    """2. to 4., of a design that was just started."""
    # 2.
    load = Load(found.port, views, clock, connections=connections)
    window = await load.run(seconds=seconds, warm_up_s=min(seconds / 4, WARM_UP_S_MAX))
    if window.errors:
        raise Unavailable(f"{found.rival.title} refused {window.errors} of {window.sent} requests.")
    # 3.
    client = Insistent(found.port, views, connections=connections)

    async def kill_in_the_middle() -> None:
        try:
            await asyncio.sleep(seconds / 2)
            await found.worst_moment()
            await found.kill()
            await found.start()
            await asyncio.sleep(seconds / 2)
        finally:
            client.end()

    await asyncio.gather(client.run(), kill_in_the_middle())
    # 4.
    counted = await found.counted(views.last())
    lost, double = differences(counted.kept, views.expected())
    shown_wrong = None if counted.shown is None else sum(differences(counted.shown, views.expected()))
    if found.rival.is_ours and (lost or double):
        raise Miscounted(f"{found.rival.title} lost {lost} events and counted {double} twice.")
    return Figures(
        title=found.rival.title,
        per_s=window.per_s,
        p50_ms=window.p50_ms,
        p99_ms=window.p99_ms,
        events=views.made,
        again=client.again,
        lost=lost,
        double=double,
        shown_wrong=shown_wrong,
    )


class Views(Requests):
    """Requests with one view of a post each, and how often each post is viewed by those that were made."""

    def __init__(self, clock: Clock) -> None:
        stream = workload.readers(events=TEMPLATES, subjects=SUBJECTS, end_us=clock.now_us())
        super().__init__(subjects=SUBJECTS, end_us=clock.now_us(), stream=stream)
        self._posts = [f"post:{number:05}" for number in stream.object]

    def expected(self) -> Counter[str]:
        """Views by post."""
        rounds, rest = divmod(self.made, TEMPLATES)
        counts = (
            Counter({post: rounds * count for post, count in Counter(self._posts).items()}) if rounds else Counter()
        )
        counts.update(self._posts[:rest])
        return counts

    def last(self) -> bytes:
        """The last event that was made, as JSON."""
        return event_of(self.again(self.made - 1))


def differences(counted: dict[str, int], expected: Counter[str]) -> tuple[int, int]:
    """How many are missing, and how many too many, post by post."""
    off = [counted.get(post, 0) - expected[post] for post in sorted(counted.keys() | expected.keys())]
    return -sum(each for each in off if each < 0), sum(each for each in off if each > 0)


COLUMNS: dict[str, Callable[[Figures], Cell]] = {
    "design": lambda each: each.title,
    "per s": lambda each: round(each.per_s),
    "p50 ms": lambda each: f"{each.p50_ms:.2f}",
    "p99 ms": lambda each: f"{each.p99_ms:.2f}",
    "events": lambda each: each.events,
    "again": lambda each: each.again,
    "lost": lambda each: each.lost,
    "double": lambda each: each.double,
    "board": lambda each: each.shown_wrong,
}


def show(result: Result, facts: Machine, *, as_json: bool) -> None:
    """The table, or the document."""
    found = document("naive", result, facts)
    if as_json:
        show_json(found)
        return
    console = out()
    console.print(Text("accrue bench naive", style="bold"))
    rows = [[read(each) for read in COLUMNS.values()] for each in result.designs.values()]
    console.print(table(list(COLUMNS), rows, right=list(COLUMNS)[1:]))
    if result.rate_ratio is not None and result.p99_ratio is not None:
        console.print(
            f"Accrue against the tutorial: {result.rate_ratio:.1f} times its rate, "
            f"a p99 {result.p99_ratio:.1f} times shorter."
        )
