"""A shelf: one filter and the sorted runs behind it.

Shelves exist so that a look-up asks few filters: each holds about half of all entries there were when it
was put up, so there are a handful, however many runs and buckets. Runs leave when their part is dropped;
their bits stay in the filter, harmless, until the shelf is empty and goes.

Merging: neighbouring runs of one part are merged when they are of a size, so each entry is moved a few times at
most; when a later part begins, what is left is merged once more. A merge makes at most `merged_entries_max`
entries in one go, so that it never holds the event loop for long (65,536 take 1-2 ms, which is mostly fresh
memory); the price is that a part with more entries has more runs. Runs that are in the book and runs that are
not are never merged with each other: the book gets each entry once.
"""

from __future__ import annotations

import numpy as np

from accrue.process.repeats.filter import Filter, Probe, probe
from accrue.process.repeats.run import RUN_OVERHEAD_BYTES, Part, Run, merge

FEW_KEYS = 6
"""So many keys are searched for one by one: each costs about a sixth of setting up a search for a batch."""

RUNS_MERGED_MIN = 8
"""With pairs each entry would be moved four times on its way into a run of 65,536; with eights it is less than two."""


class Shelf:
    """Runs whose entries are disjoint. `capacity` is what the filter was made for."""

    def __init__(self, filter: Filter, *, capacity: int, merged_entries_max: int) -> None:
        self._filter = filter
        self.maybe_one = filter.maybe_one
        self._merged_entries_max = merged_entries_max
        self._written: list[Run] = []
        self._pending: list[Run] = []
        self.room = capacity
        """How many more entries the filter has room for. Never grows: dropped entries leave their bits."""

    @property
    def runs(self) -> list[Run]:
        return self._written + self._pending

    @property
    def size_bytes(self) -> int:
        return self._filter.size_bytes + sum(len(run.data) + RUN_OVERHEAD_BYTES for run in self.runs)

    def put(self, run: Run, *, written: bool) -> None:
        """Add a run. `written` says whether the book has it."""
        self._filter.add(probe(run.high, run.low))
        self.room -= run.entries
        runs = self._written if written else self._pending
        if runs and runs[-1].part != run.part:
            self._tidy(runs, closed=True)
        runs.append(run)
        self._tidy(runs)

    def take_pending(self) -> list[Run]:
        """The runs the book does not have; from now on they count as written."""
        taken = self._pending
        self._pending = []
        self._written.extend(taken)
        self._tidy(self._written)
        return taken

    def drop(self, up_to: Part) -> bool:
        """Let go of all runs of this part and older ones. Returns whether the shelf is empty now."""
        self._written = [run for run in self._written if run.part > up_to]
        self._pending = [run for run in self._pending if run.part > up_to]
        return not self._written and not self._pending

    def look_up(self, keys: Probe, answers: list[int | None]) -> None:
        """Fill in the fingerprints of the keys that are here, at their index in the batch."""
        maybe = self._filter.maybe(keys)
        if not maybe.size:
            return
        high, low = keys.high[maybe], keys.low[maybe]
        if maybe.size <= FEW_KEYS:
            for index, key_high, key_low in zip(maybe.tolist(), high.tolist(), low.tolist(), strict=True):
                fingerprint = self.find_one(key_high, key_low)
                if fingerprint is not None:
                    answers[index] = fingerprint
            return
        for run in reversed(self.runs):  # the newest first: what is sent again is mostly sent again soon
            which, fingerprints = run.find(high, low)
            if not which.size:
                continue
            for index, fingerprint in zip(maybe[which].tolist(), fingerprints.tolist(), strict=True):
                answers[index] = fingerprint
            rest = np.ones(maybe.size, dtype=np.bool_)
            rest[which] = False
            maybe, high, low = maybe[rest], high[rest], low[rest]
            if not maybe.size:
                return

    def find_one(self, high: int, low: int) -> int | None:
        """The fingerprint of one key, None when it is not here. To be asked only after `maybe_one`."""
        for run in reversed(self.runs):
            fingerprint = run.find_one(high, low)
            if fingerprint is not None:
                return fingerprint
        return None

    def _tidy(self, runs: list[Run], *, closed: bool = False) -> None:
        """Merge the last runs of one part, in one go, as far back as they are no larger than what follows.

        Fewer than `RUNS_MERGED_MIN` are left alone until more come. `closed`: none will, so all are merged,
        larger ones too, as far as one merge may go.
        """
        first = len(runs) - 1
        entries = runs[first].entries if runs else 0
        while first > 0 and runs[first - 1].part == runs[first].part:
            before = runs[first - 1].entries
            if entries + before > self._merged_entries_max or not (closed or before <= entries):
                break
            first -= 1
            entries += before
        if len(runs) - first >= (2 if closed else RUNS_MERGED_MIN):
            runs[first:] = [merge(runs[first:])]
