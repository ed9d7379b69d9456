"""25 seasons of one league against 440 published table rows and three runs that anyone can look up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from loaders import football
from loaders.lines import rows

from truth.conftest import Delivery, FoldAll, assert_all_counted_once
from truth.engine import Folded

MATCHES = 9_500
PUBLISHED_ROWS = 440
COLUMNS = {
    "Pld": "played",
    "W": "won",
    "D": "drawn",
    "L": "lost",
    "GF": "goals_for",
    "GA": "goals_against",
    "GD": "goal_difference",
    "Pts": "points",
}


@pytest.fixture(scope="module")
def folded(real_data: Path, fold_all: FoldAll, delivery: Delivery) -> Folded:
    return fold_all("football", football.events(real_data), delivery)


@pytest.fixture(scope="module")
def published(real_data: Path) -> list[dict[str, str]]:
    return list(rows(real_data / "football" / "standings_2000_2022.csv"))


def test_both_sides_of_every_match_and_the_deduction_are_counted_once(folded: Folded, delivery: Delivery) -> None:
    assert_all_counted_once(folded, delivery, 2 * MATCHES + 1)


def test_every_published_row_is_reproduced(folded: Folded, published: list[dict[str, str]]) -> None:
    same = 0
    for row in published:
        period = f"season:{row['Season']}"
        counted = {column: folded.tally(metric, period, row["Team"]) or 0 for column, metric in COLUMNS.items()}
        assert counted == {column: _number(row[column]) for column in COLUMNS}, (row["Season"], row["Team"])
        same += 1
    assert same == PUBLISHED_ROWS


def test_every_published_position_is_reproduced(folded: Folded, published: list[dict[str, str]]) -> None:
    seasons = dict.fromkeys(row["Season"] for row in published)
    counted = {
        (season, standing.subject): (standing.rank, standing.place)
        for season in seasons
        for standing in folded.standings("table", f"season:{season}")
    }
    wanted = {(row["Season"], row["Team"]): (int(row["Pos"]), int(row["Pos"])) for row in published}
    assert len(wanted) == PUBLISHED_ROWS
    assert counted == wanted


def test_portsmouth_has_the_published_points_only_through_the_deduction(folded: Folded) -> None:
    season = "season:2009-10"
    won, drawn = folded.tally("won", season, "Portsmouth"), folded.tally("drawn", season, "Portsmouth")
    assert won is not None
    assert drawn is not None
    assert folded.tally("points", season, "Portsmouth") == 3 * won + drawn - 9 == 19


@pytest.mark.parametrize(
    ("streak", "club", "length", "first", "last"),
    [
        ("unbeaten", "Arsenal", 49, "2003-05-07", "2004-10-16"),
        ("winning", "Liverpool", 18, "2019-10-27", "2020-02-24"),
        ("winning", "Manchester City", 18, "2017-08-26", "2017-12-27"),
    ],
)
def test_the_longest_runs_are_the_known_ones(
    folded: Folded, streak: str, club: str, length: int, first: str, last: str
) -> None:
    found = folded.streak(streak, club)
    clubs = folded.tallies("points", "all")
    assert found.longest == length == max(folded.streak(streak, other).longest for other in clubs)
    _, longest_run = found.runs
    assert tuple(_day(time_us) for time_us in longest_run) == (first, last)


def test_only_three_clubs_went_a_whole_season_of_matches_unbeaten(folded: Folded) -> None:
    invincible = [(award.holder, _day(award.time_us)) for award in folded.awards()]
    assert sorted(invincible) == [("Arsenal", "2004-05-04"), ("Chelsea", "2005-10-15"), ("Liverpool", "2020-01-11")]


def _number(cell: str) -> int:
    """A cell of the table: its minus sign may be the typographic one, and a note such as `[a]` may follow."""
    return int(cell.partition("[")[0].replace("\u2212", "-"))


def _day(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).date().isoformat()
