"""Which parts of a program depend on the order of events, and why."""

from __future__ import annotations

from accrue.core.order_free import Verdicts, judge
from accrue.core.reader import read


def judged(parts: str, metrics: str = "points = {}\nlikes = {}") -> Verdicts:
    return judge(read(f"[metrics]\n{metrics}\n{parts}"))


def rule(lines: str, give: str = '{ to = "actor", metric = "points", amount = 2 }') -> str:
    return f'[[rules]]\nname = "r"\non = "e"\ngive = [{give}]\n{lines}\n'


def reasons(parts: str, metrics: str = "points = {}\nlikes = {}") -> tuple[str, ...]:
    return judged(parts, metrics).rules[0].reasons


def test_a_plain_sum_with_a_condition_on_the_event_is_order_free() -> None:
    give = '{ to = "actor", metric = "points", amount = "data.n * 2 if value > 1 else 1" }'
    verdict = judged(rule('when = "actor != owner and data.kind == null"', give)).rules[0]
    assert verdict.order_free
    assert verdict.name == "r"


def test_a_cap_is_not_order_free() -> None:
    cap = '[caps.daily]\nmetric = "points"\nlimit = 5\nper = "day"\n'
    assert reasons(rule('cap = "daily"') + cap) == ("cap 'daily': who comes first takes the room",)


def test_once_is_not_order_free() -> None:
    assert reasons(rule('once = ["actor"]')) == ("once: the first event counts, later ones do not",)


def test_a_metric_with_a_floor_is_not_order_free() -> None:
    assert reasons(rule(""), "points = { min = 0 }") == ("'points' has a min: what falls below it is lost",)


def test_a_mode_other_than_add_is_not_order_free_and_spoils_the_sums_on_that_metric() -> None:
    replacing = rule("", '{ to = "actor", metric = "points", amount = 1, mode = "set" }')
    verdicts = judged(replacing + rule("").replace('"r"', '"sum"')).rules
    assert verdicts[0].reasons == ("mode 'set': it replaces what 'points' holds",)
    assert verdicts[1].reasons == ("another rule replaces 'points' (mode 'set')",)


def test_reading_a_tally_an_attribute_or_a_streak_is_not_order_free() -> None:
    streak = '[streaks.daily]\non = "e"\nevery = "day"\n'
    setting = '[[rules]]\nname = "s"\non = "e"\nset = { on = "actor", attribute = "country", value = "data.c" }\n'
    assert reasons(rule('when = "actor.day.likes > 3"')) == ("its condition reads the tally 'likes'",)
    assert reasons(rule('when = "actor.country == 1"') + setting) == ("its condition reads the attribute 'country'",)
    give = '{ to = "actor", metric = "points", amount = "actor.streak.daily", when = "actor.likes > 1" }'
    assert reasons(rule("", give) + streak) == (
        "an amount reads the streak 'daily'",
        "an amount's condition reads the tally 'likes'",
    )


def test_setting_an_attribute_is_not_order_free() -> None:
    setting = '[[rules]]\nname = "s"\non = "e"\nset = { on = "actor", attribute = "country", value = "data.c" }\n'
    assert reasons(setting) == ("sets the attribute 'country': the last event decides",)


def test_a_streak_by_period_is_order_free_and_one_by_event_is_not() -> None:
    streaks = '[streaks.daily]\non = "e"\nevery = "day"\n[streaks.run]\non = "e"\nevery = "event"\n'
    daily, run = judged(streaks).streaks
    assert daily.order_free
    assert run.reasons == ("every event: it counts in the order of the log",)


def test_a_streak_whose_condition_reads_a_tally_is_not_order_free() -> None:
    (daily,) = judged('[streaks.daily]\non = "e"\nevery = "day"\nwhen = "actor.points > 3"\n').streaks
    assert daily.reasons == ("its condition reads the tally 'points'",)


def test_a_board_is_order_free_with_ties_by_id_over_plain_sums() -> None:
    boards = '[boards.a]\nmetric = "points"\nties = "id"\n[boards.b]\nmetric = "points"\nties = "first"\n'
    a, b = judged(rule("") + boards).boards
    assert a.order_free
    assert b.reasons == ("ties 'first': who got there first stands above",)


def test_an_attribute_that_a_rule_sets_does_not_make_its_plain_sums_follow_order() -> None:
    setting = 'set = { on = "actor", attribute = "country", value = "data.c" }'
    verdicts = judged(rule(setting) + '[boards.a]\nmetric = "points"\nties = "id"\n')
    assert not verdicts.rules[0].order_free
    assert verdicts.boards[0].order_free


def test_a_board_over_a_metric_that_follows_order_is_not_order_free() -> None:
    (board,) = judged(rule('once = ["actor"]') + '[boards.a]\nmetric = "points"\nties = "id"\n').boards
    assert board.reasons == ("'points' follows order: rule 'r'",)


def test_a_fraction_is_not_order_free_where_periods_are_kept() -> None:
    """What is carried of it becomes a whole one in the period of whichever event comes later."""
    daily = "points = { periods = ['day'] }"
    for amount in ('"0.5"', '"value"', '"1 if value > 2 else 0.5"', '"value * 2"'):
        give = f'{{ to = "actor", metric = "points", amount = {amount} }}'
        assert reasons(rule("", give), daily) == (
            "fractions of 'points' are carried: in which period a whole one counts follows order",
        )
        assert reasons(rule("", give)) == ()
    for amount in ("2", "-3", '"round(value)"', '"floor(value / 2)"', '"2.0 if value > 2 else 1"'):
        assert reasons(rule("", f'{{ to = "actor", metric = "points", amount = {amount} }}'), daily) == ()
    scaled = "points = { periods = ['day'], scale = 2 }"
    assert reasons(rule("", '{ to = "actor", metric = "points", amount = "0.25" }'), scaled) == ()


def test_what_shares_its_events_with_what_may_fail_is_not_order_free() -> None:
    """An amount computed from an attribute fails while nobody has set it, and then the event does nothing at all."""
    weigh = '[[rules]]\nname = "w"\non = "e"\ngive = { to = "actor", metric = "likes", amount = "actor.weight * 2" }\n'
    set_ = '[[rules]]\nname = "s"\non = "f"\nset = { on = "actor", attribute = "weight", value = "data.w" }\n'
    assert reasons(rule("") + weigh + set_) == (
        "the rule 'w' may fail by what came before, and then the whole event is parked",
    )
    assert reasons(rule("") + weigh.replace('on = "e"', 'on = "g"') + set_) == ()


def badge(lines: str, *, amount: str = "1", more: str = "") -> tuple[str, ...]:
    parts = rule("", f'{{ to = "actor", metric = "points", amount = {amount} }}') + more
    return judged(f"{parts}[badges.b]\n{lines}\n").badges[0].reasons


def test_a_badge_for_at_least_so_much_of_what_only_grows_is_order_free() -> None:
    assert badge('levels = { a = "points >= 3", b = "points > 5 and 9 <= points" }') == ()
    assert badge('when = "day.points >= 3"\ndays = 2') == ()
    assert badge('when = "points >= 3 and points < 9"\nrevocable = true', amount='"value"') == ()


def test_a_badge_is_not_order_free_when_it_may_be_earned_in_between() -> None:
    falls = ("'points' may fall: who had enough in between keeps it",)
    assert badge('when = "points >= 3"', amount="-1") == falls
    assert badge('when = "points >= 3"', amount='"value"') == falls
    assert badge('when = "points == 3"') == ("its condition may hold in between and then no more",)
    assert badge('when = "points <= 3"') == ("its condition may hold in between and then no more",)
    assert badge('when = "day.points >= 3 and points >= 9"') == (
        "its condition reads all and day at once: one is looked at when another changes",
    )
    assert badge('when = "points >= 3"\ndays = 2') == ("days: on which of them the condition held follows order",)
    assert badge('when = "day.points >= 3"\nrevocable = true') == (
        "revocable: each event looks at the periods of its own time",
    )
    capped = rule('cap = "c"').replace('"r"', '"q"') + '[caps.c]\nmetric = "points"\nlimit = 1\nper = "day"\n'
    assert badge('when = "points >= 3"', more=capped) == ("'points' follows order: rule 'q'",)
