"""Accrue: events in; points, badges, streaks, live counters and leaderboards out, settled exactly."""

from accrue.engine import Accrue

__all__ = ["Accrue", "__version__"]

__version__ = "0.1.0"
