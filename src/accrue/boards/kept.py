"""Replaced snapshots that are kept because cursors lead to them, so that ranks do not drift while someone
pages.

Bounded twice: by a number for each board and by a size for all. The one not paged through for the longest
goes first; its cursors answer `Gone`.
"""

from __future__ import annotations

from collections import OrderedDict

from accrue.boards.snapshot import Snapshot

KEPT_SNAPSHOTS_MAX = 256
"""For each board. A busy small board makes a snapshot for nearly every read, so a few would be gone at
once."""
KEPT_SIZE_BYTES_MAX = 128 * 1024 * 1024
"""For all boards together."""


class Kept:
    """Snapshots by board and epoch. Epochs are never used twice in a process; `board` is any number for a
    board."""

    def __init__(self, *, snapshots_max: int = KEPT_SNAPSHOTS_MAX, size_bytes_max: int = KEPT_SIZE_BYTES_MAX) -> None:
        self._snapshots_max = snapshots_max
        self._size_bytes_max = size_bytes_max
        self._size_bytes = 0
        self._boards: dict[int, OrderedDict[int, Snapshot]] = {}
        self._used: OrderedDict[int, int] = OrderedDict()  # epoch -> board, the longest unused first

    def put(self, board: int, snapshot: Snapshot) -> None:
        """Keep one, and let go of what is then too much (itself, if it alone is too large)."""
        self._boards.setdefault(board, OrderedDict())[snapshot.epoch] = snapshot
        self._used[snapshot.epoch] = board
        self._size_bytes += snapshot.size_bytes
        while len(self._boards.get(board, ())) > self._snapshots_max:
            self._release(board, next(iter(self._boards[board])))
        if snapshot.size_bytes > self._size_bytes_max:
            self._release(board, snapshot.epoch)
        while self._size_bytes > self._size_bytes_max:
            epoch, owner = next(iter(self._used.items()))
            self._release(owner, epoch)

    def get(self, board: int, epoch: int) -> Snapshot | None:
        """The snapshot, now the last to go; None when it is not kept."""
        snapshots = self._boards.get(board, OrderedDict())
        snapshot = snapshots.get(epoch)
        if snapshot is not None:
            snapshots.move_to_end(epoch)
            self._used.move_to_end(epoch)
        return snapshot

    def oldest(self, board: int) -> int | None:
        """The smallest epoch kept for a board."""
        return min(self._boards.get(board, ()), default=None)

    def forget(self, board: int) -> None:
        """Let go of all of one board."""
        for epoch in list(self._boards.get(board, ())):
            self._release(board, epoch)

    def _release(self, board: int, epoch: int) -> None:
        snapshots = self._boards[board]
        self._size_bytes -= snapshots.pop(epoch).size_bytes
        del self._used[epoch]
        if not snapshots:
            del self._boards[board]
