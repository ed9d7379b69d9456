"""Accrue: events in; points, badges, streaks, live counters and leaderboards out, settled exactly."""

__version__ = "0.1.0"
