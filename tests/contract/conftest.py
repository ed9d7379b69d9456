"""The backends, one a row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from accrue.book.base import Book
from accrue.book.postgres import PostgresBook
from accrue.book.postgres_snapshot import PostgresSnapshot
from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_snapshot import SqliteSnapshot
from accrue.log.base import Log
from contract.books import Books
from contract.logs import BACKENDS, IDENTITY, Backend
from contract.published import make as make  # the fixture of boards
from servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """A database that many tests share."""
    database = postgres_server.new_database()
    yield database
    postgres_server.drop_database(database)


@pytest.fixture
def postgres_schema(postgres_server: PostgresServer, postgres_database: str) -> str:
    """An empty schema in it, which takes a tenth of the time that a database takes."""
    schema = f"s{uuid4().hex}"
    postgres_server.ask(f"CREATE SCHEMA {schema}", database=postgres_database)
    return f"{postgres_server.url_of(postgres_database)}?search_path={schema}"


@pytest.fixture(params=["sqlite", "postgres"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Books]:
    if request.param == "sqlite":
        path = tmp_path / "book.db"
        books = Books(lambda: SqliteBook.open(path), lambda: SqliteSnapshot.open(path))
    else:
        url = request.getfixturevalue("postgres_schema")
        books = Books(lambda: PostgresBook.open(url), lambda: PostgresSnapshot.open(url))
    yield books
    await books.close()


@pytest.fixture
async def book(books: Books) -> Book:
    return await books.open()


@pytest.fixture(params=BACKENDS, ids=lambda row: row.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    row: Backend = request.param
    return row


@pytest.fixture
def place(request: pytest.FixtureRequest, backend: Backend) -> str:
    """Where the backend has nothing yet."""
    return str(request.getfixturevalue(backend.place))


@pytest.fixture
async def log(backend: Backend, place: str) -> AsyncIterator[Log]:
    opened = await backend.open(place, IDENTITY, None)
    yield opened
    await opened.close()
