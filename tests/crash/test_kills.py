"""Kill the engine at every step and at any moment: nothing that was acked is lost, nothing counts twice."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from accrue.crashpoints import POINTS
from crash.many import ROOT, Tally, crash

KILLS = 300


@pytest.fixture(scope="module")
def tally() -> Tally:
    return crash(KILLS)


def test_whatever_is_killed_whenever_every_acked_event_has_counted_once(tally: Tally) -> None:
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.kills >= KILLS


def test_every_crash_point_was_come_to_and_killed_at(tally: Tally) -> None:
    assert not tally.points_missed


def test_the_kills_were_of_every_kind(tally: Tally) -> None:
    assert min(tally.killed_at[kind] for kind in ("instant", "starting", "stopping")) > 5
    assert len({(end.unsynced_lost, end.http) for end in tally.ends if end.killed_at}) == 4
    assert sum(1 for end in tally.ends if end.acked) > KILLS / 2
    assert sum(end.begun > end.acked for end in tally.ends) > 20  # requests were under way


def test_every_crash_point_stands_in_the_code_once() -> None:
    """Once a book: the one in PostgreSQL comes to the same points, and is killed in tests/faults."""
    placed: Counter[str] = Counter()
    for file in sorted((ROOT / "src" / "accrue").rglob("*.py")):
        if file.name.startswith("postgres"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in POINTS and file.name != "crashpoints.py":
                placed[str(node.value)] += 1
    assert placed == Counter(POINTS)
