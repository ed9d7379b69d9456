"""Which partitions nobody works on, as far as one process can see.

A worker raises the heartbeat counter of its partition's row in the book. Who looks at that row sees the same counter
for as long as the lease, on its own monotonic clock: then whoever it was is gone. No wall clocks are compared, and
being wrong costs nothing but work: the epoch fences whoever was thought dead and was not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from accrue.book.owning import Owned


class Free(NamedTuple):
    """A partition that may be taken: the claim names the row as it was `seen` (epoch, heartbeat), so that of two
    candidates one gets it. `given_up` when it has no owner, else that one is silent. `unwanted` when it was free for
    another whole lease and nobody took it."""

    partition: int
    seen: tuple[int, int]
    given_up: bool
    unwanted: bool


class _Sight(NamedTuple):
    seen: tuple[int, int]
    since_s: float


class Lookout:
    """Remembers what was seen of each partition since when."""

    def __init__(self, *, partitions: int, lease_s: float) -> None:
        self._partitions = partitions
        self._lease_s = lease_s
        self._sights: dict[int, _Sight] = {}

    def look_away(self) -> None:
        """The book could not be asked: then nobody could tell it that they live, so every lease begins anew."""
        self._sights.clear()

    def look(self, rows: Iterable[Owned], *, now_s: float) -> list[Free]:
        """What is free now. To be called a few times in every lease, with the book's rows and a monotonic time."""
        rows_of = {row.partition: row for row in rows}
        free = []
        for partition in range(self._partitions):
            row = rows_of.get(partition)
            seen = (row.epoch, row.heartbeat) if row is not None else (0, 0)
            sight = self._sights.get(partition)
            if sight is None or sight.seen != seen:
                sight = self._sights[partition] = _Sight(seen, now_s)
            given_up = row is None or not row.owner
            quiet_s = now_s - sight.since_s
            if given_up or quiet_s >= self._lease_s:
                wait_s = self._lease_s if given_up else 2 * self._lease_s
                free.append(Free(partition, seen, given_up, quiet_s >= wait_s))
        return free
