"""The naive count: what it is checked by is the rules file's own words."""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from accrue.cli.demo import naive as naive_module
from accrue.cli.demo.community import Happening
from accrue.cli.demo.naive import Naive, Seen, day_in_paris
from accrue.cli.demo.words import BROWSERS, CRAWLERS

NOON_US = 1_795_258_800_000_000
TODAY = day_in_paris(NOON_US)
DAY_US = 86_400_000_000


class Counting:
    """A naive count that numbers what it is given."""

    def __init__(self) -> None:
        self.naive = Naive()
        self._number = 0

    def fold(self, type: str, actor: str | None, detail: str, *, days_ago: int = 0, post: str = "p") -> None:
        time_us = NOON_US - days_ago * DAY_US
        self.naive.fold(Happening(self._number, type, actor, post, "bob", time_us, detail, 0))
        self._number += 1


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_it_shares_nothing_with_the_engine() -> None:
    tree = ast.parse(Path(naive_module.__file__).read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module for module in modules if module.startswith("accrue")} == {
        "accrue.cli.demo.community",
        "accrue.cli.demo.words",
    }


def test_a_crawler_is_counted_apart_and_a_reader_once_a_day(counting: Counting) -> None:
    for agent in (CRAWLERS[0], BROWSERS[0], BROWSERS[0]):
        counting.fold("article.viewed", "ada", agent)
    counting.fold("article.viewed", None, BROWSERS[0])
    naive = counting.naive
    assert (naive.crawled["p"], naive.views["p"], naive.readers["p"], naive.points["bob"]) == (1, 3, 1, 1)
    assert naive.row_writes == 1 + 3 + 2


def test_comments_earn_fifty_points_a_day_at_most(counting: Counting) -> None:
    for _ in range(12):
        counting.fold("comment.created", "ada", "a comment long enough to be one")
    counting.fold("comment.created", "ada", "too short")
    naive = counting.naive
    assert (naive.points["ada"], naive.comments_written["ada"], naive.comments["p"]) == (50, 13, 13)
    assert naive.badges["ada"] == {("commentator", "bronze", None)}


def test_reputation_stops_at_its_floor_and_a_reaction_counts_once(counting: Counting) -> None:
    for actor in ("ada", "ada", "eve"):
        counting.fold("reaction.added", actor, "dislike")
    counting.fold("reaction.added", "ada", "like")
    counting.fold("reaction.added", "bob", "like")
    naive = counting.naive
    assert (naive.reputation["bob"], naive.likes["p"], naive.points["bob"]) == (6, 1, 2)
    assert naive.row_writes == 3  # a dislike that changes nothing writes nothing


def test_days_in_a_row_make_a_streak_in_whatever_order_they_come(counting: Counting) -> None:
    for days_ago in (6, 0, 4, 5, 1, 3, 9):
        counting.fold("post.published", "bob", "tea", days_ago=days_ago)
    assert counting.naive.streak("bob") == (2, 4, TODAY)
    assert "steady" not in {badge for badge, _, _ in counting.naive.badges["bob"]}
    counting.fold("post.published", "bob", "tea", days_ago=2)
    assert counting.naive.streak("bob") == (7, 7, TODAY)
    assert ("steady", "", None) in counting.naive.badges["bob"]


def test_a_repeat_and_a_conflict_change_nothing() -> None:
    naive = Naive()
    view = Happening(0, "article.viewed", "ada", "p", "bob", NOON_US, BROWSERS[0], 0)
    naive.fold(view)
    naive.fold(view)
    naive.fold(view, altered=True)
    assert (naive.distinct, naive.repeated, naive.conflicting, naive.views["p"]) == (1, 1, 1, 1)


def test_numbers_that_come_out_of_order_are_each_new_once_and_are_forgotten_in_bulk() -> None:
    seen = Seen()
    assert [seen.add(number) for number in (1, 0, 1, 3, 0, 2, 3)] == [True, True, False, True, False, True, False]
    assert not seen._beyond


@pytest.mark.parametrize(
    ("time", "day"),
    [
        (datetime(2026, 3, 28, 23, 0, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 21, 59, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), date(2026, 3, 30)),
        (datetime(2026, 10, 24, 22, 0, tzinfo=UTC), date(2026, 10, 25)),
        (datetime(2026, 10, 25, 22, 59, tzinfo=UTC), date(2026, 10, 25)),
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_a_day_in_paris_begins_at_midnight_there(time: datetime, day: date) -> None:
    assert day_in_paris(int(time.timestamp()) * 1_000_000) == day
