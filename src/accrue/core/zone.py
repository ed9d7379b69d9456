"""A time zone as a table of offsets: what its clocks showed from 1970 to 2200, as plain integers.

    Zone("Asia/Kathmandu", edges=(1968-12-01, 1985-12-31T18:30, 2201-02-01), offsets=(+5:30, +5:45))

The zone comes from the files of the `tzdata` package and from nowhere else, because the same log must give
the same periods on every machine. It is read through `zoneinfo` once; after that days and hours are a search
in a short sorted table, with no date arithmetic that could depend on the platform.

Two definitions settle every odd case, and make neighbours touch exactly:

- A local date begins at the first instant at which the clock shows its midnight or later. If midnight does
  not exist, the date begins where the clock lands; if the clock goes back over midnight, the new date stays.
- An hour is one clock hour under one offset. A change of offset ends it, so some hours are shorter than 60
  minutes, and a 25-hour day has two hours called 02, told apart by their offsets.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import metadata, resources
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from accrue.errors import Misconfigured

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
OFFSET_US_MAX = DAY_US
"""No clock is a day or more away from UTC."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = EPOCH.toordinal()
SCAN_FIRST = datetime(1968, 12, 1, tzinfo=UTC)
SCAN_END = datetime(2201, 2, 1, tzinfo=UTC)
"""A year more on both sides than times may have, because the local year 1969 or 2200 can hold such a time."""
SCAN_STEP_S = 2 * 86_400
"""Two changes of a zone must be further apart than this to be seen. The closest on record are 7 days."""


class Hour(NamedTuple):
    """One clock hour. `local_us` is what the clock shows at its full hour, counted like a time since 1970.

    `start_us` and `end_us` are instants, end exclusive. `ordinal` counts the hours of the zone without a gap;
    the hour that holds 1970-01-01T00:00Z is 0.
    """

    local_us: int
    offset_us: int
    start_us: int
    end_us: int
    ordinal: int


class Zone(Struct, frozen=True):
    """`offsets[i]` (microseconds east of UTC) holds from `edges[i]` to `edges[i + 1]`: one edge more.

    `hours[i]` is the ordinal of the first hour of that stretch. Instants outside the edges are not answered.
    """

    name: str
    edges: tuple[int, ...]
    offsets: tuple[int, ...]
    hours: tuple[int, ...]

    def day(self, time_us: int) -> date:
        """The local date of an instant: the last one that has begun."""
        local_us = time_us + self.offsets[bisect_right(self.edges, time_us) - 1]
        day = date.fromordinal(EPOCH_ORDINAL + local_us // DAY_US)
        while self.midnight(tomorrow := day + timedelta(days=1)) <= time_us:
            day = tomorrow
        return day

    def midnight(self, day: date) -> int:
        """The instant a local date begins. A skipped date begins, and ends, where the next one begins."""
        local_us = (day.toordinal() - EPOCH_ORDINAL) * DAY_US
        first = max(bisect_right(self.edges, local_us - OFFSET_US_MAX) - 1, 0)
        last = len(self.offsets) - 1
        for index in range(first, last):
            instant_us = max(self.edges[index], local_us - self.offsets[index])
            if instant_us < self.edges[index + 1]:
                return instant_us
        return max(self.edges[last], local_us - self.offsets[last])

    def hour(self, time_us: int) -> Hour:
        """The clock hour of an instant."""
        index = bisect_right(self.edges, time_us) - 1
        edge_us, offset_us = self.edges[index], self.offsets[index]
        number = (time_us + offset_us) // HOUR_US
        full_us = number * HOUR_US - offset_us
        return Hour(
            local_us=number * HOUR_US,
            offset_us=offset_us,
            start_us=max(full_us, edge_us),
            end_us=min(full_us + HOUR_US, self.edges[index + 1]),
            ordinal=self.hours[index] + number - (edge_us + offset_us) // HOUR_US,
        )


@cache  # bounded by the names there are, about 600, because an unknown one raises
def load(name: str) -> Zone:
    """The zone of that IANA name; about 30 ms the first time. Raises `Misconfigured`, naming the nearest."""
    package = resources.files("tzdata")
    names = package.joinpath("zones").read_text(encoding="utf-8").split()
    # Only a listed name ever becomes a path, so that "../x" is as unknown as any other word.
    if name not in names:
        raise Misconfigured(f"There is no time zone {name!r}.{_hint(name, names)}")
    with package.joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        edges, offsets = _scan(ZoneInfo.from_file(file, key=name))
    hours = _count_hours(edges, offsets)
    zone = Zone(name, edges, offsets, hours)
    # Counted from 1970: then in zones of whole hours the ordinal is simply the number of the UTC hour.
    first = zone.hour(0).ordinal
    return Zone(name, edges, offsets, tuple(ordinal - first for ordinal in hours))


@cache
def tzdata_version() -> str:
    """The version of the `tzdata` package that the zones are read from. A program's record carries it."""
    return metadata.version("tzdata")


def _hint(name: str, names: list[str]) -> str:
    """The nearest zone name as half a sentence. People also get the case wrong, or know only the city."""
    by_fold = {known.rpartition("/")[2].casefold(): known for known in names}
    by_fold |= {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold().replace(" ", "_"), by_fold, n=1)
    return f" Did you mean {by_fold[near[0]]!r}?" if near else " Use an IANA name such as 'Europe/Paris'."


def _scan(zone: ZoneInfo) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The edges and offsets of a zone: step through the years, search a step where the offset changed."""
    epoch = EPOCH.replace(tzinfo=zone)

    def offset_at(second: int) -> timedelta:
        # `fromutc` reads the fields as UTC whatever the zone attached to them.
        offset = zone.fromutc(epoch + timedelta(seconds=second)).utcoffset()
        assert offset is not None  # a ZoneInfo always knows
        return offset

    first_s, end_s = (round((edge - EPOCH).total_seconds()) for edge in (SCAN_FIRST, SCAN_END))
    offset = offset_at(first_s)
    edges, offsets = [first_s], [offset]
    for step_s in range(first_s, end_s, SCAN_STEP_S):
        before_s, after_s = step_s, step_s + SCAN_STEP_S
        if (later := offset_at(after_s)) == offset:
            continue
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            if offset_at(middle_s) == offset:
                before_s = middle_s
            else:
                after_s = middle_s
        edges.append(after_s)
        offsets.append(offset := later)
    microsecond = timedelta(microseconds=1)
    return tuple(edge * 1_000_000 for edge in [*edges, end_s]), tuple(each // microsecond for each in offsets)


def _count_hours(edges: tuple[int, ...], offsets: tuple[int, ...]) -> tuple[int, ...]:
    """The ordinal of the first hour of each stretch, from 0. An hour cut by a change counts on both sides."""
    ordinals = [0]
    for (start_us, end_us), offset_us in zip(pairwise(edges), offsets, strict=True):
        first = (start_us + offset_us) // HOUR_US
        last = (end_us - 1 + offset_us) // HOUR_US
        ordinals.append(ordinals[-1] + last - first + 1)
    return tuple(ordinals[:-1])
