"""The server's own figures, from /metrics: only what the demo shows or checks."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from accrue.cli.demo.connection import Connection
from accrue.errors import Unavailable

METRICS_PATH = "/metrics"


class Figures(Struct, frozen=True, kw_only=True):
    """Counts since the server started. `memory_bytes` is None where the system does not tell."""

    applied: int = 0
    repeated: int = 0
    conflicting: int = 0
    failed: int = 0
    unmatched: int = 0
    rows_written: int = 0
    settlements: int = 0
    settled: int = 0
    memory_bytes: int | None = None

    @property
    def new(self) -> int:
        """Events that were no repeats and no conflicts."""
        return self.applied + self.unmatched + self.failed


async def figures(connection: Connection) -> Figures:
    """Ask for them. Raises `Unavailable`."""
    answer = await connection.get(METRICS_PATH)
    if answer.status != 200:
        raise Unavailable(f"The server answered {answer.status} to {METRICS_PATH}.")
    return read_figures(answer.body.decode())


def read_figures(text: str) -> Figures:
    """From Prometheus' text format."""
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    outcomes = {name: _sum(found, "accrue_events_total", f'outcome="{name}"') for name in _OUTCOMES}
    memory = found.get("process_resident_memory_bytes")
    return Figures(
        **outcomes,
        rows_written=_sum(found, "accrue_rows_written_total"),
        settlements=_sum(found, "accrue_settlements_total"),
        settled=_sum(found, "accrue_settled_position"),
        memory_bytes=None if memory is None else _whole(memory),
    )


_OUTCOMES = ("applied", "repeated", "conflicting", "failed", "unmatched")


def _sum(found: Mapping[str, str], figure: str, label: str = "") -> int:
    """Over all tenants and partitions."""
    return sum(_whole(value) for name, value in found.items() if name.startswith(f"{figure}{{") and label in name)


def _whole(value: str | None) -> int:
    return int(float(value)) if value else 0
