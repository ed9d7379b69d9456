"""Numbers that look random and follow from a seed: splitmix64 over a counter, with nothing shared and no clock.

The algorithm is that of Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

Item = TypeVar("Item")

_MASK = 2**64 - 1


class Chance:
    """A stream of numbers. The same seed gives the same stream on every machine."""

    def __init__(self, seed: int) -> None:
        self._state = seed * 0xD1342543DE82EF95 & _MASK  # so that the streams of two seeds do not overlap

    def share(self) -> float:
        """A number in [0, 1)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53

    def below(self, end: int) -> int:
        """A whole number from 0 up to `end`, which is left out."""
        return int(self.share() * end)

    def one_of(self, items: Sequence[Item]) -> Item:
        """One of these, each as likely as the others."""
        return items[self.below(len(items))]


class Zipf:
    """Number n comes up in proportion to 1 / (n + 1) ** exponent."""

    def __init__(self, size: int, exponent: float) -> None:
        self._weights = list(accumulate((n + 1) ** -exponent for n in range(size)))

    def draw(self, chance: Chance, size: int) -> int:
        """A number from 0 up to `size`, which is at most the size this was made for."""
        return min(bisect_right(self._weights, chance.share() * self._weights[size - 1]), size - 1)
