"""What every snapshot of a book promises: one moment, whole tables in one order, the same from every backend."""

import pytest

from accrue.book.base import (
    AppliedRow,
    AttributeRow,
    AwardRow,
    ConflictRow,
    LateRow,
    PeriodRow,
    ProgramRow,
    RepeatRun,
    ResultRow,
    StreakRow,
    TallyRow,
)
from accrue.book.snapshot import APART
from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_snapshot import SqliteSnapshot
from accrue.errors import Misconfigured
from contract.books import SEQUENCE_MAX, T, claimed, failed, segment, settled

NAMES = ["ada", "Bob", "zoë", "漢字", "it's", "a\\b"]
EVERYTHING = {
    "tallies": [TallyRow(T, m, p, s, -5, SEQUENCE_MAX) for m in ("points", "a.b") for p in ("all", "d") for s in NAMES],
    "awards": [AwardRow(T, "writer", "gold", name, "ada", 1, 2, 0) for name in NAMES],
    "streaks": [StreakRow(T, "writing", name, 1, 2, 3, "[]") for name in NAMES],
    "attributes": [AttributeRow(T, "user", "country", name, '"FR"') for name in NAMES],
    "applied": [AppliedRow(T, name, "applied", 10**15, "[]") for name in NAMES],
    "programs": [ProgramRow(T, 1, 5, "[tenant]", "2025b", 1, 9, "sent")],
    "periods": [PeriodRow(T, "all", 5, 0)],
    "results": [ResultRow(T, "writers", "day:1", n + 1, 1, name, "[3]", 1) for n, name in enumerate(NAMES)],
    "late": [LateRow(T, "day:1", "points", name, 7) for name in NAMES],
    "failed": [failed(n, reason=name) for n, name in enumerate(NAMES)],
    "conflicts": [ConflictRow(T, n, name, "{}") for n, name in enumerate(NAMES)],
    "repeats": [RepeatRun("events", 1, 0, 3, 10**15, b"\0\xff")],
    "segments": [segment(0, 1), segment(0, 20)],
}


async def tables(snapshot):
    """Every table with its shape and its rows."""
    shapes = await snapshot.shapes()
    return [(shape, [row async for batch in snapshot.rows(shape) for row in batch]) for shape in shapes]


async def test_every_backend_has_the_same_tables_with_the_same_rows_in_the_same_order(books, tmp_path):
    book, other = await books.open(), await SqliteBook.open(tmp_path / "other.db")
    await settled(book, await claimed(book), **EVERYTHING)
    await settled(other, await claimed(other), **EVERYTHING)
    await other.close()

    expected = await SqliteSnapshot.open(tmp_path / "other.db")
    found = await tables(await books.snapshot())

    assert found == await tables(expected)
    await expected.close()
    assert sum(len(rows) for _, rows in found) == sum(map(len, EVERYTHING.values())) - 3  # repeats and the archive
    assert not {shape.name for shape, _ in found} & APART
    (tallies,) = (rows for shape, rows in found if shape.name == "tallies")
    assert [row[3] for row in tallies[::4]] == sorted(name.encode() for name in NAMES)


async def test_a_snapshot_stays_at_its_moment(books):
    book = await books.open()
    before = await settled(book, await claimed(book), **EVERYTHING)
    snapshot = await books.snapshot()
    had = await tables(snapshot)

    await settled(book, before, tallies=[TallyRow(T, "points", "all", "ada", 9, 9)], segments=[segment(0, 40)])

    assert await snapshot.checkpoint(0) == before
    assert await snapshot.checkpoint(1) is None
    assert await tables(snapshot) == had
    assert [s.first async for s in snapshot.segments(0)] == [1, 20]
    start = await snapshot.start(0)
    assert (start.programs, start.periods) == (EVERYTHING["programs"], EVERYTHING["periods"])
    assert [run async for run in start.repeats] == EVERYTHING["repeats"]
    ada = [row async for batch in snapshot.tallies(T, "points", "all") for row in batch if row.subject == "ada"]
    assert [row.value for row in ada] == [-5]
    assert await tables(await books.snapshot()) != had


async def test_a_large_table_comes_in_batches_in_the_order_of_its_key(books):
    book = await books.open()
    rows = [TallyRow(T, "points", "all", f"user-{n * 7919 % 9_001:05}", n, n) for n in range(9_001)]
    await settled(book, await claimed(book), tallies=rows)

    snapshot = await books.snapshot()
    (shape,) = [shape for shape in await snapshot.shapes() if shape.name == "tallies"]
    batches = [batch async for batch in snapshot.rows(shape)]

    assert len(batches) > 1
    found = [row[3] for batch in batches for row in batch]
    assert found == sorted(found)
    assert len(found) == 9_001


async def test_a_sound_book_has_no_damage(books):
    book = await books.open()
    await settled(book, await claimed(book), **EVERYTHING)

    assert await (await books.snapshot()).damage() == []


async def test_a_snapshot_of_no_book_is_refused(books):
    with pytest.raises(Misconfigured, match="There is no book"):
        await books.snapshot()


async def test_a_closed_snapshot_may_be_closed_again(books):
    await books.open()
    snapshot = await books.snapshot()

    await snapshot.close()
    await snapshot.close()
