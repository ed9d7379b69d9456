"""The demo's traffic: the same from the same seed, with everything in it that it promises."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from accrue.cli.demo.community import LANES, POSTS_MAX, Community, Sent
from accrue.cli.demo.words import BROWSERS, CRAWLERS, WRITERS
from accrue.ingest.crawlers import is_crawler
from accrue.ingest.validate import check_ndjson

NOW_US = 1_795_000_000_000_000
EVENTS = 30_000


def traffic(seed: int = 1, events: int = EVENTS, wave_events: int = EVENTS) -> tuple[Community, list[Sent]]:
    community = Community(seed=seed, wave_events=wave_events, began_us=NOW_US)
    sent = list(community.opening())
    while len(sent) < events:
        sent += community.next(NOW_US)
    return community, sent


def test_the_same_seed_gives_the_same_traffic_and_another_one_does_not() -> None:
    first, again, other = (traffic(seed, events=3_000)[1] for seed in (7, 7, 8))
    assert [sent.line for sent in first] == [sent.line for sent in again]
    assert [sent.line for sent in first] != [sent.line for sent in other]


def test_about_three_in_a_hundred_are_repeats_and_few_are_worse() -> None:
    what = Counter(sent.what for sent in traffic()[1])
    assert 0.02 < what["repeat"] / EVENTS < 0.04
    assert 0 < what["conflict"] < 60
    assert 0 < what["malformed"] < 90


def test_new_events_have_numbers_without_a_gap_and_ids_of_their_own() -> None:
    new = [sent for sent in traffic(events=5_000)[1] if sent.what == "new"]
    assert [sent.happening.number for sent in new] == list(range(len(new)))
    assert len({sent.line for sent in new}) == len(new)


def test_a_conflict_says_something_else_and_follows_in_the_lane_of_the_first() -> None:
    sent = traffic()[1]
    first = {one.happening.number: one for one in sent if one.what == "new"}
    conflicts = [one for one in sent if one.what == "conflict"]
    assert conflicts
    for conflict in conflicts:
        original = first[conflict.happening.number]
        assert conflict.lane == original.lane
        assert conflict.line != original.line
        assert conflict.line[:20] == original.line[:20]
        assert sent.index(original) < sent.index(conflict)


def test_what_depends_on_order_travels_in_the_lane_of_the_owner() -> None:
    lanes = {(sent.happening.owner, sent.lane) for sent in traffic()[1] if sent.happening.type == "reaction.added"}
    assert len(lanes) == len({owner for owner, _ in lanes}) == len(WRITERS)
    assert {lane for _, lane in lanes} == set(range(LANES))


def test_everything_malformed_is_refused_and_everything_else_accepted() -> None:
    for sent in traffic()[1]:
        if sent.what == "malformed" or sent.happening.number % 100 == 0:
            checked = check_ndjson(sent.line, tenant="t", now_us=NOW_US)
            assert [result.status == "rejected" for result in checked.results] == [sent.what == "malformed"], sent.line


def test_one_post_goes_viral_in_the_middle_of_a_wave() -> None:
    community, sent = traffic()
    assert community.viral is not None
    new = [one.happening for one in sent if one.what == "new" and one.happening.type == "article.viewed"]
    third = len(new) // 3
    counts = [
        sum(one.object == community.viral.id for one in islice(new, at * third, (at + 1) * third)) for at in (0, 1)
    ]
    assert counts[1] > 5 * counts[0] > 0


def test_however_long_it_goes_on_there_are_only_so_many_posts() -> None:
    sent = traffic(events=60_000)[1]
    published = Counter(one.happening.object for one in sent if one.happening.type == "post.published")
    assert len(published) == POSTS_MAX
    assert max(published.values()) > 1


def test_crawlers_are_known_by_what_they_say_and_browsers_are_not_taken_for_them() -> None:
    assert all(is_crawler(agent) for agent in CRAWLERS)
    assert not any(is_crawler(agent) for agent in BROWSERS)
    details = {sent.happening.detail for sent in traffic()[1] if sent.happening.type == "article.viewed"}
    assert set(CRAWLERS) < details
