"""`accrue.testing`: what users run their own programs under; and its page, whose example is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from accrue.core.program import ProgramError
from accrue.errors import Rejected
from accrue.process import settle
from accrue.process.world import World
from accrue.testing.check import FaultsFound, check
from accrue.testing.faults import Rates

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "how-to" / "test-your-program.md"
RULES = """
[metrics.points]
[boards.all]
metric = "points"
[badges.rich]
when = "points >= 5"
[streaks.giving]
on = "given"
[[rules]]
on = "given"
give = [{ to = "actor", metric = "points", amount = "value" }]
set = [{ on = "actor", attribute = "last", value = "value" }]
"""
EVENTS = [{"type": "given", "actor": f"user {number % 5}", "value": number % 3} for number in range(60)]


def test_the_outcome_is_that_of_a_plain_run(accrue_faults: object) -> None:
    found = check(RULES, EVENTS, runs=5)

    assert found["tally points all user 0"] == sum(number % 3 for number in range(0, 60, 5))
    assert found["attribute user last user 4"] == 59 % 3
    assert found["streak giving user 1"] == (1, 1)
    assert found["board all all ordinal"]
    assert type(accrue_faults).__name__ == "AccrueFaults"


def test_an_engine_that_loses_something_is_found_and_the_seed_does_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgotten(world: World) -> None:
        for state in world.tenants.values():
            state.settling.clear()

    monkeypatch.setattr(settle, "put_back", forgotten)
    with pytest.raises(FaultsFound, match="seed=") as raised:
        check(RULES, EVENTS, rates=Rates(settle=0.5, crash=0.2, settle_now=0.5))
    found = re.search(r"seed=(\d+)", str(raised.value))
    assert found is not None
    with pytest.raises(FaultsFound) as again:
        check(RULES, EVENTS, seed=int(found[1]), rates=Rates(settle=0.5, crash=0.2, settle_now=0.5))
    assert str(again.value) == str(raised.value)


def test_what_would_be_refused_is_said() -> None:
    with pytest.raises(ProgramError):
        check("[metrics.points\n", EVENTS)
    with pytest.raises(Rejected, match="time zone"):
        check(RULES, [{"type": "given", "time": "2026-11-21T09:00:00"}])
    with pytest.raises(Rejected, match="refused"):
        check(RULES, [{"type": "given", "colour": "red"}], runs=1)


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for language, file in (("toml", "rules.toml"), ("python", "test_rules.py")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        (tmp_path / file).write_text(block, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
