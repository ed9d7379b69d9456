"""The sections of a program, in the order they are read.

Metrics, attributes and streaks give the names that conditions may use, so they come first; what a metric is kept for
(users or objects, which periods) follows from where the rest uses it, so it is put together last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from accrue.core import period
from accrue.core.event import MAGNITUDE_MAX
from accrue.core.expression import CONSTANTS, Expression, nearest
from accrue.core.meaning import Names, TallyOf
from accrue.core.program import Program
from accrue.core.reader.parts import Parts, is_in_bounds
from accrue.core.reader.plain import NAME_CHARACTERS_MAX, dicts, is_printable, rows_of
from accrue.core.rule import Badge, Board, Cap, Give, Kind, Metric, OrderKey, Retract, Rule, SetAttribute, Streak
from accrue.errors import Misconfigured

SCALE_MAX = 9
CURRENCY_SCALE = 6
RULES_MAX = 1_000

SECTIONS = ("tenant", "ranges", "lookups", "metrics", "rules", "caps", "boards", "badges", "streaks", "retract")
TENANT_KEYS = ("timezone",)
METRIC_KEYS = ("scale", "initial", "min", "currency", "of", "periods")
RULE_KEYS = ("name", "on", "when", "once", "give", "set", "cap")
GIVE_KEYS = ("to", "metric", "amount", "when", "mode")
SET_KEYS = ("on", "attribute", "value")
CAP_KEYS = ("metric", "limit", "per")
BOARD_KEYS = ("metric", "order", "periods", "ties", "keep")
BADGE_KEYS = ("subject", "when", "levels", "once", "days", "revocable")
STREAK_KEYS = ("on", "every", "to", "when", "breaks_when")
RETRACT_KEYS = ("types", "days")
RETRACT_DAYS_MAX = 3_650


class Sections(Parts):
    """Reads a whole document."""

    def program(self) -> Program | None:
        self._known(self._document, SECTIONS, "section")
        ranges = self._ranges()
        tenant = self._table("tenant")
        self._at = ("tenant",)
        self._known(tenant, TENANT_KEYS, "setting")
        calendar = self._calendar(self._text_of(tenant, "timezone", "UTC"), ranges)
        if calendar is None:
            return None
        self._periods = (*period.KINDS, *ranges)
        kinds = self._kinds()
        self._names = Names(
            metrics={name: kinds.get(name, "user") for name in self._table("metrics")},
            attributes=self._attribute_kinds(),
            streaks=frozenset(self._table("streaks")),
            periods=self._periods,
        )
        tables = self._look_ups()
        self._tables = frozenset(tables)
        self._uses: dict[str, set[str]] = {name: {"all"} for name in self._names.metrics}
        self._scales = {name: self._scale(name) for name in self._names.metrics}
        caps = dict(self._caps())
        rules = tuple(self._rules(caps))
        boards = dict(self._boards())
        streaks = dict(self._streaks())
        badges = dict(self._badges())
        metrics = dict(self._metrics())
        retract = self._retract(rules, streaks)
        if self.problems:
            return None
        return Program(
            text=self._text,
            calendar=calendar,
            metrics=metrics,
            attributes=self._names.attributes,
            rules=rules,
            caps=caps,
            boards=boards,
            badges=badges,
            streaks=streaks,
            tables=tables,
            names=self._names,
            retract=retract,
        )

    def _ranges(self) -> dict[str, list[period.NamedRange]]:
        ranges: dict[str, list[period.NamedRange]] = {}
        for kind, members in self._table("ranges").items():
            self._at = ("ranges", kind)
            ranges[kind] = []
            for name, span in members.items() if isinstance(members, dict) else ():
                if not isinstance(span, dict) or set(span) != {"from", "to"} or not _dates(span.values()):
                    self._problem(
                        f'write {name!r} = {{ from = 2026-08-01, to = 2027-06-01 }}; "to" is the day after',
                        name,
                    )
                elif span["from"] >= span["to"]:
                    self._problem(f"{name!r} ends before it begins", name)
                else:
                    ranges[kind].append(period.NamedRange(name, span["from"], span["to"]))
            if not kind.isidentifier():
                self._problem(f"the name of a range is a plain word, not {kind!r}")
            if not ranges[kind]:
                self._problem(f"the range {kind!r} needs at least one named span")
        return ranges

    def _kinds(self) -> dict[str, Kind]:
        """Which kind of subject holds each metric: what `of` says, or what the rules give it to."""
        kinds: dict[str, Kind] = {}
        for name, table in self._table("metrics").items():
            if isinstance(table, dict) and table.get("of") in ("user", "object"):
                kinds[name] = table["of"]
        for index, rule in enumerate(
            self._document.get("rules", []) if isinstance(self._document.get("rules"), list) else []
        ):
            self._at = ("rules", index)
            for give in dicts(rule, "give"):
                metric, to = give.get("metric"), give.get("to")
                if isinstance(metric, str) and isinstance(to, str) and to.startswith("data.") and metric in kinds:
                    continue  # a field of data may name a user or an object: the metric's `of` says which
                kind: Kind = "object" if to == "object" else "user"
                if isinstance(metric, str) and kinds.setdefault(metric, kind) != kind:
                    self._problem(
                        f"the metric {metric!r} is given to users and to objects; declare two metrics, "
                        f"for example {metric!r} and 'author_{metric}'",
                        "give",
                    )
        return kinds

    def _attribute_kinds(self) -> dict[str, Kind]:
        kinds: dict[str, Kind] = {}
        for index, rule in enumerate(self._list("rules")):
            self._at = ("rules", index)
            for item in dicts(rule, "set"):
                name, kind = item.get("attribute"), "object" if item.get("on") == "object" else "user"
                if not isinstance(name, str):
                    continue
                if name in self._table("metrics"):
                    self._problem(f"{name!r} is a metric already; give the attribute another name", "set")
                elif kinds.setdefault(name, kind) != kind:  # type: ignore[arg-type]  # one of the two words
                    self._problem(f"the attribute {name!r} is set on users and on objects; use two names", "set")
        return kinds

    def _look_ups(self) -> dict[str, dict[str, bool | int | Decimal | str]]:
        tables: dict[str, dict[str, bool | int | Decimal | str]] = {}
        for name, entries in self._table("lookups").items():
            self._at = ("lookups", name)
            if not isinstance(entries, dict) or not (name.isidentifier() and name.isascii()):
                self._problem("a look-up is a table of key = value, and its name a plain word")
                continue
            for key, value in entries.items():
                if not isinstance(value, (bool, int, Decimal, str)):
                    self._problem(f"{key!r} must be a number, a text, true or false", key)
                elif isinstance(value, (int, Decimal)) and not is_in_bounds(value):
                    self._problem(f"{key!r} is no number within +-{MAGNITUDE_MAX}", key)
                elif isinstance(value, str) and "\0" in value:
                    self._problem(f"{key!r} holds the character U+0000", key)
            tables[name] = entries
        return tables

    def _scale(self, name: str) -> int:
        table = self._table("metrics").get(name)
        table = table if isinstance(table, dict) else {}
        scale = table.get("scale", CURRENCY_SCALE if "currency" in table else 0)
        if type(scale) is not int or not 0 <= scale <= SCALE_MAX:
            self._at = ("metrics", name)
            self._problem(f"scale is a number of decimal digits from 0 to {SCALE_MAX}", "scale")
            return 0
        return scale

    def _caps(self) -> Iterable[tuple[str, Cap]]:
        for name, table in self._tables_of("caps", CAP_KEYS):
            metric = self._metric(table, "metric")
            per = self._choice(table, "per", self._periods, "day")
            limit = self._amount(table, "limit", metric)
            if limit is not None and limit < 0:
                self._problem("a cap's limit is 0 or more", "limit")
            if metric is not None and limit is not None:
                yield name, Cap(name, metric, limit, per)
            elif "limit" not in table:
                self._problem("a cap needs a limit")

    def _rules(self, caps: Mapping[str, Cap]) -> Iterable[Rule]:
        rules = self._list("rules")
        if len(rules) > RULES_MAX:
            self._at = ("rules", RULES_MAX)
            self._problem(f"a program has at most {RULES_MAX} rules")
        seen: dict[str, int] = {}
        for index, table in enumerate(rules):
            self._at = ("rules", index)
            if not isinstance(table, dict):
                self._problem("write each rule as [[rules]]")
                continue
            self._known(table, RULE_KEYS, "key")
            line = self._lines.line(*self._at)
            on = self._types(table)
            once = self._once(table)
            name = self._text_of(table, "name", f"rule {index + 1}")
            if name in seen:
                self._problem(f"the name {name!r} is taken by the rule in line {seen[name]}", "name")
            seen[name] = line
            if once and "name" not in table:
                self._problem("a rule with once needs a name: what it remembers is kept under it", "once")
            cap = self._cap(table, caps)
            gives = tuple(self._gives(table, cap))
            sets = tuple(self._sets(table))
            for key in ("give", "set"):
                if key in table and dicts(table, key) != rows_of(table, key):
                    self._problem(f"{key} is a list of tables: {key} = [{{ ... }}]", key)
            if not dicts(table, "give") and not dicts(table, "set"):
                self._problem('a rule gives or sets something: give = [{ to = "actor", metric = "points" }]')
            when = self._expression(table, "when")
            yield Rule(name, on, when, once, gives, sets, cap.name if cap else None, line)

    def _gives(self, table: dict[str, Any], cap: Cap | None) -> Iterable[Give]:
        for give in dicts(table, "give"):
            self._known(give, GIVE_KEYS, "key", "give")
            to = self._to(give, "to")
            metric = self._metric(give, "metric", "give")
            amount = self._expression(give, "amount", default="1")
            when = self._expression(give, "when")
            mode = self._choice(give, "mode", ("add", "set", "most", "least"), "add")
            if cap and metric and metric != cap.metric:
                self._problem(f"the cap {cap.name!r} is on {cap.metric!r}, but this gives {metric!r}", "cap")
            if cap and mode != "add":
                self._problem("a capped amount is added; mode belongs to a rule without a cap", "give")
            if to and metric and amount:
                yield Give(to, metric, amount, when, mode)  # type: ignore[arg-type]  # one of the four words

    def _sets(self, table: dict[str, Any]) -> Iterable[SetAttribute]:
        for item in dicts(table, "set"):
            self._known(item, SET_KEYS, "key", "set")
            to = self._to(item, "on")
            name = item.get("attribute")
            value = self._expression(item, "value")
            if not isinstance(name, str) or not name.isidentifier():
                self._problem("set needs attribute = a plain word", "set")
            elif "value" not in item:
                self._problem('set needs a value, for example value = "data.kind"', "set")
            elif to and value is not None:
                yield SetAttribute(to, name, value)

    def _boards(self) -> Iterable[tuple[str, Board]]:
        for name, table in self._tables_of("boards", BOARD_KEYS):
            order = tuple(self._order(table))
            periods = self._words(table, "periods", ["all"], self._periods, "period")
            ties = self._choice(table, "ties", ("first", "last", "id"), "first")
            keep = table.get("keep", {})
            if not isinstance(keep, dict) or any(
                kind not in periods or type(count) is not int or count < 0 for kind, count in keep.items()
            ):
                self._problem("keep says how many closed periods stay live: keep = { week = 52 }", "keep")
                keep = {}
            if len({self._names.metrics[key.metric] for key in order}) > 1:
                self._problem("the metrics of one board belong to users or to objects, not to both", "order")
            for key in order:
                self._uses[key.metric].update(periods)
            if "order" in table and not table["order"]:
                self._problem("order names at least one metric", "order")
            if order:
                yield name, Board(name, order, tuple(periods), ties, keep)  # type: ignore[arg-type]  # checked word

    def _order(self, table: dict[str, Any]) -> Iterable[OrderKey]:
        if ("metric" in table) == ("order" in table):
            self._problem('a board has either metric = "points" or order = ["points desc", "goals desc"]')
            return
        written = [f"{table['metric']} desc"] if "metric" in table else table["order"]
        for item in written if isinstance(written, list) else [written]:
            words = str(item).split()
            if len(words) == 1:
                words.append("desc")
            if len(words) != 2 or words[1] not in ("asc", "desc"):
                self._problem(f"{item!r}: write a metric and asc or desc", "order")
            elif words[0] not in self._names.metrics:
                hint = nearest(words[0], list(self._names.metrics))
                self._problem(f"there is no metric {words[0]!r}{hint}", "order" if "order" in table else "metric")
            else:
                yield OrderKey(words[0], words[1] == "desc")

    def _streaks(self) -> Iterable[tuple[str, Streak]]:
        for name, table in self._tables_of("streaks", STREAK_KEYS):
            if not name.isidentifier():
                self._problem(f"the name of a streak is a plain word, not {name!r}")
            every = self._choice(table, "every", ("event", *[p for p in self._periods if p != "all"]), "day")
            to = self._to(table, "to", default="actor")
            breaks = self._expression(table, "breaks_when")
            if breaks and every != "event":
                self._problem('breaks_when belongs to streaks with every = "event"', "breaks_when")
            on, when = self._types(table), self._expression(table, "when")
            if to:
                yield name, Streak(name, on, to, every, when, breaks)

    def _badges(self) -> Iterable[tuple[str, Badge]]:
        for name, table in self._tables_of("badges", BADGE_KEYS):
            kind: Kind = "object" if self._choice(table, "subject", ("user", "object"), "user") == "object" else "user"
            once = self._choice(table, "once", ("subject", "owner"), "subject")
            if once == "owner" and kind != "object":
                self._problem('once = "owner" belongs to badges with subject = "object"', "once")
            if ("when" in table) == ("levels" in table):
                self._problem('a badge has either when = "..." or levels = { bronze = "..." }')
                continue
            written = {"": table["when"]} if "when" in table else table["levels"]
            levels: dict[str, Expression] = {}
            if not isinstance(written, dict) or not written:
                self._problem('levels is a table: levels = { bronze = "points >= 10" }', "levels")
                continue
            for level, condition in written.items():
                if not is_printable(level) and "levels" in table:
                    self._problem(f"the name of a level is 1 to {NAME_CHARACTERS_MAX} printable characters", "levels")
                key = "when" if "when" in table else "levels"
                checked = self._parsed(condition, key, partial(self._names.in_badge, kind=kind))
                if checked is not None:
                    if not any(
                        isinstance(self._names.in_badge(path, kind), TallyOf) or path[0] in ("streak", "longest")
                        for path in sorted(checked.paths)
                        if path[0] not in CONSTANTS
                    ):
                        self._problem("a badge's condition reads at least one metric or streak", key)
                    levels[level] = checked
            days = table.get("days")
            if days is not None and (type(days) is not int or days < 1):
                self._problem("days is a whole number from 1", "days")
            revocable = table.get("revocable", False)
            if type(revocable) is not bool:
                self._problem("revocable is true or false", "revocable")
            elif revocable and (once == "owner" or days is not None):
                self._problem("a badge for any object or for days cannot be revocable", "revocable")
            if levels:
                yield name, Badge(name, kind, levels, once, days, bool(revocable))  # type: ignore[arg-type]  # checked

    def _retract(self, rules: Iterable[Rule], streaks: Mapping[str, Streak]) -> Retract:
        """Which events can be taken back. Not those that move a streak of events: it has forgotten what came before."""
        table = self._table("retract")
        self._at = ("retract",)
        self._known(table, RETRACT_KEYS, "key")
        listened = {type for rule in rules for type in rule.on}.union(*(streak.on for streak in streaks.values()))
        types = self._words(table, "types", [], tuple(sorted(listened)), "type that anything here listens to")
        for streak in streaks.values():
            for name in sorted({*types} & {*streak.on} if streak.every == "event" else ()):
                self._problem(
                    f"{name!r} moves the streak {streak.name!r} of events, which cannot be taken back", "types"
                )
        for rule in rules:
            if {*types} & {*rule.on} and any(give.mode != "add" for give in rule.gives):
                self._problem(f"the rule {rule.name!r} replaces a tally, which cannot be taken back", "types")
        days = table.get("days", Retract().days)
        if type(days) is not int or not 1 <= days <= RETRACT_DAYS_MAX:
            self._problem(f"days is a whole number from 1 to {RETRACT_DAYS_MAX}", "days")
            days = Retract().days
        return Retract(frozenset(types), days)

    def _metrics(self) -> Iterable[tuple[str, Metric]]:
        for name, table in self._tables_of("metrics", METRIC_KEYS):
            if not name.isidentifier():
                self._problem("a metric's name is a plain word: letters, digits and _")
            if name in (*self._periods, "streak", "longest"):
                self._problem(f"{name!r} is the name of a period or a reserved word")
            extra = self._words(table, "periods", [], self._periods, "period")
            used = self._uses[name].union(extra)
            initial = self._amount(table, "initial", name) or 0
            minimum = self._amount(table, "min", name)
            if minimum is not None and initial < minimum:
                self._problem("initial is below min", "initial")
            if table.get("of", "user") not in ("user", "object"):
                self._problem('of is "user" or "object"', "of")
            currency = table.get("currency")
            if currency is not None and not (isinstance(currency, str) and len(currency) == 3 and currency.isupper()):
                self._problem('a currency is three capital letters: "USD"', "currency")
            periods = tuple(kind for kind in self._periods if kind in used)
            kind = self._names.metrics[name]
            yield name, Metric(name, self._scales[name], initial, minimum, currency, kind, periods)

    def _calendar(self, timezone: str, ranges: dict[str, list[period.NamedRange]]) -> period.Calendar | None:
        calendar = None
        for kind, named in [("", []), *ranges.items()]:  # one kind of ranges after the other, to know whose fault it is
            try:
                calendar = period.Calendar(timezone, {kind: named} if kind else {})
            except Misconfigured as error:
                self._at = ("ranges", kind) if kind else ("tenant",)
                self._problem(error.detail, None if kind else "timezone")
                return None
        return period.Calendar(timezone, ranges) if ranges else calendar


def _dates(values: Iterable[object]) -> bool:
    return all(isinstance(value, date) and not isinstance(value, datetime) for value in values)
