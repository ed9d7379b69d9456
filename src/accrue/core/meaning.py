"""What a path in an expression means: a field of the event, or something known of a subject.

In the conditions and amounts of rules and streaks:

    type id actor object owner value        the event's own fields
    data.seconds, data["first-name"]        its data
    stamp.crawler, stamp.clamped            what ingest found out
    actor.country, object.kind              an attribute of whoever stands there
    actor.points, actor.day.points          a tally, of all time or of the event's day
    actor.streak.writing                    a streak's current length; `longest` for its record

In the conditions of badges the subject is understood: `points`, `day.points`, `kind`, `streak.writing`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from accrue.core.expression import ExpressionError, Path, nearest
from accrue.core.rule import Kind

ROLES = ("actor", "object", "owner")
FIELDS = ("type", "id", *ROLES, "value")
STAMPS = ("crawler", "clamped")
STREAK_WORDS = ("streak", "longest")


class FieldOf(Struct, frozen=True):
    """A field of the event itself: one of FIELDS."""

    name: str


class DataOf(Struct, frozen=True):
    """Something under `data`, by its path."""

    path: Path


class StampOf(Struct, frozen=True):
    """What ingest found out about the event: one of STAMPS."""

    name: str


class AttributeOf(Struct, frozen=True):
    """`role` is None for the subject of a badge."""

    role: str | None
    attribute: str


class TallyOf(Struct, frozen=True):
    """A tally of a subject in one kind of period. `role` is None for the subject of a badge."""

    role: str | None
    period: str
    metric: str


class StreakOf(Struct, frozen=True):
    """How long a streak is or was: `word` is one of STREAK_WORDS. `role` is None for the subject of a badge."""

    role: str | None
    word: str
    streak: str


Meaning = FieldOf | DataOf | StampOf | AttributeOf | TallyOf | StreakOf


class Names(Struct, frozen=True):
    """Every name a program declares, with what kind of subject holds it."""

    metrics: Mapping[str, Kind]
    attributes: Mapping[str, Kind]
    streaks: frozenset[str]
    periods: tuple[str, ...]

    def in_rule(self, path: Path) -> Meaning:
        """What a path means in a rule. Raises `ExpressionError` naming the nearest right word."""
        head, *rest = path
        if head == "data":
            if not rest:
                raise ExpressionError("data needs a field: data.seconds")
            return DataOf(tuple(rest))
        if head == "stamp":
            if len(rest) != 1 or rest[0] not in STAMPS:
                raise ExpressionError(f"a stamp is one of {', '.join('stamp.' + name for name in STAMPS)}")
            return StampOf(rest[0])
        if head in ROLES and rest:
            return self._held(head, tuple(rest), "object" if head == "object" else "user")
        if head in FIELDS and not rest:
            return FieldOf(head)
        known = [*FIELDS, "data", "stamp"]
        hint = nearest(head, known) or f"; there are {', '.join(known)}"
        if head in self.metrics or head in self.attributes:
            hint = f": say whose, for example actor.{head}"
        raise ExpressionError(f"{'.'.join(path)!r} is not known{hint}")

    def in_badge(self, path: Path, kind: Kind) -> Meaning:
        """What a path means in a badge's condition. Raises `ExpressionError`."""
        return self._held(None, path, kind)

    def _held(self, role: str | None, path: Path, kind: Kind) -> Meaning:
        written = ".".join((role, *path) if role else path)
        if len(path) == 1:
            (name,) = path
            if self.metrics.get(name) == kind:
                return TallyOf(role, "all", name)
            if self.attributes.get(name) == kind:
                return AttributeOf(role, name)
            other = "object" if kind == "user" else "user"
            if other in (self.metrics.get(name), self.attributes.get(name)):
                raise ExpressionError(f"{written!r}: {name} belongs to {other}s, not to {kind}s")
            words = [*self.metrics, *self.attributes]
            raise ExpressionError(f"{written!r} is neither a metric nor an attribute{nearest(name, words)}")
        if len(path) == 2:
            word, name = path
            if word in STREAK_WORDS:
                if name not in self.streaks:
                    raise ExpressionError(f"there is no streak {name!r}{nearest(name, self.streaks)}")
                return StreakOf(role, word, name)
            if word not in self.periods:
                raise ExpressionError(f"{word!r} is not a period{nearest(word, list(self.periods))}")
            if self.metrics.get(name) != kind:
                raise ExpressionError(
                    f"{written!r}: {name!r} is not a metric of {kind}s{nearest(name, list(self.metrics))}"
                )
            return TallyOf(role, word, name)
        raise ExpressionError(f"{written!r} goes too deep")
