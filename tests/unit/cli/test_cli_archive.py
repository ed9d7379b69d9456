"""`accrue archive export`, and taking in again what it wrote."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from accrue.cli.steps import Steps
from unit.cli.running import Cli

PROGRAM = """
[metrics.points]

[[rules]]
on = "e"
give = { to = "actor", metric = "points", amount = "value" }

[boards.best]
metric = "points"
periods = ["all", "day"]
"""

EVENTS = [
    '{"type": "e",  "id": "1", "actor": "ada", "value": 1.50, "time": "2018-06-01T12:00:00+02:00"}',
    '{"id":"2","type":"e","actor":"b\\u00f6b","value":2,"data":{"user_agent":"Googlebot/2.1"}}',
    '{"type": "nobody.listens", "id": "3", "data": {"a": [1, {"b": null}]}}',
]


@pytest.fixture
def data(cli: Cli) -> Path:
    """Two tenants, each with the three events."""
    Path("program.toml").write_text(PROGRAM.replace("value", "value * 2"))
    Path("events.ndjson").write_text("\n".join(EVENTS))
    for tenant in ("default", "forum"):
        assert cli("import", "events.ndjson", "--program", "program.toml", "--tenant", tenant).code == 0
    return Path("accrue-data")


def lines(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    """What the export wrote, line by line."""
    assert cli("archive", "export", "--output", "out.ndjson", *arguments).code == 0
    return [json.loads(line) for line in Path("out.ndjson").read_text().splitlines()]


def test_events_come_out_as_they_came_in_with_what_is_known_of_them(cli: Cli, data: Path) -> None:
    wrote = lines(cli, "--tenant", "forum")
    text = Path("out.ndjson").read_text()
    assert all(f'"event":{event}' in text for event in EVENTS)  # byte for byte
    mine = [line for line in wrote if not line["event"]["type"].startswith("accrue.")]
    assert [line["event"]["id"] for line in mine] == ["1", "2", "3"]
    first, second, _ = mine
    assert first["tenant"] == "forum"
    assert first["time"] == "2018-06-01T10:00:00.000000Z"
    assert first["position"] == first["sequence"] >> 20
    assert first["log_time"] > first["time"]
    assert "stamp" not in first
    assert second["stamp"] == {"crawler": True}


def test_all_tenants_come_in_the_order_of_the_log(cli: Cli, data: Path) -> None:
    wrote = lines(cli)
    assert {line["tenant"] for line in wrote} == {"default", "forum"}
    sequences = [line["sequence"] for line in wrote]
    assert sequences == sorted(sequences)
    times = [line["log_time"] for line in wrote]
    assert times == sorted(times)
    (events,) = [json.loads(cli("verify", "--json").out)["events"]]
    assert len(wrote) == events


def test_from_is_included_and_to_is_not(cli: Cli, data: Path) -> None:
    everything = lines(cli)
    times = sorted({line["log_time"] for line in everything})
    assert len(times) > 3
    some = lines(cli, "--from", times[1], "--to", times[3])
    assert {line["log_time"] for line in some} == set(times[1:3])
    assert some == [line for line in everything if times[1] <= line["log_time"] < times[3]]
    assert lines(cli, "--to", "2018-06-02") == []


def test_a_plain_export_can_be_imported_and_counts_the_same(cli: Cli, data: Path) -> None:
    plain = lines(cli, "--plain", "--tenant", "default")
    assert [line["id"] for line in plain] == ["1", "2", "3"]
    assert cli("import", "out.ndjson", "--program", "program.toml", "--data-dir", "other").code == 0
    for period in ("all", "day"):
        asked = ("query", "tally", "points", "--period", period, "--json")
        assert cli(*asked, "--data-dir", "other").document == cli(*asked).document
    again = lines(cli, "--plain", "--data-dir", "other")
    assert again == plain


def test_corrections_and_what_was_taken_back_come_along(cli: Cli) -> None:
    Path("program.toml").write_text(PROGRAM + '[retract]\ntypes = ["e"]\n')
    adjust = {"metric": "points", "subject": "ada", "amount": 5, "reason": "sorry"}
    more = [{"id": "a", "type": "accrue.adjust", "data": adjust}, {"id": "r", "type": "accrue.retract", "ref": "1"}]
    Path("events.ndjson").write_text("\n".join([*EVENTS[:1], *map(json.dumps, more)]))
    assert cli("import", "events.ndjson", "--program", "program.toml").code == 0
    lines(cli, "--plain")
    assert cli("import", "out.ndjson", "--program", "program.toml", "--data-dir", "other").code == 0
    rows = cli("query", "tally", "points", "--json", "--data-dir", "other").document["rows"]
    assert rows == [["ada", 5]] == cli("query", "tally", "points", "--json").document["rows"]


def test_standard_output_is_only_events(cli: Cli, data: Path) -> None:
    lines(cli)
    ran = cli("archive", "export")
    assert (ran.code, ran.out) == (0, Path("out.ndjson").read_text())
    assert f"{ran.out.count(chr(10))} events" in ran.err


def test_a_damaged_segment_ends_the_export_and_is_named(cli: Cli, data: Path) -> None:
    with closing(sqlite3.connect(data / "book.db")) as book, book:
        book.execute("UPDATE archive_segments SET events = events + 1 WHERE first_position > 1")
    ran = cli("archive", "export", "--output", "out.ndjson")
    assert ran.code == 2
    assert "archive segment" in ran.err


def test_an_export_that_fails_leaves_the_file_as_it_was(cli: Cli, data: Path) -> None:
    Path("out.ndjson").write_text("precious")
    there = sorted(Path().iterdir())
    with closing(sqlite3.connect(data / "book.db")) as book, book:
        book.execute("UPDATE archive_segments SET events = events + 1 WHERE first_position > 1")
    assert cli("archive", "export", "--output", "out.ndjson").code == 2
    assert (Path("out.ndjson").read_text(), sorted(Path().iterdir())) == ("precious", there)


def test_ctrl_c_leaves_no_part_of_an_export(cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = sorted(Path().iterdir())
    monkeypatch.setattr(Steps, "__call__", lambda *_: signal.raise_signal(signal.SIGINT))
    ran = cli("archive", "export", "--output", "out.ndjson")
    assert (ran.code, ran.err) == (130, "Stopped. Nothing was changed.\n")
    assert sorted(Path().iterdir()) == there
    ran = cli("archive", "export")
    assert (ran.code, ran.err) == (130, "Stopped. What was written is not all.\n")


def test_an_export_goes_through_a_link_and_into_a_device(cli: Cli, data: Path) -> None:
    Path("real.ndjson").write_text("old")
    Path("real.ndjson").chmod(0o640)
    Path("out.ndjson").symlink_to("real.ndjson")
    assert lines(cli)
    assert Path("out.ndjson").is_symlink()
    assert Path("real.ndjson").stat().st_mode & 0o777 == 0o640
    Path("null").symlink_to("/dev/null")
    assert cli("archive", "export", "--output", "null").code == 0
    assert Path("/dev/null").is_char_device()
    ran = cli("archive", "export", "--output", "no/such/out.ndjson")
    assert (ran.code, "no/such/out.ndjson cannot be written" in ran.err) == (2, True)


@pytest.mark.parametrize("time", ["yesterday", "2018-06-01T12:00:00"])
def test_a_time_that_is_none_is_refused(cli: Cli, data: Path, time: str) -> None:
    ran = cli("archive", "export", "--from", time)
    assert (ran.code, "with a zone" in ran.err) == (2, True)


def test_a_tenant_that_is_not_there_is_named_with_the_nearest(cli: Cli, data: Path) -> None:
    for tenant, said in (("forun", "Did you mean 'forum'?"), ("x", "There are default, forum.")):
        ran = cli("archive", "export", "--tenant", tenant, "--output", "out.ndjson")
        assert (ran.code, Path("out.ndjson").exists()) == (2, False)
        assert f"There is no tenant '{tenant}'. {said}" in " ".join(ran.err.split())


def test_from_after_to_is_refused(cli: Cli, data: Path) -> None:
    ran = cli("archive", "export", "--from", "2019-01-02", "--to", "2019-01-01")
    assert ran.code == 2
    assert "--from 2019-01-02 is after --to 2019-01-01" in ran.err
