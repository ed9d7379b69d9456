"""Every example program can be read, and the writers' community does what its comments say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accrue.core.reader import read
from truth.conftest import PROGRAMS, Delivery, OpenFold
from truth.engine import Folded

CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) Safari/537.36"
ONCE = Delivery(1, 1_000)


@pytest.fixture
def writers(open_fold: OpenFold) -> Folded:
    return open_fold("writers", ONCE)


@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_example_program_can_be_read(program: Path) -> None:
    assert read(program.read_text(encoding="utf-8"), file=program.name).rules


def test_crawlers_bring_a_writer_nothing(writers: Folded) -> None:
    writers.feed(_event(f"view-{n}", "article.viewed", actor=f"bot-{n}", user_agent=CRAWLER) for n in range(5))
    assert writers.tally("crawled", "all", "post-1") == 5
    assert writers.tally("views", "all", "post-1") is None
    assert writers.tally("points", "all", "bob") is None


def test_reloading_a_page_is_a_view_but_no_second_reader(writers: Folded) -> None:
    writers.feed(_event(f"view-{n}", "article.viewed", actor="ada", user_agent=BROWSER) for n in range(3))
    assert writers.tally("views", "all", "post-1") == 3
    assert writers.tally("readers", "all", "post-1") == 1
    assert writers.tally("points", "all", "bob") == 1


def test_comments_earn_at_most_fifty_points_a_day_and_count_for_the_badge_all_the_same(writers: Folded) -> None:
    comment = "a comment long enough to be one"
    writers.feed(_event(f"comment-{n}", "comment.created", actor="ada", text=comment) for n in range(12))
    assert writers.tally("points", "2026-11-21", "ada") == 50
    assert writers.tally("comments_written", "all", "ada") == 12
    assert [(award.badge, award.level, award.holder) for award in writers.awards()] == [
        ("commentator", "bronze", "ada")
    ]


def test_a_reaction_counts_once_a_user_and_dislikes_stop_at_the_floor(writers: Folded) -> None:
    writers.feed(_event(f"like-{n}", "reaction.added", actor="ada", kind="like") for n in range(2))
    assert writers.tally("reputation", "all", "bob") == 6
    writers.feed(_event(f"dislike-{n}", "reaction.added", actor=f"user-{n}", kind="dislike") for n in range(5))
    assert writers.tally("reputation", "all", "bob") == 1


def test_seven_days_of_posts_make_a_steady_writer(writers: Folded) -> None:
    writers.feed(_event(f"post-{day}", "post.published", actor="bob", day=day) for day in range(1, 8))
    assert writers.streak("writing", "bob").current == 7
    assert [(award.badge, award.holder) for award in writers.awards()] == [("steady", "bob")]


def _event(id: str, type: str, *, actor: str, day: int = 21, **data: str) -> bytes:
    event = {"id": id, "type": type, "actor": actor, "object": "post-1", "owner": "bob", "data": data}
    return json.dumps({**event, "time": f"2026-11-{day:02}T12:00:00Z"}).encode()
