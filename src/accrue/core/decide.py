"""Decide: what one event changes, under one program. Pure: `(state, event, program) -> changes`.

The rules, streaks and badges that concern one event type are written out as one straight Python function, because
a function without a loop over rules is several times faster than interpreting them. `Decider.source(type)` shows
it. What such a function may touch is given to it: the tables of the event's periods, and what `once` rules remember.

The order inside one event is the order of the file: rules (a later one sees what an earlier one did), then streaks,
then badges. An event on which anything fails raises, and then it has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from accrue.core import arithmetic
from accrue.core.arithmetic import Failure
from accrue.core.attribute import plain
from accrue.core.code_lines import Slot
from accrue.core.event import MAGNITUDE_MAX
from accrue.core.expression import Path
from accrue.core.once import once_key
from accrue.core.period import Moment
from accrue.core.program import Program
from accrue.core.retraction import Write
from accrue.core.rule import Kind, Mode
from accrue.core.streak import NONE, with_event, with_period
from accrue.core.table import Award, Table, TableKey, put_back
from accrue.core.tally import decimal_value, scaled, split_remainder
from accrue.core.write_code import LOOK, Code, FunctionWriter

Decide = Callable[..., list[Write] | None]
"""`(event, sequence, time_us, stamp, once_keys=(None, ..))`: changes the tables, and what `once` rules remember.
`once_keys` is what `OnceKeys` returned; what is None in it is made here. A function without `once` rules does not have
it. Returns what it wrote when events of the type can be taken back, else None.
Raises one of FAULTS when a rule cannot be evaluated."""

FAULTS = (Failure, TypeError, ArithmeticError, ValueError)
"""What deciding may raise for an event that a rule cannot handle. Anything else is a defect of ours."""

OnceKeys = Callable[[Any, Callable[[bytes], None], Callable[[bytes], None]], "tuple[bytes | None, ...]"]
"""`(event, lately, ever)`: makes the key of every `once` rule, whether its condition holds or not, gives each to one
of the two, and returns them in the order of the rules; None for one that cannot be made."""

Open = Callable[[TableKey], Table]
Seen = Callable[[bytes], bool]


class DecodedEvent(Struct, gc=False):
    """What a fold reads of an event. Programs extend it with the fields of `data` that they read.

    Not tracked by the collector: what comes out of JSON cannot form a cycle, and tracking costs a third of the fold.
    """

    type: str
    id: Any  # a text; but where the name stands twice the first one may be null, and only the last one counts
    actor: str | None = None
    object: str | None = None
    owner: str | None = None
    value: Any = None


class Remembers(NamedTuple):
    """What `once` rules have seen.

    `seen` answers first, and gets every key of an event that succeeded; what it does not know is asked of `lately`
    (within the window) or `ever`. `fresh` gets the same keys with whether they are to be remembered for ever.
    """

    seen: dict[bytes, bool]
    fresh: dict[bytes, bool]
    lately: Seen
    ever: Seen


class Decider:
    """The functions of one program for one tenant. Functions are written when their type is first seen."""

    def __init__(self, tenant: str, program: Program) -> None:
        self.tenant = tenant
        self.program = program
        self._codes: dict[str, Code] = {}
        self._data_names: dict[str, str] = {}
        for path in sorted(_data_paths(program)):
            self._data_names.setdefault(path, f"f{len(self._data_names)}")
        self._subject_paths = [path for path in _subject_paths(program) if path[0] == "data"]
        self.decoder = self._decoder()
        self.types = program.types
        self.once_rules = sum(1 for rule in program.rules if rule.once)
        self.once_types = frozenset(type for rule in program.rules if rule.once for type in rule.on)

    def bind(self, type: str, *, moment: Moment, open: Open, remembers: Remembers) -> tuple[Decide, list[Table]]:
        """The function for one event type, bound to the tables of one moment, and those tables."""
        code = self._code(type)
        tables = [open(key) if key else None for key in self._keys(code.slots, moment)]
        function: Decide = code.bind(tables, moment, remembers)
        return function, [table for table in tables if table is not None]

    def keys(self, events: Iterable[Any]) -> set[str]:
        """Every subject these events may concern: what has to be in memory before they are decided."""
        subjects: set[Any] = set()
        for event in events:
            subjects.update((event.actor, event.object, event.owner))
        for path in self._subject_paths:
            for event in events:
                value = getattr(event.data, self._data_names[path[1]], None)
                for name in path[2:]:
                    value = arithmetic.member(value, name)
                if type(value) is str:
                    subjects.add(value)
        subjects.discard(None)
        return subjects

    def bind_once(self, type: str, moment: Moment) -> OnceKeys | None:
        """The function that makes the keys `once` rules of a type may ask for; None for a type without such rules."""
        bind = self._code(type).bind_once
        return bind(moment) if bind else None

    def change_type(self, metric: str, mode: Mode) -> str:
        """The inner type that changes one metric from outside the rules: an adjustment or a score.

        Its event carries the amount in `value` and the subject in `owner` (or in `object` for metrics of objects).
        """
        return f"accrue.change/{mode}/{metric}"

    def look_type(self, kind: Kind, what: str) -> str:
        """The inner type that only looks at the badges reading a metric or a `streak NAME`, of the subject in `owner`
        (in `object`, with its owner in `owner`, for those of objects)."""
        return f"{LOOK}{kind}/{what}"

    def source(self, type: str) -> str:
        """The function for a type, as Python text: for reading, tests and profiles."""
        return self._code(type).text

    def _code(self, type: str) -> Code:
        if type not in self._codes:
            writer = FunctionWriter(self.tenant, self.program, type, self._data_names)
            text, slots, numbers = writer.write()
            scope: dict[str, Any] = {
                **_SCOPE,
                "no_data": self._no_data,
                **{f"table_{name}": _plain(table) for name, table in self.program.tables.items()},
                **{name: arithmetic.decimal(number) for name, number in numbers.items()},
            }
            exec(compile(text, f"<{type}>", "exec"), scope)  # built from checked trees only; see expression.py
            self._codes[type] = Code(text, slots, scope["bind"], scope.get("bind_once"))
        return self._codes[type]

    def _keys(self, slots: Sequence[Slot], moment: Moment) -> list[TableKey | None]:
        keys: list[TableKey | None] = []
        for slot in slots:
            if slot.kind != "tally":
                keys.append(TableKey(slot.kind, slot.name, slot.part))
            else:  # a tally is kept for periods, and a moment may be outside every span of a named range
                period = moment.ids.get(slot.part)
                keys.append(TableKey("tally", slot.name, period) if period else None)
        return keys

    def event(self, **fields: Any) -> Any:
        """An event of this program's own shape, made here instead of decoded."""
        return self._event(**fields)

    def _decoder(self) -> msgspec.json.Decoder[Any]:
        """Decodes an event into exactly the fields the program reads, numbers with a fraction as decimals."""
        self._no_data: object = None
        self._event: type[DecodedEvent] = DecodedEvent
        if not self._data_names:
            return msgspec.json.Decoder(DecodedEvent, float_hook=arithmetic.decimal)
        data = msgspec.defstruct(
            "Data",
            [(field, Any, None) for field in self._data_names.values()],
            rename={field: name for name, field in self._data_names.items()},
            frozen=True,
            gc=False,
        )
        self._no_data = data()
        self._event = msgspec.defstruct(  # type: ignore[assignment]  # its base makes it a DecodedEvent
            "Event", [("data", data | None, self._no_data)], bases=(DecodedEvent,), kw_only=True, gc=False
        )
        return msgspec.json.Decoder(self._event, float_hook=arithmetic.decimal)


def _data_paths(program: Program) -> set[str]:
    """The first names under `data` that anything in the program reads."""
    expressions = [rule.when for rule in program.rules]
    paths = _subject_paths(program)
    paths += [tuple(word.split(".")) for rule in program.rules for word in rule.once]
    for rule in program.rules:
        expressions += [item.value for item in rule.sets]
        expressions += [expression for give in rule.gives for expression in (give.amount, give.when)]
    for streak in program.streaks.values():
        expressions += [streak.when, streak.breaks_when]
    paths += [path for expression in expressions if expression for path in expression.paths]
    return {path[1] for path in paths if path[0] == "data" and len(path) > 1}


def _subject_paths(program: Program) -> list[Path]:
    """Where events name subjects."""
    paths = [give.to for rule in program.rules for give in rule.gives]
    paths += [item.to for rule in program.rules for item in rule.sets]
    paths += [streak.to for streak in program.streaks.values()]
    return list(dict.fromkeys(paths))


def _plain(table: Any) -> dict[str, Any]:
    return dict(table)


def _past_limit(metric: str) -> Failure:
    return Failure(f"{metric} would pass the limit of {MAGNITUDE_MAX}")


def _too_fine(metric: str, scale: int) -> Failure:
    return Failure(f"{metric} keeps {scale} decimal digits and the value has more")


def _subject(value: Any, path: str) -> str | None:
    """A field of `data` used as a subject."""
    if value is None or (type(value) is str and 0 < len(value) <= 256):
        return value
    raise Failure(f"{path} names a subject, so it must be a text of 1 to 256 characters")


_SCOPE: dict[str, Any] = {
    **{
        name: getattr(arithmetic, name)
        for name in (
            "add",
            "subtract",
            "multiply",
            "divide",
            "floor_divide",
            "modulo",
            "negate",
            "less",
            "less_or_equal",
            "contains",
            "length",
            "floor",
            "round_half_even",
            "absolute",
            "smallest",
            "largest",
            "look_up",
            "member",
        )
    },
    "Award": Award,
    "Failure": Failure,
    "NONE": NONE,
    "decimal_value": decimal_value,
    "once_key": once_key,
    "past_limit": _past_limit,
    "put_back": put_back,
    "plain": plain,
    "scaled": scaled,
    "split_remainder": split_remainder,
    "subject_of": _subject,
    "too_fine": _too_fine,
    "with_event": with_event,
    "with_period": with_period,
}
