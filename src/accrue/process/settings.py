"""What the settings of `[process]` mean to a worker."""

from __future__ import annotations

from accrue.config import ProcessConfig
from accrue.process.worker import Limits
from accrue.process.world import Memory

HOUR_US = 3_600_000_000


def memory_of(settings: ProcessConfig, *, shares: int = 1) -> Memory:
    """How long and how much the repeat indexes remember, when so many partitions share what memory is set for them."""
    return Memory(
        repeat_window_us=round(settings.repeat_window_h * HOUR_US),
        once_window_us=round(settings.once_window_h * HOUR_US),
        size_bytes_max=settings.repeat_size_bytes_max // shares,
    )


def limits_of(settings: ProcessConfig) -> Limits:
    """When the worker does what."""
    return Limits(
        tick_s=settings.tick_ms / 1000,
        settle_interval_s=settings.settle_interval_s,
        settle_dirty_rows=settings.settle_dirty_rows,
        settle_archive_bytes=settings.settle_archive_bytes,
        entries_in_memory_max=settings.entries_in_memory_max,
    )
