"""`accrue failed`, `conflicts` and `program` on a data directory; asking a server is in tests/process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from accrue import Accrue
from unit.cli.running import Cli

BROKEN = """
[metrics.points]
[[rules]]
name = "paid"
on = "paid"
give = [{ to = "actor", metric = "points", amount = "value / data.people" }]
"""
FIXED = BROKEN.replace("data.people", "max(1, data.people)")

EVENTS = """
{"id": "p1", "type": "paid", "actor": "ann", "value": 6, "data": {"people": 0}, "time": "2018-06-01T12:00:00Z"}
{"id": "p2", "type": "paid", "actor": "ann", "value": 1, "data": {"people": 0}}
{"id": "p3", "type": "paid", "actor": "ann", "value": 1, "data": {"people": 1}}
{"id": "p4", "type": "paid", "actor": "ann", "value": null, "data": {"people": 1, "text": "a\\u001b[31m\\u00e9"}}
"""
CONFLICT = '{"id": "p3", "type": "paid", "actor": "bob", "value": 2, "data": {"people": 1}}'


@pytest.fixture
def data(cli: Cli) -> Path:
    """A data directory with three failed events and one conflict."""

    async def made() -> None:
        async with Accrue.open(data_dir="accrue-data", program="program.toml") as accrue:
            for body in (EVENTS, CONFLICT):
                await accrue.outcomes(await accrue.send(body.encode()))

    Path("program.toml").write_text(BROKEN)
    asyncio.run(made())
    return Path("accrue-data")


def sequences(cli: Cli) -> list[int]:
    return [event["sequence"] for event in cli("failed", "list", "--json").document["events"]]


def points(cli: Cli) -> int:
    return cli("query", "tally", "points", "--subject", "ann", "--json").document["value"]


def test_failed_events_are_counted_by_reason_and_listed(cli: Cli, data: Path) -> None:
    ran = cli("failed", "list", "--limit", 2)
    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["3", "failed", "events"]
    assert ["2", "paid", "a", "division", "by", "zero"] in lines
    assert any(line[1:4] == ["paid", "p1", "2018-06-01T12:00:00Z"] for line in lines)
    assert "there are more; --limit shows them" in ran.out
    assert "No failed event waits." not in ran.out
    none = {"waiting": 0, "reasons": [], "events": []}
    assert cli("failed", "list", "--type", "other", "--json").document == none
    assert cli("failed", "list", "--type", "other").out == "No failed event of the type 'other' waits.\n"
    assert cli("failed", "replay", "--all", "--type", "other").out == "no failed event of the type 'other' waits\n"
    assert cli("failed", "list", "--type", "paid", "--json").document["waiting"] == 3


def test_a_failed_event_is_shown_whole_and_cannot_write_to_the_terminal(cli: Cli, data: Path) -> None:
    last = sequences(cli)[-1]
    text = cli("failed", "show", last).out
    assert "a value that is missing cannot be calculated with" in text
    assert '"text": "a\\u001b[31m' in text
    assert "\x1b" not in text
    assert json.loads(cli("failed", "show", last, "--json").document["body"])["id"] == "p4"


def test_after_the_fix_all_are_replayed_and_what_fails_again_is_the_exit_code(cli: Cli, data: Path) -> None:
    assert cli("failed", "replay", "--all").code == 1
    assert points(cli) == 1
    Path("fixed.toml").write_text(FIXED)
    assert cli("program", "apply", "fixed.toml").code == 0

    ran = cli("failed", "replay", "--all", "--type", "paid")
    assert ran.code == 1
    assert "2 applied, 1 failed" in ran.out
    assert "a value that is missing" in ran.out
    assert points(cli) == 8
    (left,) = sequences(cli)
    assert cli("failed", "drop", left, "--json").document == [{"sequence": left, "outcome": "dropped"}]
    assert cli("failed", "list").out == "No failed event waits.\n"
    assert cli("failed", "replay", "--all").out == "no failed event waits\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "SEQUENCE..., or --all"),
        (["replay", 7, "--all"], "leave 7 out, or --all"),
        (["drop", 1, "--type", "paid"], "--type goes with --all"),
        (["replay", "--type", "paid"], "accrue failed replay --all --type paid"),
        (["replay", 7], "No failed event waits at 7."),
        (["show", 7], "No failed event waits at 7."),
    ],
)
def test_what_cannot_be_done_says_why(cli: Cli, data: Path, arguments: list[object], said: str) -> None:
    ran = cli("failed", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_a_conflict_is_listed_and_shown_with_both_bodies(cli: Cli, data: Path) -> None:
    (conflict,) = cli("conflicts", "list", "--json").document["conflicts"]
    assert conflict["id"] == "p3"
    assert [str(conflict["sequence"]), "p3"] in [line.split() for line in cli("conflicts", "list").out.splitlines()]
    text = cli("conflicts", "show", conflict["sequence"]).out
    assert text.index("stands") < text.index('"actor": "ann"') < text.index("no effect") < text.index('"actor": "bob"')
    assert cli("conflicts", "show", 5).code == 2


def test_programs_are_listed_compared_applied_and_rolled_back(cli: Cli, data: Path) -> None:
    Path("fixed.toml").write_text(FIXED)
    ran = cli("program", "apply", "fixed.toml")
    assert ran.code == 0
    assert "changed  rule paid" in ran.out
    assert "Version 2 is in force from position" in ran.out
    assert "nothing was changed" in cli("program", "apply", "fixed.toml").out

    back = cli("program", "rollback", "--json").document
    assert (back["changed"], back["version"]["version"]) == (True, 3)
    assert cli("program", "show").out == BROKEN
    assert cli("program", "show", 2).out == FIXED
    diff = cli("program", "diff", 1, 2).out
    assert "+++ version 2" in diff
    assert '+give = [{ to = "actor", metric = "points", amount = "value / max(1, data.people)" }]' in diff
    assert "The texts are the same." in cli("program", "diff", 1).out
    rows = [line.split() for line in cli("program", "list").out.splitlines()]
    assert [(row[0], row[4:]) for row in rows[2:]] == [("1", ["file"]), ("2", ["sent"]), ("3", ["sent", "current"])]
    assert cli("program", "rollback", 2).code == 0
    assert cli("program", "show").out == FIXED
    assert "there are 1 to 4" in cli("program", "rollback", 9).err


def test_a_program_that_may_not_be_applied_changes_nothing(cli: Cli, data: Path) -> None:
    for text, said in (("[metric.points]", "'metric'"), ("[metrics.points]\nscale = 2", "another name")):
        Path("bad.toml").write_text(text)
        ran = cli("program", "apply", "bad.toml")
        assert ran.code == 2
        assert said in ran.err
    assert "cannot be read" in cli("program", "apply", "nowhere.toml").err
    assert "There is no version before this one." in cli("program", "rollback").err
    assert len(cli("program", "list", "--json").document["programs"]) == 1


CONTRADICTION = "[metrics.others]\n\n[metrics.points]\nscale = 2\n"


@pytest.mark.parametrize(
    "command", [["program", "apply", "new.toml"], ["import", "none.ndjson", "--program", "new.toml"]]
)
def test_what_contradicts_the_numbers_is_named_with_its_file_and_line(cli: Cli, data: Path, command: list[str]) -> None:
    Path("new.toml").write_text(CONTRADICTION)
    Path("none.ndjson").write_text("")
    ran = cli(*command)
    assert ran.code == 2
    assert "new.toml:3: the metric 'points' was kept for users" in " ".join(ran.err.split())


def test_rollback_says_in_one_place_what_it_does_without_a_version(cli: Cli) -> None:
    text = " ".join(cli("program", "rollback", "--help").out.replace("│", " ").split())
    assert "the one before the current text if left out" in text
    assert "the current one if left out" not in text


def test_a_server_and_a_directory_are_not_asked_together(cli: Cli) -> None:
    ran = cli("failed", "list", "--url", "http://127.0.0.1:9", "--data-dir", "accrue-data")
    assert ran.code == 2
    assert "--url asks a server and --data-dir a directory" in ran.err
