"""Formula 1, 2010-2025: points and positions after every round, for drivers and constructors."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from loaders import formula1
from loaders.lines import rows

from accrue.core.ranking import Standing
from truth.conftest import Delivery, OpenFold, assert_all_counted_once
from truth.engine import Folded

LAST_SEASON = 2025
FINAL = "final"
BOARDS = {"driver": "drivers", "constructor": "constructors"}

PUBLISHED = {("driver", False): 7_077, ("driver", True): 367, ("constructor", False): 3_445, ("constructor", True): 169}
"""Published rows by (kind, final)."""

PLACED_BY_OTHER_RULES = {
    # Equal in points and in every place, so they share a rank; the published table puts one of the two first.
    (2010, "2", "karun-chandhok"): (16, 17),
    (2022, "2", "pierre-gasly"): (11, 12),
    (2025, "2", "pierre-gasly"): (15, 16),
    # The published table has him level with drivers, or ahead of them, whose best place was better than his.
    (2012, "2", "narain-karthikeyan"): (23, 22),
    (2012, "3", "narain-karthikeyan"): (24, 23),
    (2012, "4", "narain-karthikeyan"): (24, 23),
    (2012, "6", "narain-karthikeyan"): (22, 21),
    (2012, "6", "charles-pic"): (21, 22),
    (2012, "7", "narain-karthikeyan"): (22, 21),
    # The other way round by countback: a 14th place each, then a 15th against a 17th; a 6th place against a 7th.
    (2021, "10", "nikita-mazepin"): (20, 19),
    (2021, "10", "nicholas-latifi"): (19, 20),
    (2022, "6", "yuki-tsunoda"): (12, 11),
    (2022, "6", "daniel-ricciardo"): (11, 12),
}
"""The 13 driver rows, all in tables between rounds, where the published position is not that of the published rules:
(season, after round, driver) -> (by the rules, as published)."""


class Table(NamedTuple):
    season: int
    after_round: str
    kind: str


class Season(NamedTuple):
    """What a fold had on its boards after every round, and itself afterwards."""

    tables: dict[Table, list[Standing]]
    folded: Folded
    events: int


@pytest.fixture(scope="module")
def seasons(real_data: Path, open_fold: OpenFold, delivery: Delivery) -> Season:
    """One fold over all seasons, stopped after each round to read the boards."""
    folded = open_fold("formula1", delivery)
    tables: dict[Table, list[Standing]] = {}
    events = 0
    for (season, number), round_events in formula1.rounds(real_data):
        if season > LAST_SEASON:
            break
        folded.feed(round_events)
        events += len(round_events)
        for kind, board in BOARDS.items():
            standings = folded.standings(board, str(season))
            tables[Table(season, str(number), kind)] = tables[Table(season, FINAL, kind)] = standings
    return Season(tables, folded, events)


@pytest.fixture(scope="module")
def published(real_data: Path) -> dict[Table, dict[str, dict[str, str]]]:
    """Published rows by table and id. The second, excluded row of Force India in 2018 is of an entry without points."""
    tables: dict[Table, dict[str, dict[str, str]]] = {}
    for row in rows(real_data / "formula1" / "standings.csv"):
        if formula1.FIRST_SEASON <= int(row["season"]) <= LAST_SEASON and row["position"] != "EX":
            table = Table(int(row["season"]), row["after_round"], row["kind"])
            tables.setdefault(table, {})[row["id"]] = row
    return tables


Published = dict[Table, dict[str, dict[str, str]]]


def test_every_result_is_counted_once(seasons: Season, delivery: Delivery) -> None:
    assert_all_counted_once(seasons.folded, delivery, seasons.events)


@pytest.mark.parametrize(("kind", "final"), PUBLISHED)
def test_the_published_points_are_reproduced_after_every_round(
    seasons: Season, published: Published, kind: str, final: bool
) -> None:
    same = 0
    for table, theirs in _tables(published, kind, final):
        ours = {standing.subject: standing.scores[0] for standing in seasons.tables[table]}
        assert ours == {id: int(Decimal(row["points"]).scaleb(1)) for id, row in theirs.items()}, table
        same += len(theirs)
    assert same == PUBLISHED[kind, final]


@pytest.mark.parametrize(("kind", "final"), PUBLISHED)
def test_the_published_positions_are_reproduced_after_every_round(
    seasons: Season, published: Published, kind: str, final: bool
) -> None:
    same = 0
    different: dict[tuple[int, str, str], tuple[int, int]] = {}
    for table, theirs in _tables(published, kind, final):
        for standing in seasons.tables[table]:
            position = int(theirs[standing.subject]["position"])
            if standing.rank == position:
                same += 1
            else:
                different[table.season, table.after_round, standing.subject] = (standing.rank, position)
    assert different == (PLACED_BY_OTHER_RULES if (kind, final) == ("driver", False) else {})
    assert same == PUBLISHED[kind, final] - len(different)


def test_half_points_stay_exact(seasons: Season) -> None:
    assert seasons.folded.tally("points", "2021", "max-verstappen") == Decimal("395.5")
    assert seasons.folded.tally("points", "2021", "lewis-hamilton") == Decimal("387.5")


def _tables(published: Published, kind: str, final: bool) -> Iterator[tuple[Table, dict[str, dict[str, str]]]]:
    for table, theirs in published.items():
        if table.kind == kind and (table.after_round == FINAL) == final:
            yield table, theirs
