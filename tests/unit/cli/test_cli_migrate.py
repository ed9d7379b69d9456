"""`accrue migrate`: says what is missing, applies it once, and refuses what is not ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from accrue.book.migrate import migrate
from accrue.book.schema import shipped
from accrue.book.sqlite import APPLICATION_ID
from accrue.connect.data_dir import locked
from unit.cli.running import Cli, Ran

STEPS = [(step.number, step.name) for step in shipped()]


def states(ran: Ran) -> list[str]:
    assert [(step["number"], step["name"]) for step in ran.document["steps"]] == STEPS
    return [step["state"] for step in ran.document["steps"]]


def data_dir(folder: Path, *, steps: int) -> Path:
    """A data directory whose book has had so many steps, as a version of then left it."""
    place = folder / "data"
    place.mkdir()
    (place / "log.db").touch()
    with closing(sqlite3.connect(place / "book.db", isolation_level=None)) as connection:
        migrate(connection, shipped()[:steps], application_id=APPLICATION_ID)
    return place


def content(place: Path, *, without: Iterable[str] = ("lock",)) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in place.iterdir() if file.name not in without}


def test_check_says_what_is_missing_and_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    place = data_dir(tmp_path, steps=2)
    before = content(place)
    ran = cli("migrate", "--check", "--json", "--data-dir", place)
    assert ran.code == 1
    assert states(ran) == ["had"] * 2 + ["missing"] * (len(STEPS) - 2)
    assert content(place) == before


def test_what_is_missing_is_applied_once(cli: Cli, tmp_path: Path) -> None:
    place = data_dir(tmp_path, steps=2)
    ran = cli("migrate", "--json", "--data-dir", place)
    assert ran.code == 0
    assert states(ran) == ["had"] * 2 + ["applied"] * (len(STEPS) - 2)
    again = cli("migrate", "--check", "--json", "--data-dir", place)
    assert (again.code, states(again)) == (0, ["had"] * len(STEPS))
    shown = cli("migrate", "--data-dir", place)
    assert (shown.code, shown.out.count("had")) == (0, len(STEPS))


def test_a_directory_that_somebody_has_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    place = data_dir(tmp_path, steps=2)
    with locked(place):
        before = content(place)
        ran = cli("migrate", "--data-dir", place)
        assert (ran.code, "stop it" in ran.err) == (2, True)
        assert content(place) == before
        assert cli("migrate", "--check", "--data-dir", place).code == 1


def test_a_book_from_a_newer_version_is_refused(cli: Cli, tmp_path: Path) -> None:
    place = data_dir(tmp_path, steps=len(STEPS))
    with closing(sqlite3.connect(place / "book.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO migrations VALUES (?, 'later', '')", (len(STEPS) + 1,))
    for option in ([], ["--check"]):
        ran = cli("migrate", *option, "--data-dir", place)
        assert ran.code == 2
        assert "install the version of Accrue that wrote it" in ran.err


def test_where_there_is_nothing_it_says_so(cli: Cli, tmp_path: Path) -> None:
    ran = cli("migrate", "--data-dir", tmp_path / "nowhere")
    assert (ran.code, "--data-dir" in ran.err) == (2, True)


def test_a_database_is_looked_at_and_then_brought_up_to_date(cli: Cli, postgres_url: str) -> None:
    for code, state in ((1, "missing"), (1, "missing")):  # looking changed nothing
        ran = cli("migrate", "--check", "--json", "--book", postgres_url)
        assert (ran.code, set(states(ran))) == (code, {state})
    ran = cli("migrate", "--json", "--book", postgres_url)
    assert (ran.code, set(states(ran))) == (0, {"applied"})
    assert "accrue-tests" not in ran.out  # the password
    ran = cli("migrate", "--check", "--json", "--book", postgres_url)
    assert (ran.code, set(states(ran))) == (0, {"had"})


def test_a_database_may_be_named_in_the_settings(
    cli: Cli, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "accrue.toml").write_text(f'[book]\nurl = "{postgres_url}"\n')
    assert cli("migrate", "--check", "--config", "accrue.toml").code == 1
    monkeypatch.setenv("ACCRUE_BOOK", postgres_url)
    assert cli("migrate").code == 0
    assert cli("migrate", "--check", "--config", "accrue.toml").code == 0
