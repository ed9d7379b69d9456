"""Deciding: what one event changes under one program, told through the tables afterwards."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from accrue.core.decide import FAULTS, Decider, Remembers
from accrue.core.event import MAGNITUDE_MAX, Stamp
from accrue.core.reader import read
from accrue.core.streak import Streak
from accrue.core.table import Award, Table, TableKey

DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US  # 2024-10-04, a Friday
METRICS = "[metrics.points]\n[metrics.views]\nof = 'object'\n"


class Rules:
    """A program and its tables. `send` decides one event and tells whether it could be decided."""

    def __init__(self, text: str) -> None:
        self.tables: dict[TableKey, Table] = {}
        self._seen: dict[bytes, bool] = {}
        self._number = 0
        self.use(text)

    def use(self, text: str) -> None:
        self.program = read(text)
        self.decider = Decider("t", self.program)

    def send(self, type: str, *, day: int = 0, stamp: Stamp | None = None, **fields: Any) -> bool:
        self._number += 1
        moment = self.program.calendar.moment(START_US + day * DAY_US)
        decide, _ = self.decider.bind(
            type,
            moment=moment,
            open=self._open,
            remembers=Remembers(self._seen, {}, lambda key: False, lambda key: False),
        )
        body = msgspec.json.encode({"type": type, "id": f"e{self._number}", **fields})
        try:
            decide(self.decider.decoder.decode(body), self._number, START_US + day * DAY_US, stamp)
        except FAULTS:
            return False
        return True

    def change(self, metric: str, subject: str, value: Any, mode: Any = "add") -> bool:
        role = "object" if self.program.metrics[metric].kind == "object" else "owner"
        return self.send(self.decider.change_type(metric, mode), value=value, **{role: subject})

    def tally(self, metric: str, subject: str, period: str = "all") -> int | None:
        return self.tables.get(TableKey("tally", metric, period), {}).get(subject)

    def award(self, badge: str, subject: str, level: str = "") -> Award | None:
        return self.tables.get(TableKey("award", badge, level), {}).get(subject)

    def streak(self, name: str, subject: str) -> Streak:
        return self.tables[TableKey("streak", name, "")][subject]

    def attribute(self, name: str, subject: str, kind: str = "user") -> Any:
        return self.tables.get(TableKey("attribute", name, kind), {}).get(subject)

    def everything(self) -> dict[TableKey, dict[str, Any]]:
        return {key: dict(table) for key, table in self.tables.items() if table}

    def _open(self, key: TableKey) -> Table:
        return self.tables.setdefault(key, Table("t", key))


def rule(give: str, more: str = "", on: str = "a") -> str:
    return f'[[rules]]\non = "{on}"\n{more}\ngive = [{give}]\n'


POINTS = '{ to = "actor", metric = "points", amount = "value" }'


def test_rules_run_in_the_order_of_the_file_and_later_ones_see_earlier_ones() -> None:
    rules = Rules(
        METRICS
        + rule('{ to = "actor", metric = "points", amount = 3 }')
        + rule('{ to = "actor", metric = "points", amount = "actor.points * 10" }')
    )
    rules.send("a", actor="ann")
    assert rules.tally("points", "ann") == 33


def test_a_condition_lets_through_or_not() -> None:
    rules = Rules(METRICS + rule(POINTS, "when = \"actor != owner and data.n['x-y'] > 2\""))
    rules.send("a", actor="ann", owner="ann", value=1, data={"n": {"x-y": 9}})
    rules.send("a", actor="ann", owner="bob", value=2, data={"n": {"x-y": 1}})
    rules.send("a", actor="ann", owner="bob", value=4, data={"n": 5})
    rules.send("a", actor="ann", owner="bob", value=8)
    assert rules.tally("points", "ann") is None
    rules.send("a", actor="ann", owner="bob", value=16, data={"n": {"x-y": 9}})
    assert rules.tally("points", "ann") == 16


def test_what_ingest_stamped_can_be_asked() -> None:
    rules = Rules(METRICS + rule(POINTS, 'when = "not stamp.crawler"'))
    rules.send("a", actor="ann", value=1)
    rules.send("a", actor="ann", value=2, stamp=Stamp(crawler=True))
    rules.send("a", actor="ann", value=4, stamp=Stamp(crawler=False))
    assert rules.tally("points", "ann") == 5


def test_a_missing_subject_gets_nothing_and_spoils_nothing() -> None:
    rules = Rules(METRICS + rule('{ to = "owner", metric = "points" }, ' + POINTS))
    assert rules.send("a", actor="ann", value=1)
    assert rules.everything() == {TableKey("tally", "points", "all"): {"ann": 1}}


def test_a_field_of_data_may_name_the_subject() -> None:
    rules = Rules(METRICS + rule('{ to = "data.for.whom", metric = "points" }'))
    assert rules.send("a", data={"for": {"whom": "bob"}})
    assert rules.send("a", data={"for": {"whom": None}})
    assert rules.send("a", data={"for": "nobody"})
    assert rules.send("a")
    assert not rules.send("a", data={"for": {"whom": 5}})
    assert not rules.send("a", data={"for": {"whom": ""}})
    assert not rules.send("a", data={"for": {"whom": "x" * 257}})
    assert rules.everything() == {TableKey("tally", "points", "all"): {"bob": 1}}


@pytest.mark.parametrize(
    ("value", "data"), [(None, {"x": 1}), (1, {"x": "text"}), (1, {"x": 0}), (2**53 - 1, {"x": 1})]
)
def test_an_event_that_fails_leaves_nothing_behind(value: Any, data: dict[str, Any]) -> None:
    rules = Rules(
        METRICS
        + '[[rules]]\nname = "n"\nonce = ["actor"]\non = "a"\n'
        + 'set = [{ on = "actor", attribute = "k", value = "data.x" }]\n'
        + rule('{ to = "actor", metric = "points", amount = 5 }', 'when = "data.x != 9"')
        + rule('{ to = "owner", metric = "points", amount = "value / data.x" }', 'when = "data.x != 9"')
        + rule('{ to = "actor", metric = "points", amount = "value" }', 'when = "data.x != 9"')
        + "[streaks.s]\non = 'a'\n[badges.b]\nwhen = 'points >= 1'\n"
    )
    assert rules.send("a", actor="ann", owner="bob", value=1, data={"x": 9})
    rules.change("points", "ann", 3)
    before = rules.everything()
    assert not rules.send("a", actor="ann", owner="ann", value=value, data=data, day=1)
    assert rules.everything() == before


def test_initial_and_floor() -> None:
    rules = Rules("[metrics.points]\ninitial = 1\nmin = 1\nperiods = ['day']\n" + rule(POINTS))
    rules.send("a", actor="ann", value=-5)
    assert (rules.tally("points", "ann"), rules.tally("points", "ann", "2024-10-04")) == (1, 0)
    rules.send("a", actor="ann", value=4)
    assert (rules.tally("points", "ann"), rules.tally("points", "ann", "2024-10-04")) == (5, 4)
    rules.send("a", actor="ann", value=-9)
    assert (rules.tally("points", "ann"), rules.tally("points", "ann", "2024-10-04")) == (1, 0)
    rules.send("a", actor="ann", value=2, day=1)
    assert rules.tally("points", "ann", "2024-10-05") == 2


def test_a_cap_is_net_of_what_is_taken_away() -> None:
    rules = Rules(METRICS + rule(POINTS, 'cap = "c"') + "[caps.c]\nmetric = 'points'\nlimit = 10\nper = 'day'\n")
    totals = []
    for value in (7, 7, -4, 7, 3, -30, 50):
        rules.send("a", actor="ann", value=value)
        totals.append(rules.tally("points", "ann"))
    assert totals == [7, 10, 6, 10, 10, -20, 10]
    rules.send("a", actor="ann", value=99, day=1)
    rules.send("a", actor="bob", value=99, day=1)
    assert (rules.tally("points", "ann"), rules.tally("points", "bob")) == (20, 10)


def test_a_smaller_limit_does_not_forgive_what_takes_away() -> None:
    text = METRICS + rule(POINTS, 'cap = "c"') + "[caps.c]\nmetric = 'points'\nlimit = 100\nper = 'day'\n"
    rules = Rules(text)
    rules.send("a", actor="ann", value=100)
    rules.use(text.replace("100", "10"))
    rules.send("a", actor="ann", value=5)
    assert rules.tally("points", "ann") == 100
    rules.send("a", actor="ann", value=-3)
    assert rules.tally("points", "ann") == 97


def test_a_cap_of_a_named_range_counts_only_inside_it() -> None:
    rules = Rules(
        METRICS
        + rule(POINTS, 'cap = "c"')
        + "[caps.c]\nmetric = 'points'\nlimit = 2\nper = 'cup'\n"
        + "[ranges.cup]\none = { from = 2024-10-05, to = 2024-10-06 }\n"
        + "[boards.b]\nmetric = 'points'\nperiods = ['cup']\n"
    )
    rules.send("a", actor="ann", value=5)
    rules.send("a", actor="ann", value=5, day=1)
    rules.send("a", actor="ann", value=5, day=2)
    assert (rules.tally("points", "ann"), rules.tally("points", "ann", "cup:one")) == (12, 2)


def test_once_per_reader_and_day() -> None:
    rules = Rules(METRICS + rule(POINTS, 'name = "n"\nonce = ["actor", "object", "day", "data.n"]'))
    for fields in (
        {"object": "p"},
        {"object": "p"},
        {"object": "q"},
        {"object": "q", "data": {"n": 1}},
        {"object": "q", "data": {"n": 1.0}},
        {"object": "q", "data": {"n": "1"}},
        {"object": "q", "data": {"n": True}},
    ):
        rules.send("a", actor="ann", value=1, **fields)
    assert rules.tally("points", "ann") == 5
    rules.send("a", actor="ann", value=1, object="p", day=1)
    assert rules.tally("points", "ann") == 6
    assert not rules.send("a", actor="ann", value=1, data={"n": [1]})


def test_an_event_that_failed_has_not_used_up_its_once() -> None:
    rules = Rules(METRICS + rule(POINTS, 'name = "n"\nonce = ["actor"]'))
    assert not rules.send("a", actor="ann")
    assert rules.send("a", actor="ann", value=2)
    assert rules.tally("points", "ann") == 2


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [("set", [5, 3, 3], 3), ("most", [5, 9, 3], 9), ("least", [5, 9, 3], 3), ("add", [5, 9, 3], 17)],
)
def test_the_modes(mode: str, values: list[int], expected: int) -> None:
    give = f'{{ to = "actor", metric = "points", amount = "value", mode = "{mode}" }}'
    rules = Rules("[metrics.points]\nperiods = ['day']\n" + rule(give))
    for value in values:
        rules.send("a", actor="ann", value=value)
        rules.change("points", "bob", value, mode)
    assert rules.tally("points", "ann") == rules.tally("points", "bob") == expected
    assert rules.tally("points", "ann", "2024-10-04") == expected


def test_a_value_that_is_set_must_fit_the_scale() -> None:
    rules = Rules("[metrics.points]\nscale = 1\n" + rule(POINTS))
    assert rules.change("points", "ann", 0.5, "set")
    assert not rules.change("points", "ann", 0.25, "set")
    assert rules.tally("points", "ann") == 5


def test_amounts_below_the_scale_are_carried_with_the_subject() -> None:
    rules = Rules("[metrics.points]\nscale = 2\n" + rule('{ to = "actor", metric = "points", amount = 0.0025 }'))
    for _ in range(9):
        rules.send("a", actor="ann")
    rules.send("a", actor="bob")
    assert (rules.tally("points", "ann"), rules.tally("points", "bob")) == (2, 0)


def test_a_tally_cannot_pass_the_limit() -> None:
    rules = Rules(METRICS + rule(POINTS))
    assert rules.send("a", actor="ann", value=MAGNITUDE_MAX)
    assert not rules.send("a", actor="ann", value=1)
    assert rules.send("a", actor="ann", value=-1)
    assert rules.tally("points", "ann") == MAGNITUDE_MAX - 1


def test_badges_have_levels_and_are_kept_when_the_value_falls() -> None:
    rules = Rules(METRICS + rule(POINTS) + "[badges.b]\nlevels = { low = 'points >= 5', high = 'points >= 50' }\n")
    rules.send("a", actor="ann", value=4)
    assert rules.award("b", "ann", "low") is None
    rules.send("a", actor="ann", value=1)
    rules.send("a", actor="ann", value=-5)
    rules.send("a", actor="ann", value=10)
    assert rules.award("b", "ann", "low") == Award("ann", START_US, 2)
    assert rules.award("b", "ann", "high") is None
    rules.change("points", "ann", 90)
    assert rules.award("b", "ann", "high") == Award("ann", START_US, 5)


def test_a_revocable_badge_goes_and_comes_back() -> None:
    rules = Rules(METRICS + rule(POINTS) + "[badges.b]\nwhen = 'points >= 5'\nrevocable = true\n")
    held = []
    for value in (5, -1, -1, 3):
        rules.send("a", actor="ann", value=value)
        award = rules.award("b", "ann")
        assert award is not None
        held.append((award.sequence, award.revoked))
    assert held == [(1, False), (2, True), (2, True), (4, False)]


VIEWED = rule(
    '{ to = "object", metric = "views" }', 'set = [{ on = "object", attribute = "kind", value = "data.kind" }]'
)


def test_a_badge_of_objects_goes_to_the_owner_once_an_object() -> None:
    rules = Rules(METRICS + VIEWED + "[badges.b]\nsubject = 'object'\nwhen = \"views >= 2 and kind == 'x'\"\n")
    for thing in ("p", "p", "q", "q", "q"):
        rules.send("a", object=thing, owner="bob", data={"kind": "x"})
    rules.send("a", object="r", owner="bob")
    rules.send("a", object="r", owner="bob")
    assert rules.award("b", "p") == Award("bob", START_US, 2)
    assert rules.award("b", "q") == Award("bob", START_US, 4)
    assert rules.award("b", "r") is None
    rules.send("a", object="r", owner="bob", data={"kind": "x"})
    assert rules.award("b", "r") is not None


def test_a_badge_once_an_owner_is_for_any_object() -> None:
    rules = Rules(METRICS + VIEWED + "[badges.b]\nsubject = 'object'\nonce = 'owner'\nwhen = 'views >= 1'\n")
    rules.send("a", object="p")
    rules.send("a", object="q", owner="bob")
    rules.send("a", object="r", owner="bob")
    assert rules.tables[TableKey("award", "b", "")] == {"bob": Award("bob", START_US, 2)}


def test_a_badge_for_separate_days() -> None:
    rules = Rules(METRICS + rule(POINTS) + "[badges.b]\nwhen = 'day.points >= 2'\ndays = 2\n")
    for day, value in ((0, 2), (0, 2), (1, 1), (2, 1), (2, 1)):
        assert rules.award("b", "ann") is None
        rules.send("a", actor="ann", value=value, day=day)
    assert rules.award("b", "ann") == Award("ann", START_US + 2 * DAY_US, 5)


def test_streaks_by_day_take_late_events_and_count_a_day_once() -> None:
    rules = Rules(METRICS + "[streaks.s]\non = 'a'\nwhen = 'value > 0'\n[badges.b]\nwhen = 'streak.s >= 3'\n")
    for day in (0, 0, 2):
        rules.send("a", actor="ann", value=1, day=day)
    rules.send("a", actor="ann", value=0, day=1)
    assert rules.streak("s", "ann").current == 1
    assert rules.award("b", "ann") is None
    rules.send("a", actor="ann", value=1, day=1)
    assert (rules.streak("s", "ann").current, rules.streak("s", "ann").longest) == (3, 3)
    assert rules.award("b", "ann") is not None


def test_streaks_by_event_break() -> None:
    rules = Rules(METRICS + "[streaks.s]\non = ['w', 'l']\nevery = 'event'\nbreaks_when = \"type == 'l'\"\n")
    for type in ("w", "w", "l", "w"):
        rules.send(type, actor="ann")
    assert (rules.streak("s", "ann").current, rules.streak("s", "ann").longest) == (1, 2)


def test_outside_every_span_of_a_range_nothing_of_it_is_counted_and_reading_it_is_zero() -> None:
    rules = Rules(
        METRICS
        + "[ranges.cup]\none = { from = 2024-10-05, to = 2024-10-06 }\n"
        + rule(POINTS, 'when = "actor.cup.points < 5"')
        + "[streaks.s]\non = 'a'\nevery = 'cup'\n"
    )
    for day in (0, 0, 1, 1, 2):
        assert rules.send("a", actor="ann", value=5, day=day)
    assert (rules.tally("points", "ann"), rules.tally("points", "ann", "cup:one")) == (20, 5)
    assert rules.streak("s", "ann").current == 1


@pytest.mark.parametrize(
    ("value", "kept"),
    [("text", "text"), (True, True), (2, 2), (2.0, 2), (0.50, Decimal("0.5")), (-0.0, 0), (1e-9, Decimal("1E-9"))],
)
def test_an_attribute_is_kept_in_one_plain_form(value: Any, kept: Any) -> None:
    rules = Rules(METRICS + '[[rules]]\non = "a"\nset = [{ on = "actor", attribute = "k", value = "data.v" }]\n')
    rules.send("a", actor="ann", data={"v": value})
    found = rules.attribute("k", "ann")
    assert (found, type(found)) == (kept, type(kept))
    rules.send("a", actor="ann")
    assert rules.attribute("k", "ann") == kept


def test_an_attribute_cannot_grow_without_bounds() -> None:
    text = METRICS + '[[rules]]\non = "a"\nset = [{ on = "actor", attribute = "k", value = "%s" }]\n'
    rules = Rules(text % "data.v")
    rules.send("a", actor="ann", data={"v": 10**6})
    rules.use(text % "actor.k * actor.k")
    assert rules.send("a", actor="ann")
    assert not rules.send("a", actor="ann")
    assert rules.attribute("k", "ann") == 10**12
    rules.use(text % "[1]")
    assert not rules.send("a", actor="ann")


def test_the_subjects_of_events_are_known_before_they_are_decided() -> None:
    rules = Rules(METRICS + rule('{ to = "data.x.y", metric = "points" }'))
    decode = rules.decider.decoder.decode
    events = [
        decode(b'{"type":"a","id":"1","actor":"ann","object":"p","data":{"x":{"y":"eve"}}}'),
        decode(b'{"type":"a","id":"2","owner":"bob","data":{"x":5}}'),
        decode(b'{"type":"a","id":"3","data":null}'),
    ]
    assert rules.decider.keys(events) == {"ann", "p", "eve", "bob"}


def test_names_from_a_program_never_become_code() -> None:
    nasty = 'x = __import__(\\"os\\") \\\\ # {}'
    text = METRICS + rule(POINTS, f'name = "{nasty}"\nonce = ["actor"]\ncap = "{nasty}"')
    text += f"[caps.\"{nasty}\"]\nmetric = 'points'\nlimit = 3\n"
    text += f'[badges."{nasty}"]\ndays = 1\nlevels = {{ "{nasty}" = \'points >= 1\' }}\n'
    rules = Rules(text)
    rules.send("a", actor="ann", value=9)
    assert rules.tally("points", "ann") == 3
    assert rules.award('x = __import__("os") \\ # {}', "ann", 'x = __import__("os") \\ # {}') is not None
