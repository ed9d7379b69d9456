"""Reading a rules file: what it says, and that every error names its line and the nearest right word."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accrue.core.decide import Decider
from accrue.core.program import Problem, Program, ProgramError
from accrue.core.reader import read

DESIGN = """\
[tenant]
timezone = "Europe/Paris"

[metrics.points]
[metrics.views]
[metrics.comments]
[metrics.score]
of = "object"
[metrics.reputation]
initial = 1
min = 1
[metrics.earnings]
currency = "USD"

[[rules]]
name = "a read counts once a reader, post and day"
on = "article.viewed"
when = "not data.bot and data.seconds >= 5"
once = ["actor", "object", "day"]
give = [
  { to = "object", metric = "views" },
  { to = "owner", metric = "points", amount = 1 },
  { to = "owner", metric = "earnings", amount = "0.002 if data.source == 'organic' else 0.001" },
]

[[rules]]
on = "comment.created"
when = "actor != owner and len(data.text) >= 20"
give = [{ to = "actor", metric = "points", amount = 5 }]
cap = "daily_points"

[[rules]]
on = "post.published"
set = [{ on = "object", attribute = "kind", value = "data.kind" }]

[caps.daily_points]
metric = "points"
limit = 200
per = "day"

[boards.writers]
metric = "points"
periods = ["all", "week", "day"]
ties = "first"
keep = { week = 52, day = 30 }

[badges.commentator]
levels = { bronze = "comments >= 10", silver = "comments >= 100", gold = "comments >= 1000" }
[badges.nice_answer]
subject = "object"
when = "score >= 10 and kind == 'answer'"

[streaks.writing]
on = "post.published"
every = "day"
[streaks.unbeaten]
every = "event"
on = ["match.won", "match.drawn", "match.lost"]
breaks_when = "type == 'match.lost'"
"""


def compile_all(program: Program) -> None:
    """Write and compile the function of every type, as the fold would."""
    decider = Decider("t", program)
    for type in program.types:
        decider.source(type)
    for metric in program.metrics:
        for mode in ("add", "set", "most", "least"):
            decider.source(decider.change_type(metric, mode))  # type: ignore[arg-type]


def test_the_program_of_the_design_reads() -> None:
    program = read(DESIGN)
    compile_all(program)

    assert program.calendar.timezone == "Europe/Paris"
    assert program.metrics["views"].kind == "object"
    assert program.metrics["earnings"].scale == 6
    assert (program.metrics["reputation"].initial, program.metrics["reputation"].minimum) == (1, 1)
    assert program.metrics["points"].periods == ("all", "day", "week")
    assert program.rules[0].once == ("actor", "object", "day")
    assert program.rules[1].cap == "daily_points"
    assert program.rules[1].name == "rule 2"
    assert program.caps["daily_points"].limit == 200
    assert program.boards["writers"].keep == {"week": 52, "day": 30}
    assert list(program.badges["commentator"].levels) == ["bronze", "silver", "gold"]
    assert program.badges["nice_answer"].kind == "object"
    assert program.attributes == {"kind": "object"}
    assert program.types == {
        "article.viewed",
        "comment.created",
        "post.published",
        "match.won",
        "match.drawn",
        "match.lost",
    }
    assert set(program.kinds) == {"all", "day", "week"}


BASE = "[metrics.points]\n[metrics.views]\nof = 'object'\n"  # three lines
RULE = BASE + '[[rules]]\non = "a"\n'  # the rule begins in line 4, its `on` in line 5
GIVE = 'give = [{ to = "actor", metric = "points" }]\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[metrics.points\n", "1: not TOML"),
        ("a = 1\nb = \n", "2: not TOML"),
        ("a = " + "9" * 5000, "1: not TOML"),
        ("[metric.points]", "1: there is no section 'metric' here, did you mean 'metrics'?"),
        ('[tenant]\ntimezon = "UTC"', "2: there is no setting 'timezon' here, did you mean 'timezone'?"),
        ('[tenant]\ntimezone = "Europe/Pariss"', "2: "),
        ("tenant = 5", "1: [tenant] is a table"),
        ("metrics = 5", "1: [metrics] is a table"),
        ("rules = 5", "1: write each rule as [[rules]]"),
        ("[rules]\non = 'a'", "1: write each rule as [[rules]]"),
        ("rules = [5]", "1: write each rule as [[rules]]"),
        ("[metrics]\npoints = 5", "2: [metrics.points] is a table"),
        ("[metrics.points]\nscael = 2", "2: there is no key 'scael' here, did you mean 'scale'?"),
        ("[metrics.points]\nscale = 10", "2: scale is a number of decimal digits from 0 to 9"),
        ("[metrics.points]\nscale = true", "2: scale is"),
        ("[metrics.points]\nmin = 0.5", "2: min has more digits than the metric's scale (0)"),
        ("[metrics.points]\nmin = 1e999999", "2: min has more digits"),
        ("[metrics.points]\nmin = nan", "2: min is a number"),
        ("[metrics.points]\nmin = 5\ninitial = 4", "3: initial is below min"),
        ("[metrics.points]\nmin = 5", "1: initial is below min"),
        ('[metrics.points]\ncurrency = "usd"', "2: a currency is three capital letters"),
        ('[metrics.points]\nof = "thing"', "2: of is"),
        ('[metrics.points]\nperiods = ["dya"]', "2: 'dya' is not a period, did you mean 'day'?"),
        ("[metrics.points]\nperiods = 'day'", "2: periods is a list of words"),
        ("[metrics.day]", "1: 'day' is the name of a period"),
        ("[metrics.'a-b']", "1: a metric's name is a plain word"),
        (BASE + "[boards.'a\\u0000']\nmetric = 'points'\n".replace("'", '"'), "a name here is 1 to 64"),
        (BASE + "[badges.'" + "x" * 65 + "']\nwhen = 'points > 1'", "4: a name here is 1 to 64"),
        (RULE, "4: a rule gives or sets something"),
        (BASE + "[[rules]]\n" + GIVE, "4: on names the event type"),
        (BASE + "[[rules]]\non = 'accrue.adjust'\n" + GIVE, "5: types beginning with accrue."),
        (BASE + "[[rules]]\non = ['']\n" + GIVE, "5: on names"),
        (RULE + GIVE + "whn = 'true'", "7: there is no key 'whn' here, did you mean 'when'?"),
        (RULE + GIVE + "when = 'valeu > 3'", "7: 'valeu' is not known, did you mean 'value'?"),
        (RULE + GIVE + "when = 'points > 3'", "7: 'points' is not known: say whose, for example actor.points"),
        (RULE + GIVE + "when = 'actor.pionts > 3'", "7: 'actor.pionts' is neither a metric nor an attribute, did you"),
        (RULE + GIVE + "when = 'actor.views > 3'", "7: 'actor.views': views belongs to objects, not to users"),
        (RULE + GIVE + "when = 'actor.wek.points > 3'", "7: 'wek' is not a period, did you mean 'week'?"),
        (RULE + GIVE + "when = 'actor.streak.x > 3'", "7: there is no streak 'x'"),
        (RULE + GIVE + "when = 'actor.a.b.c > 3'", "7: 'actor.a.b.c' goes too deep"),
        (RULE + GIVE + "when = 'data > 3'", "7: data needs a field"),
        (RULE + GIVE + "when = 'stamp.bot'", "7: a stamp is one of stamp.crawler, stamp.clamped"),
        (RULE + GIVE + "when = 'lookup(\"x\", 1)'", "7: there is no look-up 'x'"),
        (RULE + GIVE + "when = [1]", "7: when is an expression in quotes"),
        (RULE + GIVE + "name = 5", "7: name is a text"),
        (RULE + GIVE + 'name = "a\\nb"', "7: name is a text"),
        (RULE + GIVE + "once = ['actor']", "7: a rule with once needs a name"),
        (RULE + GIVE + "name = 'n'\nonce = ['acter']", "8: once does not know 'acter', did you mean 'actor'?"),
        (RULE + GIVE + "name = 'n'\nonce = 'actor'", "8: once is a list"),
        (RULE + GIVE + "cap = 'x'", "7: there is no cap 'x'"),
        (RULE + GIVE + "cap = ['x']", "7: there is no cap ['x']"),
        (RULE + GIVE + "cap = 'c'\n[caps.c]\nmetric = 'views'\nlimit = 1", "7: the cap 'c' is on 'views'"),
        (RULE + "give = 5", "6: give is a list of tables"),
        (RULE + "give = [{ to = 'actor', metric = 'points' }, 5]", "6: give is a list of tables"),
        (RULE + "give = [{ to = 'acter', metric = 'points' }]", "6: to is actor, object, owner or a field"),
        (RULE + "give = [{ to = 'data.', metric = 'points' }]", "6: to is actor"),
        (RULE + "give = [{ to = 'actor', metric = 'ponts' }]", "6: there is no metric 'ponts', did you mean 'points'?"),
        (RULE + "give = [{ to = 'actor' }]", "6: metric is missing"),
        (
            RULE + "give = [{ to = 'actor', metric = 'views' }]",
            "6: the metric 'views' is given to users and to objects",
        ),
        (RULE + "give = [{ to = 'actor', metric = 'points', mod = 'set' }]", "6: there is no key 'mod' here, did you"),
        (RULE + "give = [{ to = 'actor', metric = 'points', mode = 'sat' }]", "did you mean 'set'?"),
        (RULE + "set = [{ on = 'object', attribute = 'points', value = '1' }]", "6: 'points' is a metric already"),
        (RULE + "set = [{ on = 'object', attribute = 'a b', value = '1' }]", "6: set needs attribute = a plain word"),
        (RULE + "set = [{ on = 'object', attribute = 'kind' }]", "6: set needs a value"),
        (BASE + "[caps.c]\nmetric = 'points'", "4: a cap needs a limit"),
        (BASE + "[caps.c]\nmetric = 'points'\nlimit = -1", "6: a cap's limit is 0 or more"),
        (BASE + "[caps.c]\nmetric = 'points'\nlimit = 1\nper = 'dai'", "7: per is one of"),
        (BASE + "[boards.b]\n", "4: a board has either metric"),
        (BASE + "[boards.b]\nmetric = 'ponts'", "5: there is no metric 'ponts', did you mean 'points'?"),
        (BASE + "[boards.b]\norder = ['points up']", "5: 'points up': write a metric and asc or desc"),
        (BASE + "[boards.b]\norder = []", "5: order names at least one metric"),
        (BASE + "[boards.b]\norder = ['points', 'views']", "5: the metrics of one board belong to users or to objects"),
        (BASE + "[boards.b]\nmetric = 'points'\nties = 'frist'", "6: ties is one of first, last, id, not 'frist', did"),
        (BASE + "[boards.b]\nmetric = 'points'\nkeep = { week = 1 }", "6: keep says how many closed periods"),
        (BASE + "[badges.b]\n", "4: a badge has either when"),
        (BASE + "[badges.b]\nlevels = {}", "5: levels is a table"),
        (BASE + "[badges.b]\nlevels = 5", "5: levels is a table"),
        (BASE + "[badges.b]\nwhen = 'ponts > 1'", "5: 'ponts' is neither a metric nor an attribute, did you"),
        (BASE + "[badges.b]\nwhen = 'views > 1'", "5: 'views': views belongs to objects, not to users"),
        (BASE + "[badges.b]\nwhen = '1 == 1'", "5: a badge's condition reads at least one metric or streak"),
        (BASE + "[badges.b]\nwhen = 'points > 1'\nonce = 'owner'", '6: once = "owner" belongs to badges'),
        (BASE + "[badges.b]\nwhen = 'points > 1'\ndays = 0", "6: days is a whole number from 1"),
        (BASE + "[badges.b]\nwhen = 'points > 1'\ndays = 2\nrevocable = true", "7: a badge for any object or for days"),
        (BASE + "[streaks.s]\non = 'a'\nevery = 'dayly'", "6: every is one of"),
        (BASE + "[streaks.s]\non = 'a'\nbreaks_when = 'true'", "6: breaks_when belongs to streaks with"),
        (BASE + "[streaks.a-b]\non = 'a'", "4: the name of a streak is a plain word"),
        (BASE + "[ranges.season]\n", "4: the range 'season' needs at least one named span"),
        (BASE + "[ranges.season]\na = { from = 1 }", "5: write 'a' = { from"),
        (BASE + "[ranges.season]\na = { from = 2021-01-01, to = 2020-01-01 }", "5: 'a' ends before it begins"),
        (BASE + "[ranges.day]\na = { from = 2020-01-01, to = 2021-01-01 }", "4: Ranges cannot be called 'day'"),
        (
            BASE + "[ranges.s]\na = { from = 2020-01-01, to = 2021-01-01 }\nb = { from = 2020-06-01, to = 2021-01-01 }",
            "4: The ranges 's:a' and 's:b' overlap",
        ),
        ("[lookups.x]\na = nan", "2: 'a' is no number within"),
        ("[lookups.x]\na = [1]", "2: 'a' must be a number, a text, true or false"),
        ('[lookups.x]\na = "\\u0000"', "2: 'a' holds the character U+0000"),
        ("[lookups.'a b']\na = 1", "1: a look-up is a table"),
    ],
)
def test_a_wrong_program_is_told_where_and_what_would_be_right(text: str, problem: str) -> None:
    with pytest.raises(ProgramError) as refused:
        read(text, file="rules.toml")
    assert any(line.startswith("rules.toml:") and problem in line for line in str(refused.value).splitlines()), str(
        refused.value
    )
    if problem[0].isdigit():
        assert f"rules.toml:{problem}" in str(refused.value)


def test_every_problem_is_told_at_once_in_the_order_of_the_lines() -> None:
    text = RULE + "give = [{ to = 'acter', metric = 'ponts' }]\n[boards.b]\nmetric = 'x'\n[nothing]\n"
    with pytest.raises(ProgramError) as refused:
        read(text)
    assert [problem.line for problem in refused.value.problems] == [6, 6, 8, 9]


def test_a_program_that_is_too_large_is_refused() -> None:
    with pytest.raises(ProgramError, match="at most"):
        read("#" * (1 << 20) + "#")


FRAGMENTS = [*DESIGN.splitlines(), "5", "x = 1", "[[rules]]", "on = 'a'", "[rules]", "metrics = 5", GIVE.strip()]
FRAGMENTS += ["when = ''", "limit = -0.0", "per = 'all'", "cap = {}", "[caps]", "[caps.x]", "give = [[]]", "set = {}"]
FRAGMENTS += [
    "[boards.daily_points]",
    "order = [[]]",
    "[lookups.a]",
    "keep = { all = 1 }",
    "[ranges.comments]",
    "to = 1",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("\n".join))
def test_any_text_is_refused_with_its_lines_or_can_be_compiled(text: str) -> None:
    problems: list[Problem] = []
    try:
        compile_all(read(text))
    except ProgramError as refused:
        problems = refused.problems
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in problems)


@pytest.mark.parametrize(
    "text",
    [
        "[[rules]]\non = 'x'\ngive = [" + "{ to = 'actor', metric = 'points' }," * 2_001 + "]",
        "[[rules]]\non = 'x'\ngive = ["
        + "".join(f"{{ to = 'data.f{number}', metric = 'points' }}," for number in range(50))
        + "]\n"
        + "".join(f"[badges.b{number}]\nwhen = 'points > {number}'\n" for number in range(50)),
    ],
    ids=["gives", "badges of many"],
)
def test_what_one_event_may_change_is_bounded(text: str) -> None:
    with pytest.raises(ProgramError, match=r"program:2: an event 'x' may change 2,\d+ values, at most 2,000"):
        read(f"[metrics.points]\n{text}")
