"""`accrue verify` on data directories that are as they should be, and on some that are not."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from accrue.cli.steps import Steps
from accrue.connect.data_dir import locked
from unit.cli.running import Cli

PROGRAM = """
[metrics.points]

[[rules]]
on = "e"
set = { on = "actor", attribute = "country", value = "data.country" }
give = { to = "actor", metric = "points", amount = "value" }

[boards.best]
metric = "points"
periods = ["all", "day"]

[badges.good]
when = "points >= 3"

[streaks.daily]
on = "e"
every = "day"
"""

EVENT = (
    '{"type": "e", "id": "%s", "actor": "%s", "value": %s, "time": "2018-06-0%dT12:00:00Z", "data": {"country": "FR"}}'
)


@pytest.fixture
def data(cli: Cli) -> Path:
    """Three segments: two files of events, each of an import of its own, and an event that failed, in the second."""
    Path("program.toml").write_text(PROGRAM)
    users = ("ada", "bob", "cyd", "dan")
    days = range(1, 5)
    for number in range(3):
        lines = [EVENT % (f"{number}-{user}-{day}", user, day, day) for user in users for day in days]
        if number == 1:
            lines.append(EVENT % ("wrong", "ada", "9007199254740991", 1))
        Path(f"{number}.ndjson").write_text("\n".join(lines))
        assert cli("import", f"{number}.ndjson", "--program", "program.toml").code in (0, 1)
    return Path("accrue-data")


@contextmanager
def edited(data: Path) -> Iterator[sqlite3.Connection]:
    """The book, open for writing behind the engine's back."""
    with closing(sqlite3.connect(data / "book.db")) as connection, connection:
        yield connection


def test_a_book_that_follows_from_its_archive_is_sound(cli: Cli, data: Path) -> None:
    ran = cli("verify")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "sound: the book is what its archive says")
    document = cli("verify", "--json").document
    assert (document["sound"], document["segments"], document["faults"]) == (True, 3, [])
    compared = document["compared"]
    assert (compared["awards"], compared["streaks"], compared["failed_events"]) == (4, 4, 1)
    assert compared["tallies"] > 20
    assert document["boards"] == 5


def test_verifying_changes_nothing_and_needs_no_lock(cli: Cli, data: Path) -> None:
    before = {name: (data / name).read_bytes() for name in ("book.db", "log.db")}
    with locked(data):  # as a server has it
        assert cli("verify").code == 0
    assert {name: (data / name).read_bytes() for name in before} == before


def test_a_server_may_settle_while_its_book_is_verified(cli: Cli, data: Path) -> None:
    with closing(sqlite3.connect(data / "book.db", isolation_level=None)) as server:
        server.execute("BEGIN IMMEDIATE")
        server.execute("UPDATE tallies SET value = value + 1")
        assert cli("verify").code == 0  # what is not committed is not there
        server.execute("ROLLBACK")


DAMAGE = {
    "a tally": (
        "UPDATE tallies SET value = 31 WHERE subject = 'ada' AND metric = 'points' AND period = 'all'",
        "tallies, tenant 'default', subject 'ada', period 'all', metric 'points': value 30 expected, value 31 found",
    ),
    "a tally that is gone": (
        "DELETE FROM tallies WHERE subject = 'bob' AND metric = 'points' AND period = '2018-06-02'",
        "tallies, tenant 'default', subject 'bob', period '2018-06-02', metric 'points': value 6",
    ),
    "a tally too many": (
        "INSERT INTO tallies VALUES ('default', 'points', 'all', 'eve', 5, 1)",
        "tallies, tenant 'default', subject 'eve', period 'all', metric 'points': nothing expected, value 5",
    ),
    "an award": (
        "UPDATE awards SET revoked = 1 WHERE subject = 'cyd'",
        "awards, tenant 'default', subject 'cyd', badge 'good', level '': revoked 0 expected, revoked 1 found",
    ),
    "a streak": (
        "UPDATE streaks SET longest = 9 WHERE subject = 'dan'",
        "streaks, tenant 'default', subject 'dan', streak 'daily': longest 4 expected, longest 9 found",
    ),
    "an attribute": (
        "UPDATE attributes SET value = '\"DE\"' WHERE subject = 'ada' AND attribute = 'country'",
        "attributes, tenant 'default', subject 'ada', kind 'user', attribute 'country': value '\"FR\"' expected",
    ),
    "a failed event": ("DELETE FROM failed_events", "failed_events, tenant 'default', sequence "),
    "a remembered id": ("DELETE FROM repeats WHERE run = 1", "repeats, index 'events', bucket "),
    "how long ids are remembered": (
        "UPDATE repeats SET expires_us = 1 WHERE index_name = 'events' AND run = 0",
        ", run 0: expires_us ",
    ),
    "what was counted": (
        "UPDATE partitions SET facts = json_set(facts, '$.counts.default.applied', 7)",
        "counts, tenant 'default': applied ",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_number_that_is_wrong_is_named(cli: Cli, data: Path, what: str) -> None:
    statement, told = DAMAGE[what]
    with edited(data) as book:
        assert book.execute(statement).rowcount > 0
    ran = cli("verify")
    assert ran.code == 1
    assert told in ran.out
    assert cli("verify", "--json").document["sound"] is False


def test_a_wrong_tally_makes_a_wrong_board(cli: Cli, data: Path) -> None:
    with edited(data) as book:
        book.execute("UPDATE tallies SET value = 99 WHERE subject = 'dan' AND metric = 'points' AND period = 'all'")
    ran = cli("verify", "--json")
    first = next(found for found in ran.document["differences"] if found["table"] == "boards")
    assert first["key"] == {"tenant": "default", "board": "best", "period": "all", "place": 1}
    assert (first["expected"]["subject"], first["found"]["subject"]) == ("ada", "dan")


def test_of_many_differences_the_first_are_told_and_all_are_counted(cli: Cli, data: Path) -> None:
    with edited(data) as book:
        wrong = book.execute("UPDATE tallies SET value = value + 1").rowcount
    document = cli("verify", "--json").document
    assert wrong > 20
    assert document["differing"]["tallies"] == wrong
    assert len(document["differences"]) == 20


def test_a_flipped_byte_of_the_file_is_found(cli: Cli, data: Path) -> None:
    """The byte of a number inside the file, as a disk may flip it; SQLite does not notice."""
    with edited(data) as book:
        book.execute("UPDATE streaks SET longest = 0x11223344 WHERE subject = 'bob'")
        book.commit()
        book.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file = (data / "book.db").read_bytes()
    at = file.index(b"\x11\x22\x33\x44")
    (data / "book.db").write_bytes(file[:at] + b"\x11\x22\x33\x45" + file[at + 4 :])
    told = cli("verify").out
    assert "streaks, tenant 'default', subject 'bob', streak 'daily': longest 4 expected, longest 287454021" in told


def test_text_that_is_no_text_any_more_is_told(cli: Cli, data: Path) -> None:
    with edited(data) as book:
        book.execute("UPDATE awards SET holder = CAST(x'ff61' AS TEXT) WHERE subject = 'ada'")
    assert "holder 'ada' expected, holder '\\\\xffa' found" in cli("verify").out


SEGMENTS = {
    "a byte of one": ("UPDATE archive_segments SET data = flipped(data) WHERE first_position = {}", "is damaged"),
    "its number of events": ("UPDATE archive_segments SET events = 3 WHERE first_position = {}", "digest"),
    "one that is gone": ("DELETE FROM archive_segments WHERE first_position = {}", "does not follow the segment"),
}


@pytest.mark.parametrize("what", SEGMENTS)
def test_a_damaged_archive_is_named_by_its_positions(cli: Cli, data: Path, what: str) -> None:
    statement, told = SEGMENTS[what]
    with edited(data) as book:
        segments = book.execute("SELECT first_position, last_position FROM archive_segments ORDER BY 1").fetchall()
        book.create_function("flipped", 1, lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:])
        book.execute(statement.format(segments[1][0]))
    ran = cli("verify")
    assert ran.code == 1
    named = segments[2] if what == "one that is gone" else segments[1]
    assert f"positions {named[0]} to {named[1]}" in ran.out
    assert told in ran.out
    assert len(cli("verify", "--json").document["faults"]) == 1  # one damage, one fault


def test_segments_missing_at_the_end_are_missed(cli: Cli, data: Path) -> None:
    with edited(data) as book:
        (last,) = book.execute("SELECT max(first_position) FROM archive_segments").fetchone()
        book.execute("DELETE FROM archive_segments WHERE first_position = ?", (last,))
    ran = cli("verify")
    assert ran.code == 1
    assert f"The archive ends at position {last - 1}" in ran.out


def test_a_log_that_was_trimmed_past_the_archive_is_told(cli: Cli, data: Path) -> None:
    with closing(sqlite3.connect(data / "log.db")) as log, log:
        log.execute("UPDATE partitions SET trimmed = trimmed + 5")
    ran = cli("verify")
    assert ran.code == 1
    assert "the records between are lost" in ran.out


def test_a_position_that_is_too_low_loses_nothing(cli: Cli, data: Path) -> None:
    """The log is trimmed as far as was settled in truth."""
    with edited(data) as book:
        book.execute("UPDATE partitions SET position = position - 1")
        ((position,),) = book.execute("SELECT position FROM partitions").fetchall()
    ran = cli("verify")
    assert ran.code == 1
    assert f"The archive goes on to position {position + 1}, past the book's position {position}." in ran.out
    assert "missing" not in ran.out
    assert "lost" not in ran.out
    assert "\n1 record of the log is not settled yet; it is not part of this." in ran.out
    assert cli("replay").code == 2
    assert "lost" not in cli("replay").err


@pytest.mark.parametrize("facts", ["{}", "not json", '{"counts": {}, "archive": "no digest"}'])
def test_facts_that_cannot_be_read_are_named(cli: Cli, data: Path, facts: str) -> None:
    with edited(data) as book:
        book.execute("UPDATE partitions SET facts = ?", (facts,))
    ran = cli("verify")
    assert (ran.code, "facts" in ran.out) == (1, True)
    for command in (["replay"], ["query", "user", "ada"], ["program", "list"]):
        ran = cli(*command)
        assert (ran.code, "facts" in ran.err) == (2, True)


@pytest.mark.parametrize("missing", ["log.db", "book.db"])
@pytest.mark.parametrize("command", [["verify"], ["replay"], ["archive", "export"], ["query", "user", "ada"]])
def test_the_file_that_is_missing_is_named_and_none_is_made(
    cli: Cli, data: Path, command: list[str], missing: str
) -> None:
    (data / missing).unlink()
    there = sorted(file.name for file in data.iterdir())
    ran = cli(*command)
    assert ran.code == 2
    assert f"but no {missing}" in ran.err
    assert sorted(file.name for file in data.iterdir()) == there


def test_ctrl_c_says_that_nothing_was_changed(cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Steps, "__call__", lambda *_: signal.raise_signal(signal.SIGINT))
    ran = cli("verify")
    assert (ran.code, ran.out, ran.err) == (130, "", "Stopped. Nothing was changed.\n")


def test_what_cannot_be_verified_is_no_verdict(cli: Cli, data: Path) -> None:
    assert cli("verify", "--data-dir", "elsewhere").code == 2
    (data / "book.db").write_bytes(b"not a book at all")
    ran = cli("verify")
    assert ran.code == 2
    assert "book.db" in ran.err
