"""What waits for one tenant's boards, and what their publisher knows of them.

A board is *live* when the boards hold all of it, as it was under the program it was published under, and rows that
change are sent. It waits to be made *whole* when the boards hold none of it, or something older than is known. Rows
that could not be sent are kept and sent again: they are absolute, and the later of two for one subject stands.
"""

from __future__ import annotations

from accrue.boards.base import Begun, BoardKey, Turn
from accrue.core.ranking import Row

WAITING_ROWS_MAX = 100_000
"""While the boards cannot be reached so many rows wait for each tenant; past it its boards are made whole instead."""

Rows = dict[BoardKey, list[Row]]


class Outgoing:
    """One tenant. `turn` is None when it has to be begun, for the first time or because an outcome is not known.

    `shown` is the position up to which the boards were complete when that was last known, `held` that of their mark.
    `program_sequence` is that of the program whose boards these are: others were dropped.
    """

    def __init__(self, tenant: str, *, shown: int) -> None:
        self.tenant = tenant
        self.turn: Turn | None = None
        self.shown = shown
        self.held = 0
        self.live: dict[BoardKey, int] = {}  # the sequence number of the program it was published under
        self.whole: dict[BoardKey, None] = {}
        self.new: dict[BoardKey, None] = {}  # its rows are all there is of it
        self.rows: Rows = {}
        self.program_sequence = -1

    def put(self, key: BoardKey, rows: list[Row]) -> None:
        """Let these be sent."""
        waiting = self.rows.setdefault(key, rows)
        if waiting is not rows:
            waiting += rows

    def bound(self) -> None:
        """Let no more rows wait than the limit says."""
        if sum(map(len, self.rows.values())) <= WAITING_ROWS_MAX:
            return
        for key, rows in self.rows.items():
            self.rows[key] = list({row.subject: row for row in rows}.values())
        if sum(map(len, self.rows.values())) > WAITING_ROWS_MAX:
            for key in list(self.rows):
                self.to_be_whole(key)

    def to_be_whole(self, key: BoardKey) -> None:
        """What the boards hold of it, and what waits, does not count any more."""
        self.live.pop(key, None)
        self.new.pop(key, None)
        self.rows.pop(key, None)
        self.whole[key] = None

    def begun(self, begun: Begun) -> None:
        """The boards said what they hold. What is older than it was, or not there any more, is made whole."""
        self.turn = begun.turn
        trusted = begun.found is not None and begun.found.position >= self.shown
        self.held = begun.found.position if begun.found is not None else 0
        there = {key: program for key, program in begun.boards.items() if key not in self.whole}
        for key in [*self.live, *there]:
            if key not in self.new and (not trusted or key not in there):
                self.to_be_whole(key)
        if trusted:
            self.live.update(there)
            self.shown = self.held

    def distrust(self) -> None:
        """The boards hold more than the log does, so what they hold is of no log."""
        for key in [*self.live]:
            if key not in self.new:
                self.to_be_whole(key)

    def published(self, turn: Turn, position: int, rows: Rows) -> None:
        """The boards hold these rows now, and the mark is there."""
        self.turn, self.shown, self.held = turn, position, position
        for key in rows:
            self.new.pop(key, None)

    def taken(self) -> Rows:
        """The rows that wait, to be sent."""
        rows, self.rows = self.rows, {}
        return rows

    def put_back(self, rows: Rows) -> None:
        """They may not have been sent. What came meanwhile is newer."""
        newer, self.rows = self.rows, {key: some for key, some in rows.items() if key in self.live}
        for key, some in newer.items():
            self.put(key, some)
        self.bound()
