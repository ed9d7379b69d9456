"""What reads answer: the shapes of the API, documented once for HTTP, the library and the command line.

`stale` marks an answer from the book, when neither the live boards nor the tenant's worker can be reached: it shows
what was settled by `as_of`, and nothing newer.

A quantity of a metric without a scale is a whole number. With a scale it is exact decimal text ("12.5"), because a
JSON number would become a float on the way.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

Quantity = int | str


class BoardRow(Struct, frozen=True):
    """`rank` follows the asked style; `values` are in the order of the board's metrics."""

    rank: int
    subject: str
    values: list[Quantity]


class Correction(Struct, frozen=True, kw_only=True):
    """What late events made of a member of a closed period: `final` and `rank` (competition) are as they were given,
    null for one who was not on the board then; `corrected` is what it has now."""

    subject: str
    rank: int | None
    final: list[Quantity] | None
    corrected: list[Quantity]


class BoardPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of one snapshot of a board, as it was at `as_of`. `cursor` continues on the same snapshot.

    `final` marks a closed period: its rows are the final standings, which stay as they were given. What late events
    changed since stands in `corrections`, by subject: of the whole board beside a page, of the rows shown around a
    member. `more_corrections` says that there are more than 100.
    """

    board: str
    period: str
    metrics: list[str]
    rows: list[BoardRow]
    members: int
    as_of: str
    epoch: int
    cursor: str | None = None
    final: bool = False
    corrections: list[Correction] = []
    more_corrections: bool = False
    stale: bool = False


class RankRow(Struct, frozen=True):
    """`relative_rank` counts only those asked for; `percentile` is the share of members at or below, in percent."""

    rank: int
    subject: str
    values: list[Quantity]
    relative_rank: int
    percentile: float


class Ranks(Struct, frozen=True, kw_only=True):
    """Those asked for that are on the board, best first; the others are in `missing`.

    `final` marks a closed period: the ranks are those of its final standings, and `corrections` says which of those
    asked for late events changed since.
    """

    board: str
    period: str
    ranks: list[RankRow]
    missing: list[str]
    final: bool = False
    corrections: list[Correction] = []
    stale: bool = False
    as_of: str | None = None


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


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything about one user or object. `tallies` is metric -> kind of period -> quantity, as of `at`."""

    id: str
    kind: str
    at: str
    tallies: dict[str, dict[str, Quantity]]
    badges: list[Badge]
    streaks: dict[str, Streak]
    attributes: dict[str, bool | int | str | None]
    stale: bool = False
    as_of: str | None = None


class Tally(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of a metric a subject has in a period."""

    metric: str
    subject: str
    period: str
    value: Quantity
    stale: bool = False
    as_of: str | None = None


def iso(time_us: int) -> str:
    """RFC 3339 in UTC, with as many digits as it needs."""
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()
    return text.replace("+00:00", "Z")
