"""The repeat index: the head, the shelves, the parts of log time, and the limits. The model is in the package."""

from __future__ import annotations

import struct
from bisect import insort
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from msgspec import Struct

from accrue.book.base import RepeatRun
from accrue.errors import Corrupt, Misconfigured
from accrue.process.repeats.filter import Filter, halves, probe_keys, probe_one
from accrue.process.repeats.run import ENTRY_SIZE_BYTES, Part, Run, decode, evicted, merge, sort
from accrue.process.repeats.shelf import Shelf

FOREVER_US = 2**63 - 1
"""`expires_us` of a run that is never dropped."""

HEAD_ENTRY_SIZE_BYTES = 136
"""One entry of the head: 49 bytes of key in a block of 64, 32 of fingerprint, 36-40 of dictionary."""

_HALVES = struct.Struct("<QQ")
_CHUNK = struct.Struct("<qQ")


class Sizes(Struct, frozen=True, kw_only=True):
    """The named sizes. They decide what an answer costs, never what it is, except `parts`.

    `head_entries_max`: when the head becomes a run. `merged_entries_max`: what one merge may make.
    `shelf_entries_min`: the smallest filter. `few_keys`: so many keys are looked up one by one.
    `parts`: the size limit is given up in pieces of one in so many, if a bucket is not smaller anyway.
    """

    head_entries_max: int = 4_096
    merged_entries_max: int = 65_536
    shelf_entries_min: int = 131_072
    few_keys: int = 24
    parts: int = 16


class RepeatIndex:
    """Remembers a fingerprint for each key, at least `window_us` of log time long; None means for ever.

    Entries are forgotten by whole buckets of `bucket_us`. `size_bytes_max` allows one entry for every 20 bytes;
    past that the oldest part goes early. `name` is the `index` of its runs in the book.
    Raises `Misconfigured` for sizes that are not positive.
    """

    def __init__(
        self,
        name: str,
        *,
        window_us: int | None,
        bucket_us: int,
        size_bytes_max: int,
        sizes: Sizes = Sizes(),  # noqa: B008 - frozen
        new_filter: Callable[[int], Filter] = Filter,
    ) -> None:
        if bucket_us <= 0 or (window_us is not None and window_us <= 0) or size_bytes_max < ENTRY_SIZE_BYTES:
            raise Misconfigured(
                f"The repeat index {name!r} needs a window and a bucket longer than nothing "
                f"and a size limit of at least {ENTRY_SIZE_BYTES} bytes."
            )
        self.name = name
        self._window_us = window_us
        self._bucket_us = bucket_us
        self._sizes = sizes
        self._new_filter = new_filter
        self._entries_max = size_bytes_max // ENTRY_SIZE_BYTES
        self._part_entries_max = max(1, self._entries_max // sizes.parts)
        self._log_time_us = 0
        self._next_run = 0
        self._entries = 0
        self._head: dict[bytes, int] = {}  # all of the newest part
        self._parts: list[_Filling] = []  # oldest first
        self._shelves: list[Shelf] = []
        self._evicted: _Filling | None = None  # the newest part that went early
        self._evicted_entries = 0
        self._evicted_unwritten = False

    def look_up(self, keys: Sequence[bytes]) -> list[int | None]:
        """The fingerprint remembered for each key, None for one never seen. Adds nothing.

        A key that is twice in the batch gets the same answer twice: the caller sees to repeats inside a batch.
        """
        answers: list[int | None] = list(map(self._head.get, keys))
        if not self._shelves:
            return answers
        if len(keys) <= self._sizes.few_keys:
            for index, key in enumerate(keys):
                if answers[index] is None:
                    answers[index] = self._look_up_frozen(key)
            return answers
        batch = probe_keys(keys)
        for shelf in reversed(self._shelves):
            shelf.look_up(batch, answers)
        return answers

    def seen(self, key: bytes) -> bool:
        """Whether the key is remembered. For more than a few keys `look_up` is many times cheaper."""
        return key in self._head or self._look_up_frozen(key) is not None

    def add(self, key: bytes, fingerprint: int) -> None:
        """Remember one key, which must not be remembered yet."""
        self.add_many((key,), (fingerprint,))

    def add_many(self, keys: Sequence[bytes], fingerprints: Sequence[int]) -> None:
        """Remember keys, none of which may be remembered yet or be there twice, in this order.

        Raises `ValueError` when it notices that this does not hold; the index is not to be used any more then.
        """
        if len(keys) != len(fingerprints):
            raise ValueError("Every key needs a fingerprint.")
        done = 0
        while done < len(keys):
            part = self._open_part()
            room = min(self._sizes.head_entries_max - len(self._head), self._part_entries_max - part.entries)
            before, upto = len(self._head), min(done + room, len(keys))
            self._head.update(zip(keys[done:upto], fingerprints[done:upto], strict=True))
            if len(self._head) - before != upto - done:
                raise ValueError("A key was added to the repeat index twice.")
            part.entries += upto - done
            part.last_us = self._log_time_us
            self._entries += upto - done
            done = upto
            if len(self._head) >= self._sizes.head_entries_max or part.entries >= self._part_entries_max:
                self._seal()

    def advance(self, log_time_us: int) -> None:
        """Log time moves on, never back. The one place where anything is forgotten.

        To be called once for each record, before its look-ups, also at start-up with the time of the checkpoint.
        """
        self._log_time_us = max(self._log_time_us, log_time_us)
        while self._parts and self._expires_us(self._parts[0].part) <= self._log_time_us:
            self._drop_oldest()
        if self._evict():
            self._evicted_unwritten = True

    def is_still(self, log_time_us: int, *, entries: int) -> bool:
        """Whether `advance` to that time would forget nothing and begin no bucket, also after so many entries more."""
        log_time_us, bucket_us = max(log_time_us, self._log_time_us), self._bucket_us
        return (
            log_time_us // bucket_us == self._log_time_us // bucket_us
            and self._entries + entries <= self._entries_max
            and not (self._parts and self._expires_us(self._parts[0].part) <= log_time_us)
        )

    def freeze(self) -> list[RepeatRun]:
        """Everything added since the last freeze, as rows for the book.

        They are handed out once: a caller whose settlement fails keeps them for the next one.
        """
        self._seal()
        runs = [run for shelf in self._shelves for run in shelf.take_pending()]
        if self._evicted_unwritten and self._evicted is not None:
            # Entries that went before they were ever written are missing in the book, so that its runs alone
            # may fit into the limit again, and a part that is gone here would come back at the next start.
            runs.append(evicted(self._evicted.part, self._evicted.last_us))
            self._evicted_unwritten = False
        return [self._row(run) for run in runs]

    def load(self, run: RepeatRun) -> int:
        """Take back a row the book has, in any order, before the first `add`. Returns the `expires_us` that it should
        have, which is not asked for here. Raises `Corrupt`."""
        stored = decode(run.data)
        if (run.index, run.bucket, run.entries) != (self.name, stored.part.start_us, stored.entries):
            raise Corrupt(
                f"Run {run.run} of the repeat index {run.index!r} is not what its row says, "
                f"or was read for the index {self.name!r}."
            )
        self._next_run = max(self._next_run, run.run + 1)
        self._log_time_us = max(self._log_time_us, stored.last_us)
        filling = _Filling(stored.part, stored.entries, stored.last_us)
        if not stored.entries:
            self._note_evicted(filling)
            while self._parts and self._parts[0].part <= stored.part:
                self._note_evicted(self._drop_oldest())
        elif self._evicted is not None and stored.part <= self._evicted.part:
            self._note_evicted(filling)
        else:
            self._count(filling)
            self._shelf_for(stored.entries).put(stored, written=True)
            self._evict()
        return self._expires_us(stored.part)

    @property
    def effective_window_us(self) -> int | None:
        """An id added less than this long ago is remembered: the window, unless the size limit cut it short."""
        if self._evicted is None:
            return self._window_us
        left_us = self._log_time_us - self._evicted.last_us
        return left_us if self._window_us is None else min(self._window_us, left_us)

    @property
    def entries(self) -> int:
        """How many keys are remembered."""
        return self._entries

    @property
    def evicted_early(self) -> int:
        """How many entries this object let go because of the size limit, those found at start-up included."""
        return self._evicted_entries

    @property
    def size_bytes(self) -> int:
        """What the index takes in memory: runs, filters and head."""
        return sum(shelf.size_bytes for shelf in self._shelves) + len(self._head) * HEAD_ENTRY_SIZE_BYTES

    def digest_entries(self) -> Iterator[bytes | memoryview]:
        """Everything remembered in one canonical form: a chunk for each bucket, oldest first, to be hashed.

        What the next `advance` would evict is left out, so that an index just loaded and one that went on
        are equal. Takes as much memory as one bucket.
        """
        over, first = self._entries, 0
        while over > self._entries_max:
            over -= self._parts[first].entries
            first += 1
        live = {filling.part for filling in self._parts[first:]}
        runs = [run for shelf in self._shelves for run in shelf.runs if run.part in live]
        if self._head:
            runs.append(self._head_run())
        by_bucket: dict[int, list[Run]] = {}
        for run in runs:
            by_bucket.setdefault(run.part.start_us, []).append(run)
        for start_us in sorted(by_bucket):
            whole = merge(by_bucket[start_us])
            yield _CHUNK.pack(start_us, whole.entries)
            yield whole.columns

    def _look_up_frozen(self, key: bytes) -> int | None:
        high, low = _HALVES.unpack(key)
        place, first_bits = probe_one(high, low)
        for shelf in reversed(self._shelves):
            if shelf.maybe_one(place, first_bits, low):
                fingerprint = shelf.find_one(high, low)
                if fingerprint is not None:
                    return fingerprint
        return None

    def _open_part(self) -> _Filling:
        """The part that entries of now belong to: the newest one, while its bucket lasts and it has room."""
        start_us = self._log_time_us - self._log_time_us % self._bucket_us
        end_us = start_us + self._bucket_us
        newest = self._parts[-1] if self._parts else self._evicted
        if newest is None or newest.part.start_us < start_us:
            part = Part(start_us, 0, end_us)
        else:
            # Not `start_us`: that may lie before the newest part when the buckets were shorter before a restart.
            part = Part(newest.part.start_us, newest.part.number, end_us)
            if self._parts and part == newest.part and newest.entries < self._part_entries_max:
                return newest
            part = part._replace(number=part.number + 1)
        self._seal()
        self._parts.append(_Filling(part, 0, self._log_time_us))
        return self._parts[-1]

    def _seal(self) -> None:
        """The head becomes a run."""
        if not self._head:
            return
        run = self._head_run()
        self._head = {}
        self._shelf_for(run.entries).put(run, written=False)

    def _head_run(self) -> Run:
        high, low = halves(list(self._head))
        fingerprints = np.fromiter(self._head.values(), np.uint32, len(self._head))
        newest = self._parts[-1]
        return sort(newest.part, newest.last_us, high, low, fingerprints)

    def _shelf_for(self, entries: int) -> Shelf:
        if not self._shelves or self._shelves[-1].room < entries:
            capacity = max(self._sizes.shelf_entries_min, self._entries // 2, entries)
            self._shelves.append(
                Shelf(
                    self._new_filter(capacity),
                    capacity=capacity,
                    merged_entries_max=self._sizes.merged_entries_max,
                )
            )
        return self._shelves[-1]

    def _row(self, run: Run) -> RepeatRun:
        number, self._next_run = self._next_run, self._next_run + 1
        return RepeatRun(
            index=self.name,
            bucket=run.part.start_us,
            run=number,
            entries=run.entries,
            expires_us=self._expires_us(run.part),
            data=run.data,
        )

    def _count(self, loaded: _Filling) -> None:
        self._entries += loaded.entries
        for filling in reversed(self._parts):
            if filling.part == loaded.part:
                filling.entries += loaded.entries
                filling.last_us = max(filling.last_us, loaded.last_us)
                return
        insort(self._parts, loaded, key=lambda filling: filling.part)

    def _expires_us(self, part: Part) -> int:
        return FOREVER_US if self._window_us is None else part.end_us + self._window_us

    def _evict(self) -> bool:
        """Drop the oldest parts until the rest is within the limit. Returns whether any went."""
        if self._entries <= self._entries_max:
            return False
        while self._entries > self._entries_max:
            self._note_evicted(self._drop_oldest())
        return True

    def _note_evicted(self, filling: _Filling) -> None:
        self._evicted_entries += filling.entries
        if self._evicted is None or filling.part > self._evicted.part:
            self._evicted = filling
        elif filling.part == self._evicted.part:
            self._evicted.last_us = max(self._evicted.last_us, filling.last_us)

    def _drop_oldest(self) -> _Filling:
        dropped = self._parts.pop(0)
        self._entries -= dropped.entries
        if not self._parts:
            self._head = {}  # all of it was of that part
        self._shelves = [shelf for shelf in self._shelves if not shelf.drop(dropped.part)]
        return dropped


class _Filling:
    """A part and how full it is."""

    __slots__ = ("entries", "last_us", "part")

    def __init__(self, part: Part, entries: int, last_us: int) -> None:
        self.part = part
        self.entries = entries
        self.last_us = last_us
