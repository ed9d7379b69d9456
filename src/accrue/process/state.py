"""The state of one tenant in memory: a bounded cache over the book, plus everything that changed since.

What is in a table is always at least as new as the book. A period is *partial* when the book may hold more of it
than memory does; a subject is *known* in a partial period once everything the book has of it there was loaded.
Until it is, no event that concerns it may be decided. A new day is not partial: memory has all of it, so nothing
is ever looked up for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from accrue.book.base import Cells
from accrue.core.attribute import decode_plain
from accrue.core.decide import Decide, Decider, DecodedEvent, OnceKeys, Remembers
from accrue.core.period import Moment
from accrue.core.program import Program
from accrue.core.streak import Streak
from accrue.core.table import Award, Change, Table, TableKey
from accrue.process.earned import Earned

MOMENTS_BOUND_MAX = 4_096
"""Functions are bound per moment; past this many they are bound anew."""

EVICT_SLICE = 20_000
"""Entries looked at before the event loop gets its turn: about two milliseconds."""


class Functions(dict[str, "Decide | None"]):
    """The functions of one moment by event type, and every table that any of them may change."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[Table, None] = {}


class TenantState:
    """Tables, what is known of them, and the functions bound to them."""

    def __init__(self, tenant: str, program: Program, *, partial: Iterable[str], remembers: Remembers) -> None:
        self.tenant = tenant
        self.tables: dict[TableKey, Table] = {}
        self.touched: dict[Table, None] = {}
        self._unsettled: dict[Table, None] = {}
        self.settling: dict[Table, dict[str, Change]] = {}
        self.settlements = 0
        self.readers = 0
        self.earned = Earned()
        self.opened: list[str] = []
        self.awaited: dict[str, int] = {}  # event ids retracted before they came -> until which log time
        self.program_sequence = 0
        self.tzdata = ""
        self.partial = set(partial)
        self._known: dict[str, set[str]] = {}
        self._warm: list[list[str]] = []  # the subjects of the last settlement, table by table
        self._remembers = remembers
        self._bound: dict[Moment, Functions] = {}
        self._once_bound: dict[tuple[str, Moment], OnceKeys | None] = {}
        self._bound_by_ids: dict[tuple[str | None, ...], Functions] = {}
        self._kinds: dict[str, str] = {}
        self.use(program)

    def use(self, program: Program) -> None:
        """Decide by this program from now on. The tables stay: they hold facts, not rules."""
        self.program = program
        self.decider = Decider(self.tenant, program)
        self.periods_used = program.kinds
        self._kinds = {}  # an id may be of no kind any more
        self._unbind()

    # --- deciding -----------------------------------------------------------------------------------------------

    def functions(self, moment: Moment) -> Functions:
        """The bound functions of a moment by event type, filled by `function`."""
        found = self._bound.get(moment)
        if found is None:
            if len(self._bound) >= MOMENTS_BOUND_MAX:
                self._unbind()
            ids = tuple(moment.ids.get(kind) for kind in self.periods_used)
            found = self._bound[moment] = self._bound_by_ids.setdefault(ids, Functions())
            self._kinds.update((period, kind) for kind, period in moment.ids.items())
        return found

    def function(self, type: str, moment: Moment) -> Decide | None:
        """The function for a type at a moment; None when nothing in the program listens to it."""
        functions = self.functions(moment)
        if type in functions:
            return functions[type]
        function = None
        if type in self.decider.types or type.startswith("accrue.change/"):
            function, tables = self.decider.bind(type, moment=moment, open=self.open, remembers=self._remembers)
            functions.tables.update(dict.fromkeys(tables))
        elif len(functions) >= len(self.decider.types) + MOMENTS_BOUND_MAX:
            return None  # unknown types are the sender's words: remember a bounded number of them
        functions[type] = function
        return function

    def once_function(self, type: str, moment: Moment) -> OnceKeys | None:
        """The function that makes the keys of a type's `once` rules at a moment; None when it has none."""
        place = (type, moment)
        if place not in self._once_bound:
            self._once_bound[place] = self.decider.bind_once(type, moment)
        return self._once_bound[place]

    def open(self, key: TableKey) -> Table:
        """The table of that key, made when it is new."""
        table = self.tables.get(key)
        if table is None:
            table = self.tables[key] = Table(self.tenant, key)
            if key.kind == "tally":
                self.opened.append(key.part)
        return table

    def kind_of(self, period: str) -> str:
        """Which kind of period an id is of, for example `week`."""
        kind = self._kinds.get(period)
        if kind is None:
            kind = self._kinds[period] = self.program.calendar.parse(period).kind
        return kind

    # --- loading ------------------------------------------------------------------------------------------------

    @property
    def decoder(self) -> msgspec.json.Decoder[DecodedEvent]:
        """Decodes events into what the program reads of them."""
        return self.decider.decoder

    def periods(self, moment: Moment) -> list[str]:
        """The periods of a moment that the program looks at."""
        return [moment.ids[kind] for kind in self.periods_used if kind in moment.ids]

    def is_partial(self, moment: Moment) -> bool:
        """Whether any of them may have to be loaded."""
        return not self.partial.isdisjoint(self.periods(moment))

    def unknown(self, subjects: Collection[str], moment: Moment) -> set[str]:
        """Which of the subjects have to be loaded before an event at this moment can be decided."""
        missing: set[str] = set()
        for period in self.periods(moment):
            if period in self.partial:
                missing.update(set(subjects).difference(self._known.get(period, ())))
        return missing

    def lacks(self, subject: str, periods: Collection[str]) -> bool:
        """Whether the book may know something of the subject that memory does not."""
        return any(
            period in self.partial and subject not in self._known.get(period, ()) for period in ("all", *periods)
        )

    def fill(self, cells: Cells, subjects: Collection[str], periods: Collection[str]) -> None:
        """Take in what the book knows of `subjects` in `periods`, except where memory is newer."""
        known = {period: self._known.setdefault(period, set()) for period in periods if period in self.partial}
        always = known.get("all", set())
        for row in cells.tallies:
            if row.period in known and row.subject not in known[row.period]:
                dict.setdefault(self.open(TableKey("tally", row.metric, row.period)), row.subject, row.value)
        for award in cells.awards:
            if award.subject not in always:
                value = Award(award.holder, award.time_us, award.sequence, bool(award.revoked))
                dict.setdefault(self.open(TableKey("award", award.badge, award.level)), award.subject, value)
        for streak in cells.streaks:
            if streak.subject not in always:
                kept = msgspec.json.decode(streak.runs, type=Streak)
                dict.setdefault(self.open(TableKey("streak", streak.streak, "")), streak.subject, kept)
        for attribute in cells.attributes:
            if attribute.subject not in always:
                plain = decode_plain(attribute.value)
                key = TableKey("attribute", attribute.attribute, attribute.kind)
                dict.setdefault(self.open(key), attribute.subject, plain)
        for members in known.values():
            members.update(subjects)

    # --- generations --------------------------------------------------------------------------------------------

    def begin_settling(self) -> None:
        """Everything the book does not have becomes the settling generation. The fold goes on in a new one."""
        for table in self._unsettled:
            older, table.dirty = table.dirty, {}
            older.update(table.changed)
            if older:
                self.settling[table] = {**self.settling[table], **older} if table in self.settling else older
        self._unsettled = dict(self.touched)  # their changes will be dirty once more when they are published

    def settled(self) -> list[dict[str, Change]]:
        """The book has the settling generation now. It is given away, for whoever frees it, unless somebody is still
        going through it."""
        self.settlements += 1
        generation = list(self.settling.values())
        self._warm = [list(changes) for table, changes in self.settling.items() if table.holds_subjects]
        self.settling = {}
        return [] if self.readers else generation

    def settling_failed(self) -> None:
        """The book has none of it: both generations are dirty again."""
        for table, older in self.settling.items():
            table.dirty = {**older, **table.dirty}
            self._unsettled[table] = None
        self.settling.clear()

    def touch(self, tables: dict[Table, None]) -> None:
        """These may have changes that neither the boards nor the book have."""
        self.touched.update(tables)
        self._unsettled.update(tables)

    @property
    def dirty_rows(self) -> int:
        """Changes that no settlement holds yet; one that is not published yet may count twice."""
        return sum(len(table.dirty) + len(table.changed) for table in self._unsettled)

    @property
    def settling_rows(self) -> int:
        """Changes that a settlement under way holds."""
        return sum(len(changes) for changes in self.settling.values())

    def unsettled(self, table: Table) -> dict[str, Change]:
        """What of a table the book does not have yet."""
        return {**self.settling.get(table, {}), **table.dirty, **table.changed}

    def generations(self, table: Table) -> tuple[dict[str, Change], ...]:
        """What `unsettled` joins, the oldest first, without joining it: for whoever takes large tables in slices.

        While whoever does so is counted in `readers` none of them loses an entry, also not when it is settled; new ones
        may come in between two slices.
        """
        return self.settling.get(table, {}), table.dirty, table.changed

    # --- reading and evicting -----------------------------------------------------------------------------------

    def of_subject(self, subject: str) -> Iterator[tuple[TableKey, object]]:
        """Everything in memory about one subject."""
        for key, table in self.tables.items():
            if subject in table:
                yield key, table[subject]

    @property
    def entries(self) -> int:
        """What is held in memory: cells, and subjects of which it is known that the book has nothing more."""
        return sum(map(len, self.tables.values())) + sum(map(len, self._known.values()))

    def evict(self) -> Iterator[None]:
        """Forget every subject that the last settlement did not touch and that has nothing unsettled. Of applied events
        only what is unsettled stays: there is one for each event, and hardly any is ever asked for.

        Every period becomes partial here: from now on only the warm subjects are known in it. Yields now and then, so
        that the event loop gets its turn; the fold must stand still until it is through.
        """
        keep = set().union(*self._warm)
        for table in self.tables.values():
            if table.holds_subjects:
                keep.update(self.unsettled(table))
        # First nobody may rely on what is about to go; then it goes, in slices.
        for period in {"all", *self._known, *(key.part for key in self.tables if key.kind == "tally")}:
            known = self._known.get(period, set())
            self._known[period] = known & keep if period in self.partial else set(keep)
            self.partial.add(period)
        for table in self.tables.values():
            stay = keep if table.holds_subjects else self.unsettled(table)
            for some in _pieces(table):
                for subject in some:
                    if subject not in stay:
                        del table[subject]
                yield
        self.tables = {key: table for key, table in self.tables.items() if table}
        self._unbind()

    def _unbind(self) -> None:
        self._bound.clear()
        self._bound_by_ids.clear()
        self._once_bound.clear()


def _pieces(table: Table) -> Iterator[list[str]]:
    subjects = list(table)
    for start in range(0, len(subjects), EVICT_SLICE):
        yield subjects[start : start + EVICT_SLICE]
