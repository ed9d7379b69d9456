"""The backends, one a row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from accrue.book.base import Book
from accrue.book.sqlite import SqliteBook
from contract.books import Books


@pytest.fixture(params=["sqlite"])
async def books(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Books]:
    openers = {"sqlite": lambda: SqliteBook.open(tmp_path / "book.db")}
    books = Books(openers[request.param])
    yield books
    await books.close()


@pytest.fixture
async def book(books: Books) -> Book:
    return await books.open()
