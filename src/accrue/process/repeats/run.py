"""One run: entries of one part of log time, sorted, immutable, and its own stored form.

    header (48 bytes)          upper halves        lower halves        fingerprints
    see _HEADER                8 bytes an entry    8 bytes an entry    4 bytes an entry

Everything is little-endian. Entries are sorted by the upper half of the key, then the lower. The arrays of a run
are views of its bytes, so storing and loading copy nothing. A run without entries marks an eviction (`evicted`).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64

from accrue.errors import Corrupt
from accrue.process.repeats.filter import Indexes, Words

Fingerprints = NDArray[np.uint32]

FORMAT = 1
ENTRY_SIZE_BYTES = 20
RUN_OVERHEAD_BYTES = 1_024
"""What a run takes in memory besides its bytes, rounded up: objects for three arrays and a view."""

_MAGIC = b"ARUN"
_HEADER = struct.Struct("<4sIIIqqq")  # magic, format, entries, part number; start, end, last add in log time
_CHECKSUM = struct.Struct("<Q")  # xxh3_64 of the header above and everything after the checksum
_ENTRIES_AT = _HEADER.size + _CHECKSUM.size


class Part(NamedTuple):
    """A bucket of log time, start to end (exclusive), or the piece `number` of it. Older parts compare less."""

    start_us: int
    number: int
    end_us: int


class Run:
    """Sorted entries of one part. `last_us` is the log time at which the last of them was added."""

    __slots__ = ("_sorted", "data", "entries", "fingerprints", "high", "last_us", "low", "part")

    def __init__(self, part: Part, last_us: int, entries: int, data: bytes) -> None:
        """Over bytes that are known to be sound; `sort`, `merge` and `decode` make runs."""
        self.part = part
        self.last_us = last_us
        self.entries = entries
        self.data = data
        words = np.frombuffer(data, "<u8", 2 * entries, _ENTRIES_AT).astype(np.uint64, copy=False)
        self.high: Words = words[:entries]
        self.low: Words = words[entries:]
        self.fingerprints: Fingerprints = np.frombuffer(data, "<u4", entries, _ENTRIES_AT + 16 * entries).astype(
            np.uint32, copy=False
        )
        self._sorted = self.high.data  # the bisection below reads plain ints from it, without numpy's overhead

    @property
    def columns(self) -> memoryview:
        """The entries as they are stored: upper halves, lower halves, fingerprints."""
        return memoryview(self.data)[_ENTRIES_AT:]

    def find(self, high: Words, low: Words) -> tuple[Indexes, Fingerprints]:
        """Which of these keys are here, as indexes into the arguments, and the fingerprint of each."""
        at = self.high.searchsorted(high)
        which = np.flatnonzero(self.high.take(at, mode="clip") == high)
        at = at[which]
        found, places = [which[:0]], [at[:0]]
        # The upper half stands at `at`; keys that share it are neighbours. One step nearly always decides.
        while which.size:
            equal = self.low[at] == low[which]
            found.append(which[equal])
            places.append(at[equal])
            which, at = which[~equal], at[~equal] + 1
            more = self.high.take(at, mode="clip") == high[which]
            more &= at < self.entries
            which, at = which[more], at[more]
        return np.concatenate(found), self.fingerprints[np.concatenate(places)]

    def find_one(self, high: int, low: int) -> int | None:
        """The fingerprint of one key, None when it is not here."""
        at = bisect_left(self._sorted, high)
        while at < self.entries and self._sorted[at] == high:
            if self.low.item(at) == low:
                return self.fingerprints.item(at)
            at += 1
        return None


def sort(part: Part, last_us: int, high: Words, low: Words, fingerprints: Fingerprints) -> Run:
    """A run of these distinct entries, which may come in any order."""
    order = high.argsort()
    return _build(part, last_us, order, high, low, fingerprints)


def merge(runs: Sequence[Run]) -> Run:
    """One run of what disjoint runs of the same part hold."""
    high = np.concatenate([run.high for run in runs])
    order = high.argsort()  # vectorised: as fast as merging sorted stretches, however many there are
    low = np.concatenate([run.low for run in runs])
    fingerprints = np.concatenate([run.fingerprints for run in runs])
    return _build(runs[0].part, max(run.last_us for run in runs), order, high, low, fingerprints)


def evicted(part: Part, last_us: int) -> Run:
    """A run without entries, which says that this part and all before it went early. Stored like any other."""
    nothing = np.empty(0, dtype=np.uint64)
    return sort(part, last_us, nothing, nothing, nothing.astype(np.uint32))


def decode(data: bytes) -> Run:
    """A stored run. Raises `Corrupt` when the bytes are damaged, foreign or of another format."""
    if len(data) < _ENTRIES_AT or data[:4] != _MAGIC:
        raise Corrupt("A run of the repeat index is not one: its first bytes are wrong.")
    _, version, entries, number, start_us, end_us, last_us = _HEADER.unpack_from(data)
    if version != FORMAT:
        raise Corrupt(f"A run of the repeat index has format {version}; this version reads format {FORMAT}.")
    if len(data) != _ENTRIES_AT + entries * ENTRY_SIZE_BYTES:
        raise Corrupt(f"A run of the repeat index is {len(data)} bytes long, which {entries} entries are not.")
    body = memoryview(data)
    if _checksum(body[: _HEADER.size], body[_ENTRIES_AT:]) != data[_HEADER.size : _ENTRIES_AT]:
        raise Corrupt("A run of the repeat index does not match its checksum.")
    run = Run(Part(start_us, number, end_us), last_us, entries, data)
    if not _is_sorted(run.high, run.low):
        raise Corrupt("A run of the repeat index is out of order.")
    return run


def _build(part: Part, last_us: int, order: Indexes, high: Words, low: Words, fingerprints: Fingerprints) -> Run:
    sorted_high = high.take(order)
    if (sorted_high[1:] == sorted_high[:-1]).any():
        # Two keys share their upper half: all but impossible with real hashes, so sorted again, by both.
        order = np.lexsort((low, high))
        sorted_high = high.take(order)
    columns = (
        sorted_high.astype("<u8", copy=False).data,
        low.take(order).astype("<u8", copy=False).data,
        fingerprints.take(order).astype("<u4", copy=False).data,
    )
    header = _HEADER.pack(_MAGIC, FORMAT, len(high), part.number, part.start_us, part.end_us, last_us)
    return Run(part, last_us, len(high), b"".join((header, _checksum(header, *columns), *columns)))


def _checksum(*pieces: bytes | memoryview) -> bytes:
    state = xxh3_64()
    for piece in pieces:
        state.update(piece)
    return _CHECKSUM.pack(state.intdigest())


def _is_sorted(high: Words, low: Words) -> bool:
    if (high[1:] > high[:-1]).all():
        return True
    same = high[1:] == high[:-1]
    return bool(((high[1:] > high[:-1]) | (same & (low[1:] > low[:-1]))).all())
