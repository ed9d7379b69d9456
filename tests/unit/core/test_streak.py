"""Streaks by period against a plain set of periods; streaks by event against a plain list."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accrue.core.streak import NONE, Streak, alive, with_event, with_period, without_period

ordinals = st.lists(st.integers(0, 25), max_size=40)


def model(active: set[int]) -> Streak:
    """The streak of a set of active periods, found by looking at every one of them."""
    runs: list[tuple[int, int]] = []
    for ordinal in sorted(active):
        if runs and runs[-1][1] == ordinal - 1:
            runs[-1] = (runs[-1][0], ordinal)
        else:
            runs.append((ordinal, ordinal))
    if not runs:
        return NONE
    lengths = [last - first + 1 for first, last in runs]
    return Streak(lengths[-1], max(lengths), runs[-1][1], tuple(runs))


@given(ordinals)
def test_periods_in_any_order_give_the_streak_of_their_set(periods: list[int]) -> None:
    streak: Streak | None = None
    for at, ordinal in enumerate(periods):
        streak = with_period(streak, ordinal)
        assert streak == model(set(periods[: at + 1]))


@given(ordinals, ordinals)
def test_taking_periods_out_is_the_reverse(periods: list[int], out: list[int]) -> None:
    streak = NONE
    for ordinal in periods:
        streak = with_period(streak, ordinal)
    for ordinal in out:
        streak = without_period(streak, ordinal)
    assert streak == model(set(periods) - set(out))


@given(st.lists(st.booleans(), max_size=40))
def test_events_count_up_until_one_breaks(breaks: list[bool]) -> None:
    streak: Streak | None = None
    lengths = [0]
    for time_us, broken in enumerate(breaks):
        streak = with_event(streak, broken=broken, time_us=time_us)
        lengths.append(0 if broken else lengths[-1] + 1)
        longest = max(lengths)
        assert (streak.current, streak.longest, streak.last) == (lengths[-1], longest, time_us)
        if longest:
            end = lengths.index(longest) - 1  # the first that was as long
            assert streak.runs[1] == (end - longest + 1, end)
        if lengths[-1]:
            assert streak.runs[0] == (time_us - lengths[-1] + 1, time_us)


@pytest.mark.parametrize("streak", [NONE, model({1, 2, 5}), with_event(None, broken=False, time_us=7)])
def test_a_streak_comes_back_from_the_book_as_it_was(streak: Streak) -> None:
    assert msgspec.json.decode(msgspec.json.encode(streak), type=Streak) == streak


@pytest.mark.parametrize(("now", "runs"), [(5, True), (6, True), (7, False)])
def test_a_streak_runs_through_its_last_period_and_the_next(now: int, runs: bool) -> None:
    assert alive(model({4, 5}), now) is runs
