"""Which workers are there, as far as one process can see: those whose heartbeat moved within a lease.

Like the owners of partitions (lookout.py) they are watched on one's own clock. One that is seen for the first time is
there until it was silent for a lease: then whoever it was has gone, and whatever it owned is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from accrue.book.owning import Attending

FORGET_LEASES = 20
"""A worker that was silent for so long is taken off the list; if it lives after all it puts itself on it again."""


class _Sight(NamedTuple):
    heartbeat: int
    since_s: float


class Attendance:
    """Remembers what was seen of each worker since when."""

    def __init__(self, *, lease_s: float) -> None:
        self._lease_s = lease_s
        self._sights: dict[str, _Sight] = {}
        self._silent: set[str] = set()
        self.gone: list[str] = []
        """Who was silent for long at the last look."""

    def look_away(self) -> None:
        """The book could not be asked, nor told: the lease of everyone who was there begins anew."""
        self._sights = {name: self._sights[name] for name in self._silent}

    def look(self, rows: Iterable[Attending], *, now_s: float) -> list[Attending]:
        """Who is there. To be called a few times in every lease, with the book's rows and a monotonic time."""
        here, seen = [], {}
        self.gone = []
        for row in rows:
            sight = self._sights.get(row.name)
            if sight is None or sight.heartbeat != row.heartbeat:
                sight = _Sight(row.heartbeat, now_s)
            seen[row.name] = sight
            silent_s = now_s - sight.since_s
            if silent_s < self._lease_s:
                here.append(row)
            elif silent_s >= FORGET_LEASES * self._lease_s:
                self.gone.append(row.name)
        self._sights = seen
        self._silent = seen.keys() - {row.name for row in here}
        return here
