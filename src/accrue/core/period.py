"""Periods: all time, or one hour, day, week, month, year or named range of a tenant's time zone.

    all   2026-10-25T02+0200   2026-11-21   2026-W47   2026-11   2026   season:2000-01

A period is known by its id, which is what tallies, boards and URLs carry. Its bounds are instants, end
exclusive, and neighbours touch: every time falls into exactly one period of a kind, on 23- and 25-hour days
too. Only named ranges may leave gaps. How dates and hours are bounded is told in core/zone.py; all that is
longer begins and ends with a date.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple
from weakref import WeakValueDictionary

from msgspec import Struct

from accrue.core import zone
from accrue.core.zone import DAY_US, EPOCH_ORDINAL, HOUR_US, tzdata_version
from accrue.errors import Misconfigured, NotFound, Rejected

__all__ = [
    "KINDS",
    "TIME_US_MAX",
    "TIME_US_MIN",
    "Calendar",
    "Moment",
    "NamedRange",
    "Period",
    "tzdata_version",
]

KINDS = ("all", "hour", "day", "week", "month", "year")
"""The kinds every tenant has. A program adds its ranges, for example `season`."""

DATED = ("day", "week", "month", "year")
DATE_MIN, DATE_MAX = date(1970, 1, 1), date(2200, 1, 1)
TIME_US_MIN = (DATE_MIN.toordinal() - EPOCH_ORDINAL) * DAY_US
TIME_US_MAX = (DATE_MAX.toordinal() - EPOCH_ORDINAL) * DAY_US
"""Times are from 1970 (inclusive) to 2200 (exclusive), in UTC; ingest refuses others."""

PERIOD_CHARACTERS_MAX = 128
BUCKET_US = 900_000_000
"""Offsets are nearly always whole quarters of an hour, so that hardly any boundary lies inside one."""
BUCKETS_MAX = 8_192
"""Quarter-hours remembered by one calendar, 85 days of them; past it the memory starts empty again."""


class NamedRange(Struct, frozen=True):
    """One range of a kind, for example the season `2000-01`: local dates, end exclusive."""

    name: str
    start: date
    end: date


class Period(Struct, frozen=True):
    """`ordinal` grows by one from a period to the next of its kind.

    Days are the exception where a zone skipped a date (Samoa, 2011-12-30): their ordinal is that of the date.
    """

    kind: str
    id: str
    start_us: int
    end_us: int
    ordinal: int


class Moment(Struct, frozen=True, eq=False, weakref=True):
    """The periods a time falls into: by kind, their ids and their ordinals. Compared and hashed by identity.

    A kind of ranges is absent when none of them covers the time. Callers share a moment: never change it.
    """

    ids: dict[str, str]
    ordinals: dict[str, int]


class Calendar:
    """The periods of one time zone, with a program's ranges by kind (`{"season": [...]}`).

    Raises `Misconfigured` for an unknown zone and for ranges that are empty, overlap or have no usable name.
    """

    def __init__(self, timezone: str, ranges: Mapping[str, Sequence[NamedRange]] | None = None) -> None:
        self.timezone = timezone
        self._zone = zone.load(timezone)
        self._ranges = {kind: self._bounded(kind, named) for kind, named in (ranges or {}).items()}
        self.kinds: tuple[str, ...] = (*KINDS, *self._ranges)
        self._buckets: dict[int, Moment] = {}
        self._moments: WeakValueDictionary[int, Moment] = WeakValueDictionary()

    def moment(self, time_us: int) -> Moment:
        """All periods of a time. Times with the same periods give the same object, while anybody holds it.

        Raises `Rejected` outside TIME_US_MIN..TIME_US_MAX. Called once an event, so it is one look-up mostly.
        """
        try:
            return self._buckets[time_us // BUCKET_US]
        except KeyError:
            return self._find(time_us)

    def period(self, kind: str, time_us: int) -> Period | None:
        """The period of a kind that holds a time; None when the kind is one of ranges and none covers it.

        Raises `NotFound` for an unknown kind and `Rejected` outside TIME_US_MIN..TIME_US_MAX.
        """
        _check(time_us)
        if kind == "all":
            return ALL
        if kind == "hour":
            return _hour_period(self._zone.hour(time_us))
        if kind in DATED:
            return self._dated(kind, self._zone.day(time_us))
        if kind in self._ranges:
            return _covering(self._ranges[kind], time_us)
        detail = f"There is no kind of period {kind!r}; there are {', '.join(self.kinds)}."
        raise NotFound(detail, field="period", nearest=_nearest(kind, self.kinds))

    def parse(self, period_id: str) -> Period:
        """The period of that id. Raises `NotFound` when none has it, `Rejected` when it is too long for any."""
        if len(period_id) > PERIOD_CHARACTERS_MAX:
            raise Rejected(f"A period has at most {PERIOD_CHARACTERS_MAX} characters.", field="period")
        if period_id == "all":
            return ALL
        for kind, (form, _) in FORMS.items():
            if form.fullmatch(period_id):
                period = self._read(kind, period_id)
                # Only one way of writing an id counts, and only the hours and dates this zone has.
                if period is None or period.id != period_id or not _holds_times(period):
                    detail = f"There is no {kind} {period_id!r} in {self.timezone} between 1970 and 2200."
                    raise NotFound(detail, field="period")
                return period
        return self._parse_range(period_id)

    def named(self, kind: str, ordinal: int) -> str | None:
        """The id of the period of a dated kind or a range with that ordinal; None for hours, which only have times."""
        if kind == "day":
            return date.fromordinal(ordinal).isoformat()
        if kind == "week":
            year, week, _ = date.fromordinal(ordinal * 7 + 1).isocalendar()
            return f"{year:04}-W{week:02}"
        if kind == "month":
            year, month = divmod(ordinal - 1, 12)
            return f"{year:04}-{month + 1:02}"
        if kind == "year":
            return f"{ordinal:04}"
        spans = self._ranges.get(kind, [])
        return spans[ordinal].id if 0 <= ordinal < len(spans) else None

    def _find(self, time_us: int) -> Moment:
        """A moment that no bucket holds. No period begins inside an hour, so the hour decides them all."""
        _check(time_us)
        hour = self._zone.hour(time_us)
        moment = self._moments.get(hour.ordinal)
        if moment is None:
            moment = self._moments[hour.ordinal] = self._new_moment(hour)
        bucket = time_us // BUCKET_US
        if hour.start_us <= bucket * BUCKET_US and (bucket + 1) * BUCKET_US <= hour.end_us:
            if len(self._buckets) >= BUCKETS_MAX:
                self._buckets.clear()
            self._buckets[bucket] = moment
        return moment

    def _new_moment(self, hour: zone.Hour) -> Moment:
        day = self._zone.day(hour.start_us)
        ids = {"all": ALL.id, "hour": _hour_id(hour)}
        ordinals = {"all": ALL.ordinal, "hour": hour.ordinal}
        for kind in DATED:
            span = _span(kind, day)
            ids[kind], ordinals[kind] = span.id, span.ordinal
        for kind, periods in self._ranges.items():
            if period := _covering(periods, hour.start_us):
                ids[kind], ordinals[kind] = period.id, period.ordinal
        return Moment(ids, ordinals)

    def _dated(self, kind: str, day: date) -> Period:
        span = _span(kind, day)
        start_us, end_us = self._zone.midnight(span.first), self._zone.midnight(span.end)
        return Period(kind, span.id, start_us, end_us, span.ordinal)

    def _read(self, kind: str, period_id: str) -> Period | None:
        """The period an id of this kind means. None when no calendar has it."""
        try:
            start = datetime.fromisoformat(period_id + FORMS[kind][1])
            return self._read_hour(start) if kind == "hour" else self._dated(kind, start.date())
        except (ValueError, OverflowError):  # month 13, or the end of the year 9999
            return None

    def _read_hour(self, start: datetime) -> Period | None:
        """The clock hour that begins so. It begins later where a change of offset cut it."""
        full_us = (start - zone.EPOCH) // timedelta(microseconds=1)
        if not TIME_US_MIN - HOUR_US < full_us < TIME_US_MAX:
            return None
        offset_us = (start.replace(tzinfo=UTC) - start) // timedelta(microseconds=1)
        time_us = full_us
        while time_us < full_us + HOUR_US:
            hour = self._zone.hour(time_us)
            if hour.offset_us == offset_us:
                return _hour_period(hour)
            time_us = hour.end_us
        return None

    def _parse_range(self, period_id: str) -> Period:
        if ":" not in period_id or not self._ranges:
            forms = ", ".join([*EXAMPLES[1:], *(f"{kind}:NAME" for kind in self._ranges)])
            detail = f"{period_id!r} is not a period; it is one of {', '.join(self.kinds)}, or written like {forms}."
            raise NotFound(detail, field="period", nearest=_nearest(period_id, self.kinds))
        by_id = {period.id: period for periods in self._ranges.values() for period in periods}
        if period_id not in by_id:
            detail = f"There is no period {period_id!r}."
            raise NotFound(detail, field="period", nearest=_nearest(period_id, by_id))
        return by_id[period_id]

    def _bounded(self, kind: str, ranges: Sequence[NamedRange]) -> list[Period]:
        """The ranges of a kind as periods, in the order of their starts. Raises `Misconfigured`."""
        if kind in KINDS or not kind or ":" in kind:
            detail = f"Ranges cannot be called {kind!r}: choose a word without a colon that is none of"
            raise Misconfigured(f"{detail} {', '.join(KINDS)}.")
        periods = []
        for ordinal, named in enumerate(sorted(ranges, key=lambda named: named.start)):
            period_id = f"{kind}:{named.name}"
            if not named.name or len(period_id) > PERIOD_CHARACTERS_MAX:
                detail = f"needs a name, of at most {PERIOD_CHARACTERS_MAX} characters together with its kind"
                raise Misconfigured(f"The range {period_id!r} {detail}.")
            if not DATE_MIN <= named.start <= named.end <= DATE_MAX:
                raise Misconfigured(f"The range {period_id!r} must start before it ends, between 1970 and 2200.")
            start_us, end_us = self._zone.midnight(named.start), self._zone.midnight(named.end)
            if start_us == end_us:
                raise Misconfigured(f"The range {period_id!r} is empty: its end is the first day after it.")
            periods.append(Period(kind, period_id, start_us, end_us, ordinal))
        for before, after in pairwise(periods):
            if after.start_us < before.end_us:
                raise Misconfigured(f"The ranges {before.id!r} and {after.id!r} overlap.")
        if len({period.id for period in periods}) < len(periods):
            raise Misconfigured(f"Two ranges of {kind!r} have the same name.")
        return periods


ALL = Period("all", "all", TIME_US_MIN, TIME_US_MAX, 0)

FORMS = {
    "hour": (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}[+-][0-9]{4}(?:[0-9]{2})?"), ""),
    "day": (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), ""),
    "week": (re.compile(r"[0-9]{4}-W[0-9]{2}"), "-1"),
    "month": (re.compile(r"[0-9]{4}-[0-9]{2}"), "-01"),
    "year": (re.compile(r"[0-9]{4}"), "-01-01"),
}
"""How the ids of a kind are written, and what makes of one an ISO 8601 text of its first day."""

EXAMPLES = ("all", "2026-10-25T02+0200", "2026-11-21", "2026-W47", "2026-11", "2026")


class _Span(NamedTuple):
    """A period of dates before a zone gives it instants. `end` is exclusive."""

    id: str
    first: date
    end: date
    ordinal: int


def _span(kind: str, day: date) -> _Span:
    """The day, week, month or year that holds a date."""
    if kind == "day":
        return _Span(day.isoformat(), day, day + timedelta(days=1), day.toordinal())
    if kind == "week":
        year, week, weekday = day.isocalendar()
        monday = day - timedelta(days=weekday - 1)
        # The proleptic calendar begins on a Monday, so whole weeks can be counted from its first day.
        ordinal = (monday.toordinal() - 1) // 7
        return _Span(f"{year:04}-W{week:02}", monday, monday + timedelta(days=7), ordinal)
    if kind == "month":
        first, ordinal = day.replace(day=1), day.year * 12 + day.month
        following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
        return _Span(f"{day.year:04}-{day.month:02}", first, following, ordinal)
    return _Span(f"{day.year:04}", date(day.year, 1, 1), date(day.year + 1, 1, 1), day.year)


def _hour_period(hour: zone.Hour) -> Period:
    return Period("hour", _hour_id(hour), hour.start_us, hour.end_us, hour.ordinal)


def _hour_id(hour: zone.Hour) -> str:
    """The clock's date, hour and offset, which has seconds only where a zone once had them (Liberia)."""
    days, rest_us = divmod(hour.local_us, DAY_US)
    minutes, seconds = divmod(abs(hour.offset_us) // 1_000_000, 60)
    offset = f"{'-' if hour.offset_us < 0 else '+'}{minutes // 60:02}{minutes % 60:02}"
    if seconds:
        offset += f"{seconds:02}"
    return f"{date.fromordinal(EPOCH_ORDINAL + days).isoformat()}T{rest_us // HOUR_US:02}{offset}"


def _covering(periods: list[Period], time_us: int) -> Period | None:
    """The one of these ordered periods that holds the time, or None in a gap."""
    index = bisect_right(periods, time_us, key=lambda period: period.start_us) - 1
    return periods[index] if index >= 0 and time_us < periods[index].end_us else None


def _check(time_us: int) -> None:
    if not TIME_US_MIN <= time_us < TIME_US_MAX:
        raise Rejected(f"The time {time_us} (microseconds since 1970) is not between 1970 and 2200.", field="time")


def _holds_times(period: Period) -> bool:
    """Whether any allowed time falls into it. A date that its zone skipped has an id and no time."""
    return max(period.start_us, TIME_US_MIN) < min(period.end_us, TIME_US_MAX)


def _nearest(word: str, words: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, words, n=1)), None)
