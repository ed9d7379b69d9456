"""Which times may come in: with a time zone, from 1970 up to 2199."""

from __future__ import annotations

from datetime import datetime

from accrue.errors import Rejected
from accrue.ingest.checked import EPOCH, MICROSECOND, TIME_US_END


def us_of(time: datetime, *, field: str) -> int:
    """Microseconds since 1970. Raises `Rejected` naming the field."""
    if time.tzinfo is None:
        raise Rejected("A time needs a time zone: add Z or an offset like +02:00.", field=field)
    return in_range((time - EPOCH) // MICROSECOND, field=field)


def in_range(time_us: int, *, field: str) -> int:
    """The time itself. Raises `Rejected` naming the field."""
    if not 0 <= time_us < TIME_US_END:
        raise Rejected("A time lies from 1970 up to 2199.", field=field)
    return time_us
