"""One community, one event after the other: the rules of counting, repeating, closing and taking back.

What an event does, it does whole or not at all. `place` is where it stands in the log: (position, index).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from fractions import Fraction
from typing import Any

from simulate.model.calendar import kind_of, number, periods
from simulate.model.expressions import Failed, Path, evaluate
from simulate.model.rules import ROLES, Badge, Give, Program, Rule, Streak
from simulate.model.standings import Line, Member, standings
from simulate.model.state import Award, Effects, Event, Known, Place, State

MAGNITUDE_MAX = 2**53 - 1
REMAINDER_DIGITS = 12
DAY_US = 86_400_000_000
LATELY = ("hour", "day", "week", "month")


class Community:
    """Everything about one tenant. Windows in microseconds of log time."""

    def __init__(self, *, repeat_window_us: int, once_window_us: int) -> None:
        self.program: Program | None = None
        self.state = State()
        self.counts: Counter[str] = Counter()
        self.failed: list[tuple[Place, str]] = []
        self.conflicts: list[tuple[Place, str]] = []
        self._windows = repeat_window_us, once_window_us
        self._seen: dict[str, tuple[int, bytes]] = {}
        self._visited: set[str] = set()
        self._log_time_us = 0

    # --- one event ------------------------------------------------------------------------------------------------

    def record(self, log_time_us: int) -> None:
        """A record of the log begins: what is older than a window is forgotten, whole 24ths of a window at a time."""
        self._log_time_us = log_time_us
        repeat_us, once_us = self._windows
        self._seen = {id: seen for id, seen in self._seen.items() if not self._is_over(seen[0], repeat_us)}
        self.state.once = {
            key: (at, ever) for key, (at, ever) in self.state.once.items() if ever or not self._is_over(at, once_us)
        }

    def event(self, line: bytes, time_us: int, stamp: dict[str, Any], place: Place) -> str:
        """Count one event, and say what became of it."""
        fields = json.loads(line, parse_float=Fraction)
        outcome = self._outcome(fields, line, time_us, stamp, place)
        self.counts[outcome] += 1
        return outcome

    def _is_over(self, since_us: int, window_us: int) -> bool:
        bucket_us = max(window_us // 24, 1)
        return since_us // bucket_us * bucket_us + bucket_us + window_us <= self._log_time_us

    def _outcome(self, fields: dict[str, Any], line: bytes, time_us: int, stamp: dict[str, Any], place: Place) -> str:
        before = self._seen.get(fields["id"])
        if before is not None:
            if before[1] == line:
                return "repeated"
            self.conflicts.append((place, fields["id"]))
            return "conflicting"
        self._seen[fields["id"]] = self._log_time_us, line
        if fields["type"] == "accrue.program":
            self.program = Program(fields["data"]["text"])
            return "applied"
        if self.program is None:
            return "unmatched"
        within = periods(time_us, self.program.timezone, self.program.ranges)
        saved = self.state.copy()
        event = Event(fields, stamp, time_us, place, within)
        id, until_us = fields["id"], self._log_time_us + self.program.retract_days * DAY_US
        awaited = self._known(id)
        if awaited is not None and awaited.state == "awaited" and not fields["type"].startswith("accrue."):
            self.state.known[id] = Known("retracted", awaited.until_us)
            return "retracted"
        try:
            outcome = self._judged(self.program, event)
        except Failed:
            self.state = saved
            self.failed.append((place, id))
            outcome = "failed"
        if fields["type"] in self.program.retractable:
            self.state.known[id] = Known("applied", until_us, self._effects(self.program, saved, event))
        return outcome

    def _judged(self, program: Program, event: Event) -> str:
        data = event.fields.get("data") or {}
        match event.fields["type"]:
            case "accrue.adjust":
                self._changed_by_hand(program, event, data["metric"], data["subject"], data["amount"], "add")
            case "accrue.score":
                self._changed_by_hand(program, event, data["metric"], data["subject"], data["value"], data["mode"])
            case "accrue.close":
                self._close(program, data["period"])
            case "accrue.retract":
                return self._retract(program, event.fields["ref"], event)
            case type if type not in program.types:
                return "unmatched"
            case type:
                self._visited.update(event.periods.values())
                for rule in program.rules:
                    if type in rule.on:
                        self._rule(program, rule, event)
                for name, streak in program.streaks.items():
                    if type in streak.on:
                        self._streak(program, name, streak, event)
                self._badges(program, event)
        return "applied"

    # --- rules ------------------------------------------------------------------------------------------------------

    def _rule(self, program: Program, rule: Rule, event: Event) -> None:
        if rule.when is not None and not self._evaluate(program, rule.when, event):
            return
        if rule.once and not self._is_first(rule, event):
            return
        for to, attribute, value in rule.sets:
            self._set(program, to, attribute, value, event)
            event.given.add((to, attribute))
        for give in rule.gives:
            event.given.add((give.to, give.metric))
            if give.when is None or self._evaluate(program, give.when, event):
                self._give(program, rule.cap, give, event)

    def _is_first(self, rule: Rule, event: Event) -> bool:
        """Whether a `once` rule sees this for the first time; from now on it has seen it."""
        parts: list[Any] = []
        for word in rule.once:
            part = event.periods.get(word) if "." not in word and word not in ROLES else self._field(event, word)
            if isinstance(part, (list, dict)):
                raise Failed("once needs a plain value")
            parts.append((isinstance(part, bool), part))
        key = (rule.name, *parts)
        if key in self.state.once:
            return False
        self.state.once[key] = self._log_time_us, not any(word in LATELY for word in rule.once)
        return True

    def _set(self, program: Program, to: Path, attribute: str, text: str, event: Event) -> None:
        subject = self._subject(event, to)
        if subject is None:
            return
        value = self._evaluate(program, text, event)
        if isinstance(value, (list, dict)):
            raise Failed("an attribute is a plain value")
        if isinstance(value, (int, Fraction)) and abs(value) > MAGNITUDE_MAX:
            raise Failed("too large")
        if value is not None:
            self.state.attributes[program.attributes[attribute], attribute, subject] = value

    def _give(self, program: Program, cap: str | None, give: Give, event: Event) -> None:
        subject = self._subject(event, give.to)
        if subject is None:
            return
        metric = program.metrics[give.metric]
        value = self._evaluate(program, give.amount, event)
        if not isinstance(value, (int, Fraction)):
            raise Failed("the amount is no number")
        exact = Fraction(value) * 10**metric.scale
        if give.mode != "add":
            if exact != int(exact):
                raise Failed("the value is too fine")
            self._replace(program, give, subject, int(exact), event)
            return
        units = self._whole(give.metric, subject, exact)
        if cap is not None:
            units = self._within_cap(program, cap, subject, units, event)
        self._add(program, give.metric, subject, units, event)

    def _whole(self, metric: str, subject: str, exact: Fraction) -> int:
        """The whole units of an amount. What is below one is carried until it makes one."""
        if exact == int(exact):
            return int(exact)
        rounded = Fraction(round(exact * 10**REMAINDER_DIGITS), 10**REMAINDER_DIGITS)
        total = rounded + self.state.carried.get((metric, subject), 0)
        self.state.carried[metric, subject] = total - math.floor(total)
        return math.floor(total)

    def _within_cap(self, program: Program, cap: str, subject: str, units: int, event: Event) -> int:
        """What of an amount a cap lets through. It is net: what takes away always may, and makes room."""
        _, limit, per = program.caps[cap]
        period = event.periods.get(per)
        if period is None:
            return units
        used = self.state.used.get((cap, period, subject), 0)
        if units > 0:
            units = min(units, max(limit - used, 0))
        self.state.used[cap, period, subject] = used + units
        return units

    def _add(self, program: Program, metric: str, subject: str, units: int, event: Event) -> None:
        """Add to the tally of all time, not below its floor; what that was is added in the periods too."""
        described = program.metrics[metric]
        before, _ = self.state.tallies.get((metric, "all", subject), (described.initial, None))
        after = before + units
        if described.minimum is not None:
            after = max(after, described.minimum)
        for kind in described.periods:
            period = event.periods.get(kind)
            if period is not None:
                start = described.initial if kind == "all" else 0
                held, _ = self.state.tallies.get((metric, period, subject), (start, None))
                self._put(metric, period, subject, held + after - before, event.place)

    def _replace(self, program: Program, give: Give, subject: str, units: int, event: Event) -> None:
        described = program.metrics[give.metric]
        if described.minimum is not None:
            units = max(units, described.minimum)
        if abs(units) > MAGNITUDE_MAX:
            raise Failed("too large, whether or not it would be kept")
        for kind in described.periods:
            period = event.periods.get(kind)
            if period is not None:
                held, _ = self.state.tallies.get((give.metric, period, subject), (None, None))
                better = {"set": True, "most": held is None or units > held, "least": held is None or units < held}
                if better[give.mode]:
                    self._put(give.metric, period, subject, units, event.place)

    def _put(self, metric: str, period: str, subject: str, value: int, place: Place) -> None:
        """Put a tally in its place. Who already had this value has had it since then."""
        if abs(value) > MAGNITUDE_MAX:
            raise Failed("too large")
        known = self.state.tallies.get((metric, period, subject))
        if known is None or known[0] != value:
            self.state.tallies[metric, period, subject] = value, place

    def _changed_by_hand(
        self, program: Program, event: Event, metric: str, subject: str, value: Any, mode: str
    ) -> None:
        """A correction or a score: no cap, no rule, but the floor and the badges as ever."""
        if metric not in program.metrics:
            raise Failed("there is no such metric")
        self._visited.update(event.periods.values())
        role = "object" if program.metrics[metric].holder == "object" else "owner"
        event.fields = {"type": event.fields["type"], "id": event.fields["id"], role: subject, "value": value}
        give = Give((role,), metric, "value", None, mode)
        event.given.add((give.to, metric))
        self._give(program, None, give, event)
        self._badges(program, event)

    # --- streaks and badges -------------------------------------------------------------------------------------------

    def _streak(self, program: Program, name: str, streak: Streak, event: Event) -> None:
        if streak.when is not None and not self._evaluate(program, streak.when, event):
            return
        subject = self._subject(event, streak.to)
        if subject is None:
            return
        if streak.every == "event":
            now, longest = self.state.unbroken.get((name, subject), (0, 0))
            broken = streak.breaks_when is not None and self._evaluate(program, streak.breaks_when, event)
            now = 0 if broken else now + 1
            self.state.unbroken[name, subject] = now, max(now, longest)
            event.given.add((streak.to, name))
            return
        period = number(streak.every, event.time_us, program.timezone, program.ranges)
        if period is not None:
            if not self.state.active.get((name, subject, period)):
                event.given.add((streak.to, name))
            self.state.active[name, subject, period] = self.state.active.get((name, subject, period), 0) + 1

    def streak(self, name: str, subject: str) -> tuple[int, int]:
        """How long it is now, and how long it was at most."""
        if (name, subject) in self.state.unbroken:
            return self.state.unbroken[name, subject]
        active = sorted(
            period for (of, who, period), count in self.state.active.items() if (of, who) == (name, subject) and count
        )
        now = longest = 0
        before: int | None = None
        for period in active:
            now = now + 1 if before is not None and period == before + 1 else 1
            longest, before = max(longest, now), period
        return now, longest

    def _badges(self, program: Program, event: Event) -> None:
        """Look at every badge that reads something that this event may have changed, for whom it may have."""
        for name, badge in program.badges.items():
            for to in {path for path, what in event.given if what in program.reads(badge)}:
                if badge.holder == ("object" if to == ("object",) else "user"):
                    self._badge(program, name, badge, self._subject(event, to), event)

    def _badge(self, program: Program, name: str, badge: Badge, subject: str | None, event: Event) -> None:
        if subject is None:
            return
        holder = event.fields.get("owner") if badge.holder == "object" else subject
        if holder is None:
            return
        earner = holder if badge.once_per_owner else subject
        for level, condition in badge.levels.items():
            holds = bool(
                evaluate(condition, lambda path: self._of(program, subject, path, event, badge.holder), program.lookups)
            )
            self._level((name, level, earner), badge, holder, holds, event)

    def _level(self, key: tuple[str, str, str], badge: Badge, holder: str, holds: bool, event: Event) -> None:
        held = self.state.awards.get(key)
        if badge.revocable and held is not None and not held.revoked and not holds:
            self.state.awards[key] = Award(held.holder, event.time_us, event.place, revoked=True)
        if not holds or (held is not None and not held.revoked):
            return
        if badge.days is not None:
            days = self.state.badge_days.get(key, frozenset()) | {event.periods["day"]}
            self.state.badge_days[key] = days
            if len(days) < badge.days:
                return
        if held is None or badge.revocable:
            self.state.awards[key] = Award(holder, event.time_us, event.place)

    # --- taking back ------------------------------------------------------------------------------------------------

    def _retract(self, program: Program, ref: str, event: Event) -> str:
        """Take an event back, or note that it shall have no effect when it comes."""
        known, until_us = self._known(ref), self._log_time_us + program.retract_days * DAY_US
        outcome = "applied"
        if known is None:
            if ref in self._seen:
                raise Failed("it is not of a type that can be taken back, or came too long ago")
            self.state.known[ref] = Known("awaited", until_us)
            outcome = "unmatched"
        elif known.state == "awaited":
            outcome = "unmatched"
        elif known.state == "retraction":
            raise Failed("a retraction cannot be taken back")
        elif known.effects is not None:
            self._take_back(program, known.effects, event)
            self.state.known[ref] = Known("retracted", known.until_us)
        self.state.known[event.fields["id"]] = Known("retraction", until_us)
        return outcome

    def _known(self, id: str) -> Known | None:
        known = self.state.known.get(id)
        return known if known is not None and known.until_us > self._log_time_us else None

    def _effects(self, program: Program, before: State, event: Event) -> Effects:
        """What is other than before. What carries below a unit may take a whole one with it, in any of its periods."""
        after, tallies = self.state, dict[tuple[str, str, str], int]()
        for key, (value, _) in after.tallies.items():
            if before.tallies.get(key) != after.tallies[key]:
                start = program.metrics[key[0]].initial if key[1] == "all" else 0
                tallies[key] = value - before.tallies.get(key, (start, None))[0]
        carried = {
            key: carried - before.carried.get(key, 0)
            for key, carried in after.carried.items()
            if carried != before.carried.get(key, 0)
        }
        for metric, subject in carried:
            for kind in program.metrics[metric].periods & event.periods.keys():
                tallies.setdefault((metric, event.periods[kind], subject), 0)
        active = {key: 1 for key, count in after.active.items() if count != before.active.get(key, 0)}
        return Effects(tallies, carried, active, event.fields.get("owner"), event.time_us)

    def _take_back(self, program: Program, effects: Effects, event: Event) -> None:
        """The opposite of what was done, but not below a floor; then the badges that read what has changed."""
        concerned: set[tuple[str, str, str]] = set()  # user or object, who, of what
        for metric, subject in dict.fromkeys((metric, subject) for metric, _, subject in effects.tallies):
            if metric in program.metrics:
                self._take_amounts(program, effects, metric, subject, event.place)
                concerned.add((program.metrics[metric].holder, subject, metric))
        for name, subject, period in effects.active:
            if name in program.streaks:
                self.state.active[name, subject, period] -= 1
                if not self.state.active[name, subject, period]:
                    holder = "object" if program.streaks[name].to == ("object",) else "user"
                    concerned.add((holder, subject, name))
        within = periods(effects.time_us, program.timezone, program.ranges)
        look = Event({"owner": effects.owner}, {}, effects.time_us, event.place, within)
        for holder, subject, what in concerned:
            for name, badge in program.badges.items():
                if badge.holder == holder and what in program.reads(badge) and badge.days is None:
                    self._badge(program, name, badge, subject, look)

    def _take_amounts(self, program: Program, effects: Effects, metric: str, subject: str, place: Place) -> None:
        described = program.metrics[metric]
        given = effects.tallies.get((metric, "all", subject), 0)
        amount = -given
        if (metric, subject) in effects.carried:
            total = self.state.carried[metric, subject] - effects.carried[metric, subject]
            amount += math.floor(total)
            self.state.carried[metric, subject] = total - math.floor(total)
        before, _ = self.state.tallies.get((metric, "all", subject), (described.initial, None))
        after = before + amount
        if described.minimum is not None:
            after = max(after, described.minimum)
        spared = after - (before - given)  # by so much less than it gave is taken back, in its periods too
        for of, period, who in effects.tallies:
            if (of, who) == (metric, subject) and period != "all":
                held, _ = self.state.tallies.get((metric, period, subject), (0, None))
                self._put(metric, period, subject, held - effects.tallies[of, period, who] + spared, place)
        self._put(metric, "all", subject, after, place)

    # --- closing and standing -----------------------------------------------------------------------------------------

    def _close(self, program: Program, period: str) -> None:
        """Write down the final standings, once."""
        if period in self.state.closed:
            return
        kind = kind_of(period, program.ranges)
        if kind is None or period not in self._visited:
            raise Failed("nothing was ever counted in such a period")
        for name, board in program.boards.items():
            if kind in board.periods and kind != "all":
                self.state.results[name, period] = self.board(name, period, "competition")
        self.state.closed |= {period}

    def board(self, name: str, period: str, style: str) -> list[Line]:
        """The standings of now. Whoever has a tally of any of its metrics in the period stands there."""
        assert self.program is not None
        board = self.program.boards[name]
        keys = [metric for metric, _ in board.order]
        subjects = {who for metric, within, who in self.state.tallies if metric in keys and within == period}
        members = []
        for subject in subjects:
            scores, reached = [], (0, 0)
            for metric in keys:
                start = self.program.metrics[metric].initial if period == "all" else 0
                score, place = self.state.tallies.get((metric, period, subject), (start, (0, 0)))
                scores.append(score)
                reached = max(reached, place)
            members.append(Member(subject, tuple(scores), reached))
        return standings(members, [down for _, down in board.order], board.ties, style)

    # --- what expressions read ----------------------------------------------------------------------------------------

    def _evaluate(self, program: Program, text: str, event: Event) -> Any:
        return evaluate(text, lambda path: self._name(program, path, event), program.lookups)

    def _name(self, program: Program, path: Path, event: Event) -> Any:
        head, *rest = path
        if head == "stamp":
            return event.stamp.get(rest[0])
        if head in ROLES and rest:
            holder = "object" if head == "object" else "user"
            return self._of(program, event.fields.get(head), tuple(rest), event, holder)
        return self._field(event, ".".join(path))

    def _of(self, program: Program, subject: str | None, path: Path, event: Event, holder: str) -> Any:
        """A tally, an attribute or a streak of somebody."""
        word, name = path if len(path) == 2 else ("all", path[0])
        if word in ("streak", "longest"):
            return self.streak(name, subject)[word == "longest"] if subject is not None else 0
        if name in program.metrics:
            metric, period = program.metrics[name], event.periods.get(word)
            start = metric.initial if word == "all" else 0
            if subject is None or period is None:
                return Fraction(start, 10**metric.scale)
            return Fraction(self.state.tallies.get((name, period, subject), (start, None))[0], 10**metric.scale)
        return self.state.attributes.get((holder, name, subject)) if subject is not None else None

    def _field(self, event: Event, path: str) -> Any:
        value: Any = event.fields
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def _subject(self, event: Event, to: Path) -> str | None:
        subject = self._field(event, ".".join(to))
        if to[0] == "data" and subject is not None and not (isinstance(subject, str) and 0 < len(subject) <= 256):
            raise Failed("a subject is a text")
        return subject if isinstance(subject, str) else None
