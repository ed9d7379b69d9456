"""A program, read from its TOML into plain values. It is taken to be right: whether it is, is for others to say."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from simulate.model.calendar import Ranges
from simulate.model.expressions import Path, paths

ROLES = ("actor", "object", "owner")
KINDS = ("all", "hour", "day", "week", "month", "year")


@dataclass
class Metric:
    """`initial` and `minimum` are in units: whole numbers of the smallest amount that is kept."""

    scale: int
    initial: int
    minimum: int | None
    holder: str  # user or object
    periods: set[str] = field(default_factory=lambda: {"all"})


@dataclass
class Give:
    to: Path
    metric: str
    amount: str
    when: str | None
    mode: str


@dataclass
class Rule:
    name: str
    on: list[str]
    when: str | None
    once: list[str]
    gives: list[Give]
    sets: list[tuple[Path, str, str]]  # on whom, which attribute, what value
    cap: str | None


@dataclass
class Badge:
    holder: str  # whose tallies it reads: user or object
    levels: dict[str, str]
    once_per_owner: bool
    days: int | None
    revocable: bool


@dataclass
class Streak:
    on: list[str]
    to: Path
    every: str
    when: str | None
    breaks_when: str | None


@dataclass
class Board:
    order: list[tuple[str, bool]]  # metric, and whether more is better
    periods: list[str]
    ties: str


class Program:
    """One version of the rules file."""

    def __init__(self, text: str) -> None:
        toml = tomllib.loads(text, parse_float=Fraction)
        self.timezone: str = toml.get("tenant", {}).get("timezone", "UTC")
        self.ranges: Ranges = {
            kind: {name: (span["from"], span["to"]) for name, span in named.items()}
            for kind, named in toml.get("ranges", {}).items()
        }
        self.kinds = [*KINDS, *self.ranges]
        self.lookups: dict[str, dict[str, Any]] = toml.get("lookups", {})
        self.rules = [_rule(number, rule) for number, rule in enumerate(toml.get("rules", []), start=1)]
        self.streaks = {name: _streak(table) for name, table in toml.get("streaks", {}).items()}
        self.badges = {name: _badge(table) for name, table in toml.get("badges", {}).items()}
        self.boards = {name: _board(table) for name, table in toml.get("boards", {}).items()}
        self.attributes = {
            name: "object" if to == ("object",) else "user" for rule in self.rules for to, name, _ in rule.sets
        }
        self.metrics = {name: self._metric(name, table) for name, table in toml.get("metrics", {}).items()}
        self.caps = {
            name: (cap["metric"], int(cap["limit"] * 10 ** self.metrics[cap["metric"]].scale), cap.get("per", "day"))
            for name, cap in toml.get("caps", {}).items()
        }
        self.retractable: set[str] = set(toml.get("retract", {}).get("types", []))
        self.retract_days: int = toml.get("retract", {}).get("days", 30)

    @property
    def types(self) -> set[str]:
        """The event types that something listens to."""
        return {type for part in (*self.rules, *self.streaks.values()) for type in part.on}

    def reads(self, badge: Badge) -> set[str]:
        """The metrics, attributes and streaks that a badge's conditions read."""
        return {path[-1] for condition in badge.levels.values() for path in paths(condition)}

    def _metric(self, name: str, table: dict[str, Any]) -> Metric:
        scale = table.get("scale", 6 if "currency" in table else 0)
        gives = [give for rule in self.rules for give in rule.gives if give.metric == name]
        given = "object" if any(give.to == ("object",) for give in gives) else "user"
        metric = Metric(
            scale=scale,
            initial=int(table.get("initial", 0) * 10**scale),
            minimum=int(table["min"] * 10**scale) if "min" in table else None,
            holder=table.get("of", given),
        )
        # It is kept for all time, and for the periods that it says itself or that boards and conditions ask for.
        metric.periods.update(table.get("periods", []))
        for board in self.boards.values():
            if name in [key for key, _ in board.order]:
                metric.periods.update(board.periods)
        for path in self._paths():
            if path[-1] == name and len(path) > 1 and path[-2] in self.kinds:
                metric.periods.add(path[-2])
        return metric

    def _paths(self) -> set[Path]:
        """Whatever any condition, amount or value reads."""
        texts: list[str | None] = []
        for rule in self.rules:
            texts += [rule.when, *(value for _, _, value in rule.sets)]
            texts += [text for give in rule.gives for text in (give.amount, give.when)]
        for streak in self.streaks.values():
            texts += [streak.when, streak.breaks_when]
        for badge in self.badges.values():
            texts += badge.levels.values()
        return {path for text in texts if text is not None for path in paths(text)}


def _rule(number: int, table: dict[str, Any]) -> Rule:
    return Rule(
        name=table.get("name", f"rule {number}"),
        on=_list(table["on"]),
        when=_text(table.get("when")),
        once=table.get("once", []),
        gives=[
            Give(
                tuple(give["to"].split(".")),
                give["metric"],
                str(_text(give.get("amount", 1))),
                _text(give.get("when")),
                give.get("mode", "add"),
            )
            for give in table.get("give", [])
        ],
        sets=[_set(item) for item in table.get("set", [])],
        cap=table.get("cap"),
    )


def _set(table: dict[str, Any]) -> tuple[Path, str, str]:
    return tuple(table["on"].split(".")), table["attribute"], str(_text(table["value"]))


def _badge(table: dict[str, Any]) -> Badge:
    return Badge(
        holder=table.get("subject", "user"),
        levels={"": table["when"]} if "when" in table else table["levels"],
        once_per_owner=table.get("once") == "owner",
        days=table.get("days"),
        revocable=table.get("revocable", False),
    )


def _streak(table: dict[str, Any]) -> Streak:
    to = tuple(table.get("to", "actor").split("."))
    every = table.get("every", "day")
    return Streak(_list(table["on"]), to, every, _text(table.get("when")), _text(table.get("breaks_when")))


def _board(table: dict[str, Any]) -> Board:
    order = [f"{table['metric']} desc"] if "metric" in table else table["order"]
    keys = [(key.split()[0], not key.endswith(" asc")) for key in order]
    return Board(keys, table.get("periods", ["all"]), table.get("ties", "first"))


def _list(on: str | list[str]) -> list[str]:
    return [on] if isinstance(on, str) else on


def _text(value: Any) -> str | None:
    """An expression may be written as a number, or as true or false."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value.numerator} / {value.denominator}" if isinstance(value, Fraction) else str(value)
