"""A program: one version of the rules file, read and checked.

Everything here follows from its text, the tzdata version and the rule-semantics version, which are what its record
in the log carries; two programs with the same three behave the same for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from msgspec import Struct

from accrue.core.meaning import Names
from accrue.core.period import Calendar
from accrue.core.rule import Badge, Board, Cap, Metric, Retract, Rule, Streak, Tables
from accrue.core.source_lines import SourceLines
from accrue.errors import NotFound, Rejected

SEMANTICS = 1
"""Raised when the same text would mean something else."""

TEXT_SIZE_BYTES_MAX = 1 << 20


class Problem(Struct, frozen=True):
    """One thing wrong with a program, where it stands and what would be right."""

    line: int
    message: str


class ProgramError(Rejected):
    """The text is not a program. Holds every problem found, not only the first."""

    def __init__(self, problems: list[Problem], *, file: str = "program") -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{file}:{problem.line}: {problem.message}" for problem in self.problems))

    def of_file(self, file: str) -> ProgramError:
        """The same, naming the file that the text is from."""
        return ProgramError(self.problems, file=file)


class Program(Struct, frozen=True, kw_only=True):
    """The checked content of a rules file, by name, in the order it was written."""

    text: str
    calendar: Calendar
    metrics: Mapping[str, Metric]
    attributes: Mapping[str, str]
    rules: tuple[Rule, ...]
    caps: Mapping[str, Cap]
    boards: Mapping[str, Board]
    badges: Mapping[str, Badge]
    streaks: Mapping[str, Streak]
    tables: Tables
    names: Names
    retract: Retract = Retract()

    @property
    def types(self) -> frozenset[str]:
        """Every event type that something in the program listens to."""
        listened = {type for rule in self.rules for type in rule.on}
        return frozenset(listened.union(*(streak.on for streak in self.streaks.values())))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of period that anything in the program looks at."""
        used = {"all", "day"} if any(badge.days for badge in self.badges.values()) else {"all"}
        used.update(kind for metric in self.metrics.values() for kind in metric.periods)
        used.update(cap.per for cap in self.caps.values())
        used.update(streak.every for streak in self.streaks.values())
        used.update(word for rule in self.rules for word in rule.once)
        return tuple(kind for kind in self.calendar.kinds if kind in used)

    def board(self, name: str) -> Board:
        """The board of that name. Raises `NotFound` naming the nearest."""
        return _found(self.boards, name, "board")

    def metric(self, name: str) -> Metric:
        """The metric of that name. Raises `NotFound` naming the nearest."""
        return _found(self.metrics, name, "metric")

    def boards_on(self, metric: str) -> list[Board]:
        """The boards whose rows change when this metric changes."""
        return [board for board in self.boards.values() if any(key.metric == metric for key in board.order)]


Named = TypeVar("Named")


def _found(named: Mapping[str, Named], name: str, what: str) -> Named:
    if name not in named:
        close = get_close_matches(name, list(named), n=1)
        known = "" if close else f" There are {', '.join(named) or 'none'}."
        raise NotFound(f"There is no {what} {name!r}.{known}", field=what, nearest=close[0] if close else None)
    return named[name]


def refuse_change(old: Program, new: Program) -> None:
    """Raises `ProgramError` where a new program would give another meaning to numbers that were counted already."""
    lines = SourceLines(new.text)
    problems = []
    for name, metric in new.metrics.items():
        was = old.metrics.get(name)
        if was is not None and (was.scale, was.kind) != (metric.scale, metric.kind):
            said = f"the metric {name!r} was kept for {was.kind}s with {was.scale} decimal digits"
            problems.append((lines.line("metrics", name), said))
    for name, streak in new.streaks.items():
        before = old.streaks.get(name)
        if before is not None and before.every != streak.every:
            problems.append((lines.line("streaks", name), f"the streak {name!r} was kept by {before.every}"))
    if problems:
        raise ProgramError([Problem(line, f"{said}; give the new one another name") for line, said in problems])
