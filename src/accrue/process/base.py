"""What the other stages may know of processing: the live state of tenants, and how far it has come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from accrue.book.base import AwardRow, ResultRow
from accrue.core.program import Program
from accrue.core.rule import Board
from accrue.core.table import TableKey
from accrue.log.base import Position
from accrue.process.outcome import Counts


class Status(Struct, frozen=True, kw_only=True):
    """How a partition is doing. Times in microseconds of log time."""

    position: Position
    published: Position
    settled: Position
    events: dict[str, Counts]
    rows_written: int
    settlements: int
    dirty_rows: int
    entries_in_memory: int
    repeats_remembered: int
    repeats_size_bytes: int
    repeat_window_us: int | None
    failing: str | None


class Live(Protocol):
    """The state of every tenant as of now: memory over book."""

    def tenants(self) -> list[str]:
        """The tenants that have a program, by name."""
        ...

    def program(self, tenant: str) -> Program:
        """The program in force. Raises `NotFound` naming the nearest tenant."""
        ...

    def tzdata(self, tenant: str) -> str:
        """The version of the time-zone data that the program in force was taken with."""
        ...

    async def cells(self, tenant: str, subject: str, periods: list[str]) -> dict[TableKey, object]:
        """Everything known of one subject: its tallies in these periods, awards, streaks and attributes."""
        ...

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        """The awards somebody holds, oldest first, those not settled yet included."""
        ...

    def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[tuple[str, int]]]:
        """Every (subject, value) of a metric in a period, in batches, each subject once."""
        ...

    def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        """Every award that is held, in batches."""
        ...

    async def results(self, tenant: str, board: str, period: str) -> list[ResultRow]:
        """The final standings of a closed period; empty while it is open."""
        ...

    async def ensure_board(self, tenant: str, board: Board, period: str) -> None:
        """See to it that the boards hold all of this board."""
        ...

    async def applied(self, position: Position, *, timeout_s: float) -> None:
        """Return once reads show everything up to `position`. Raises `Unavailable` after `timeout_s`."""
        ...

    def outcomes(self, position: Position) -> bytes | None:
        """What became of the events of a recent record (see outcome.py); None when it is no longer remembered."""
        ...

    def status(self) -> Status:
        """How far the fold and the last settlement have come."""
        ...
