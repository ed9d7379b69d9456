"""`accrue query` on a data directory; asking a server is in tests/process."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from accrue.connect.data_dir import locked
from unit.cli.running import Cli

PROGRAM = """
[tenant]
timezone = "America/New_York"

[metrics]
points = {}
money = { scale = 2 }
views = { of = "object" }

[[rules]]
on = "e"
set = { on = "actor", attribute = "country", value = "data.country" }
give = [
  { to = "actor", metric = "points", amount = "value" },
  { to = "actor", metric = "money", amount = "0.1" },
  { to = "object", metric = "views" },
]

[boards.best]
metric = "points"
periods = ["all", "day"]

[badges.good]
when = "points >= 3"

[streaks.daily]
on = "e"
every = "day"
"""

EVENTS = """
{"type": "e", "actor": "ada", "object": "p", "value": 3, "time": "2018-06-01T12:00:00Z", "data": {"country": "FR"}}
{"type": "e", "actor": "bob", "object": "p", "value": 1, "time": "2018-06-02T03:00:00Z"}
{"type": "e", "actor": "a,\\u001b[31m\\"b", "object": "p", "value": 1, "time": "2018-06-02T12:00:00Z"}
"""


@pytest.fixture
def data(cli: Cli) -> Path:
    """A data directory that holds the three events."""
    Path("program.toml").write_text(PROGRAM)
    Path("events.ndjson").write_text(EVENTS)
    assert cli("import", "events.ndjson", "--program", "program.toml").code == 0
    return Path("accrue-data")


def test_a_board_is_shown_with_its_ranks(cli: Cli, data: Path) -> None:
    ran = cli("query", "board", "best", "--limit", 3)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "best, all"
    assert lines[1].startswith("3 members, as of ")
    assert lines[3].split() == ["rank", "subject", "points"]
    assert lines[5].split() == ["1", "ada", "3"]
    assert [line.split()[0] for line in lines[6:8]] == ["2", "2"]


def test_the_style_of_ranks_can_be_chosen(cli: Cli, data: Path) -> None:
    rows = cli("query", "board", "best", "--style", "ordinal", "--json").document["rows"]
    assert [row["rank"] for row in rows] == [1, 2, 3]


def test_a_date_means_that_day_in_the_tenants_time_zone(cli: Cli, data: Path) -> None:
    page = cli("query", "board", "best", "--period", "day", "--at", "2018-06-01", "--json").document
    assert page["period"] == "2018-06-01"
    assert [row["subject"] for row in page["rows"]] == ["ada", "bob"]
    moment = cli("query", "board", "best", "--period", "day", "--at", "2018-06-02T03:00:00Z", "--json").document
    assert moment["period"] == "2018-06-01"


@pytest.mark.parametrize("at", ["yesterday", "2018-13-01", "2018-06-01T12:00:00"])
def test_a_time_that_is_none_is_an_error(cli: Cli, data: Path, at: str) -> None:
    ran = cli("query", "board", "best", "--at", at)
    assert ran.code == 2
    assert "zone" in ran.err


def test_a_user_and_an_object_are_shown(cli: Cli, data: Path) -> None:
    text = cli("query", "user", "ada").out
    assert text.startswith("user ada\n")
    for words in (["points", "3", "0"], ["money", "0.1"], ["daily", "0", "1", "2018-06-01", "no"], ["country", "FR"]):
        assert words in [line.split() for line in text.splitlines()]
    assert ["good", "2018-06-01T12:00:00Z"] in [line.split() for line in text.splitlines()]
    assert cli("query", "user", "ada", "--json").document["tallies"]["money"] == {"all": "0.1"}
    assert cli("query", "object", "p", "--json").document["tallies"] == {"views": {"all": 3}}


def test_every_tally_goes_out_as_csv_exactly(cli: Cli, data: Path) -> None:
    rows = list(csv.reader(io.StringIO(cli("query", "tally", "money", "--csv").out)))
    assert rows == [["subject", "money"], ['a,\x1b[31m"b', "0.1"], ["ada", "0.1"], ["bob", "0.1"]]


def test_a_subject_cannot_write_to_the_terminal(cli: Cli, data: Path) -> None:
    text = cli("query", "board", "best").out
    assert "\x1b" not in text
    assert 'a,\\x1b[31m"b' in text


def test_tallies_and_awards_as_json_and_as_tables(cli: Cli, data: Path) -> None:
    day = cli("query", "tally", "points", "--period", "day", "--at", "2018-06-01", "--json").document
    assert day == {"metric": "points", "period": "2018-06-01", "rows": [["ada", 3], ["bob", 1]]}
    assert "3 subjects" in cli("query", "tally", "points").out
    assert cli("query", "tally", "points", "--subject", "ada").out == "ada: 3 points, all\n"
    (award,) = cli("query", "awards", "--json").document
    assert (award["badge"], award["holder"]) == ("good", "ada")
    assert "1 held" in cli("query", "awards").out
    header, row = csv.reader(io.StringIO(cli("query", "awards", "--csv").out))
    assert dict(zip(header, row, strict=True)) == {
        "badge": "good",
        "level": "",
        "holder": "ada",
        "subject": "ada",
        "time": "2018-06-01T12:00:00Z",
    }


def test_csv_and_json_at_once_is_an_error(cli: Cli, data: Path) -> None:
    assert cli("query", "awards", "--csv", "--json").code == 2


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["board", "bets"], "Did you mean 'best'?"),
        (["tally", "point"], "Did you mean 'points'?"),
        (["board", "best", "--period", "season:1"], "is not a period"),
        (["board", "best", "--period", "wek"], "Did you mean 'week'?"),
        (["user", "ada", "--tenant", "defalt"], "Did you mean 'default'?"),
    ],
)
def test_an_unknown_name_is_an_error_that_helps(cli: Cli, data: Path, arguments: list[str], nearest: str) -> None:
    ran = cli("query", *arguments)
    assert ran.code == 2
    assert nearest in ran.err


def test_a_directory_that_is_not_there_is_not_made(cli: Cli) -> None:
    ran = cli("query", "user", "ada", "--data-dir", "nowhere")
    assert ran.code == 2
    assert "There is no data directory at nowhere" in ran.err
    assert not Path("nowhere").exists()


def test_a_directory_in_use_says_how_to_ask(cli: Cli, data: Path) -> None:
    with locked(data):
        ran = cli("query", "user", "ada")
    assert ran.code == 2
    assert "--url" in ran.err


def test_looking_closes_no_period_and_changes_no_byte_of_the_log(cli: Cli, data: Path) -> None:
    Path("accrue.toml").write_text("[process]\nclose_grace_min = 0.000001\n")  # every period here is long due
    content = (data / "log.db").read_bytes()
    for _ in range(2):
        page = cli("query", "board", "best", "--period", "2018-06-01", "--config", "accrue.toml", "--json").document
        assert "final" not in page
        assert len(page["rows"]) == 2
    assert (data / "log.db").read_bytes() == content


def test_a_url_must_be_one_and_somebody_must_answer(cli: Cli) -> None:
    assert "is the address of a server" in cli("query", "user", "ada", "--url", "localhost:8080").err
    assert "No server answers at http://127.0.0.1:9" in cli("query", "user", "a", "--url", "http://127.0.0.1:9").err
