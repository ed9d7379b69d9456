"""A bloom filter over whole batches: says "certainly not here" or "look".

Blocked: all bits of a key are in one 64-bit word, so that a test is one memory access, and a batch of a thousand
keys is a handful of numpy calls. The key is a hash already: its upper half picks the word, its lower half the
bits. Nothing is hashed again, nothing depends on a seed, and the part of the work that is the same for every
filter is done once a batch (`Probe`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Indexes = NDArray[np.intp]

ENTRIES_PER_WORD = 4
"""16 bits an entry: when a filter is full, about 1 in 250 absent keys is looked for in vain."""

# A key sets four bits, two for each of two 12-bit pieces of its lower half. A table of all pieces is faster than
# shifting, here and in plain Python.
_PIECE = 0xFFF
_BITS = [1 << (piece & 63) | 1 << (piece >> 6) for piece in range(_PIECE + 1)]
_BITS_ARRAY = np.array(_BITS, dtype=np.uint64)
_PIECE_WORD, _TWELVE, _HALF = np.uint64(_PIECE), np.uint64(12), np.uint64(32)


class Probe(NamedTuple):
    """A batch of keys, ready for any number of filters. `place` is 32 bits that choose a word, `bits` a mask."""

    high: Words
    low: Words
    place: Words
    bits: Words


def probe(high: Words, low: Words) -> Probe:
    """Prepare the keys with these upper and lower halves."""
    bits = _BITS_ARRAY.take(low & _PIECE_WORD) | _BITS_ARRAY.take((low >> _TWELVE) & _PIECE_WORD)
    return Probe(high, low, high >> _HALF, bits)


def probe_keys(keys: Sequence[bytes]) -> Probe:
    """Prepare these keys of 16 bytes."""
    high, low = halves(keys)
    return probe(high, low)


def halves(keys: Sequence[bytes]) -> tuple[Words, Words]:
    """The first and the last 8 bytes of each key, as little-endian numbers."""
    words = np.frombuffer(b"".join(keys), dtype="<u8").astype(np.uint64, copy=False)
    return words[0::2].copy(), words[1::2].copy()


class Filter:
    """Room for `capacity` entries; more would only make it answer "look" more often."""

    def __init__(self, capacity: int) -> None:
        self._words = np.zeros(max(1, -(-capacity // ENTRIES_PER_WORD)), dtype=np.uint64)
        self._count = np.uint64(len(self._words))
        self._view = self._words.data

    @property
    def size_bytes(self) -> int:
        return self._words.nbytes

    def add(self, entries: Probe) -> None:
        np.bitwise_or.at(self._words, self._at(entries), entries.bits)

    def maybe(self, entries: Probe) -> Indexes:
        """The indexes, ascending, of the keys to look for. All others were never added."""
        words = self._words.take(self._at(entries))
        return np.flatnonzero((words & entries.bits) == entries.bits)

    def maybe_one(self, high: int, low: int) -> bool:
        """The same for one key, where setting up a batch would cost more than the test."""
        bits = _BITS[low & _PIECE] | _BITS[(low >> 12) & _PIECE]
        return self._view[(high >> 32) * len(self._view) >> 32] & bits == bits

    def _at(self, entries: Probe) -> Indexes:
        # A multiplication spreads 32 bits evenly over any number of words. Both factors are below 2^32.
        return ((entries.place * self._count) >> _HALF).astype(np.intp)
