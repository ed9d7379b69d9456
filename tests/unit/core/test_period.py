"""Periods of a time zone: their ids, their bounds on the odd days, and how they are found again."""

from __future__ import annotations

import weakref
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accrue.core import period as period_module
from accrue.core import zone
from accrue.core.period import (
    BUCKET_US,
    KINDS,
    TIME_US_MAX,
    TIME_US_MIN,
    Calendar,
    NamedRange,
    Period,
    tzdata_version,
)
from accrue.errors import Misconfigured, NotFound, Rejected

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

ODD_ZONES = (
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "America/Sao_Paulo",  # midnight does not exist when summer begins
    "America/Goose_Bay",  # changes at one minute past midnight, once by two hours
    "America/Caracas",  # changes in the middle of an hour
    "Africa/Cairo",  # set back at midnight
    "Africa/Casablanca",  # changes around Ramadan, far into the future
    "Africa/Monrovia",  # 44 minutes and 30 seconds behind until 1972
    "Antarctica/Casey",  # set back by three hours, over midnight
    "Antarctica/Troll",  # two hours of summer time
    "Asia/Kathmandu",
    "Asia/Gaza",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # skipped 2011-12-30
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
)
SEASONS = {
    "season": (
        NamedRange("2000-01", date(2000, 8, 19), date(2001, 5, 20)),
        NamedRange("2001-02", date(2001, 5, 20), date(2002, 5, 12)),
        NamedRange("2011-12", date(2011, 12, 30), date(2012, 5, 14)),
        NamedRange("odd", date(1970, 1, 1), date(1972, 1, 7)),
    )
}
CALENDARS = {name: Calendar(name, SEASONS) for name in ODD_ZONES}
ALL_KINDS = (*KINDS, "season")

modest = settings(deadline=None, derandomize=True, max_examples=300)


def us(text: str) -> int:
    """An RFC 3339 text as microseconds since 1970."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def period_of(timezone: str, kind: str, time: str) -> Period:
    found = Calendar(timezone).period(kind, us(time))
    assert found is not None
    return found


def reference(name: str) -> zoneinfo.ZoneInfo:
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return zoneinfo.ZoneInfo.from_file(file, key=name)


@st.composite
def zones_and_times(draw: st.DrawFn) -> tuple[str, int]:
    """A zone with any time, or with one close to a change of its offset, where things go wrong."""
    name = draw(st.sampled_from(ODD_ZONES))
    anywhere = st.integers(TIME_US_MIN, TIME_US_MAX - 1)
    edges = [edge for edge in zone.load(name).edges[1:-1] if TIME_US_MIN <= edge < TIME_US_MAX]
    if not edges or draw(st.booleans()):
        return name, draw(anywhere)
    near = draw(st.sampled_from(edges)) + draw(st.integers(-26 * 60, 26 * 60)) * MINUTE_US
    time_us = near + draw(st.sampled_from((-1, 0, 1, 30_000_000)))
    assume(TIME_US_MIN <= time_us < TIME_US_MAX)
    return name, time_us


class TestEveryZoneAndTime:
    @modest
    @given(zones_and_times(), st.sampled_from(ALL_KINDS))
    def test_a_time_lies_inside_its_period_and_neighbours_touch(self, where: tuple[str, int], kind: str) -> None:
        name, time_us = where
        calendar = CALENDARS[name]
        found = calendar.period(kind, time_us)
        if found is None:
            assert kind == "season"
            return
        assert found.kind == kind
        assert found.start_us <= time_us < found.end_us
        assert calendar.period(kind, max(found.start_us, TIME_US_MIN)) == found
        assert calendar.period(kind, min(found.end_us, TIME_US_MAX) - 1) == found
        if kind not in ("all", "season") and found.end_us < TIME_US_MAX:
            following = calendar.period(kind, found.end_us)
            assert following is not None
            assert following.start_us == found.end_us
            assert following.id != found.id

    @modest
    @given(zones_and_times(), st.sampled_from(ALL_KINDS))
    def test_an_id_is_read_back_as_the_same_period(self, where: tuple[str, int], kind: str) -> None:
        name, time_us = where
        found = CALENDARS[name].period(kind, time_us)
        if found is not None:
            assert CALENDARS[name].parse(found.id) == found

    @modest
    @given(zones_and_times(), st.integers(-3 * DAY_US, 3 * DAY_US), st.sampled_from(ALL_KINDS))
    def test_two_periods_have_the_same_id_only_when_they_are_the_same(
        self, where: tuple[str, int], distance_us: int, kind: str
    ) -> None:
        name, time_us = where
        assume(TIME_US_MIN <= time_us + distance_us < TIME_US_MAX)
        one = CALENDARS[name].period(kind, time_us)
        other = CALENDARS[name].period(kind, time_us + distance_us)
        if one is not None and other is not None:
            assert (one.id == other.id) == (one.start_us == other.start_us) == (one.ordinal == other.ordinal)

    @modest
    @given(zones_and_times())
    def test_a_moment_says_the_same_as_the_periods_also_at_their_bounds(self, where: tuple[str, int]) -> None:
        name, time_us = where
        calendar = CALENDARS[name]
        hour = calendar.period("hour", time_us)
        assert hour is not None
        # Asked in this order, a bucket remembered too boldly would answer for its neighbour.
        for each_us in (time_us, hour.start_us, hour.start_us - 1, hour.end_us - 1, hour.end_us):
            if not TIME_US_MIN <= each_us < TIME_US_MAX:
                continue
            periods = [calendar.period(kind, each_us) for kind in ALL_KINDS]
            moment = calendar.moment(each_us)
            assert moment.ids == {found.kind: found.id for found in periods if found}
            assert moment.ordinals == {found.kind: found.ordinal for found in periods if found}

    @modest
    @given(zones_and_times(), st.sampled_from(("hour", "week", "month", "year")))
    def test_ordinals_grow_by_one(self, where: tuple[str, int], kind: str) -> None:
        name, time_us = where
        found = CALENDARS[name].period(kind, time_us)
        assert found is not None
        assume(found.end_us < TIME_US_MAX)
        following = CALENDARS[name].period(kind, found.end_us)
        assert following is not None
        assert following.ordinal == found.ordinal + 1

    @modest
    @given(zones_and_times())
    def test_an_hour_is_what_the_clock_on_the_wall_shows(self, where: tuple[str, int]) -> None:
        name, time_us = where
        clock = datetime.fromtimestamp(time_us // 1_000_000, reference(name))
        assert CALENDARS[name].moment(time_us).ids["hour"] == clock.strftime("%Y-%m-%dT%H%z")

    @modest
    @given(zones_and_times())
    def test_a_day_is_the_date_on_the_wall_or_the_next_one_when_the_clock_went_back(
        self, where: tuple[str, int]
    ) -> None:
        name, time_us = where
        found = CALENDARS[name].period("day", time_us)
        assert found is not None
        clock = datetime.fromtimestamp(time_us // 1_000_000, reference(name)).date()
        day = date.fromisoformat(found.id)
        earlier = datetime.fromtimestamp(time_us // 1_000_000 - 4 * 3600, reference(name)).date()
        assert day == clock or (day == clock + timedelta(days=1) and earlier <= clock)
        assert found.ordinal == day.toordinal()


class TestOddDays:
    def test_the_day_summer_time_begins_has_23_hours_and_the_day_it_ends_25(self) -> None:
        spring = period_of("Europe/Paris", "day", "2026-03-29T12:00:00Z")
        autumn = period_of("Europe/Paris", "day", "2026-10-25T12:00:00Z")
        assert (spring.id, spring.end_us - spring.start_us) == ("2026-03-29", 23 * HOUR_US)
        assert (autumn.id, autumn.end_us - autumn.start_us) == ("2026-10-25", 25 * HOUR_US)

    def test_the_two_hours_called_02_differ_by_their_offset_and_follow_each_other(self) -> None:
        first = period_of("Europe/Paris", "hour", "2026-10-25T00:30:00Z")
        second = period_of("Europe/Paris", "hour", "2026-10-25T01:30:00Z")
        assert (first.id, second.id) == ("2026-10-25T02+0200", "2026-10-25T02+0100")
        assert first.end_us == second.start_us == us("2026-10-25T01:00:00Z")
        assert second.ordinal == first.ordinal + 1

    def test_a_day_without_midnight_begins_where_the_clock_lands(self) -> None:
        day = period_of("America/Sao_Paulo", "day", "2018-11-04T12:00:00Z")
        assert day.start_us == us("2018-11-04T01:00:00-02:00")
        assert day.end_us - day.start_us == 23 * HOUR_US

    def test_a_skipped_date_is_no_period_and_its_neighbours_touch(self) -> None:
        calendar = Calendar("Pacific/Apia")
        before, after = calendar.parse("2011-12-29"), calendar.parse("2011-12-31")
        assert before.end_us == after.start_us == us("2011-12-30T10:00:00Z")
        with pytest.raises(NotFound, match=r"2011-12-30.*Pacific/Apia"):
            calendar.parse("2011-12-30")

    def test_the_date_stays_when_the_clock_goes_back_over_midnight(self) -> None:
        # Goose Bay went from 00:01 on the 25th back to 23:01 on the 24th.
        day = period_of("America/Goose_Bay", "day", "1987-10-25T03:30:00Z")
        hour = period_of("America/Goose_Bay", "hour", "1987-10-25T03:30:00Z")
        assert (day.id, day.start_us) == ("1987-10-25", us("1987-10-25T00:00:00-03:00"))
        assert hour.id == "1987-10-24T23-0400"
        assert hour.end_us - hour.start_us == 59 * MINUTE_US

    def test_half_an_hour_of_summer_time_leaves_a_half_hour(self) -> None:
        # Lord Howe went from 02:00+11:00 back to 01:30+10:30.
        calendar = Calendar("Australia/Lord_Howe")
        hours = [calendar.period("hour", us(f"2026-04-04T{time}:00Z")) for time in ("14:30", "15:15", "15:45")]
        assert [hour and hour.id for hour in hours] == [
            "2026-04-05T01+1100",
            "2026-04-05T01+1030",
            "2026-04-05T02+1030",
        ]
        assert [hour and (hour.end_us - hour.start_us) // MINUTE_US for hour in hours] == [60, 30, 60]

    def test_an_offset_with_seconds_is_written_with_them(self) -> None:
        calendar = Calendar("Africa/Monrovia")
        hour = calendar.parse("1971-06-01T12-004430")
        assert hour.start_us == us("1971-06-01T12:44:30Z")
        # Seconds before and after it, in one bucket of a quarter of an hour.
        before, after = calendar.moment(hour.start_us - 1), calendar.moment(hour.start_us)
        assert (before.ids["hour"], after.ids["hour"]) == ("1971-06-01T11-004430", "1971-06-01T12-004430")
        last = calendar.parse("1972-01-06")
        assert last.end_us - last.start_us == DAY_US
        assert calendar.parse("1972-01-07").end_us - last.end_us == DAY_US - 44 * MINUTE_US - 30_000_000

    def test_an_hour_of_a_quarter_hour_zone_begins_when_its_clock_is_full(self) -> None:
        hour = period_of("Asia/Kathmandu", "hour", "2026-11-21T00:20:00Z")
        assert (hour.id, hour.start_us) == ("2026-11-21T06+0545", us("2026-11-21T00:15:00Z"))

    def test_the_first_and_the_last_time_belong_to_whole_local_years(self) -> None:
        new_york, apia = Calendar("America/New_York"), Calendar("Pacific/Apia")
        first, last = new_york.period("year", TIME_US_MIN), apia.period("year", TIME_US_MAX - 1)
        assert first == new_york.parse("1969")
        assert first.start_us == us("1969-01-01T00:00:00-05:00")
        assert last == apia.parse("2200")
        assert last.end_us == us("2201-01-01T00:00:00+13:00")

    @pytest.mark.parametrize("time_us", [TIME_US_MIN, TIME_US_MAX - 1])
    def test_the_first_and_the_last_time_belong_to_whole_hours(self, time_us: int) -> None:
        hour = Calendar("Asia/Kolkata").period("hour", time_us)
        assert hour is not None
        assert hour.end_us - hour.start_us == HOUR_US

    def test_where_offsets_are_whole_hours_an_hour_is_numbered_like_the_utc_hour(self) -> None:
        for timezone in ("UTC", "Europe/Paris", "America/Sao_Paulo"):
            hour = period_of(timezone, "hour", "2026-10-25T01:30:00Z")
            assert hour.ordinal == hour.start_us // HOUR_US


class TestWeeksMonthsAndAll:
    def test_a_week_begins_on_monday_and_has_the_iso_year(self) -> None:
        week = period_of("Europe/Paris", "week", "2027-01-01T12:00:00Z")
        assert week.id == "2026-W53"
        assert week.start_us == us("2026-12-28T00:00:00+01:00")
        assert week.end_us == us("2027-01-04T00:00:00+01:00")

    def test_december_is_followed_by_january(self) -> None:
        calendar = Calendar("UTC")
        december, january = calendar.parse("2026-12"), calendar.parse("2027-01")
        assert december.end_us == january.start_us
        assert (december.ordinal, january.ordinal) == (2026 * 12 + 12, 2027 * 12 + 1)

    def test_all_time_is_one_period(self) -> None:
        calendar = Calendar("Asia/Tokyo")
        assert calendar.parse("all") == Period("all", "all", TIME_US_MIN, TIME_US_MAX, 0)
        assert calendar.period("all", 5) == calendar.parse("all")

    @pytest.mark.parametrize("time_us", [TIME_US_MIN - 1, TIME_US_MAX])
    def test_a_time_out_of_range_is_refused(self, time_us: int) -> None:
        calendar = Calendar("Europe/Paris")
        with pytest.raises(Rejected, match="not between 1970 and 2200"):
            calendar.moment(time_us)
        with pytest.raises(Rejected, match="not between 1970 and 2200"):
            calendar.period("day", time_us)

    def test_an_unknown_kind_names_the_nearest(self) -> None:
        with pytest.raises(NotFound) as caught:
            Calendar("UTC", SEASONS).period("seasons", 0)
        assert caught.value.nearest == "season"


class TestMoments:
    def test_times_of_one_hour_share_one_moment_and_the_next_hour_has_another(self) -> None:
        calendar = Calendar("Europe/Paris")
        start_us = us("2026-11-21T05:00:00Z")
        moment = calendar.moment(start_us)
        assert all(calendar.moment(start_us + minute * MINUTE_US) is moment for minute in range(60))
        assert calendar.moment(start_us + HOUR_US) is not moment
        assert len({moment, calendar.moment(start_us + HOUR_US)}) == 2

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(period_module, "BUCKETS_MAX", 10)
        calendar = Calendar("Europe/Paris")
        seen = [weakref.ref(calendar.moment(number * 100 * BUCKET_US)) for number in range(500)]
        assert sum(moment() is not None for moment in seen) <= 10

    def test_a_moment_that_is_held_stays_the_same_object_when_the_memory_starts_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(period_module, "BUCKETS_MAX", 10)
        calendar = Calendar("Europe/Paris")
        held = calendar.moment(0)
        for number in range(1, 100):
            calendar.moment(number * 100 * BUCKET_US)
        assert calendar.moment(0) is held


class TestRanges:
    def test_a_range_spans_local_midnight_to_local_midnight(self) -> None:
        season = Calendar("Europe/London", SEASONS).parse("season:2000-01")
        assert season.start_us == us("2000-08-19T00:00:00+01:00")
        assert season.end_us == us("2001-05-20T00:00:00+01:00")

    def test_ordinals_follow_the_starts_whatever_order_they_were_given_in(self) -> None:
        calendar = Calendar("UTC", SEASONS)
        names = ("season:odd", "season:2000-01", "season:2001-02", "season:2011-12")
        assert [calendar.parse(name).ordinal for name in names] == [0, 1, 2, 3]

    def test_a_time_in_no_range_has_none(self) -> None:
        calendar = Calendar("UTC", SEASONS)
        summer_us = us("2002-07-01T00:00:00Z")
        assert calendar.period("season", summer_us) is None
        assert "season" not in calendar.moment(summer_us).ids
        assert "season" not in calendar.moment(summer_us).ordinals

    def test_the_kinds_of_a_calendar_are_the_fixed_ones_and_its_ranges(self) -> None:
        assert Calendar("UTC", SEASONS).kinds == ("all", "hour", "day", "week", "month", "year", "season")

    def test_overlapping_ranges_are_refused_and_both_named(self) -> None:
        ranges = [
            NamedRange("b", date(2001, 5, 1), date(2002, 5, 1)),
            NamedRange("a", date(2000, 5, 1), date(2001, 5, 2)),
        ]
        with pytest.raises(Misconfigured, match="'season:a' and 'season:b' overlap"):
            Calendar("UTC", {"season": ranges})

    @pytest.mark.parametrize("kind", [*KINDS, "", "a:b"])
    def test_a_kind_of_ranges_needs_a_name_of_its_own(self, kind: str) -> None:
        with pytest.raises(Misconfigured, match="cannot be called"):
            Calendar("UTC", {kind: []})

    @pytest.mark.parametrize(
        ("named", "words"),
        [
            (NamedRange("backwards", date(2001, 1, 2), date(2001, 1, 1)), "must start before it ends"),
            (NamedRange("early", date(1969, 1, 1), date(2001, 1, 1)), "between 1970 and 2200"),
            (NamedRange("late", date(2001, 1, 1), date(2200, 1, 2)), "between 1970 and 2200"),
            (NamedRange("nothing", date(2001, 1, 1), date(2001, 1, 1)), "is empty"),
            (NamedRange("skipped", date(2011, 12, 30), date(2011, 12, 31)), "is empty"),
            (NamedRange("", date(2001, 1, 1), date(2001, 1, 2)), "needs a name"),
            (NamedRange("x" * 122, date(2001, 1, 1), date(2001, 1, 2)), "at most 128 characters"),
        ],
    )
    def test_a_range_that_cannot_be_is_refused(self, named: NamedRange, words: str) -> None:
        with pytest.raises(Misconfigured, match=words):
            Calendar("Pacific/Apia", {"season": [named]})

    def test_two_ranges_of_one_name_are_refused(self) -> None:
        ranges = [
            NamedRange("x", date(2000, 1, 1), date(2001, 1, 1)),
            NamedRange("x", date(2001, 1, 1), date(2002, 1, 1)),
        ]
        with pytest.raises(Misconfigured, match="same name"):
            Calendar("UTC", {"season": ranges})


class TestParsing:
    @pytest.mark.parametrize("text", ["", "2026-1", "2026-W1", "week", "20261121", "all ", "２０２６", "x:y", "2026\n"])
    def test_what_is_no_period_is_refused_with_the_forms_there_are(self, text: str) -> None:
        with pytest.raises(NotFound, match="2026-W47") as caught:
            Calendar("Europe/Paris").parse(text)
        assert caught.value.field == "period"

    def test_a_misspelt_kind_is_told_the_nearest(self) -> None:
        spring = NamedRange("spring", date(2026, 3, 1), date(2026, 6, 1))
        for text, nearest in (("wek", "week"), ("saeson", "season"), ("fortnight", None)):
            with pytest.raises(NotFound) as caught:
                Calendar("UTC", {"season": [spring]}).parse(text)
            assert caught.value.nearest == nearest

    @pytest.mark.parametrize(
        "text",
        [
            "2026-13",
            "2026-02-30",
            "2026-W54",
            "2026-W00",
            "0000",
            "9999",
            "1969",
            "2201",
            "1969-12-31",
            "2026-03-29T02+0100",  # the hour that summer time leaves out
            "2026-03-29T02+0200",
            "2026-06-01T12+0100",  # not the offset of that day
            "2026-06-01T12+0160",  # another way of writing +0200
            "2026-06-01T24+0200",
            "2026-06-01T12+9900",
            "9999-12-31T23-2359",
            "0001-01-01T00+2359",
        ],
    )
    def test_what_this_zone_never_had_is_not_found(self, text: str) -> None:
        with pytest.raises(NotFound, match="Europe/Paris"):
            Calendar("Europe/Paris").parse(text)

    def test_an_unknown_range_names_the_nearest(self) -> None:
        for text in ("season:2000-1", "saison:2000-01"):
            with pytest.raises(NotFound) as caught:
                Calendar("UTC", SEASONS).parse(text)
            assert caught.value.nearest == "season:2000-01"

    def test_a_calendar_with_ranges_says_how_they_are_written(self) -> None:
        with pytest.raises(Rejected, match="season:NAME"):
            Calendar("UTC", SEASONS).parse("last season")

    def test_a_very_long_text_is_refused_without_being_repeated(self) -> None:
        with pytest.raises(Rejected, match="at most 128 characters"):
            Calendar("UTC", SEASONS).parse("season:" + "x" * 100_000)


class TestZones:
    @pytest.mark.parametrize(
        ("wrong", "right"),
        [
            ("Europe/Pariss", "Europe/Paris"),
            ("europe/paris", "Europe/Paris"),
            ("New York", "America/New_York"),
            ("utc", "UTC"),
        ],
    )
    def test_an_unknown_zone_is_refused_and_the_nearest_named(self, wrong: str, right: str) -> None:
        with pytest.raises(Misconfigured, match=f"Did you mean '{right}'"):
            Calendar(wrong)

    @pytest.mark.parametrize("name", ["../zones", "/etc/localtime", "Europe/../UTC", "Europe", "", "\x00", "zone.tab"])
    def test_only_listed_names_become_files(self, name: str) -> None:
        with pytest.raises(Misconfigured, match="no time zone"):
            Calendar(name)

    def test_the_files_of_the_system_are_never_read(self, tmp_path: Path) -> None:
        # Given a system that says Paris is in Tokyo's zone
        (tmp_path / "Europe").mkdir()
        tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
        (tmp_path / "Europe" / "Paris").write_bytes(tokyo)
        before = zoneinfo.TZPATH
        zoneinfo.reset_tzpath(to=[str(tmp_path)])
        zone.load.cache_clear()
        try:
            noon = datetime(2026, 1, 1, 12, tzinfo=zoneinfo.ZoneInfo.no_cache("Europe/Paris"))
            assert noon.utcoffset() == timedelta(hours=9)
            # When a calendar is made
            hour = period_of("Europe/Paris", "hour", "2026-01-01T12:00:00Z")
            # Then it does not believe it, and changes nothing for others
            assert hour.id == "2026-01-01T13+0100"
            assert (str(tmp_path),) == zoneinfo.TZPATH
        finally:
            zoneinfo.reset_tzpath(to=before)

    @pytest.mark.parametrize(
        ("name", "first"), [("America/Boa_Vista", "2000-10-01T00:00:00Z"), ("Asia/Gaza", "2040-10-01T00:00:00Z")]
    )
    def test_changes_only_a_week_apart_are_all_seen(self, name: str, first: str) -> None:
        wall, calendar = reference(name), Calendar(name)
        for hour in range(31 * 24):
            time_us = us(first) + hour * HOUR_US
            clock = datetime.fromtimestamp(time_us // 1_000_000, wall)
            assert calendar.moment(time_us).ids["hour"] == clock.strftime("%Y-%m-%dT%H%z")

    def test_the_version_is_that_of_the_package(self) -> None:
        text = resources.files("tzdata").joinpath("__init__.py").read_text(encoding="utf-8")
        assert f'__version__ = "{tzdata_version()}"' in text
