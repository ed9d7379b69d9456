"""The state of a tenant: what is known, what is loaded, what is dirty, and what may be forgotten."""

from __future__ import annotations

from accrue.book.base import AttributeRow, AwardRow, Cells, StreakRow, TallyRow
from accrue.core.decide import Remembers
from accrue.core.reader import read
from accrue.core.table import Table, TableKey
from accrue.process.state import TenantState

PROGRAM = read(
    "[metrics.points]\nperiods = ['day']\n[[rules]]\non = 'a'\ngive = [{ to = 'actor', metric = 'points' }]\n"
    "[badges.b]\nwhen = 'points > 0'\n[streaks.s]\non = 'a'\n"
)
NOON_US = 20_000 * 86_400_000_000 + 43_200_000_000
MOMENT = PROGRAM.calendar.moment(NOON_US)
TODAY = "2024-10-04"
ALL = TableKey("tally", "points", "all")
DAY = TableKey("tally", "points", TODAY)


def state(*partial: str) -> TenantState:
    never = Remembers({}, {}, lately=lambda key: False, ever=lambda key: False)
    return TenantState("t", PROGRAM, partial=partial, remembers=never)


def cells(**tallies: tuple[str, int]) -> Cells:
    """What the book has: subject = (period, value)."""
    rows = [TallyRow("t", "points", period, subject, value, 1) for subject, (period, value) in tallies.items()]
    return Cells(tallies=rows, awards=[], streaks=[], attributes=[])


def changed(held: TenantState, key: TableKey, subject: str, value: object, sequence: int = 1) -> Table:
    table = held.open(key)
    table[subject] = value
    table.changed[subject] = (value, sequence)
    held.touch({table: None})
    return table


def evicted(held: TenantState) -> None:
    """Evict to the end: it goes in slices."""
    for _ in held.evict():
        pass


def test_a_new_tenant_knows_everything_and_loads_nothing() -> None:
    held = state()
    assert not held.is_partial(MOMENT)
    assert held.unknown({"ann"}, MOMENT) == set()
    assert not held.lacks("ann", ["all", TODAY])


def test_a_subject_is_unknown_in_each_partial_period_until_it_is_loaded_there() -> None:
    held = state("all", TODAY)
    assert held.unknown({"ann", "bob"}, MOMENT) == {"ann", "bob"}
    held.fill(cells(ann=("all", 5)), ["ann"], ["all"])
    assert held.unknown({"ann", "bob"}, MOMENT) == {"ann", "bob"}
    assert not held.lacks("ann", ["all"])
    assert held.lacks("ann", [TODAY])
    held.fill(cells(ann=(TODAY, 2)), ["ann"], ["all", TODAY])
    assert held.unknown({"ann", "bob"}, MOMENT) == {"bob"}
    assert (held.tables[ALL], held.tables[DAY]) == ({"ann": 5}, {"ann": 2})


def test_what_is_loaded_again_never_replaces_what_memory_has() -> None:
    held = state("all", TODAY)
    held.fill(cells(ann=("all", 5)), ["ann"], ["all"])
    changed(held, ALL, "ann", 6)
    held.fill(cells(ann=("all", 5)), ["ann"], ["all", TODAY])
    assert held.tables[ALL] == {"ann": 6}


def test_everything_of_a_subject_comes_in() -> None:
    held = state("all", TODAY)
    held.fill(
        Cells(
            tallies=[TallyRow("t", "cap.c", TODAY, "ann", 3, 1)],
            awards=[AwardRow("t", "b", "", "ann", "bob", 7, 8, 1)],
            streaks=[StreakRow("t", "s", "ann", 1, 2, 9, "[1,2,9,[[9,9]]]")],
            attributes=[AttributeRow("t", "user", "k", "ann", "1.5")],
        ),
        ["ann"],
        ["all", TODAY],
    )
    found = {(key.kind, key.name): value for key, value in held.of_subject("ann")}
    assert found["tally", "cap.c"] == 3
    assert found["award", "b"].revoked  # type: ignore[attr-defined]
    assert found["streak", "s"].longest == 2  # type: ignore[attr-defined]
    assert str(found["attribute", "k"]) == "1.5"


def test_both_generations_are_dirty_again_after_a_failure_and_the_newer_one_counts() -> None:
    held = state()
    table = changed(held, ALL, "ann", 1, sequence=1)
    changed(held, ALL, "bob", 1, sequence=2)
    held.begin_settling()
    table.changed = {}
    changed(held, ALL, "ann", 2, sequence=3)
    assert held.unsettled(table) == {"ann": (2, 3), "bob": (1, 2)}
    table.dirty, table.changed = table.changed, {}

    held.settling_failed()

    assert table.dirty == {"ann": (2, 3), "bob": (1, 2)}
    held.begin_settling()
    held.settled()
    assert held.unsettled(table) == {}


def test_a_settlement_takes_what_is_not_yet_published_too() -> None:
    held = state()
    table = changed(held, ALL, "ann", 1)
    held.begin_settling()
    assert held.settling == {table: {"ann": (1, 1)}}
    assert table.changed == {"ann": (1, 1)}  # the boards still want it


def test_evicting_keeps_what_is_unsettled_or_was_just_settled_and_forgets_the_rest() -> None:
    held = state()
    for subject in ("cold", "warm", "dirty", "new"):
        changed(held, ALL, subject, 1)
        changed(held, DAY, subject, 1)
    held.begin_settling()
    for table in held.tables.values():
        table.changed = {}
    held.settled()
    changed(held, ALL, "warm", 2)
    held.begin_settling()
    held.tables[ALL].changed = {}
    changed(held, DAY, "dirty", 2)
    held.settled()
    changed(held, ALL, "new", 2)

    evicted(held)

    assert held.tables[ALL] == {"warm": 2, "dirty": 1, "new": 2}
    assert held.tables[DAY] == {"warm": 1, "dirty": 2, "new": 1}
    assert held.unknown({"cold", "warm", "dirty", "new", "never"}, MOMENT) == {"cold", "never"}


def test_evicting_takes_event_ids_for_no_subjects() -> None:
    """There is one for each event, and what is kept of it is looked up by itself, so only what is unsettled stays."""
    held = state()
    ids = TableKey("applied", "", "")
    for id in ("settled", "just settled"):
        changed(held, ids, id, 1)
        held.begin_settling()
        held.tables[ids].changed = {}
        held.settled()
    changed(held, ids, "new", 1)
    changed(held, ALL, "ann", 1)

    evicted(held)

    assert held.tables[ids] == {"new": 1}
    assert held.lacks("just settled", [])
    assert held.lacks("new", [])
    assert held.entries == len(["new", "ann"]) + len(["ann"])


def test_a_subject_known_in_one_period_only_is_not_known_in_others_after_evicting() -> None:
    held = state("all", TODAY)
    held.fill(cells(), ["ann"], ["all"])
    changed(held, ALL, "ann", 1)
    evicted(held)
    assert not held.lacks("ann", ["all"])
    assert held.lacks("ann", [TODAY])


def test_after_evicting_functions_are_bound_to_the_tables_that_stay() -> None:
    held = state()
    first = held.function("a", MOMENT)
    assert held.function("a", MOMENT) is first
    evicted(held)
    assert held.tables == {}
    function = held.function("a", MOMENT)
    assert function is not None
    assert function is not first
    function(held.decider.event(type="a", id="1", actor="ann"), 1, NOON_US, None)
    assert held.tables[ALL] == {"ann": 1}


def test_types_that_nothing_listens_to_are_remembered_in_bounded_number() -> None:
    held = state()
    for number in range(10_000):
        assert held.function(f"unknown-{number}", MOMENT) is None
    assert len(held.functions(MOMENT)) < 5_000
    assert held.function("a", MOMENT) is not None
