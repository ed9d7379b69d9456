"""How much one event may cause: a bound on the function that is written for its type.

Writing and compiling it takes about 0.1 ms and 45 KiB for each value that it may change, in the middle of the fold.
"""

from __future__ import annotations

from collections.abc import Iterator

from accrue.core.program import Problem, Program

CHANGES_PER_EVENT_MAX = 2_000
"""Values that one event may change: a tally in each of its periods, an attribute, a streak, a level of a badge."""


def too_much(program: Program) -> Iterator[Problem]:
    """A problem for each event type that may change too many values."""
    levels = sum(len(badge.levels) for badge in program.badges.values())
    for type in sorted(program.types):
        rules = [rule for rule in program.rules if type in rule.on]
        streaks = [streak for streak in program.streaks.values() if type in streak.on]
        gives = [give for rule in rules for give in rule.gives]
        subjects = {give.to for give in gives} | {streak.to for streak in streaks}
        subjects |= {item.to for rule in rules for item in rule.sets}
        changes = sum(len(program.metrics[give.metric].periods) for give in gives)
        changes += sum(len(rule.sets) for rule in rules) + len(streaks) + len(subjects) * levels
        if changes > CHANGES_PER_EVENT_MAX:
            line = rules[0].line if rules else 1
            yield Problem(
                line, f"an event {type!r} may change {changes:,} values, at most {CHANGES_PER_EVENT_MAX:,} are possible"
            )
