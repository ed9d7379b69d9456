"""Writing Python text for one event type: lines and their depth, the tables it needs, and what expressions read.

`write_code` puts a whole function together from these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from accrue.core.event import MAGNITUDE_MAX
from accrue.core.expression import Expression, Path
from accrue.core.meaning import ROLES, AttributeOf, DataOf, FieldOf, Meaning, StampOf, StreakOf, TallyOf
from accrue.core.period import KINDS
from accrue.core.program import Program
from accrue.core.rule import Badge, Metric
from accrue.core.table import TableKind


class Slot(NamedTuple):
    """A table the function uses. `part` is the kind of period of a tally; see TableKey for the others."""

    kind: TableKind
    name: str
    part: str


class CodeLines:
    """The lines written so far, and what they turned out to need."""

    def __init__(self, program: Program, data_names: dict[str, str]) -> None:
        self._program = program
        self._data_names = data_names
        self._counts_days = True
        self._lines: list[str] = []
        self._depth = 3
        self._writes: list[str] = []  # the table of each place that writes, in order
        self._slots: dict[Slot, int] = {}
        self._numbers: dict[str, str] = {}
        self._reads: set[str] = set()

    def _source(self, expression: Expression) -> str:
        return expression.source(lambda path: self._read(self._program.names.in_rule(path)), self._number)

    def _badge_path(self, path: Path, badge: Badge) -> str:
        return self._read(self._program.names.in_badge(path, badge.kind))

    def _read(self, meaning: Meaning) -> str:
        match meaning:
            case FieldOf(name=name):
                return self._field(name)
            case DataOf(path=path):
                return self._data(path)
            case StampOf(name=name):
                self._reads.add(f"stamp.{name}")
                return name
            case AttributeOf(role=role, attribute=name):
                table = self._table("attribute", name, self._program.attributes[name])
                return f"{table}.get({self._field(role) if role else 'subject'})"
            case TallyOf(role=role, period=period, metric=name):
                return self._read_tally(self._program.metrics[name], period, self._field(role) if role else "subject")
            case StreakOf(role=role, word=word, streak=name):
                table = self._table("streak", name, "")
                field = "current" if word == "streak" else "longest"
                return f"{table}.get({self._field(role) if role else 'subject'}, NONE).{field}"

    def _read_tally(self, metric: Metric, period: str, subject: str) -> str:
        table = self._table("tally", metric.name, period)
        value = f"{table}.get({subject}, {metric.initial if period == 'all' else 0})"
        if metric.scale:
            value = f"decimal_value({value}, {metric.scale})"
        return f"({value} if {table} is not None else 0)" if self._is_range(period) else value

    def _field(self, name: str) -> str:
        if name in ROLES:
            self._reads.add(name)
            return name
        return f"event.{name}"

    def _data(self, path: Path) -> str:
        self._reads.add("data")
        source = f"data.{self._data_names[path[0]]}"
        for name in path[1:]:
            source = f"member({source}, {name!r})"
        return source

    def _number(self, written: str) -> str:
        for name, known in self._numbers.items():
            if known == written:
                return name
        name = f"number{len(self._numbers)}"
        self._numbers[name] = written
        return name

    def _table(self, kind: TableKind, name: str, part: str) -> str:
        return f"t{self._slots.setdefault(Slot(kind, name, part), len(self._slots))}"

    def _is_range(self, period: str) -> bool:
        """A named range may not cover the moment; its table is None then."""
        return period not in KINDS

    def _change(self, table: str, subject: str = "subject") -> None:
        """Put `new` in place of `old`, and keep both: to be marked in the end, or put back when the event fails."""
        write = len(self._writes)
        self._writes.append(table)
        self._line(f"s{write} = {subject}; o{write} = old; n{write} = new; {table}[{subject}] = new")

    def _check(self, metric: Metric, amount: str = "amount") -> None:
        """Stop at the limit; a constant amount can only reach it on one side."""
        if amount.lstrip("-").isdigit():
            beyond = f"new < -{MAGNITUDE_MAX}" if amount.startswith("-") else f"new > {MAGNITUDE_MAX}"
            self._line(f"if {beyond}: raise past_limit({metric.name!r})")
            return
        self._line(f"if not -{MAGNITUDE_MAX} <= new <= {MAGNITUDE_MAX}: raise past_limit({metric.name!r})")

    @contextmanager
    def _subject(self, to: Path) -> Iterator[None]:
        if to[0] == "data":
            self._line(f"subject = subject_of({self._data(to[1:])}, {'.'.join(to)!r})")
        else:
            self._line(f"subject = {self._field(to[0])}")
        with self._when("subject is not None"):
            yield

    @contextmanager
    def _when(self, condition: str | None) -> Iterator[None]:
        if condition is None:
            yield
            return
        self._line(f"if {condition}:")
        self._depth += 1
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self._line("pass")
        self._depth -= 1

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)
