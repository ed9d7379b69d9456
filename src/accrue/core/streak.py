"""Streaks: consecutive active periods, or consecutive qualifying events.

A streak by period is a set of active periods, kept as runs of consecutive ordinals. A set does not care about the
order things arrive in, so late and out-of-order events give the same streak. A streak by event counts in log order.
"""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct


class Streak(Struct, frozen=True, array_like=True, gc=False):
    """`current` is the run that ends at `last`, the latest active period (an ordinal) or event (its time in us).

    `runs` are the (first, last) ordinals of every run, ascending. For a streak by event it holds the running
    streak's and the longest one's (first, last) times instead, in this order, empty when there is none.
    """

    current: int
    longest: int
    last: int
    runs: tuple[tuple[int, int], ...]


NONE = Streak(0, 0, 0, ())


def with_period(streak: Streak | None, ordinal: int) -> Streak:
    """The streak with one more active period. Adding one that is active already changes nothing."""
    if streak is None or not streak.runs:
        return Streak(1, 1, ordinal, ((ordinal, ordinal),))
    runs = list(streak.runs)
    first, last = runs[-1]
    if ordinal == last + 1:  # the usual case: the run goes on
        runs[-1] = (first, ordinal)
        length = ordinal - first + 1
        return Streak(length, max(length, streak.longest), ordinal, tuple(runs))
    at = bisect_left(runs, (ordinal + 1,))
    first = last = ordinal
    if at and runs[at - 1][1] >= ordinal - 1:
        first = runs[at - 1][0]
        last = max(ordinal, runs[at - 1][1])
        at -= 1
        del runs[at]
    if at < len(runs) and runs[at][0] == last + 1:
        last = runs[at][1]
        del runs[at]
    runs.insert(at, (first, last))
    return _of_runs(tuple(runs))


def without_period(streak: Streak, ordinal: int) -> Streak:
    """The streak with a period that is no longer active. Taking out one that is not active changes nothing."""
    runs: list[tuple[int, int]] = []
    for first, last in streak.runs:
        if first <= ordinal <= last:
            runs += [run for run in ((first, ordinal - 1), (ordinal + 1, last)) if run[0] <= run[1]]
        else:
            runs.append((first, last))
    return _of_runs(tuple(runs))


def with_event(streak: Streak | None, *, broken: bool, time_us: int) -> Streak:
    """The streak after one more event: longer by one, or broken and back at 0."""
    streak = streak or NONE
    longest_run = streak.runs[1:]
    if broken:
        return Streak(0, streak.longest, time_us, ((0, 0), *longest_run) if longest_run else ())
    current = streak.current + 1
    run = (streak.runs[0][0] if streak.current else time_us, time_us)
    if current > streak.longest:
        return Streak(current, current, time_us, (run, run))
    return Streak(current, streak.longest, time_us, (run, *longest_run))


def alive(streak: Streak, ordinal_now: int) -> bool:
    """Whether a streak by period still runs: its last period is this one or the one before."""
    return streak.last >= ordinal_now - 1


def _of_runs(runs: tuple[tuple[int, int], ...]) -> Streak:
    if not runs:
        return NONE
    first, last = runs[-1]
    return Streak(last - first + 1, max(b - a + 1 for a, b in runs), last, runs)
