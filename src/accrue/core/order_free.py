"""Order-free: whether the order in which events come can change what a part of a program makes of them.

A plain sum is the same in any order. A cap is not: who comes first takes the room. Order never makes Accrue
inexact (the log has one order, and every replay follows it), but whoever sends events late or in parallel wants to
know where it matters. This judges cautiously: what it calls order-free is, what it does not may still be.

    a rule    a plain sum or count: no cap, no `once`, every amount added, to metrics without a floor that nothing
              sets, and whole where the metric is kept for periods (what is carried of a fraction becomes whole in the
              period of a later event); neither its condition nor its amounts read a tally, an attribute or a streak;
              and nothing else on its events can fail by what came before, because that parks the whole event
    a streak  by period (a set of days is the same in any order), with a condition that reads only the event
    a board   ties by id, over metrics that only order-free rules change
    a badge   of a user, on such metrics in one kind of period; kept for good when these only grow and the condition
              asks for at least so much of each, or taken back as soon as the tallies of all time say so
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from accrue.core import shapes
from accrue.core.expression import CONSTANTS, Expression
from accrue.core.meaning import AttributeOf, Names, StreakOf, TallyOf
from accrue.core.program import Program
from accrue.core.rule import Badge, Board, Give, Metric, Rule, Streak


class Verdict(Struct, frozen=True):
    """`reasons` are short clauses that say why the order matters; without any it does not."""

    name: str
    reasons: tuple[str, ...]

    @property
    def order_free(self) -> bool:
        return not self.reasons


class Verdicts(Struct, frozen=True):
    """One for each, in the order of the file."""

    rules: tuple[Verdict, ...]
    streaks: tuple[Verdict, ...]
    boards: tuple[Verdict, ...]
    badges: tuple[Verdict, ...]


def judge(program: Program) -> Verdicts:
    """Whether the rules, streaks and boards of a program are order-free, and why not."""
    replaced = {give.metric: give.mode for rule in program.rules for give in rule.gives if give.mode != "add"}
    rules: list[Verdict] = []
    touched: dict[str, str] = {}
    for rule in program.rules:
        given = _given(program, rule, replaced) + _parked(program, rule)
        if given:
            for give in rule.gives:
                touched.setdefault(give.metric, rule.name)
        sets = [f"sets the attribute {item.attribute!r}: the last event decides" for item in rule.sets]
        rules.append(Verdict(rule.name, tuple(dict.fromkeys(sets + given))))
    return Verdicts(
        tuple(rules),
        tuple(_streak(program.names, streak) for streak in program.streaks.values()),
        tuple(_board(board, touched) for board in program.boards.values()),
        tuple(_badge(program, badge, touched) for badge in program.badges.values()),
    )


def _given(program: Program, rule: Rule, replaced: Mapping[str, str]) -> list[str]:
    """Why what a rule gives follows order; the attributes it sets aside, which no tally shows."""
    reasons: list[str] = []
    if rule.cap:
        reasons.append(f"cap {rule.cap!r}: who comes first takes the room")
    if rule.once:
        reasons.append("once: the first event counts, later ones do not")
    for give in rule.gives:
        reasons += _give(program, give, replaced)
    carried = [repr(give.metric) for give in rule.gives if _carries(program.metrics[give.metric], give)]
    if carried:
        names = ", ".join(dict.fromkeys(carried))
        reasons.append(f"fractions of {names} are carried: in which period a whole one counts follows order")
    reasons += _reads("its condition", [rule.when], program.names)
    reasons += _reads("an amount", [give.amount for give in rule.gives], program.names)
    reasons += _reads("an amount's condition", [give.when for give in rule.gives], program.names)
    return reasons


def _give(program: Program, give: Give, replaced: Mapping[str, str]) -> Iterable[str]:
    metric = program.metrics[give.metric]
    if metric.minimum is not None:
        yield f"{give.metric!r} has a min: what falls below it is lost"
    if give.mode != "add":
        yield f"mode {give.mode!r}: it replaces what {give.metric!r} holds"
    elif give.metric in replaced:
        yield f"another rule replaces {give.metric!r} (mode {replaced[give.metric]!r})"


def _carries(metric: Metric, give: Give) -> bool:
    return give.mode == "add" and len(metric.periods) > 1 and not shapes.is_whole(give.amount, metric.scale)


def _streak(names: Names, streak: Streak) -> Verdict:
    reasons = ["every event: it counts in the order of the log"] if streak.every == "event" else []
    reasons += _reads("its condition", [streak.when, streak.breaks_when], names)
    return Verdict(streak.name, tuple(reasons))


def _board(board: Board, touched: Mapping[str, str]) -> Verdict:
    reasons = [f"ties {board.ties!r}: who got there {board.ties} stands above"] if board.ties != "id" else []
    for key in board.order:
        if key.metric in touched:
            reasons.append(f"{key.metric!r} follows order: rule {touched[key.metric]!r}")
    return Verdict(board.name, tuple(reasons))


def _parked(program: Program, rule: Rule) -> list[str]:
    """What else may fail by what came before on an event that this rule listens to: then nothing of it counts."""
    parts: dict[str, list[Expression | None]] = {}
    for other in program.rules:
        if other is not rule and {*other.on} & {*rule.on}:
            amounts = [part for give in other.gives for part in (give.amount, give.when)]
            parts[f"the rule {other.name!r}"] = [other.when, *amounts, *(item.value for item in other.sets)]
    for streak in program.streaks.values():
        if {*streak.on} & {*rule.on}:
            parts[f"the streak {streak.name!r}"] = [streak.when, streak.breaks_when]
    failing = [
        name
        for name, expressions in parts.items()
        for expression in expressions
        if expression is not None and shapes.calculates(expression) and _reads("", [expression], program.names)
    ]
    failing += [
        f"the badge {badge.name!r}"
        for badge in program.badges.values()
        if any(map(shapes.calculates, badge.levels.values()))
    ]
    return [
        f"{name} may fail by what came before, and then the whole event is parked" for name in dict.fromkeys(failing)
    ]


def _badge(program: Program, badge: Badge, touched: Mapping[str, str]) -> Verdict:
    reasons = []
    if badge.kind == "object":
        reasons.append("of an object: it goes to the owner of the event that earns it")
    read: dict[TallyOf, None] = {}
    for condition in badge.levels.values():
        for path in sorted(condition.paths):
            if path[0] not in CONSTANTS:
                meaning = program.names.in_badge(path, badge.kind)
                if isinstance(meaning, TallyOf):
                    read[meaning] = None
                else:
                    reasons.append(f"its condition reads {'.'.join(path)!r}")
    metrics = dict.fromkeys(tally.metric for tally in read)
    reasons += [f"{metric!r} follows order: rule {touched[metric]!r}" for metric in metrics if metric in touched]
    periods = sorted({tally.period for tally in read})
    if len(periods) > 1:
        reasons.append(f"its condition reads {' and '.join(periods)} at once: one is looked at when another changes")
    if badge.revocable:
        if periods != ["all"] or badge.days:
            reasons.append("revocable: each event looks at the periods of its own time")
        return Verdict(badge.name, tuple(dict.fromkeys(reasons)))
    if badge.days and periods != ["day"]:
        reasons.append("days: on which of them the condition held follows order")
    reasons += [
        f"{metric!r} may fall: who had enough in between keeps it" for metric in metrics if _falls(program, metric)
    ]
    if not all(shapes.asks_for_at_least(condition) for condition in badge.levels.values()):
        reasons.append("its condition may hold in between and then no more")
    return Verdict(badge.name, tuple(dict.fromkeys(reasons)))


def _falls(program: Program, metric: str) -> bool:
    gives = [give for rule in program.rules for give in rule.gives if give.metric == metric]
    return not all(shapes.never_falls(give.amount) for give in gives)


def _reads(what: str, expressions: Iterable[Expression | None], names: Names) -> list[str]:
    """A clause for each kind of state that any of the expressions reads."""
    meanings = [
        names.in_rule(path)
        for expression in expressions
        if expression is not None
        for path in sorted(expression.paths)
        if path[0] not in CONSTANTS
    ]
    clauses: list[str] = []
    for meaning in meanings:
        match meaning:
            case TallyOf(metric=metric):
                clauses.append(f"{what} reads the tally {metric!r}")
            case AttributeOf(attribute=attribute):
                clauses.append(f"{what} reads the attribute {attribute!r}")
            case StreakOf(streak=streak):
                clauses.append(f"{what} reads the streak {streak!r}")
            case _:
                pass  # a field of the event is the same whenever the event comes
    return list(dict.fromkeys(clauses))
