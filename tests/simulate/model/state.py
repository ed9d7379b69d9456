"""What is known of a community after so many events, and of one event while it is judged."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from simulate.model.expressions import Path
from simulate.model.standings import Line

Place = tuple[int, int]
"""Where an event stands in the log: position, and index in the record."""


@dataclass(frozen=True)
class Award:
    holder: str
    time_us: int
    place: Place
    revoked: bool = False


@dataclass(frozen=True)
class Effects:
    """What an event has changed: by how much each is more than before, and whose and when the event was."""

    tallies: dict[tuple[str, str, str], int]
    carried: dict[tuple[str, str], Fraction]
    active: dict[tuple[str, str, int], int]
    owner: str | None
    time_us: int


@dataclass(frozen=True)
class Known:
    """What is known of an event until a log time: `applied`, `retracted`, `awaited`, or that it is a `retraction`."""

    state: str
    until_us: int
    effects: Effects | None = None


@dataclass
class State:
    """What follows from the events so far. Values are never changed, only replaced, so a copy is a few dictionaries."""

    tallies: dict[tuple[str, str, str], tuple[int, Place]] = field(default_factory=dict)  # metric, period, subject
    carried: dict[tuple[str, str], Fraction] = field(default_factory=dict)  # metric, subject -> part of a unit
    used: dict[tuple[str, str, str], int] = field(default_factory=dict)  # cap, period, subject
    attributes: dict[tuple[str, str, str], Any] = field(default_factory=dict)  # kind, attribute, subject
    awards: dict[tuple[str, str, str], Award] = field(default_factory=dict)  # badge, level, earner
    badge_days: dict[tuple[str, str, str], frozenset[str]] = field(default_factory=dict)  # the same -> days it held
    active: dict[tuple[str, str, int], int] = field(default_factory=dict)  # streak, subject, period -> events in it
    unbroken: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # streak, subject -> now, longest
    once: dict[tuple[Any, ...], tuple[int, bool]] = field(default_factory=dict)  # what was seen -> log time, for ever?
    results: dict[tuple[str, str], list[Line]] = field(default_factory=dict)  # board, period
    closed: frozenset[str] = frozenset()
    known: dict[str, Known] = field(default_factory=dict)  # what became of events that can be taken back, by id

    def copy(self) -> State:
        return State(*(copy.copy(value) for value in vars(self).values()))


@dataclass
class Event:
    """One event while it is judged. `given` says whose what may have changed: (path, name of what)."""

    fields: dict[str, Any]
    stamp: dict[str, Any]
    time_us: int
    place: Place
    periods: dict[str, str]
    given: set[tuple[Path, str]] = field(default_factory=set)
