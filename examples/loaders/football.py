"""Football matches as events: one for each side, in the order they were played.

The file knows the day of a match and not the hour, so every match begins at 15:00.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loaders.lines import adjustment, line, rows, run

DEDUCTION_DAY = "2010-03-17"


def events(data: Path) -> Iterator[bytes]:
    """Every match of `football/matches.csv` twice, and Portsmouth's deduction where it belongs in time."""
    deducted = False
    for row in rows(data / "football" / "matches.csv"):
        if not deducted and row["date"] > DEDUCTION_DAY:
            yield _deduction()
            deducted = True
        yield _side(row, at="home", other="away")
        yield _side(row, at="away", other="home")


def _side(row: dict[str, str], *, at: str, other: str) -> bytes:
    match = f"{row['date']} {row['home']} v {row['away']}"
    return line(
        "match.played",
        f"{match}, {at}",
        actor=row[at],
        object=match,
        time=f"{row['date']}T15:00:00Z",
        data={"at": at, "goals_for": int(row[f"{at}_goals"]), "goals_against": int(row[f"{other}_goals"])},
    )


def _deduction() -> bytes:
    return adjustment(
        "deduction-2010-portsmouth",
        f"{DEDUCTION_DAY}T12:00:00Z",
        metric="points",
        subject="Portsmouth",
        amount=-9,
        reason="nine points deducted for entering administration",
    )


if __name__ == "__main__":
    run(events)
