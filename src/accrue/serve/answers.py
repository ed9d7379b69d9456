"""What reads answer: the shapes of the API, documented once for HTTP, the library and the command line.

A quantity of a metric without a scale is a whole number. With a scale it is exact decimal text ("12.5"), because a
JSON number would become a float on the way.
"""

from __future__ import annotations

from msgspec import Struct

Quantity = int | str


class BoardRow(Struct, frozen=True):
    """`rank` follows the asked style; `values` are in the order of the board's metrics."""

    rank: int
    subject: str
    values: list[Quantity]


class BoardPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of one snapshot of a board. `cursor` continues on the same snapshot. `final` marks a closed period."""

    board: str
    period: str
    metrics: list[str]
    rows: list[BoardRow]
    members: int
    as_of: str
    epoch: int
    cursor: str | None = None
    final: bool = False
    stale: bool = False


class RankRow(Struct, frozen=True):
    """`relative_rank` counts only those asked for; `percentile` is the share of members at or below, in percent."""

    rank: int
    subject: str
    values: list[Quantity]
    relative_rank: int
    percentile: float


class Ranks(Struct, frozen=True, kw_only=True):
    """Those asked for that are on the board, best first; the others are in `missing`."""

    board: str
    period: str
    ranks: list[RankRow]
    missing: list[str]


class Badge(Struct, frozen=True, omit_defaults=True):
    """`level` is left out for badges without levels; `subject` is what it was earned for when that is an object."""

    badge: str
    time: str
    level: str = ""
    subject: str | None = None
    holder: str | None = None


class Streak(Struct, frozen=True):
    """`current` is the run up to `last`; `running` says whether it can still go on. `last` is a period or a time."""

    current: int
    longest: int
    last: str | None
    running: bool


class Profile(Struct, frozen=True, kw_only=True):
    """Everything about one user or object. `tallies` is metric -> kind of period -> quantity, as of `at`."""

    id: str
    kind: str
    at: str
    tallies: dict[str, dict[str, Quantity]]
    badges: list[Badge]
    streaks: dict[str, Streak]
    attributes: dict[str, bool | int | str | None]


class Tally(Struct, frozen=True, kw_only=True):
    """How much of a metric a subject has in a period."""

    metric: str
    subject: str
    period: str
    value: Quantity
