"""The migration runner: in order, each once, and nothing that does not fit is touched."""

import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from accrue.book.migrate import check_file, migrate
from accrue.book.schema import Migration, shipped
from accrue.book.sqlite import APPLICATION_ID, SqliteBook
from accrue.errors import Corrupt, Misconfigured

OURS = 0x0A0B
ONE = Migration(number=1, name="first", sql="CREATE TABLE a (x); -- it's; here\nINSERT INTO a VALUES (1)")
TWO = Migration(number=2, name="second", sql="ALTER TABLE a ADD COLUMN y;")
THREE = Migration(number=3, name="third", sql="CREATE TABLE c (x);")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.db"


def applied(path, migrations, *, application_id=OURS):
    check_file(path, migrations, application_id=application_id)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, migrations, application_id=application_id)


def query(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def execute(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def refused(path, migrations=(ONE, TWO), *, kind=Corrupt, match):
    """Both looks refuse it, and the directory holds the same files with the same bytes as before."""
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(kind, match=match):
        check_file(path, migrations, application_id=OURS)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before

    with closing(sqlite3.connect(path, isolation_level=None)) as connection, pytest.raises(kind, match=match):
        migrate(connection, migrations, application_id=OURS)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_new_file_gets_every_migration_in_order(path):
    applied(path, [ONE, TWO])

    assert query(path, "SELECT x, y FROM a") == [(1, None)]
    assert query(path, "SELECT number, name, digest FROM migrations") == [
        (1, "first", ONE.digest),
        (2, "second", TWO.digest),
    ]
    assert query(path, "PRAGMA application_id") == [(OURS,)]


def test_only_what_is_new_is_applied(path):
    applied(path, [ONE])
    applied(path, [ONE, TWO])
    applied(path, [ONE, TWO])

    assert query(path, "SELECT x, y FROM a") == [(1, None)]


def test_an_empty_file_counts_as_new(path):
    path.touch()

    applied(path, [ONE])

    assert query(path, "SELECT x FROM a") == [(1,)]


def test_a_migration_that_fails_leaves_nothing_and_keeps_those_before(path):
    broken = replace(TWO, sql="CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);")

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        applied(path, [ONE, broken, THREE])

    assert query(path, "SELECT number FROM migrations") == [(1,)]
    assert query(path, "SELECT name FROM sqlite_master WHERE name IN ('b', 'c')") == []
    applied(path, [ONE, TWO, THREE])


def test_a_first_migration_that_fails_leaves_a_new_file(path):
    with pytest.raises(sqlite3.OperationalError):
        applied(path, [replace(ONE, sql="CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);")])

    assert query(path, "PRAGMA application_id") == [(0,)]
    applied(path, [ONE])


def test_a_changed_migration_is_refused(path):
    applied(path, [ONE, TWO])

    refused(path, [replace(ONE, sql=ONE.sql + " "), TWO], match="another migration 1")


def test_a_gap_in_the_file_is_refused(path):
    applied(path, [ONE, TWO, THREE])
    execute(path, "DELETE FROM migrations WHERE number = 2")

    refused(path, [ONE, TWO, THREE], match="never had migration 2")


def test_a_gap_in_what_is_shipped_is_refused(path):
    applied(path, [ONE])

    refused(path, [ONE, THREE], kind=Misconfigured, match="incomplete")


def test_a_newer_file_is_refused(path):
    applied(path, [ONE, TWO, THREE])

    refused(path, [ONE, TWO], match="has had migration 3; this version knows 2")


def test_a_file_of_another_application_is_refused(path):
    applied(path, [ONE], application_id=77)

    refused(path, match="not this kind of Accrue file")


def test_a_sqlite_file_without_an_application_is_refused(path):
    execute(path, "CREATE TABLE theirs (x)")

    refused(path, match="not this kind of Accrue file")


def test_an_empty_file_that_another_application_has_claimed_is_refused(path):
    execute(path, "PRAGMA application_id = 77")

    refused(path, match="not this kind of Accrue file")


def test_a_file_without_its_table_of_migrations_is_refused(path):
    applied(path, [ONE])
    execute(path, "DROP TABLE migrations")

    refused(path, match="lost its table")


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"<html>no database</html>" * 100)

    with pytest.raises(Corrupt, match="not a sound SQLite file"):
        check_file(path, [ONE], application_id=OURS)


def test_what_only_stands_in_the_wal_is_seen(path):
    """Given a process that died before its first checkpoint, all of the schema may be in the WAL."""
    applied(path, [ONE])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, [ONE, TWO], application_id=OURS)

        with pytest.raises(Corrupt, match="has had migration 2"):
            check_file(path, [ONE], application_id=OURS)


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
async def test_opening_a_book_leaves_a_foreign_file_as_it_is(path, journal):
    execute(path, f"PRAGMA journal_mode = {journal}", "CREATE TABLE theirs (x)")
    before = path.read_bytes()

    with pytest.raises(Corrupt):
        await SqliteBook.open(path)

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_opening_a_book_leaves_a_newer_one_as_it_is(path):
    await (await SqliteBook.open(path)).close()
    newer = Migration(number=len(shipped()) + 1, name="later", sql="CREATE TABLE later (x);")
    applied(path, [*shipped(), newer], application_id=APPLICATION_ID)
    before = path.read_bytes()

    with pytest.raises(Corrupt, match="install the version"):
        await SqliteBook.open(path)

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_is_shipped_has_no_gap_and_explains_every_table(path):
    migrations = shipped()

    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    applied(path, migrations)
    tables = dict(query(path, "SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    assert set(tables) == {
        "partitions", "tallies", "awards", "streaks", "attributes", "applied_events", "programs", "periods",
        "board_results", "late_tallies", "failed_events", "conflicts", "repeats", "archive_segments", "migrations",
        "heartbeats", "deployment", "workers",
    }  # fmt: skip
    assert [name for name, sql in tables.items() if "-- " not in sql] == []
