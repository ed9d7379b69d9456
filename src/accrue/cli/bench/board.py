"""`accrue bench board`: what a large board costs to keep and to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from accrue import ids
from accrue.boards.measure import Times, measure
from accrue.boards.memory import MemoryBoards
from accrue.cli.bench.drive import run
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import bounded, machine, show
from accrue.cli.options import AsJson
from accrue.clock import SystemClock
from accrue.collector import calm

MEMBERS_MAX = 10_000_000


class Figures(Struct, frozen=True, kw_only=True):
    """Times of one read in microseconds; `refresh_ms` is the first read after a change, copy and sort included."""

    members: int
    rank: Times
    top_10: Times
    refresh_ms: float
    publish_new_us_per_row: float
    publish_known_us_per_row: float
    bytes_per_member: float


def board(
    members: Annotated[int, typer.Option("--members", help="How many are on the board.")] = 1_000_000,
    place: Annotated[Path | None, typer.Option("--dir", help="Unused: a board keeps nothing on disk.")] = None,
    as_json: AsJson = False,
) -> None:
    """A rank and the top ten of a large board, its refresh, and the memory of a member.

    \b
    Example:
      accrue bench board --members 100000 --json
    """
    bounded("--members", members, 10, MEMBERS_MAX)
    with directory(place) as data_dir, calm():
        clock = SystemClock()
        found = run(measure(lambda: MemoryBoards(instance=ids.identity()), members=members, seconds=clock.monotonic_s))
        facts = machine(data_dir)
    figures = Figures(
        members=found.members,
        rank=found.rank,
        top_10=found.top_10,
        refresh_ms=found.refresh_ms,
        publish_new_us_per_row=found.publish_new_us_per_row,
        publish_known_us_per_row=found.publish_known_us_per_row,
        bytes_per_member=found.bytes_per_member,
    )
    show("board", figures, facts, as_json=as_json)
