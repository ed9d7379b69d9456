"""`accrue import`, on the real data."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from loaders import football

from unit.cli.running import Cli

COUNTS = ("accepted", "unmatched", "repeated", "conflicting", "failed", "retracted", "rejected")


def counts(document: dict[str, int]) -> dict[str, int]:
    """Those that are not 0."""
    assert document["events"] == sum(document[name] for name in COUNTS)
    return {name: document[name] for name in COUNTS if document[name]}


def everything(cli: Cli, metrics: list[str]) -> list[str]:
    """Every tally of all time and every award, as text."""
    return [cli("query", "tally", metric, "--csv").out for metric in metrics] + [cli("query", "awards", "--csv").out]


def give_standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_the_community_twice_changes_nothing_the_second_time(cli: Cli, programs: Path, real_data: Path) -> None:
    asked = ["import", real_data / "community" / "events.ndjson.gz", "--program", programs / "community.toml", "--json"]
    first = cli(*asked)
    assert first.code == 0
    assert counts(first.document) == {"accepted": 16_596}
    before = everything(cli, ["reputation", "score", "comments"])
    assert "u7,638\n" in before[0]
    second = cli(*asked)
    assert second.code == 0
    assert counts(second.document) == {"repeated": 16_596}
    assert second.document["imported_before"]
    assert everything(cli, ["reputation", "score", "comments"]) == before
    told = cli(*asked[:-1])
    assert told.code == 0
    assert "imported already, at" in told.out


def test_a_table_of_matches_gives_the_league_through_a_mapping(cli: Cli, programs: Path, real_data: Path) -> None:
    matches, league = real_data / "football" / "matches.csv", programs / "football.toml"
    for side, other in (("home", "away"), ("away", "home")):
        mapping = {
            "type": "'match.played'",
            "time": "{date}T15:00:00Z",
            "actor": side,
            "data.goals_for": f"{side}_goals",
            "data.goals_against": f"{other}_goals",
        }
        pairs = [word for field, source in mapping.items() for word in ("--map", f"{field}={source}")]
        ran = cli("import", matches, "--program", league, *pairs, "--json")
        assert (ran.code, counts(ran.document)) == (0, {"accepted": 9_500})
    top = cli("query", "board", "table", "--period", "season:2003-04", "--limit", 2, "--json").document
    assert [(row["rank"], row["subject"], row["values"]) for row in top["rows"]] == [
        (1, "Arsenal", [90, 47, 73]),
        (2, "Chelsea", [79, 37, 67]),
    ]


def test_a_web_servers_log_has_its_crawlers_set_apart(cli: Cli, programs: Path, real_data: Path) -> None:
    log = real_data / "access_log" / "access.log.gz"
    ran = cli("import", log, "--format", "combined", "--program", programs / "weblog.toml", "--json")
    assert (ran.code, counts(ran.document)) == (0, {"accepted": 10_000})
    by_people, by_crawlers = (_sum(cli("query", "tally", metric, "--csv").out) for metric in ("views", "crawled"))
    assert by_people + by_crawlers == 9_780  # what was asked for and is there
    assert by_crawlers >= 1_500


def test_standard_input_is_read_and_is_the_same_import_again(
    cli: Cli, programs: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"\n".join(football.events(real_data))
    asked = ["import", "-", "--program", programs / "football.toml", "--json"]
    give_standard_input(monkeypatch, content)
    assert counts(cli(*asked).document) == {"accepted": 19_001}
    give_standard_input(monkeypatch, content)
    assert counts(cli(*asked).document) == {"repeated": 19_001}
    portsmouth = cli("query", "tally", "points", "--subject", "Portsmouth", "--period", "season:2009-10").out
    assert portsmouth == "Portsmouth: 19 points, season:2009-10\n"


@pytest.mark.parametrize("content", [b"nonsense\n\xff\xfe\x00\n[1]\n", b"\x00" * 5_000, b'{"type": "x"\n' * 3])
def test_a_file_of_nonsense_is_rejected_line_by_line(cli: Cli, programs: Path, content: bytes) -> None:
    Path("nonsense.txt").write_bytes(content)
    ran = cli("import", "nonsense.txt", "--program", programs / "weblog.toml")
    assert ran.code == 1
    assert "  line 1: " in ran.out
    again = cli("import", "nonsense.txt", "--program", programs / "weblog.toml", "--json")
    assert (again.code, again.document["events"]) == (0, 0)


def test_good_lines_are_in_although_others_were_rejected(cli: Cli, programs: Path) -> None:
    lines = ['{"type": "ask", "actor": "ada", "object": "p1"}', "no", '{"type": "asked", "actor": "ada"}']
    Path("events.ndjson").write_text("\n".join(lines))
    ran = cli("import", "events.ndjson", "--program", programs / "community.toml")
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0].startswith("events.ndjson: 3 events in ")
    assert lines[-1] == "  line 2: Input data was truncated."
    assert [line.split()[:2] for line in lines[2:9]] == [
        ["accepted", "1"],
        ["unmatched", "1"],
        ["repeated", "0"],
        ["conflicting", "0"],
        ["failed", "0"],
        ["retracted", "0"],
        ["rejected", "1"],
    ]
    assert ran.err.startswith("events.ndjson: 100%, line 3, ")


def test_a_pipe_is_read_like_a_file(cli: Cli, programs: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"type": "ask", "actor": "ada", "object": "p1"}')
    os.close(writing)
    try:
        ran = cli("import", f"/dev/fd/{reading}", "--program", programs / "community.toml", "--json")
    finally:
        os.close(reading)
    assert (ran.code, counts(ran.document)) == (0, {"accepted": 1})


def test_a_file_whose_name_is_no_text_is_imported(cli: Cli, programs: Path) -> None:
    name = os.fsdecode(b"caf\xe9.ndjson")
    Path(name).write_text('{"type": "ask", "actor": "ada", "object": "p1"}')
    ran = cli("import", name, "--program", programs / "community.toml", "--json")
    assert (ran.code, ran.document["file"]) == (0, "caf?.ndjson")


def test_without_a_program_nothing_is_created(cli: Cli) -> None:
    Path("events.ndjson").write_text("{}")
    ran = cli("import", "events.ndjson")
    assert (ran.code, ran.err) == (
        2,
        "error: There is no program: give --program FILE, so that there are rules for the events.\n",
    )
    assert cli("import", "events.ndjson", "--program", "missing.toml").code == 2
    assert not Path("accrue-data").exists()


def test_a_program_with_problems_is_refused_as_a_whole(cli: Cli) -> None:
    Path("events.ndjson").write_text("{}")
    Path("wrong.toml").write_text("[metrcs]\n[[rules]]\n")
    ran = cli("import", "events.ndjson", "--program", "wrong.toml")
    assert ran.code == 2
    assert ran.err.startswith("error: the program has ")
    assert "  wrong.toml:1: there is no section 'metrcs'" in ran.err
    assert not Path("accrue-data").exists()


def test_a_tenant_without_a_program_and_a_missing_file_are_errors(cli: Cli, programs: Path) -> None:
    Path("events.ndjson").write_text("")
    assert cli("import", "events.ndjson", "--program", programs / "weblog.toml").code == 0
    ran = cli("import", "events.ndjson", "--tenant", "other")
    assert (ran.code, ran.err) == (2, "error: There is no tenant 'other'.\n")
    assert cli("import", "missing.ndjson").err == "error: missing.ndjson cannot be read: No such file or directory.\n"


def test_a_mapping_that_names_no_column_is_an_error_that_names_the_nearest(cli: Cli, programs: Path) -> None:
    Path("t.csv").write_text("home,away\na,b\n")
    ran = cli("import", "t.csv", "--program", programs / "weblog.toml", "--map", "type='x'", "--map", "actor=hom")
    assert ran.code == 2
    assert "did you mean 'home'?" in ran.err


def _sum(text: str) -> int:
    return sum(int(line.rpartition(",")[2]) for line in text.splitlines()[1:])
