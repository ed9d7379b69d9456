"""Formula 1 results as events: every row of a result and of the fastest laps, from the season 2010 on.

The file has one date a round, that of the race, so a sprint is put before the race, at 10:00 of the same day.
The decisions of the stewards that no result shows are adjustments, made before the round they counted from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loaders.lines import adjustment, line, rows, run, whole

FIRST_SEASON = 2010
"""The program knows the points of this season and later ones."""

CLOCK = {"sprint": "10:00:00Z", "race": "14:00:00Z", "fastest_lap": "16:00:00Z"}
TYPES = {"sprint": "sprint.finished", "race": "race.finished"}

Round = tuple[int, int]
"""(season, number of the round)."""


def events(data: Path) -> Iterator[bytes]:
    """All rounds one after the other."""
    for _, round_events in rounds(data):
        yield from round_events


def rounds(data: Path) -> Iterator[tuple[Round, list[bytes]]]:
    """The events of each round: adjustments made before it, the sprint, the race, its fastest laps."""
    fastest = {key: list(some) for key, some in groupby(_since(data / "formula1" / "fastest_laps.csv"), key=_round)}
    for key, results in groupby(_since(data / "formula1" / "results.csv"), key=_round):
        result_rows = list(results)
        result_rows.sort(key=lambda row: row["session"], reverse=True)  # the sprint, then the race
        date = result_rows[0]["date"]
        found = _adjustments(key)
        found += [_event(row, row["session"], TYPES[row["session"]], date) for row in result_rows]
        found += [_event(row, "fastest_lap", "fastest_lap.set", date) for row in fastest.get(key, [])]
        yield key, found


def _since(file: Path) -> Iterator[dict[str, str]]:
    return (row for row in rows(file) if int(row["season"]) >= FIRST_SEASON)


def _round(row: dict[str, str]) -> Round:
    return int(row["season"]), int(row["round"])


def _event(row: dict[str, str], session: str, type: str, date: str) -> bytes:
    season, number = _round(row)
    return line(
        type,
        f"{season}-{number}-{session}-{row['driver']}",
        actor=row["driver"],
        object=row["constructor"],
        time=f"{date}T{CLOCK[session]}",
        data={"season": season, "round": number, "position": whole(row["position"])},
    )


def _adjustments(key: Round) -> list[bytes]:
    match key:
        case (2018, 13):
            return [
                adjustment(
                    "exclusion-2018-force-india",
                    "2018-08-24T12:00:00Z",
                    metric="team_points",
                    subject="force-india",
                    amount=-59,
                    reason="the points of the first twelve rounds were cancelled when the team changed hands",
                )
            ]
        case (2020, 5):
            return [
                adjustment(
                    "deduction-2020-racing-point",
                    "2020-08-07T12:00:00Z",
                    metric="team_points",
                    subject="racing-point",
                    amount=-15,
                    reason="fifteen points deducted for the brake ducts",
                )
            ]
    return []


if __name__ == "__main__":
    run(events)
