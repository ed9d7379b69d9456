"""An alarm in the server's log when the memory for repeats is too small for the window that is set.

The promise "counted once" is then weaker than the operator believes: an event that is sent again later than the
effective window counts again.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from accrue.process.repeats import RepeatIndex

logger = structlog.get_logger("accrue.process")


class WindowAlarm:
    """Remembers what was said already. Ask it once a settlement: so often it speaks at most."""

    def __init__(self, indexes: Sequence[RepeatIndex]) -> None:
        self._indexes = indexes
        self._said = [0] * len(indexes)

    @property
    def forgotten_early(self) -> int:
        """How many keys went before their window was over, since the start."""
        return sum(index.evicted_early for index in self._indexes)

    def look(self) -> None:
        """Warn of every index that forgot something early since it was last looked at."""
        for at, index in enumerate(self._indexes):
            if index.evicted_early > self._said[at]:
                window_us = index.effective_window_us
                logger.warning(
                    "the repeat window is cut short; give it more with process.repeat_size_bytes_max",
                    index=index.name,
                    forgotten_early=index.evicted_early - self._said[at],
                    effective_window_s=None if window_us is None else window_us / 1_000_000,
                )
                self._said[at] = index.evicted_early
