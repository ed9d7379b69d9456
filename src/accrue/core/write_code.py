"""Writes the Python function of one event type from the parts of a program that concern it.

The text is plain and flat so that it can be read (`accrue check --code`). For

    [[rules]]
    on = "comment.created"
    when = "actor != owner"
    give = [{ to = "actor", metric = "points", amount = 5 }]

it is

    def decide(event, sequence, time_us, stamp):
        actor = event.actor
        owner = event.owner
        s0 = None
        try:
            # rule 1
            if actor != owner:
                subject = actor
                if subject is not None:
                    old = t0.get(subject)
                    new = (0 if old is None else old) + 5
                    if not -9007199254740991 <= new <= 9007199254740991: raise past_limit('points')
                    s0 = subject; o0 = old; n0 = new; t0[subject] = new
        except BaseException:
            if s0 is not None: put_back(t0, s0, o0)
            raise
        if s0 is not None: t0.changed[s0] = (n0, sequence)

Everything that comes from a program enters as a checked expression, a `repr` or a number; never as raw text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from accrue.core.arithmetic import decimal
from accrue.core.badge_lines import BadgeLines
from accrue.core.code_lines import Slot
from accrue.core.expression import Expression, Path, parse
from accrue.core.meaning import ROLES
from accrue.core.once import once_prefix
from accrue.core.program import Program
from accrue.core.rule import Cap, Give, Metric, Rule, Streak
from accrue.core.tally import scaled

CHANGE = "accrue.change/"
LOOK = "accrue.look/"
"""`accrue.look/user/points` only looks at the badges that read points, for a subject whose points have changed."""

VALUE = parse("value")
LATELY_PERIODS = ("hour", "day", "week", "month")
"""Once a period of these kinds: remembered for the window. Once a longer one, or once at all: for ever."""


class Code(NamedTuple):
    """A written function. `bind` takes the tables of `slots`, in that order, and returns it ready to call."""

    text: str
    slots: tuple[Slot, ...]
    bind: Callable[..., Any]
    bind_once: Callable[..., Any] | None


class FunctionWriter(BadgeLines):
    """Writes one function. `write` returns its text, the tables it needs and its decimal constants."""

    def __init__(self, tenant: str, program: Program, type: str, data_names: dict[str, str]) -> None:
        super().__init__(program, data_names)
        self._tenant = tenant
        self._type = type
        self._once_keys: list[str] = []  # the body of the function that makes the keys of `once` rules
        self._once_ever: list[bool] = []  # for each of these rules, whether it remembers for ever
        self._given: dict[Path, dict[str, list[str]]] = {}  # to -> metric or streak -> flags of what gave it

    def write(self) -> tuple[str, tuple[Slot, ...], dict[str, str]]:
        for number, rule in enumerate(self._rules(), start=1):
            self._rule(rule, f"gave{number}")
        for number, streak in enumerate(self._program.streaks.values(), start=1):
            if self._type in streak.on:
                self._streak(streak, f"went{number}")
        for to, given in self._given.items():
            self._badges(to, given)
        if self._type.startswith(LOOK):
            kind, _, what = self._type.removeprefix(LOOK).partition("/")
            self._counts_days = False  # nothing has happened on that day
            self._badges(("object",) if kind == "object" else ("owner",), {what: ["True"]})
        return self._text(), tuple(self._slots), self._numbers

    def _rules(self) -> list[Rule]:
        if not self._type.startswith(CHANGE):
            return [rule for rule in self._program.rules if self._type in rule.on]
        mode, _, name = self._type.removeprefix(CHANGE).partition("/")
        to = ("object",) if self._program.metrics[name].kind == "object" else ("owner",)
        give = Give(to, name, VALUE, None, mode)  # type: ignore[arg-type]  # a mode by construction
        return [Rule("change", (self._type,), None, (), (give,), (), None, 0)]

    def _text(self) -> str:
        tables = [f"    t{index} = tables[{index}]" for index in range(len(self._slots))]
        fields = [
            f"        {name} = event.{name}" for name in ("actor", "object", "owner", "data") if name in self._reads
        ]
        stamps = [
            f"        {name} = stamp.{name} if stamp is not None else None"
            for name in ("crawler", "clamped")
            if f"stamp.{name}" in self._reads
        ]
        if "data" in self._reads:
            fields.append("        if data is None: data = no_data")
        once_rules = len(self._once_ever)
        unmade = f", once_keys=({'None, ' * once_rules})" if once_rules else ""
        numbers = range(len(self._writes))
        names = [f"s{write}" for write in numbers] + [f"m{number}" for number in range(once_rules)]
        unset = ["        " + " = ".join(names) + " = None"] if names else []
        back = [
            f"            if s{write} is not None: put_back({self._writes[write]}, s{write}, o{write})"
            for write in numbers
        ]
        marks = [
            f"        if m{number} is not None: once_seen[m{number}] = True; once_fresh[m{number}] = {ever}"
            for number, ever in enumerate(self._once_ever)
        ]
        marks += [
            f"        if s{write} is not None: {table}.changed[s{write}] = (n{write}, sequence)"
            for write, table in enumerate(self._writes)
        ]
        return "\n".join(
            [
                "def bind(tables, moment, remembers):",
                *tables,
                *self._of_moment("ordinal", "ordinals"),
                *self._of_moment("period", "ids"),
                *(["    once_seen, once_fresh, seen_lately, seen_ever = remembers"] if once_rules else []),
                f"    def decide(event, sequence, time_us, stamp{unmade}):",
                *fields,
                *stamps,
                *unset,
                "        try:",
                *(self._lines or ["            pass"]),
                "        except BaseException:",
                *reversed(back),
                "            raise",
                *marks,
                *(self._kept() if self._type in self._program.retract.types else []),
                "    return decide",
                *(self._once_function(fields) if self._once_keys else []),
                "",
            ]
        )

    def _once_function(self, fields: list[str]) -> list[str]:
        """The function that only makes the keys of `once` rules."""
        made = "".join(f"once{number}, " for number in range(len(self._once_ever)))
        return [
            "def bind_once(moment):",
            *self._of_moment("period", "ids"),
            "    def once_keys(event, lately, ever):",
            *fields,
            *self._once_keys,
            f"        return ({made})",
            "    return once_keys",
        ]

    def _kept(self) -> list[str]:
        """Lines that return every write: what has to be known of an event that can be taken back."""
        writes = [
            f"        if s{write} is not None: kept.append(({table}, s{write}, o{write}, n{write}))"
            for write, table in enumerate(self._writes)
        ]
        return ["        kept = []", *writes, "        return kept"]

    def _of_moment(self, what: str, where: str) -> list[str]:
        """Lines that take what is used of a moment: `period_day`, `ordinal_week`."""
        names = sorted(name for name in self._reads if name.startswith(f"{what}_"))
        return [f"    {name} = moment.{where}.get({name.removeprefix(f'{what}_')!r})" for name in names]

    # --- rules ------------------------------------------------------------------------------------------------

    def _rule(self, rule: Rule, flag: str) -> None:
        self._line(f"# {rule.name!r}")
        watched = self._watched(rule)
        if watched:
            self._line(f"{flag} = False")
        condition = self._source(rule.when) if rule.when else None
        with self._when(condition):
            first = self._once(rule) if rule.once else None
            with self._when(first):
                if first:
                    self._line(f"m{len(self._once_ever) - 1} = once")
                if watched:
                    self._line(f"{flag} = True")
                for item in rule.sets:
                    self._set(item.to, item.attribute, item.value)
                    if watched:
                        self._gave(item.to, f"attribute {item.attribute}", flag)
                for give in rule.gives:
                    with self._when(self._source(give.when) if give.when else None):
                        self._give(give, self._program.caps[rule.cap] if rule.cap else None)
                    if watched:
                        self._gave(give.to, give.metric, flag)

    def _watched(self, rule: Rule) -> bool:
        given = {give.metric for give in rule.gives} | {f"attribute {item.attribute}" for item in rule.sets}
        return any(self._badge_reads(badge) & given for badge in self._program.badges.values())

    def _gave(self, to: Path, what: str, flag: str) -> None:
        self._given.setdefault(to, {}).setdefault(what, []).append(flag)

    def _once(self, rule: Rule) -> str:
        """Make the key, and return the condition under which it was not seen yet."""
        parts = [repr(once_prefix(self._tenant, rule.name))]
        for word in rule.once:
            if word in ROLES:
                parts.append(self._field(word))
            elif word.startswith("data."):
                parts.append(self._data(tuple(word.split("."))[1:]))
            else:
                self._reads.add(f"period_{word}")
                parts.append(f"period_{word}")
        key = f"once_key({', '.join(parts)})"
        number, memory = len(self._once_ever), self._memory(rule)
        self._once_ever.append(memory == "ever")
        self._line(f"once = once_keys[{number}] or {key}")
        self._line("seen = once_seen.get(once)")
        self._once_keys += [
            "        try:",
            f"            once{number} = {key}",
            f"            {memory}(once{number})",
            f"        except Failure: once{number} = None",
        ]
        return f"not (seen_{memory}(once) if seen is None else seen)"

    def _memory(self, rule: Rule) -> str:
        return "lately" if any(word in LATELY_PERIODS for word in rule.once) else "ever"

    def _set(self, to: Path, attribute: str, value: Expression) -> None:
        table = self._table("attribute", attribute, "object" if to == ("object",) else "user")
        with self._subject(to):
            self._line(f"new = plain({self._source(value)}, {attribute!r})")
            self._line(f"old = {table}.get(subject)")
            with self._when("new is not None and (new != old or type(new) is not type(old))"):
                self._change(table)

    def _give(self, give: Give, cap: Cap | None) -> None:
        metric = self._program.metrics[give.metric]
        with self._subject(give.to):
            amount = self._amount(give.amount, metric, give.mode)
            if give.mode != "add":
                self._replace(metric, amount, give.mode)
                return
            if cap:
                amount = self._cap(cap, amount)
            self._add(metric, amount)

    def _amount(self, expression: Expression, metric: Metric, mode: str) -> str:
        """Source of the whole amount in units: a constant, or the name `amount` after lines that compute it.

        Only what is added has a remainder to carry; a value that is set must fit the metric's scale.
        """
        written = expression.constant()
        if written is not None:
            value = scaled(int(written) if written.lstrip("-").isdigit() else decimal(written), metric.scale)
            if type(value) is int:
                return str(value)
        self._line(f"amount = scaled({self._source(expression)}, {metric.scale})")
        if mode != "add":
            self._line(f"if type(amount) is not int: raise too_fine({metric.name!r}, {metric.scale})")
            return "amount"
        carried = self._table("tally", f"carry.{metric.name}", "all")
        with self._when("type(amount) is not int"):
            self._line(f"old = {carried}.get(subject)")
            self._line("amount, new = split_remainder(amount, old or 0)")
            with self._when("new != (old or 0)"):
                self._change(carried)
        return "amount"

    def _cap(self, cap: Cap, amount: str) -> str:
        used = self._table("tally", f"cap.{cap.name}", cap.per)
        if amount != "amount":
            self._line(f"amount = {amount}")
        with self._when(f"{used} is not None" if self._is_range(cap.per) else None):
            self._line(f"old = {used}.get(subject)")
            self._line("used = old or 0")
            # What takes away always may, also when a new program made the limit smaller than what is used.
            self._line(f"if amount > 0 and amount > {cap.limit} - used: amount = max({cap.limit} - used, 0)")
            with self._when("amount"):
                self._line("new = used + amount")
                self._check(self._program.metrics[cap.metric])  # below a floor only the cap goes on falling
                self._change(used)
        return "amount"

    def _add(self, metric: Metric, amount: str) -> None:
        """Add to the tally of all time (with initial value and floor), then the same to every period."""
        every = self._table("tally", metric.name, "all")
        known_change = amount != "amount" and amount != "0"
        self._line(f"old = {every}.get(subject)")
        before = f"({metric.initial} if old is None else old)"
        self._line(f"new = {before} + {amount}")
        if metric.minimum is not None:
            self._line(f"if new < {metric.minimum}: new = {metric.minimum}")
            self._line(f"amount = new - {before}")
            amount, known_change = "amount", False
        with self._when(None if known_change else f"{amount} or old is None"):
            self._check(metric, amount)
            self._change(every)
        for period in metric.periods[1:]:  # an amount of 0 is a tally too, in each period for itself
            table = self._table("tally", metric.name, period)
            with self._when(f"{table} is not None" if self._is_range(period) else None):
                self._line(f"old = {table}.get(subject)")
                with self._when(None if known_change else f"{amount} or old is None"):
                    self._line(f"new = {amount} if old is None else old + {amount}")
                    self._check(metric, amount)
                    self._change(table)

    def _replace(self, metric: Metric, amount: str, mode: str) -> None:
        """Set every period's tally, or keep the larger or smaller."""
        self._line(f"new = {amount}")
        if metric.minimum is not None:
            self._line(f"if new < {metric.minimum}: new = {metric.minimum}")
        self._check(metric)
        better = {"set": "new != old", "most": "new > old", "least": "new < old"}[mode]
        for period in metric.periods:
            table = self._table("tally", metric.name, period)
            with self._when(f"{table} is not None" if self._is_range(period) else None):
                self._line(f"old = {table}.get(subject)")
                with self._when(f"old is None or {better}"):
                    self._change(table)

    # --- streaks ------------------------------------------------------------------------------------------------

    def _streak(self, streak: Streak, flag: str) -> None:
        self._line(f"# streak {streak.name!r}")
        state = self._table("streak", streak.name, "")
        self._line(f"{flag} = False")
        with self._when(self._source(streak.when) if streak.when else None), self._subject(streak.to):
            if streak.every == "event":
                broken = self._source(streak.breaks_when) if streak.breaks_when else "False"
                self._line(f"old = {state}.get(subject)")
                self._line(f"new = with_event(old, broken=bool({broken}), time_us=time_us)")
                self._change(state)
                self._line(f"{flag} = True")
            else:
                self._active_period(streak, state, flag)
        self._gave(streak.to, f"streak {streak.name}", flag)

    def _active_period(self, streak: Streak, state: str, flag: str) -> None:
        """Count the period's events; only its first one changes the streak."""
        days = self._table("tally", f"streak.{streak.name}", streak.every)
        ordinal = f"ordinal_{streak.every}"
        self._reads.add(ordinal)
        with self._when(f"{days} is not None" if self._is_range(streak.every) else None):
            self._line(f"old = {days}.get(subject)")
            self._line("new = (old or 0) + 1")
            self._change(days)
            with self._when("not old"):
                self._line(f"old = {state}.get(subject)")
                self._line(f"new = with_period(old, {ordinal})")
                self._change(state)
                self._line(f"{flag} = True")
