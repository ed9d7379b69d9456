"""What a program is made of: metrics, rules, caps, boards, badges, streaks.

Plain frozen values, already checked: reader.py makes them from TOML, decide.py turns them into functions.
Amounts, limits and initial values are scaled integers (`scale` decimal digits of the metric), except where an
expression gives them per event.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from accrue.core.expression import Expression, Path
from accrue.core.ranking import Ties

Kind = Literal["user", "object"]
"""What holds a metric or an attribute. Users and objects may share ids: each metric belongs to one kind."""

Mode = Literal["add", "set", "most", "least"]
"""How an amount meets the tally: added, replacing it, or kept when it is larger or smaller."""


class Metric(Struct, frozen=True):
    """A named quantity. `periods` are the kinds of period it is kept for; `all` is always among them."""

    name: str
    scale: int
    initial: int
    minimum: int | None
    currency: str | None
    kind: Kind
    periods: tuple[str, ...]


class Cap(Struct, frozen=True):
    """At most `limit` of a metric a subject and period through the rules that name it. Net: negative makes room."""

    name: str
    metric: str
    limit: int
    per: str


class Give(Struct, frozen=True):
    """Give an amount of a metric to the subject at `to`: `("actor",)`, `("data", "asker")`."""

    to: Path
    metric: str
    amount: Expression
    when: Expression | None = None
    mode: Mode = "add"


class SetAttribute(Struct, frozen=True):
    """Remember a small fact about the subject at `to`."""

    to: Path
    attribute: str
    value: Expression


class Rule(Struct, frozen=True):
    """On these event types, when the condition holds and (with `once`) for the first time, give and set."""

    name: str
    on: tuple[str, ...]
    when: Expression | None
    once: tuple[str, ...]
    gives: tuple[Give, ...]
    sets: tuple[SetAttribute, ...]
    cap: str | None
    line: int


class OrderKey(Struct, frozen=True):
    """One metric by which a board is ordered; the next key decides only between equal values."""

    metric: str
    descending: bool


class Board(Struct, frozen=True):
    """An order over tallies. `keep` says how many closed periods of a kind stay as live boards."""

    name: str
    order: tuple[OrderKey, ...]
    periods: tuple[str, ...]
    ties: Ties
    keep: Mapping[str, int]


class Badge(Struct, frozen=True):
    """Earned when a level's condition holds for a subject.

    `once_per` is `subject` (a user or an object each) or `owner` (once a user, for any object). With `days` the
    condition has to hold on that many separate days. A revocable badge goes when the condition no longer holds.
    """

    name: str
    kind: Kind
    levels: Mapping[str, Expression]
    once_per: Literal["subject", "owner"]
    days: int | None
    revocable: bool


class Streak(Struct, frozen=True):
    """Consecutive periods with a qualifying event, or consecutive qualifying events (`every` is `event`)."""

    name: str
    on: tuple[str, ...]
    to: Path
    every: str
    when: Expression | None
    breaks_when: Expression | None


class Retract(Struct, frozen=True):
    """Events of these types can be taken back for so many days of log time after they were taken."""

    types: frozenset[str] = frozenset()
    days: int = 30


Tables = Mapping[str, Mapping[str, "bool | int | Decimal | str"]]
"""The look-up tables of a program: name -> key -> value."""
