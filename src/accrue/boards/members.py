"""The members of one board: who has which slot, and the numbers in it.

    index       subject -> slot                 a dictionary
    names       slot -> subject                 a list
    scores      slot -> scores                  int64, one row for each score of the order
    reached     slot -> sequence number         int64
    live        slot -> has it a member?        bool

**The invariant.** Snapshots name members by slot, so a slot stays one subject's for as long as a snapshot
that may mention it is kept. A member that is removed leaves its slot to `departed`; coming back it gets the
same slot; only `reclaim` gives slots of the departed to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from accrue.core.ranking import Row
from accrue.errors import Rejected

SLOTS_MIN = 16
SUBJECT_SIZE_BYTES = 120
"""About what a subject of a dozen letters takes in the index and among the names."""

Subjects = tuple[str, ...]
Scores = tuple[tuple[int, ...], ...]


class Columns(NamedTuple):
    """A copy of the numbers at one moment; `live[slot]` says which of them count."""

    scores: NDArray[np.int64]
    reached: NDArray[np.int64]
    live: NDArray[np.bool_]


class Departed(NamedTuple):
    """A slot whose member was removed while `epoch` was the newest snapshot begun."""

    slot: int
    epoch: int


class Members:
    """Made for rows of `width` scores."""

    def __init__(self, *, width: int) -> None:
        self.names: list[str] = []
        self._width = width
        self._index: dict[str, int] = {}
        self._departed: dict[str, Departed] = {}
        self._free: list[int] = []
        self._scores = np.zeros((width, SLOTS_MIN), dtype=np.int64)
        self._reached = np.zeros(SLOTS_MIN, dtype=np.int64)
        self._live = np.zeros(SLOTS_MIN, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def departed(self) -> int:
        """How many slots wait for `reclaim`."""
        return len(self._departed)

    @property
    def size_bytes(self) -> int:
        """About what all of it takes."""
        columns = self._scores.nbytes + self._reached.nbytes + self._live.nbytes
        return columns + SUBJECT_SIZE_BYTES * (len(self.names) + self.departed)

    def slot(self, subject: str) -> int | None:
        """The slot of a member, or of one that left and whose slot was not given away yet."""
        slot = self._index.get(subject)
        if slot is None and (gone := self._departed.get(subject)):
            return gone.slot
        return slot

    def put(self, rows: Sequence[Row]) -> None:
        """Set these rows; of two for one subject the later stands.

        Raises `Rejected`, with nothing changed, when a row does not have as many scores as the order.
        """
        if not rows:
            return
        columns = cast("tuple[Subjects, Scores, tuple[int, ...]]", tuple(zip(*rows, strict=True)))
        subjects, scores, reached = columns
        values = self._values(scores)
        slots = list(map(self._index.get, subjects))
        if None in slots:
            self._admit(subjects, slots)
        at = np.array(slots, dtype=np.intp)
        for column, value in zip(self._scores, values, strict=True):
            column[at] = value
        self._reached[at] = reached

    def remove(self, subjects: Iterable[str], *, epoch: int) -> None:
        """Take these out; those that are not members are ignored. `epoch` is the newest snapshot begun."""
        for subject in subjects:
            slot = self._index.pop(subject, None)
            if slot is not None:
                self._live[slot] = False
                self._departed[subject] = Departed(slot, epoch)

    def reclaim(self, *, oldest_epoch: float) -> None:
        """Free the slots that no snapshot from `oldest_epoch` on mentions (infinity: none is kept)."""
        freed = []
        for subject, gone in self._departed.items():  # the longest gone come first
            if gone.epoch >= oldest_epoch:
                break
            freed.append(subject)
        for subject in freed:
            slot = self._departed.pop(subject).slot
            self.names[slot] = ""
            self._free.append(slot)

    def copy(self) -> Columns:
        """The numbers as they are now, safe to be read while members change."""
        used = len(self.names)
        return Columns(self._scores[:, :used].copy(), self._reached[:used].copy(), self._live[:used].copy())

    def _values(self, scores: Scores) -> NDArray[np.int64]:
        """The scores with a row for each score of the order.

        One score, the common case, is unpacked by hand: it takes half as long.
        """
        try:
            if self._width == 1:
                return np.array([[score for (score,) in scores]], dtype=np.int64)
            values = np.array(scores, dtype=np.int64)
        except ValueError:
            values = np.empty((0, 0), dtype=np.int64)
        if values.ndim != 2 or values.shape[1] != self._width:
            raise Rejected(f"Rows of this board have {self._width} scores.", field="scores")
        return values.T

    def _admit(self, subjects: Subjects, slots: list[int | None]) -> None:
        """Give those without a slot one, in `slots` as well."""
        admitted = []
        for row, slot in enumerate(slots):
            if slot is None:
                subject = subjects[row]
                slot = self._index.get(subject)  # the same new subject may stand in an earlier row
                if slot is None:
                    slot = self._index[subject] = self._vacant(subject)
                    admitted.append(slot)
                slots[row] = slot
        self._grow(len(self.names))
        self._live[admitted] = True

    def _vacant(self, subject: str) -> int:
        gone = self._departed.pop(subject, None)
        if gone is not None:
            return gone.slot
        if self._free:
            slot = self._free.pop()
            self.names[slot] = subject
            return slot
        self.names.append(subject)
        return len(self.names) - 1

    def _grow(self, needed: int) -> None:
        """Make room by an eighth more than needed: memory matters more here than copying now and then."""
        held = len(self._live)
        if needed <= held:
            return
        room = needed + needed // 8
        scores, reached, live = self._scores, self._reached, self._live
        self._scores = np.zeros((self._width, room), dtype=np.int64)
        self._reached = np.zeros(room, dtype=np.int64)
        self._live = np.zeros(room, dtype=np.bool_)
        self._scores[:, :held], self._reached[:held], self._live[:held] = scores, reached, live
