"""A real web site's log: nobody published its numbers, so they are held against a plain count of its lines."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from accrue.ingest.formats import combined
from truth.conftest import Delivery, FoldAll, assert_all_counted_once
from truth.engine import Folded

LINES = 10_000
LINES_SERVED = 9_780
"""Lines whose status is below 400."""

CRAWLERS_MIN = 1_500
SURE_CRAWLER = re.compile("Googlebot|bingbot|AhrefsBot|YandexBot|Baiduspider")
SURE_PERSON = re.compile(
    r"Mozilla/5\.0 \((?:Windows NT|Macintosh|iPad|iPhone)[^)]*\) [^@+]*(?:Firefox|Chrome|Safari)/[\d.]+"
)
"""An everyday browser with nothing after its name, such as the address of a service."""


@pytest.fixture(scope="module")
def events(real_data: Path) -> list[bytes]:
    file = io.BytesIO(gzip.decompress((real_data / "access_log" / "access.log.gz").read_bytes()))
    return [line.event for line in combined.read(file, digest="log") if line.event is not None]


@pytest.fixture(scope="module")
def folded(events: list[bytes], fold_all: FoldAll, delivery: Delivery) -> Folded:
    return fold_all("weblog", events, delivery)


@pytest.fixture(scope="module")
def served(events: list[bytes]) -> list[dict[str, Any]]:
    found = [event for event in map(json.loads, events) if event["data"]["status"] < 400]
    assert len(found) == LINES_SERVED
    return found


def test_every_line_is_counted_once(folded: Folded, delivery: Delivery) -> None:
    assert_all_counted_once(folded, delivery, LINES)
    assert sum(folded.tallies("hits", "all").values()) == LINES


def test_every_page_served_was_viewed_or_crawled(folded: Folded, served: list[dict[str, Any]]) -> None:
    views, crawled = Counter(folded.tallies("views", "all")), Counter(folded.tallies("crawled", "all"))
    assert views + crawled == Counter(event["object"] for event in served)


def test_crawlers_are_set_apart_from_people(folded: Folded, served: list[dict[str, Any]]) -> None:
    views, crawled = Counter(folded.tallies("views", "all")), Counter(folded.tallies("crawled", "all"))
    agents = [(event["object"], event["data"].get("user_agent", "")) for event in served]
    sure_crawlers = Counter(page for page, agent in agents if SURE_CRAWLER.search(agent))
    sure_people = Counter(page for page, agent in agents if SURE_PERSON.fullmatch(agent))
    assert crawled.total() >= CRAWLERS_MIN
    assert sure_crawlers.total() > 500
    assert sure_people.total() > 3_500
    assert sure_crawlers <= crawled
    assert sure_people <= views


def test_a_visitor_counts_once_a_page_and_day(folded: Folded, events: list[bytes]) -> None:
    days = {event["time"][:10] for event in map(json.loads, events)}
    visitors = sum(folded.tallies("visitors", "all").values())
    assert visitors == sum(folded.tallies("points", "all").values())
    assert visitors == sum(sum(folded.tallies("points", day).values()) for day in days)
    assert visitors < sum(folded.tallies("views", "all").values())
