"""What is special about settling in SQLite: commits of unknown outcome, a full disk, a locked file, plain tables."""

import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from accrue.book.base import ConflictRow, FailedRow, Settlement, TallyRow, Written
from accrue.book.migrate import migrate
from accrue.book.schema import shipped
from accrue.book.sqlite import APPLICATION_ID, SqliteBook
from accrue.book.sqlite_settle import claim, prepare, read_checkpoint, settle
from accrue.connect import sqlite as connect_sqlite
from accrue.errors import Fenced, Unavailable

LOST = "the answer was lost"


class LosesTheAnswer(sqlite3.Connection):
    """A connection whose next COMMIT ends in an error: `before` it, `after` it, or after somebody else's."""

    lose: str | None = None

    def execute(self, sql, *parameters):
        if sql != "COMMIT" or self.lose is None:
            return super().execute(sql, *parameters)
        when, self.lose = self.lose, None
        if when == "after":
            super().execute("COMMIT")
        if when == "taken":
            self.rollback()
            claim(self, 0, owner="two", log_identity="log-a")
        raise sqlite3.OperationalError(LOST)


@pytest.fixture
def connection(tmp_path):
    with closing(sqlite3.connect(tmp_path / "book.db", isolation_level=None, factory=LosesTheAnswer)) as connection:
        migrate(connection, shipped(), application_id=APPLICATION_ID)
        prepare(connection)
        yield connection


@pytest.fixture
def settlement(connection):
    before = claim(connection, 0, owner="one", log_identity="log-a")
    after = replace(before, position=9, log_time_us=4, facts="{}")
    return Settlement(before=before, after=after, tallies=[TallyRow("t", "points", "all", "ada", 1, 1)])


def tallies(connection):
    return connection.execute("SELECT tenant, metric, period, subject, value, reached FROM tallies").fetchall()


def test_a_commit_that_happened_unseen_counts(connection, settlement):
    connection.lose = "after"

    assert settle(connection, settlement) == Written(rows=2, transactions=1)
    assert read_checkpoint(connection, 0) == settlement.after
    assert tallies(connection) == list(settlement.tallies)


def test_a_commit_that_did_not_happen_is_an_error_and_may_be_tried_again(connection, settlement):
    connection.lose = "before"

    with pytest.raises(sqlite3.OperationalError, match=LOST):
        settle(connection, settlement)

    assert tallies(connection) == []
    assert settle(connection, settlement) == Written(rows=2, transactions=1)


def test_a_commit_after_which_another_worker_is_found_is_fenced(connection, settlement):
    connection.lose = "taken"

    with pytest.raises(Fenced):
        settle(connection, settlement)

    assert tallies(connection) == []


def test_a_lost_commit_that_would_not_have_moved_the_checkpoint_is_an_error(connection, settlement):
    standing = replace(settlement, after=settlement.before)
    connection.lose = "before"

    with pytest.raises(sqlite3.OperationalError, match=LOST):
        settle(connection, standing)


def test_a_full_disk_writes_nothing_and_the_same_settlement_passes_later(connection, settlement):
    large = replace(settlement, tallies=[TallyRow("t", "points", "all", f"u{n}", n, n) for n in range(20_000)])
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 10}")

    with pytest.raises(sqlite3.OperationalError, match="full"):
        settle(connection, large)
    if connection.in_transaction:
        connection.rollback()

    assert tallies(connection) == []
    connection.execute("PRAGMA max_page_count = 1000000")
    assert settle(connection, large).rows == 20_001


async def test_a_locked_file_is_a_reason_to_try_again(tmp_path, monkeypatch):
    monkeypatch.setattr(connect_sqlite, "BUSY_WAIT_MS_MAX", 1)
    book = await SqliteBook.open(tmp_path / "book.db")
    before = await book.claim(0, owner="one", log_identity="log-a")
    settlement = Settlement(before=before, after=replace(before, position=1))
    with closing(sqlite3.connect(tmp_path / "book.db", isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await book.settle(settlement)

    assert (await book.settle(settlement)).rows == 1
    await book.close()


async def test_failed_and_conflicting_events_can_be_queried_by_hand(tmp_path):
    book = await SqliteBook.open(tmp_path / "book.db")
    before = await book.claim(0, owner="one", log_identity="log-a")
    failed = FailedRow("t", 2**60, "e1", "x / 0: 'why'", '{"id":"e1","data":{"text":"漢\\u0001"}}', "e", 7, "{}")
    conflicts = [ConflictRow("t", n, f"e{n}", '{"n":1}') for n in range(120)]
    await book.settle(
        Settlement(before=before, after=replace(before, position=1), failed=[failed], conflicts=conflicts)
    )
    await book.close()

    with closing(sqlite3.connect(tmp_path / "book.db")) as hand:
        columns = "tenant, sequence, event_id, reason, body, type, time_us, stamp"
        assert hand.execute(f"SELECT {columns} FROM failed_events").fetchall() == [failed]
        assert hand.execute("SELECT tenant, sequence, event_id, body FROM conflicts").fetchall() == conflicts


async def test_a_closed_book_is_one_file(tmp_path):
    book = await SqliteBook.open(tmp_path / "book.db")
    await book.claim(0, owner="one", log_identity="log-a")

    await book.close()

    assert [file.name for file in tmp_path.iterdir()] == ["book.db"]
