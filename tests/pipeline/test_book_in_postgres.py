"""Where the book stands changes nothing: what is folded into PostgreSQL is what is folded into a file, and it verifies.

The streams and plans are those of test_function_of_the_log.py, with settlements that fail before they write.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from accrue.book.postgres import PostgresBook
from accrue.book.postgres_snapshot import PostgresSnapshot
from accrue.book.snapshot import Shape, Snapshot
from pipeline.partition import Partition
from pipeline.refolded import verified
from pipeline.test_function_of_the_log import Log, every, folded, partition, plans, some_examples, streams
from servers.postgres import PostgresServer


class InPostgres(Partition):
    """A partition whose book is in a database."""

    def __init__(self, folder: Path, url: str, **options: Any) -> None:
        super().__init__(folder, **options)
        self._url = url

    async def open_book(self) -> PostgresBook:
        return await PostgresBook.open(self._url)

    async def open_snapshot(self) -> PostgresSnapshot:
        return await PostgresSnapshot.open(self._url)

    def digest(self, **_: Any) -> Any:
        """Nobody asks: its tables are compared."""


async def tables(where: Partition) -> list[tuple[Shape, list[Any]]]:
    snapshot: Snapshot = await where.open_snapshot()
    shapes = await snapshot.shapes()
    found = [(shape, [row async for batch in snapshot.rows(shape) for row in batch]) for shape in shapes]
    await snapshot.close()
    return found


@given(streams(), plans, st.lists(st.sampled_from(["", "before"]), max_size=3))
@settings(some_examples, max_examples=3)
async def test_a_book_in_postgres_holds_what_a_book_in_a_file_holds_and_verifies(
    postgres_server: PostgresServer, stream: list[Any], plan: Sequence[str], faults: list[str]
) -> None:
    log = Log(stream, every(4), hours=3)
    schema = f"s{uuid4().hex}"
    postgres_server.ask(f"CREATE SCHEMA {schema}")
    with tempfile.TemporaryDirectory() as folder:
        url = f"{postgres_server.url}?search_path={schema}"
        async with partition(faults=faults) as file, InPostgres(Path(folder), url, faults=faults) as database:
            await folded(log, file, plan)
            await folded(log, database, plan)
            assert await tables(database) == await tables(file)
            await database.stop()
            report = await verified(database)
            await database.begin()
    postgres_server.ask(f"DROP SCHEMA {schema} CASCADE")
    assert report.is_sound, [*report.faults, *(found.text for found in report.differences)]
