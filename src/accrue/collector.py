"""The garbage collector, told what it need not look at.

The engine keeps many objects for long and makes hardly any cycles: at Python's own settings full collections walk all
of them again and again, which costs about 2 us an event. A library leaves its host's settings alone, so only the
processes that are Accrue's own (server, import, bench) ask for this.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

GC_THRESHOLDS = (10_000, 10, 100)
"""Measured over 80,000 acked events: 0.1 s of collecting instead of 0.6 s, the longest pause 12 ms instead of 69 ms."""


@contextmanager
def calm() -> Iterator[None]:
    """Let it look at less, and less often, while the block runs. What is there already is set aside until the end."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
