"""`accrue replay`, as people run it."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from accrue import Accrue
from accrue.connect.data_dir import locked
from accrue.process.replay import rebuild
from unit.cli.running import Cli

PROGRAM = """
[metrics.points]

[[rules]]
on = "e"
give = { to = "actor", metric = "points", amount = "value" }

[boards.best]
metric = "points"

[badges.good]
when = "points >= 3"
"""
NEW = PROGRAM.replace('"value"', '"10 - value"').replace(">= 3", ">= 9")
EVENT = '{"type": "e", "id": "%d", "actor": "user%d", "value": %d}'


@pytest.fixture
def data(cli: Cli) -> Path:
    """Five users with 1 to 5 points."""
    Path("program.toml").write_text(PROGRAM)
    Path("new.toml").write_text(NEW)
    Path("events.ndjson").write_text("\n".join(EVENT % (n, n, n) for n in range(1, 6)))
    assert cli("import", "events.ndjson", "--program", "program.toml").code == 0
    return Path("accrue-data")


def points(cli: Cli) -> dict[str, int]:
    return dict(cli("query", "tally", "points", "--json").document["rows"])


OLD_POINTS = {f"user{n}": n for n in range(1, 6)}
NEW_POINTS = {f"user{n}": 10 - n for n in range(1, 6)}


def test_a_dry_run_says_who_gains_and_who_loses_and_changes_nothing(cli: Cli, data: Path) -> None:
    before = (data / "book.db").read_bytes()
    with locked(data):  # as a server has it
        ran = cli("replay", "--program", "new.toml", "--dry-run")
    assert ran.code == 0
    words = [line.split() for line in ran.out.splitlines()]
    assert ["points", "4", "4", "0", "20"] in words  # user5 keeps 5
    assert ["user1", "1", "9"] in words
    assert ["good", "1", "user1", "3", "user3,", "user4,", "user5"] in words
    assert ["user1", "5", "1"] in words
    assert "Nothing was changed." in ran.out
    assert (data / "book.db").read_bytes() == before
    document = cli("replay", "--program", "new.toml", "--dry-run", "--json").document
    assert (document["applied"], document["effect"]["metrics"][0]["subjects"]) == (False, 4)


def test_an_applied_program_holds_from_the_first_event_on(cli: Cli, data: Path) -> None:
    ran = cli("replay", "--program", "new.toml", "--apply")
    assert ran.code == 0
    assert points(cli) == NEW_POINTS
    assert cli("verify").code == 0
    assert [file.name for file in data.glob("book.*.db")] == ["book.2.db"]
    # It is the program in force: what comes now is counted by it, and the old file of rules does not bring them back.
    Path("more.ndjson").write_text(EVENT % (6, 6, 6))
    assert cli("import", "more.ndjson", "--program", "program.toml").code == 0
    assert points(cli) == {**NEW_POINTS, "user6": 4}
    assert "imported already" in cli("import", "events.ndjson").out
    assert cli("verify").code == 0


def test_final_standings_that_stay_do_not_change_their_meaning(cli: Cli, data: Path) -> None:
    """They are kept in the metric's scale: under another one 7 would be shown as 0.07."""
    by_day = PROGRAM.replace("[boards.best]", '[boards.best]\nperiods = ["all", "day"]')
    Path("daily.toml").write_text(by_day)
    Path("old.ndjson").write_text('{"type": "e", "id": "o", "actor": "u", "value": 7, "time": "2018-06-01T12:00:00Z"}')
    assert cli("import", "old.ndjson", "--program", "daily.toml").code == 0

    async def close() -> None:
        async with Accrue.open(data_dir=data) as accrue:
            receipt = await accrue.parts.acceptor.close_period("default", "2018-06-01")
            assert await accrue.outcomes(receipt) == ["applied"]

    asyncio.run(close())
    Path("scaled.toml").write_text(by_day.replace("[metrics.points]", "[metrics.points]\nscale = 2"))
    for how in ("--dry-run", "--apply"):
        ran = cli("replay", "--program", "scaled.toml", how)
        assert ran.code == 2
        assert "'points' was kept for users with 0 decimal digits" in ran.err + ran.out
    assert cli("verify").code == 0


def test_a_replay_makes_the_same_book_again(cli: Cli, data: Path) -> None:
    ran = cli("replay")
    assert ran.code == 0
    assert "The two books are the same." in ran.out
    assert points(cli) == OLD_POINTS
    assert cli("verify").code == 0
    document = cli("replay", "--json").document
    assert (document["applied"], document["repaired"]) == (True, {})


def test_a_replay_needs_the_directory_for_itself(cli: Cli, data: Path) -> None:
    with locked(data):
        ran = cli("replay")
    assert (ran.code, "in use" in ran.err) == (2, True)


def test_nothing_is_decided_while_somebody_reads_the_book(cli: Cli, data: Path) -> None:
    before = (data / "log.db").read_bytes()
    with closing(sqlite3.connect(data / "book.db", isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode = WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM partitions").fetchall()
        ran = cli("replay", "--program", "new.toml", "--apply")
    assert (ran.code, "open elsewhere" in ran.err) == (2, True)
    assert (data / "log.db").read_bytes() == before
    assert points(cli) == OLD_POINTS


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Ctrl-C once a step of the rebuilding is done."""

    def interrupt(step: str) -> None:
        done: Callable[..., Awaitable[object]] = getattr(rebuild, step)

        async def then_stop(*given: object, **named: object) -> object:
            result = await done(*given, **named)
            signal.raise_signal(signal.SIGINT)
            return result

        monkeypatch.setattr(rebuild, step, then_stop)

    return interrupt


def test_ctrl_c_before_it_is_decided_changes_nothing(cli: Cli, data: Path, interrupted: Callable[[str], None]) -> None:
    interrupted("give_lived_results")
    ran = cli("replay", "--program", "new.toml", "--apply")
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "Stopped. Nothing was changed.")
    assert points(cli) == OLD_POINTS


def test_ctrl_c_after_it_is_decided_says_how_to_finish(
    cli: Cli, data: Path, interrupted: Callable[[str], None]
) -> None:
    interrupted("_decide")
    ran = cli("replay", "--program", "new.toml", "--apply")
    finish = "accrue replay --data-dir accrue-data"
    assert (ran.code, ran.err.splitlines()[-1]) == (130, f"Stopped. The replay is decided; finish it with: {finish}")
    refused = cli("query", "user", "user1")
    assert refused.code == 2
    assert refused.err.endswith(f"Finish it first: {finish}\n")
    assert cli(*finish.split()[1:]).code == 0
    assert points(cli) == NEW_POINTS


def test_a_damaged_archive_is_no_ground_to_build_on(cli: Cli, data: Path) -> None:
    with closing(sqlite3.connect(data / "book.db")) as book, book:
        book.execute("UPDATE archive_segments SET events = 99")
    files = {file.name for file in data.iterdir()}
    ran = cli("replay")
    assert (ran.code, "not whole" in ran.err) == (2, True)
    assert {file.name for file in data.iterdir()} <= files  # nothing is left over
    assert points(cli) == OLD_POINTS


WRONG = {
    "a dry run of nothing": (["--dry-run"], "--program"),
    "neither": (["--program", "new.toml"], "either --dry-run or --apply"),
    "both": (["--program", "new.toml", "--dry-run", "--apply"], "either --dry-run or --apply"),
    "no such file": (["--program", "no.toml", "--apply"], "cannot be read"),
    "no program": (["--program", "events.ndjson", "--apply"], "problem"),
    "no such tenant": (["--program", "new.toml", "--apply", "--tenant", "forum"], "no tenant"),
    "no such directory": (["--data-dir", "elsewhere"], "no data directory"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_makes_no_sense_is_refused(cli: Cli, data: Path, what: str) -> None:
    arguments, told = WRONG[what]
    ran = cli("replay", *arguments)
    assert (ran.code, told in ran.err) == (2, True), ran.err
    assert points(cli) == OLD_POINTS
