"""Writing the part of a function that looks at badges, after everything else of the event has happened."""

from __future__ import annotations

from accrue.core.code_lines import CodeLines
from accrue.core.expression import CONSTANTS, Expression, Path
from accrue.core.meaning import AttributeOf, StreakOf, TallyOf
from accrue.core.rule import Badge


class BadgeLines(CodeLines):
    """Lines for badges."""

    def _badges(self, to: Path, given: dict[str, list[str]]) -> None:
        """Look at every badge that reads something this event may have changed for the subject at `to`."""
        kind = "object" if to == ("object",) else "user"
        for badge in self._program.badges.values():
            flags = sorted({flag for name in self._badge_reads(badge) & set(given) for flag in given[name]})
            if badge.kind != kind or not flags:
                continue
            self._line(f"# badge {badge.name!r}")
            with self._when(" or ".join(flags)), self._subject(to):
                holder = self._field("owner") if kind == "object" else "subject"
                with self._when(f"{holder} is not None" if kind == "object" else None):
                    for level, condition in badge.levels.items():
                        self._level(badge, level, condition, holder)

    def _level(self, badge: Badge, level: str, condition: Expression, holder: str) -> None:
        table = self._table("award", badge.name, level)
        earner = holder if badge.once_per == "owner" else "subject"
        source = condition.source(
            lambda path: self._badge_path(path, badge),
            self._number,
            lambda path: isinstance(self._program.names.in_badge(path, badge.kind), (TallyOf, StreakOf)),
        )
        if badge.revocable:
            self._line(f"old = {table}.get({earner})")
            with self._when(f"(old is None or old.revoked) and {source}"):
                self._line(f"new = Award({holder}, time_us, sequence)")
                self._change(table, earner)
            with self._when(f"old is not None and not old.revoked and not {source}"):
                self._line("new = Award(old.holder, time_us, sequence, True)")
                self._change(table, earner)
        elif badge.days is not None:
            if self._counts_days:
                self._award_after_days(badge, level, table, earner, holder, source)
        else:
            with self._when(f"{earner} not in {table} and {source}"):
                self._award(table, earner, holder)

    def _award_after_days(self, badge: Badge, level: str, table: str, earner: str, holder: str, source: str) -> None:
        held = self._table("tally", f"held.{badge.name}.{level}", "day")
        days = self._table("tally", f"days.{badge.name}.{level}", "all")
        with self._when(f"{earner} not in {table} and {earner} not in {held} and {source}"):
            self._line("old, new = None, 1")
            self._change(held, earner)
            self._line(f"old = {days}.get({earner})")
            self._line("new = (old or 0) + 1")
            self._change(days, earner)
            with self._when(f"new >= {badge.days}"):
                self._award(table, earner, holder)

    def _award(self, table: str, earner: str, holder: str) -> None:
        self._line(f"old, new = None, Award({holder}, time_us, sequence)")
        self._change(table, earner)

    def _badge_reads(self, badge: Badge) -> set[str]:
        """The metrics, streaks and attributes a badge's conditions read."""
        reads: set[str] = set()
        for condition in badge.levels.values():
            for path in condition.paths:
                meaning = self._program.names.in_badge(path, badge.kind) if path[0] not in CONSTANTS else None
                if isinstance(meaning, TallyOf):
                    reads.add(meaning.metric)
                elif isinstance(meaning, StreakOf):
                    reads.add(f"streak {meaning.streak}")
                elif isinstance(meaning, AttributeOf):
                    reads.add(f"attribute {meaning.attribute}")
        return reads
