"""`accrue bench pipeline`: the classic architecture, end to end, with every server on this machine.

    this process --batches--> accrue gateway --> log --> accrue worker --> boards, book

1. throughput: batches as fast as they are accepted, from the first byte to the last event visible on the boards;
2. latency: a steady rate, from sending an event to seeing it on the boards; every total of both is compared with a
   plain count then;
3. acks: single events at a steady rate, from when each was due to its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.resources import as_file
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct

from accrue.backends import open_boards
from accrue.boards.base import ReadBoards
from accrue.cli.bench import naive, workload
from accrue.cli.bench.ack_client import Load, Requests, Window
from accrue.cli.bench.drive import program_file, run, run_on_time
from accrue.cli.bench.place import directory
from accrue.cli.bench.processes import ready, started
from accrue.cli.bench.report import Miscounted, bounded, machine, show
from accrue.cli.demo.connection import Connection
from accrue.cli.options import AsJson
from accrue.cli.remote import Remote
from accrue.clock import Clock, SystemClock
from accrue.collector import calm
from accrue.config import DEFAULT_TENANT, BoardsConfig, Config

EVENTS_MAX = 10_000_000
NDJSON = "application/x-ndjson"
CONNECTIONS = 8
SINGLE_CONNECTIONS = 32
LOOK_S = 0.005
"""How often the boards are asked how far they are: it adds up to this to each latency."""
VISIBLE_S_MAX = 300.0


class Figures(Struct, frozen=True, kw_only=True):
    """`events_per_s` is from the first byte sent to everything visible, `accepted_per_s` to the last answer.

    `visible_*` is from sending an event at `offered_per_s` to its effect on the boards; `ack_*` to the answer, and
    `single_ack_*` to that of an event sent alone, `singles_per_s` of them.
    """

    events: int
    batch: int
    events_per_s: float
    accepted_per_s: float
    seconds: float
    offered_per_s: float
    at_once: int
    ack_p50_ms: float
    ack_p99_ms: float
    visible_p50_ms: float
    visible_p99_ms: float
    checked_total: int
    singles_per_s: float
    single_ack_p50_ms: float
    single_ack_p99_ms: float


class _Accepted(Struct):
    position: int
    results: list[object]


def pipeline(
    log: Annotated[str, typer.Option("--log", metavar="URL", help="The log; an empty one.")],
    book: Annotated[str, typer.Option("--book", metavar="URL", help="The book; an empty database.")],
    boards: Annotated[str, typer.Option("--boards", metavar="URL", help="The boards.")],
    events: Annotated[int, typer.Option("--events", help="How many events, as fast as they are accepted.")] = 500_000,
    subjects: Annotated[int, typer.Option("--subjects", help="Users and posts together.")] = 100_000,
    batch: Annotated[int, typer.Option("--batch", help="Events a request.")] = 1_000,
    at_once: Annotated[int, typer.Option("--at-once", help="Events a request while latency is measured.")] = 50,
    rate: Annotated[int, typer.Option("--rate", help="Events a second while latency is measured.")] = 5_000,
    singles: Annotated[int, typer.Option("--singles", help="Single events a second while acks are measured.")] = 1_000,
    seconds: Annotated[float, typer.Option("--seconds", help="How long each latency is measured; 0: not.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """A gateway and a worker on servers that are there already, from bytes over HTTP to the boards.

    The servers should be empty ones of their own: what is written stays there.

    \b
    Example:
      accrue bench pipeline --log rabbitmq-stream://guest:guest@127.0.0.1:5552/ \\
          --book postgresql://accrue:secret@127.0.0.1/bench --boards redis://127.0.0.1:6379/0
    """
    bounded("--events", events, 1_000, EVENTS_MAX)
    bounded("--batch", batch, 1, 1_000)
    bounded("--at-once", at_once, 1, 1_000)
    bounded("--rate", rate, at_once, 1_000_000)
    bounded("--singles", singles, 1, 100_000)
    bounded("--seconds", seconds, 0, 600)
    with directory(None) as place:
        engines = ["--log", log, "--book", book, "--boards", boards]
        work = measure(place, engines, boards, events, subjects, batch, rate, at_once, singles, seconds, SystemClock())
        figures = run(work)
        facts = machine(place)
    show("pipeline", figures, facts, as_json=as_json)


async def measure(
    place: Path,
    engines: Sequence[str],
    boards_url: str,
    events: int,
    subjects: int,
    batch: int,
    rate: int,
    at_once: int,
    singles: int,
    seconds: float,
    clock: Clock,
) -> Figures:
    """One run. Raises `Miscounted` when a total is not what a plain count says."""
    late = int(rate * seconds) // at_once * at_once
    stream = workload.community(events=events + late, subjects=subjects, end_us=clock.now_us())
    bodies = list(workload.bodies(stream, batch=batch))
    expected = naive.community_totals(stream)
    async with AsyncExitStack() as stack:
        boards = await open_boards(Config(boards=BoardsConfig(url=boards_url)))
        stack.push_async_callback(boards.close)
        with as_file(program_file("community")) as program:
            worker = ["worker", "--program", str(program), *engines]
            stack.enter_context(started(worker, said=place / "worker.txt"))
            gateway = ["gateway", "--port", "0", "--data-dir", str(place / "gateway"), *engines]
            url = stack.enter_context(started(gateway, said=place / "gateway.txt"))
            port = int(url.rsplit(":", 1)[1])
            stack.enter_context(calm())  # the client's own collections would count as the server's time
            await ready(port, "/v1/boards/writers")
            # 1. throughput
            lines = [line for body in bodies for line in body.split(b"\n")]
            fast = [b"\n".join(lines[at : at + batch]) for at in range(0, events, batch)]
            began_s = clock.monotonic_s()
            position = await _pour(port, fast)
            accepted_s = clock.monotonic_s() - began_s
            await _visible(boards, position)
            visible_s = clock.monotonic_s() - began_s
            # 2. latency
            slow = [b"\n".join(lines[at : at + at_once]) for at in range(events, events + late, at_once)]
            acks, seen = await _steadily(port, boards, slow, rate / at_once, clock)
            total = await _check(url, expected)
            # 3. acks
            single = _single(port, events + late, subjects, singles, seconds, clock)
            alone = await asyncio.to_thread(run_on_time, single)
    return Figures(
        events=events,
        batch=batch,
        events_per_s=events / visible_s,
        accepted_per_s=events / accepted_s,
        seconds=visible_s,
        offered_per_s=rate,
        at_once=at_once,
        ack_p50_ms=_share(acks, 0.5),
        ack_p99_ms=_share(acks, 0.99),
        visible_p50_ms=_share(seen, 0.5),
        visible_p99_ms=_share(seen, 0.99),
        checked_total=total,
        singles_per_s=singles,
        single_ack_p50_ms=alone.p50_ms,
        single_ack_p99_ms=alone.p99_ms,
    )


async def _pour(port: int, bodies: Sequence[bytes]) -> int:
    """Send all, over a few connections, and return the last position."""
    waiting, last = iter(bodies), 0

    async def send() -> None:
        nonlocal last
        connection = Connection(port)
        for body in waiting:
            last = max(last, await _post(connection, body))
        await connection.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return last


async def _post(connection: Connection, body: bytes) -> int:
    answer = await connection.post("/v1/events", body, NDJSON)
    if answer.status != 202:
        raise Miscounted(f"The gateway answered {answer.status}: {answer.body[:200]!r}")
    return msgspec.json.decode(answer.body, type=_Accepted).position


async def _visible(boards: ReadBoards, position: int) -> None:
    async with asyncio.timeout(VISIBLE_S_MAX):
        while True:
            (mark,) = await boards.marks([DEFAULT_TENANT])
            if mark is not None and mark.position >= position:
                return
            await asyncio.sleep(LOOK_S)


async def _steadily(
    port: int, boards: ReadBoards, bodies: Sequence[bytes], bodies_per_s: float, clock: Clock
) -> tuple[list[float], list[float]]:
    """Send at a steady rate; milliseconds to the answer and to the boards, from when each batch was due."""
    acks: list[float] = []
    seen: list[float] = []
    waiting: list[tuple[int, float]] = []
    idle = [Connection(port) for _ in range(CONNECTIONS)]
    done = False

    async def send(body: bytes, due_s: float) -> None:
        connection = idle.pop() if idle else Connection(port)
        position = await _post(connection, body)
        idle.append(connection)
        acks.append(1e3 * (clock.monotonic_s() - due_s))
        waiting.append((position, due_s))

    async def look() -> None:
        while not done or waiting:
            (mark,) = await boards.marks([DEFAULT_TENANT])
            now_s = clock.monotonic_s()
            if mark is not None:
                seen.extend(1e3 * (now_s - due_s) for position, due_s in waiting if position <= mark.position)
                waiting[:] = [item for item in waiting if item[0] > mark.position]
            await asyncio.sleep(LOOK_S)

    async with asyncio.timeout(VISIBLE_S_MAX), asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(look())
        began_s, sends = clock.monotonic_s(), []
        for number, body in enumerate(bodies):
            due_s = began_s + number / bodies_per_s
            await asyncio.sleep(max(0.0, due_s - clock.monotonic_s()))
            sends.append(tasks.create_task(send(body, due_s)))
        if sends:
            await asyncio.wait(sends)
        done = True
        await looking
    for connection in idle:
        await connection.close()
    return acks, seen


async def _single(port: int, first: int, subjects: int, per_s: float, seconds: float, clock: Clock) -> Window:
    """Single events at a steady rate, numbered from `first` on. Raises `Miscounted` when one was not taken."""
    requests = Requests(subjects=subjects, end_us=clock.now_us())
    requests.made = first
    load = Load(port, requests, clock, connections=SINGLE_CONNECTIONS)
    window = await load.run(seconds=seconds, warm_up_s=min(1.0, seconds), offered_per_s=per_s)
    if window.errors or window.acked != window.sent:
        raise Miscounted(f"Of {window.sent} single events {window.acked} were acked, with {window.errors} errors.")
    return window


async def _check(url: str, expected: naive.Expected) -> int:
    """Compare every total of every subject. Raises `Miscounted`."""
    remote, total = Remote(url, DEFAULT_TENANT), 0
    for metric, counted in expected.totals.items():
        said = {row.subject: row.value for row in await remote.tallies(metric, period="all", at=None)}
        if said != counted:
            raise Miscounted(f"{metric}: the pipeline and a plain count of the same events differ.")
        total += sum(counted.values())
    return total


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values) or [0.0]
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
