"""What every book promises about what is kept aside: failed events, conflicts, programs, and the archive backwards."""

from accrue.book.base import ConflictRow, FailedCount, FailedKey, ProgramRow
from contract.books import SEQUENCE_MAX, T, claimed, failed, segment, settled


async def test_failed_events_are_read_in_pages_and_go_when_they_are_gone(book):
    rows = [failed(n, type="odd" if n % 2 else "even") for n in (1, 2, 3, SEQUENCE_MAX)]
    before = await settled(book, await claimed(book), failed=[*rows, failed(2, tenant="elsewhere")])

    assert await book.failed(T, after=0, rows=3) == rows[:3]
    assert await book.failed(T, after=3, rows=3) == rows[3:]
    assert await book.failed(T, after=0, rows=9, type="odd") == [rows[0], rows[2], rows[3]]

    again = rows[0]._replace(reason="another one")
    await settled(book, before, failed=[again], failed_gone=[FailedKey(T, 2), FailedKey(T, SEQUENCE_MAX)])
    assert await book.failed(T, after=0, rows=9) == [again, rows[2]]
    assert await book.failed("elsewhere", after=0, rows=9) == [failed(2, tenant="elsewhere")]


async def test_a_start_counts_what_failed_for_what(book):
    await settled(
        book,
        await claimed(book, 0),
        programs=[ProgramRow(T, 1, 5, "a = 1", "2025a", 1)],
        failed=[failed(1), failed(2), failed(3, reason="missing"), failed(4, type="f")],
    )
    other = [ProgramRow("elsewhere", 1, 5, "a = 1", "2025a", 1)]
    await settled(book, await claimed(book, 1), programs=other, failed=[failed(1, tenant="elsewhere")])

    assert (await book.start(0)).failed == [
        FailedCount(T, "e", "divided by zero", 2),
        FailedCount(T, "e", "missing", 1),
        FailedCount(T, "f", "divided by zero", 1),
    ]


async def test_conflicts_and_programs_of_one_tenant_are_read_in_order(book):
    conflicts = [ConflictRow(T, n, f"e{n}", "{}") for n in (3, 1, 2)]
    programs = [ProgramRow(T, n, 5 * n, f"a = {n}", "2025a", 1, 7, "sent") for n in (2, 1)]
    elsewhere = ProgramRow("elsewhere", 1, 1, "", "2025a", 1)
    await settled(book, await claimed(book), conflicts=conflicts, programs=[*programs, elsewhere])

    assert await book.conflicts(T, after=1, rows=1) == [conflicts[2]]
    assert await book.conflicts(T, after=0, rows=9) == [conflicts[1], conflicts[2], conflicts[0]]
    assert await book.programs(T) == programs[::-1]
    assert await book.programs("elsewhere") == [elsewhere]


async def test_the_archive_is_read_backwards_from_a_position(book):
    segments = [segment(0, 1), segment(0, 20), segment(0, 40)]
    await settled(book, await claimed(book, 0), segments=segments)
    await settled(book, await claimed(book, 1), segments=[segment(1, 1)])

    assert [found async for found in book.segments_before(0, 39)] == [segments[1], segments[0]]
    assert [found async for found in book.segments_before(0, 40)] == segments[::-1]
    assert [found async for found in book.segments_before(0, 0)] == []
