"""A real question-and-answer community: scores, reputations and badges against what it published."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loaders import community
from loaders.lines import rows

from truth.conftest import Delivery, FoldAll, assert_all_counted_once
from truth.engine import Folded

EVENTS = 16_596
POSTS = 1_672
USERS = 3_460
REPUTATIONS_MIN = 3_361
REPUTATION_AT_FIRST = 1
BONUS = 100
"""Given once to users known from elsewhere; it is in no event."""

BADGES = 890
BADGES_FOUND_MIN = 873
BADGES_ON_THE_DAY_MIN = 804

NAMES = {
    ("student", ""): "Student",
    ("teacher", ""): "Teacher",
    ("question", "nice"): "Nice Question",
    ("question", "good"): "Good Question",
    ("question", "great"): "Great Question",
    ("answer", "nice"): "Nice Answer",
    ("answer", "good"): "Good Answer",
    ("answer", "great"): "Great Answer",
    ("favorite_question", ""): "Favorite Question",
    ("scholar", ""): "Scholar",
    ("commentator", ""): "Commentator",
    ("promoter", ""): "Promoter",
    ("investor", ""): "Investor",
    ("mortarboard", ""): "Mortarboard",
}


@pytest.fixture(scope="module")
def folded(real_data: Path, fold_all: FoldAll, delivery: Delivery) -> Folded:
    return fold_all("community", community.events(real_data), delivery)


@pytest.fixture(scope="module")
def badges(real_data: Path) -> list[dict[str, str]]:
    return list(rows(real_data / "community" / "truth_badges.csv"))


def test_every_event_is_counted_once(folded: Folded, delivery: Delivery) -> None:
    assert_all_counted_once(folded, delivery, EVENTS)


@pytest.mark.parametrize(("metric", "same"), [("score", POSTS), ("favorites", POSTS), ("comments", POSTS - 1)])
def test_the_counters_of_posts_are_the_published_ones(folded: Folded, real_data: Path, metric: str, same: int) -> None:
    published = {row["post"]: int(row[metric] or 0) for row in rows(real_data / "community" / "truth_posts.csv")}
    counted = folded.tallies(metric, "all")
    assert len(published) == POSTS
    assert sum(counted.get(post, 0) == value for post, value in published.items()) == same


def test_reputations_are_exact_or_exactly_the_bonus_short(folded: Folded, real_data: Path) -> None:
    published = {row["user"]: int(row["reputation"]) for row in rows(real_data / "community" / "truth_users.csv")}
    counted = folded.tallies("reputation", "all")
    short = Counter(value - counted.get(user, REPUTATION_AT_FIRST) for user, value in published.items())
    assert len(published) == USERS
    assert short[0] + short[BONUS] >= REPUTATIONS_MIN


def test_no_reputation_is_below_the_floor(folded: Folded) -> None:
    assert min(folded.tallies("reputation", "all").values()) >= REPUTATION_AT_FIRST


def test_no_badge_is_wrong_and_nearly_all_are_found(folded: Folded, badges: list[dict[str, str]]) -> None:
    counted = Counter((award.holder, NAMES[award.badge, award.level]) for award in folded.awards())
    published = Counter((row["user"], row["badge"]) for row in badges)
    assert published.total() == BADGES
    assert counted - published == Counter()
    assert (counted & published).total() >= BADGES_FOUND_MIN


def test_most_badges_are_earned_on_the_published_day(folded: Folded, badges: list[dict[str, str]]) -> None:
    counted = Counter((award.holder, NAMES[award.badge, award.level], _day(award.time_us)) for award in folded.awards())
    published = Counter((row["user"], row["badge"], row["date"]) for row in badges)
    assert (counted & published).total() >= BADGES_ON_THE_DAY_MIN


def _day(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).date().isoformat()
