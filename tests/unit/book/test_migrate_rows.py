"""What migrations do to the rows that are there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from accrue.book.migrate import migrate
from accrue.book.schema import shipped
from accrue.book.sqlite import APPLICATION_ID, SqliteBook


async def test_failed_events_and_programs_of_the_first_schema_are_kept(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "book.db", isolation_level=None)) as old:
        migrate(old, shipped()[:1], application_id=APPLICATION_ID)
        old.execute("INSERT INTO failed_events VALUES ('t', 7, 'e7', 'why', '{\"id\":\"e7\",\"type\":\"paid\"}')")
        old.execute("INSERT INTO programs VALUES ('t', 1, 0, 5, '[metrics.points]', '2025b', 1)")

    book = await SqliteBook.open(tmp_path / "book.db")
    (failed,) = await book.failed("t", after=0, rows=9)
    (program,) = await book.programs("t")
    await book.close()

    assert (failed.event_id, failed.type, failed.time_us, failed.stamp) == ("e7", "paid", -1, "{}")
    assert (program.text, program.time_us, program.source) == ("[metrics.points]", 0, "file")
