"""What is refused when a book in PostgreSQL is opened, with what to do; and bringing its schema up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from accrue.book.base import TallyRow
from accrue.book.postgres import PostgresBook
from accrue.book.postgres_migrate import FOLDER, migrate, tables_of
from accrue.book.postgres_snapshot import PostgresSnapshot
from accrue.book.schema import Migration, shipped
from accrue.connect import postgres as connecting
from accrue.errors import AccrueError, Corrupt, Misconfigured, Unavailable
from contract.books import T, claimed, settled
from servers.postgres import PASSWORD, USER, PostgresServer

ONE = Migration(number=1, name="first", sql="CREATE TABLE a (x int); -- it's; here\nINSERT INTO a VALUES (1);")
TWO = Migration(number=2, name="second", sql="ALTER TABLE a ADD COLUMN y int;")
THREE = Migration(number=3, name="third", sql="CREATE TABLE c (x int);")

CONTENT = """
SELECT string_agg(c.relname || ':' || coalesce(s.n_tup_ins, 0), ' ' ORDER BY c.relname)
FROM pg_class AS c LEFT JOIN pg_stat_user_tables AS s ON s.relid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace
"""


@pytest.fixture
async def hand(postgres_schema: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Somebody at a prompt."""
    connection = await asyncpg.connect(postgres_schema)
    yield connection
    await connection.close()


async def refused(url: str, migrations: list[Migration], *, kind: type[AccrueError] = Corrupt, match: str) -> None:
    """And what is there stays as it is."""
    connection = await asyncpg.connect(url)
    before = await connection.fetchval(CONTENT)
    with pytest.raises(kind, match=match):
        await migrate(url, migrations=migrations)
    assert await connection.fetchval(CONTENT) == before
    await connection.close()


# Bringing the schema up to date


async def test_a_new_schema_gets_every_migration_in_order_and_an_old_one_what_is_new(
    postgres_schema: str, hand: asyncpg.Connection[Any]
) -> None:
    assert await migrate(postgres_schema, migrations=[ONE]) == [ONE]
    assert await migrate(postgres_schema, migrations=[ONE, TWO]) == [TWO]
    assert await migrate(postgres_schema, migrations=[ONE, TWO]) == []

    assert [tuple(row) for row in await hand.fetch("SELECT x, y FROM a")] == [(1, None)]
    assert [tuple(row) for row in await hand.fetch("SELECT number, name, digest FROM migrations")] == [
        (1, "first", ONE.digest),
        (2, "second", TWO.digest),
    ]


async def test_of_many_that_start_at_once_one_does_the_work_and_all_find_it_done(postgres_schema: str) -> None:
    steps = [ONE, TWO, THREE]

    done = await asyncio.gather(*(migrate(postgres_schema, migrations=steps) for _ in range(5)))

    assert sorted(map(len, done)) == [0, 0, 0, 0, 3]


async def test_a_migration_that_fails_leaves_nothing_and_keeps_those_before(
    postgres_schema: str, hand: asyncpg.Connection[Any]
) -> None:
    broken = replace(TWO, sql="CREATE TABLE b (x int); INSERT INTO nowhere VALUES (1);")

    with pytest.raises(AccrueError, match="nowhere"):
        await migrate(postgres_schema, migrations=[ONE, broken, THREE])

    assert await hand.fetchval("SELECT array_agg(number) FROM migrations") == [1]
    assert await hand.fetchval("SELECT to_regclass('b')") is None
    assert await migrate(postgres_schema, migrations=[ONE, TWO, THREE]) == [TWO, THREE]


async def test_what_does_not_fit_is_refused(postgres_schema: str, hand: asyncpg.Connection[Any]) -> None:
    await migrate(postgres_schema, migrations=[ONE, TWO, THREE])

    await refused(postgres_schema, [ONE, TWO], match="has had migration 3; this version knows 2")
    await refused(postgres_schema, [ONE, replace(TWO, sql=" "), THREE], match="another migration 2")
    await refused(postgres_schema, [ONE, THREE], kind=Misconfigured, match="incomplete")
    await hand.execute("DELETE FROM migrations WHERE number = 2")
    await refused(postgres_schema, [ONE, TWO, THREE], match="never had migration 2")
    await hand.execute("DELETE FROM migrations")
    await refused(postgres_schema, [ONE, TWO, THREE], match="not of Accrue's book: a, c")


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ("CREATE TABLE tallies (x int)", "tallies"),
        ("CREATE VIEW awards AS SELECT 1 AS x", "awards"),
        ("CREATE TABLE migrations (id serial, migration text, batch int)", "migrations"),
    ],
)
async def test_tables_of_somebody_else_are_left_alone(
    postgres_schema: str, hand: asyncpg.Connection[Any], theirs: str, named: str
) -> None:
    await hand.execute(theirs)

    await refused(postgres_schema, shipped(FOLDER), match=rf"not of Accrue's book: {named}\. .*search_path=accrue")
    with pytest.raises(Corrupt):
        await PostgresBook.open(postgres_schema)
    with pytest.raises(Corrupt):
        await PostgresSnapshot.open(postgres_schema)


async def test_tables_of_other_names_are_no_hindrance(postgres_schema: str, hand: asyncpg.Connection[Any]) -> None:
    await hand.execute("CREATE TABLE users (x int)")

    await (await PostgresBook.open(postgres_schema)).close()


def test_what_is_shipped_has_the_numbers_and_the_tables_of_sqlite() -> None:
    ours, theirs = shipped(FOLDER), shipped()

    assert [(step.number, step.name) for step in ours] == [(step.number, step.name) for step in theirs]
    assert [tables_of([step]) for step in ours] == [tables_of([step]) for step in theirs]


async def test_every_table_explains_itself(postgres_schema: str, hand: asyncpg.Connection[Any]) -> None:
    await migrate(postgres_schema)

    silent = await hand.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' "
        "AND obj_description(oid) IS NULL"
    )
    unordered = await hand.fetch(
        "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attcollation NOT IN (0, '\"C\"'::regcollation) "
        "WHERE c.relnamespace = current_schema()::regnamespace"
    )
    assert (silent, unordered) == ([], [])


# What is wrong with the place


def altered(url: str, **parts: str) -> str:
    """The URL with other credentials or another database."""
    at = urlsplit(url)
    user, password = parts.get("user", USER), parts.get("password", PASSWORD)
    port = parts.get("port", str(at.port))
    return f"postgresql://{user}:{password}@127.0.0.1:{port}/{parts.get('database', at.path[1:])}"


WRONG = {
    "password": (Misconfigured, "refused the user or the password"),
    "user": (Misconfigured, "refused the user or the password"),
    "database": (Misconfigured, "no such database. Create it"),
    "port": (Unavailable, "127.0.0.1:1"),
}


@pytest.mark.parametrize("part", WRONG)
async def test_a_wrong_part_of_the_url_is_named_and_the_password_is_not(postgres_schema: str, part: str) -> None:
    kind, match = WRONG[part]
    url = altered(postgres_schema, **{part: "1" if part == "port" else "secretly-wrong"})

    for opening in (PostgresBook.open, PostgresSnapshot.open, migrate):
        with pytest.raises(kind, match=match) as told:
            await opening(url)
        assert PASSWORD not in str(told.value)
        assert "secretly" not in str(told.value) or part == "database"


@pytest.mark.parametrize(
    "url", ["postgresql://u:hidden@host:port/db", "postgresql://u:hid/den@host/db", "mysql://u:hidden@h"]
)
async def test_what_is_no_url_of_postgresql_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Misconfigured, match="URL") as told:
        await PostgresBook.open(url)
    assert "hid" not in str(told.value)


async def test_a_server_that_is_too_old_is_refused(postgres_schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "SERVER_VERSION_MIN", 99)

    with pytest.raises(Misconfigured, match="at least 99 is needed"):
        await PostgresBook.open(postgres_schema)


async def test_a_schema_that_is_not_there_is_refused(postgres_schema: str) -> None:
    with pytest.raises(Misconfigured, match="search_path names does not exist"):
        await PostgresBook.open(f"{postgres_schema}nowhere")


async def test_a_user_who_may_create_nothing_is_refused(
    postgres_server: PostgresServer, postgres_database: str, postgres_schema: str
) -> None:
    user = f"u{uuid4().hex}"
    postgres_server.ask(f"CREATE ROLE {user} LOGIN PASSWORD 'p'", database=postgres_database)
    schema = urlsplit(postgres_schema).query.partition("=")[2]
    postgres_server.ask(f"GRANT USAGE ON SCHEMA {schema} TO {user}", database=postgres_database)
    url = f"{altered(postgres_schema, user=user, password='p')}?search_path={schema}"

    with pytest.raises(Misconfigured, match="permission denied for schema"):
        await PostgresBook.open(url)


async def test_a_right_that_is_taken_away_later_may_come_back_and_is_no_reason_to_end(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    user, query = f"u{uuid4().hex}", urlsplit(postgres_schema).query
    postgres_server.ask(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD 'p'")
    book = await PostgresBook.open(f"{altered(postgres_schema, user=user, password='p')}?{query}")
    postgres_server.ask(f"ALTER ROLE {user} NOLOGIN")

    for attempt in (book.checkpoint(0), book.owners()):  # on connections that are new
        with pytest.raises(Unavailable, match="refused the user or the password"):
            await attempt
    await book.close()


async def test_a_user_who_may_not_make_temporary_tables_is_refused(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    user, database = f"u{uuid4().hex}", urlsplit(postgres_url).path[1:]
    postgres_server.ask(f"CREATE ROLE {user} LOGIN PASSWORD 'p'")
    for sql in (f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC", f"GRANT CREATE ON SCHEMA public TO {user}"):
        postgres_server.ask(sql, database=database)

    with pytest.raises(Misconfigured, match="permission denied to create temporary tables"):
        await PostgresBook.open(altered(postgres_url, user=user, password="p"))


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres_server: PostgresServer) -> None:
    name = f"t{uuid4().hex}"
    postgres_server.ask(
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
    )
    try:
        with pytest.raises(Misconfigured, match="ENCODING 'UTF8'"):
            await PostgresBook.open(postgres_server.url_of(name))
    finally:
        postgres_server.drop_database(name)


async def test_a_standby_is_no_place_to_settle_and_good_enough_to_verify(own_server: Any) -> None:
    server = own_server(PostgresServer)
    book = await PostgresBook.open(server.url)
    after = await settled(book, await claimed(book), tallies=[TallyRow(T, "points", "all", "ada", 5, 1)])
    await book.close()
    server.stop()
    Path(server.directory, "data", "standby.signal").touch()
    server.start()

    with pytest.raises(Misconfigured, match=r"standby that can only be read\. Name the primary"):
        await PostgresBook.open(server.url)

    snapshot = await PostgresSnapshot.open(server.url)
    assert await snapshot.checkpoint(0) == after
    await snapshot.close()


# Looking at it without changing it


async def test_a_book_of_an_older_version_is_brought_up_to_date_before_it_is_looked_at(postgres_schema: str) -> None:
    await migrate(postgres_schema, migrations=shipped(FOLDER)[:-1])

    with pytest.raises(Misconfigured, match=r"older version .* accrue migrate"):
        await PostgresSnapshot.open(postgres_schema)


async def test_a_moment_that_was_lost_does_not_come_back_as_another_one(
    postgres_schema: str, hand: asyncpg.Connection[Any]
) -> None:
    book = await PostgresBook.open(postgres_schema)
    await claimed(book)
    await book.close()
    snapshot = await PostgresSnapshot.open(postgres_schema)
    await hand.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'accrue' AND state = 'idle in transaction' AND datname = current_database()"
    )

    for _ in range(2):
        with pytest.raises(Unavailable):
            await snapshot.checkpoint(0)
    await snapshot.close()


async def test_an_index_that_the_server_does_not_trust_is_damage(
    postgres_schema: str, hand: asyncpg.Connection[Any]
) -> None:
    await migrate(postgres_schema)
    await hand.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tallies_by_metric'::regclass")

    snapshot = await PostgresSnapshot.open(postgres_schema)
    assert await snapshot.damage() == ["the index tallies_by_metric is not valid"]
    await snapshot.close()
