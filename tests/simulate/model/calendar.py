"""The periods of a moment, by the wall clock of a place.

An hour is one clock hour under one offset: the hour that a clock shows twice in autumn is two hours. A day begins at
the place's midnight, a week on Monday. Only for zones whose clocks do not change across midnight.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_FORM = "%Y-%m-%dT%H%z"
FORMS = {
    "all": r"all",
    "hour": r"\d{4}-\d\d-\d\dT\d\d[+-]\d{4}",
    "day": r"\d{4}-\d\d-\d\d",
    "week": r"\d{4}-W\d\d",
    "month": r"\d{4}-\d\d",
    "year": r"\d{4}",
}

Ranges = dict[str, dict[str, tuple[date, date]]]
"""Kind -> name -> first day, and the day after the last."""


def periods(time_us: int, timezone: str, ranges: Ranges) -> dict[str, str]:
    """Kind of period -> id of the one that holds this moment. A kind of ranges is missing when none does."""
    local = (EPOCH + timedelta(microseconds=time_us)).astimezone(zone(timezone))
    day = local.date()
    year, week, _ = day.isocalendar()
    found = {
        "all": "all",
        "hour": local.strftime(HOUR_FORM),
        "day": day.isoformat(),
        "week": f"{year:04}-W{week:02}",
        "month": f"{day.year:04}-{day.month:02}",
        "year": f"{day.year:04}",
    }
    for kind, named in ranges.items():
        for name, (first, after) in named.items():
            if first <= day < after:
                found[kind] = f"{kind}:{name}"
    return found


def kind_of(period: str, ranges: Ranges) -> str | None:
    """Which kind of period an id is of; None when there is no such period."""
    for kind, form in FORMS.items():
        if re.fullmatch(form, period):
            return kind if kind in ("all", "hour") or _is_date(kind, period) else None
    kind, _, name = period.partition(":")
    return kind if name in ranges.get(kind, {}) else None


def number(kind: str, time_us: int, timezone: str, ranges: Ranges) -> int | None:
    """A number for the period of a kind that holds this moment: neighbours have numbers that differ by one."""
    local = (EPOCH + timedelta(microseconds=time_us)).astimezone(zone(timezone))
    day = local.date()
    if kind == "day":
        return day.toordinal()
    if kind == "week":
        return (day.toordinal() - 1) // 7
    if kind == "month":
        return day.year * 12 + day.month
    if kind == "year":
        return day.year
    if kind == "hour":
        return _hour_numbers(timezone)[local.strftime(HOUR_FORM)]
    for at, (first, after) in enumerate(sorted(ranges[kind].values())):
        if first <= day < after:
            return at
    return None


@cache
def zone(name: str) -> ZoneInfo:
    """The zone as the pinned `tzdata` package has it."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


HOURS_COUNTED = datetime(2025, 10, 1, tzinfo=UTC), datetime(2027, 5, 1, tzinfo=UTC)
"""All hours that anything here happens in."""
HALF_HOUR = timedelta(minutes=30)
"""No hour is shorter, not even one that a change of the clocks cuts."""


@cache
def _hour_numbers(timezone: str) -> dict[str, int]:
    """Hours are told apart by what the clock and its offset say; they are counted one after the other."""
    numbers: dict[str, int] = {}
    moment, end = HOURS_COUNTED
    while moment < end:
        numbers.setdefault(_hour(moment, timezone), len(numbers))
        moment += HALF_HOUR
    return numbers


def _hour(time: datetime, timezone: str) -> str:
    return time.astimezone(zone(timezone)).strftime(HOUR_FORM)


def _is_date(kind: str, period: str) -> bool:
    first = {"day": "", "week": "-1", "month": "-01", "year": "-01-01"}[kind]
    try:
        return bool(date.fromisoformat(period + first))
    except ValueError:
        return False
