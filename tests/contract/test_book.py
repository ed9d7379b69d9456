"""What every book promises, one row per backend."""

import asyncio

import pytest
from msgspec.structs import replace

from accrue.book.base import (
    AppliedRow,
    AttributeRow,
    AwardRow,
    Checkpoint,
    ConflictRow,
    FailedKey,
    LateRow,
    PeriodRow,
    ProgramRow,
    RepeatRun,
    ResultRow,
    Settlement,
    StreakRow,
    TallyRow,
    Written,
)
from accrue.errors import Corrupt, Fenced, Unavailable
from contract.books import SEQUENCE_MAX, T, claimed, failed, moved, segment, settled

MAGNITUDE_MAX = 2**53 - 1
NASTY = (
    "ada",
    "'; DROP TABLE tallies; --",
    '"quoted" \\ back',
    "line\nbreak\t\x01",
    "Zoë 漢字 🏆",
    "123",
    "null",
    "[1]",
)


def tally(subject: str, value: int = 1, *, metric: str = "points", period: str = "all", reached: int = 7) -> TallyRow:
    return TallyRow(T, metric, period, subject, value, reached)


def award(subject: str, *, badge: str = "writer", sequence: int = 1, holder: str = "", revoked: int = 0) -> AwardRow:
    return AwardRow(T, badge, "gold", subject, holder or subject, 1_000 + sequence, sequence, revoked)


def run(bucket: int, number: int = 0, *, expires_us: int = 100, data: bytes = b"\0\xffrun") -> RepeatRun:
    return RepeatRun("events", bucket, number, len(data), expires_us, data)


async def everything(batches) -> list:
    return [row for batch in [batch async for batch in batches] for row in batch]


# Taking a partition


async def test_a_new_partition_starts_before_everything(book):
    checkpoint = await claimed(book)

    assert checkpoint == Checkpoint(partition=0, epoch=1, position=0, log_identity="log-a", log_time_us=0, facts="{}")


async def test_every_claim_raises_the_epoch_and_finds_the_last_checkpoint(books):
    book = await books.open()
    after = await settled(book, await claimed(book), log_time_us=55)
    await book.close()

    again = await claimed(await books.open(), owner="two")

    assert again == replace(after, epoch=2)


async def test_a_checkpoint_can_be_read_without_taking_the_partition(book):
    assert await book.checkpoint(0) is None
    after = await settled(book, await claimed(book), log_time_us=55)

    assert await book.checkpoint(0) == after
    assert await book.checkpoint(1) is None
    assert await claimed(book) == replace(after, epoch=2)  # looking has not raised the epoch


async def test_partitions_are_claimed_apart(book):
    await settled(book, await claimed(book, 0))

    other = await claimed(book, 1)

    assert (other.partition, other.epoch, other.position) == (1, 1, 0)


@pytest.mark.parametrize("with_progress", [True, False])
async def test_a_checkpoint_of_another_log_is_refused_and_stays(book, with_progress):
    before = await claimed(book)
    if with_progress:
        before = await settled(book, before)

    with pytest.raises(Corrupt, match=r"'log-a'.*'log-b'.*right log back, or start with a new data directory"):
        await book.claim(0, owner="two", log_identity="log-b")

    assert await claimed(book) == replace(before, epoch=2)


# The fence


async def test_a_worker_that_lost_its_partition_writes_nothing(book):
    old = await claimed(book)
    new = await claimed(book, owner="two")

    with pytest.raises(Fenced):
        await settled(book, old, tallies=[tally("ada")], repeats=[run(1)], segments=[segment(0, 1)])

    assert (await book.load(T, ["ada"], ["all"])).tallies == []
    assert [s async for s in book.segments(0)] == []
    assert [r async for r in (await book.start(0)).repeats] == []
    assert await claimed(book, owner="two") == replace(new, epoch=3)


async def test_a_settlement_is_not_written_twice(book):
    before = await claimed(book)
    after = await settled(book, before, tallies=[tally("ada", 5)])

    with pytest.raises(Fenced):
        await settled(book, before, tallies=[tally("ada", 6)])

    assert (await book.load(T, ["ada"], ["all"])).tallies == [tally("ada", 5)]
    await settled(book, after, tallies=[tally("ada", 7)])
    assert (await book.load(T, ["ada"], ["all"])).tallies == [tally("ada", 7)]


async def test_a_partition_nobody_claimed_cannot_be_settled(book):
    never = replace(await claimed(book), partition=5)

    with pytest.raises(Fenced):
        await settled(book, never, tallies=[tally("ada")])


async def test_what_cannot_be_written_whole_is_not_written_at_all(book):
    before = await settled(book, await claimed(book), segments=[segment(0, 1)])

    with pytest.raises(Corrupt):  # the archive is only ever added to
        await settled(book, before, tallies=[tally("ada")], segments=[segment(0, 1)])

    assert (await book.load(T, ["ada"], ["all"])).tallies == []
    await settled(book, before, tallies=[tally("ada")], segments=[segment(0, 11)])
    assert (await book.load(T, ["ada"], ["all"])).tallies == [tally("ada")]


# What is written


async def test_every_row_of_every_table_is_counted(book):
    before = await claimed(book)
    first = Settlement(
        before=before,
        after=moved(before, log_time_us=10),
        tallies=[tally("ada"), tally("bob")],
        awards=[award("ada")],
        streaks=[StreakRow(T, "writing", "ada", 1, 2, 3, "[]")],
        attributes=[AttributeRow(T, "user", "country", "ada", '"FR"')],
        applied=[AppliedRow(T, "e1", "applied", 20, "[]"), AppliedRow(T, "e2", "awaited", 21, "")],
        programs=[ProgramRow(T, 1, 5, "[tenant]", "2025b", 1)],
        periods=[PeriodRow(T, "all", 5, 0)],
        results=[ResultRow(T, "writers", "day:1", 1, 1, "ada", "[3]", 1)],
        late=[LateRow(T, "day:1", "points", "ada", 7)],
        failed=[failed(6)],
        failed_gone=[FailedKey(T, 5)],  # there is none
        conflicts=[ConflictRow(T, 7, "e7", "{}")],
        repeats=[run(1, expires_us=20), run(2, expires_us=30)],
        segments=[segment(0, 1)],
    )
    second = Settlement(
        before=first.after,
        after=moved(first.after, log_time_us=20),
        tallies=[tally("ada", 2)],
        periods=[PeriodRow(T, "all", 5, 0)],  # as it was: not written
    )

    assert await book.settle(first) == Written(rows=1 + 12 + 2 + 2 + 1 - 1 + 1 - 1, transactions=1)
    assert await book.settle(second) == Written(rows=1 + 1 + 1 + 1, transactions=1)  # fence, tally, what expired


async def test_a_settlement_without_rows_moves_the_checkpoint(book):
    before = await claimed(book)

    written = await book.settle(Settlement(before=before, after=moved(before)))

    assert written == Written(rows=1, transactions=1)
    assert await claimed(book) == replace(moved(before), epoch=2)


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("number", [MAGNITUDE_MAX, -MAGNITUDE_MAX, 0])
async def test_values_come_back_exactly(book, text, number):
    tallies = [TallyRow(text, text, text, text, number, SEQUENCE_MAX)]
    awards = [AwardRow(text, text, text, text, text, number, SEQUENCE_MAX, 0)]
    streaks = [StreakRow(text, text, text, number, number, number, text)]
    attributes = [AttributeRow(text, "object", text, text, text)]
    results = [ResultRow(text, text, text, MAGNITUDE_MAX, 1, text, text, MAGNITUDE_MAX)]
    programs = [ProgramRow(text, MAGNITUDE_MAX, SEQUENCE_MAX, text, text, 1, MAGNITUDE_MAX, text)]
    periods = [PeriodRow(text, text, number, SEQUENCE_MAX)]

    await settled(
        book,
        await claimed(book),
        tallies=tallies,
        awards=awards,
        streaks=streaks,
        attributes=attributes,
        results=results,
        late=[LateRow(text, text, text, text, SEQUENCE_MAX)],
        programs=programs,
        periods=periods,
    )

    cells = await book.load(text, [text], [text])
    start = await book.start(0)
    assert (cells.tallies, cells.awards, cells.streaks, cells.attributes) == (tallies, awards, streaks, attributes)
    assert await everything(book.tallies(text, text, text)) == tallies
    assert await everything(book.awards(text)) == awards
    assert await book.holdings(text, text) == awards
    assert await book.results(text, text, text, after=0, rows=2) == results
    assert await book.results_of(text, text, text, [text, "x"]) == results
    assert await book.late(text, text, [text], subjects=[text], rows=2) == tallies
    assert (start.programs, start.periods) == (programs, periods)


async def test_a_later_settlement_replaces_values(book):
    before = await settled(
        book,
        await claimed(book),
        tallies=[tally("ada", 5, reached=1), tally("bob", 6)],
        awards=[award("ada", sequence=3)],
        streaks=[StreakRow(T, "writing", "ada", 1, 2, 3, "[]")],
        attributes=[AttributeRow(T, "user", "country", "ada", '"FR"')],
        results=[ResultRow(T, "writers", "day:1", 1, 1, "ada", "[3]", 1)],
    )

    await settled(
        book,
        before,
        tallies=[tally("ada", -5, reached=2)],
        awards=[award("ada", sequence=9, holder="zoe", revoked=1)],
        streaks=[StreakRow(T, "writing", "ada", 0, 2, 4, "[1]")],
        attributes=[AttributeRow(T, "user", "country", "ada", '"DE"')],
        results=[ResultRow(T, "writers", "day:1", 1, 2, "bob", "[4]", 1)],
    )

    cells = await book.load(T, ["ada", "bob"], ["all"])
    assert sorted(cells.tallies) == [tally("ada", -5, reached=2), tally("bob", 6)]
    assert cells.awards == [award("ada", sequence=9, holder="zoe", revoked=1)]
    assert cells.streaks == [StreakRow(T, "writing", "ada", 0, 2, 4, "[1]")]
    assert cells.attributes == [AttributeRow(T, "user", "country", "ada", '"DE"')]
    assert await book.results(T, "writers", "day:1", after=0, rows=9) == [
        ResultRow(T, "writers", "day:1", 1, 2, "bob", "[4]", 1)
    ]


async def test_the_order_of_rows_in_a_settlement_does_not_matter(book):
    subjects = [f"user-{number * 7919 % 25_013:05}" for number in range(25_013)]  # several chunks, shuffled

    before = await claimed(book)
    written = await book.settle(
        Settlement(before=before, after=moved(before), tallies=[tally(s, len(s)) for s in subjects])
    )

    assert written.rows == 25_014
    assert await everything(book.tallies(T, "points", "all")) == [tally(s, len(s)) for s in sorted(subjects)]


# Reading


async def test_load_gives_the_asked_periods_and_subjects_only(book):
    await settled(
        book,
        await claimed(book),
        tallies=[
            tally("ada"),
            tally("ada", 2, period="day:1"),
            tally("ada", 3, period="day:2"),
            tally("ada", 4, metric="points.cap"),
            tally("bob"),
            TallyRow("other", "points", "all", "ada", 1, 1),
        ],
        awards=[award("ada"), award("post-1", holder="ada"), award("bob"), award("ada", badge="x", revoked=1)],
        attributes=[AttributeRow(T, "user", "k", "ada", "1"), AttributeRow(T, "object", "k", "ada", "2")],
    )

    cells = await book.load(T, ["ada", "ada", "nobody"], ["all", "day:2", "day:9"])

    assert sorted(cells.tallies) == [
        tally("ada"),
        tally("ada", 3, period="day:2"),
        tally("ada", 4, metric="points.cap"),
    ]
    assert sorted(cells.awards) == [award("ada"), award("ada", badge="x", revoked=1)]
    assert len(cells.attributes) == 2
    assert cells.streaks == []


async def test_loading_nobody_gives_nothing(book):
    await settled(book, await claimed(book), tallies=[tally("ada")])

    cells = await book.load(T, [], ["all"])

    assert (cells.tallies, cells.awards, cells.streaks, cells.attributes) == ([], [], [], [])


async def test_thousands_of_subjects_are_loaded_at_once(book):
    subjects = [f"user-{number}" for number in range(5_001)]
    await settled(book, await claimed(book), tallies=[tally(s) for s in subjects], awards=[award(s) for s in subjects])

    cells = await book.load(T, subjects, {"all"})

    assert {row.subject for row in cells.tallies} == set(subjects)
    assert len(cells.tallies) == len(cells.awards) == 5_001


async def test_tallies_of_one_metric_and_period_come_by_subject_in_batches(book):
    wanted = [tally(f"user-{number:05}", number) for number in range(9_001)]
    noise = [tally("user-00001", metric="views"), tally("user-00001", period="day:1")]
    await settled(book, await claimed(book), tallies=[*noise, *reversed(wanted)])

    batches = [batch async for batch in book.tallies(T, "points", "all")]

    assert [row for batch in batches for row in batch] == wanted
    assert len(batches) > 1


async def test_awards_come_by_sequence_and_without_revoked_ones(book):
    many = [award(f"user-{number % 3_001}", badge=f"b{number}", sequence=number // 3) for number in range(9_003)]
    await settled(book, await claimed(book), awards=[*reversed(many), award("zoe", sequence=5, revoked=1)])

    listed = await everything(book.awards(T))

    assert [row.sequence for row in listed] == [row.sequence for row in many]
    assert sorted(listed) == sorted(many)


async def test_a_holder_has_what_was_not_taken_back_oldest_first(book):
    late, early = award("ada", sequence=9), award("post-9", holder="ada", sequence=2)
    gone, his = award("ada", badge="gone", sequence=1, revoked=1), award("ada", badge="his", holder="bob")
    await settled(book, await claimed(book), awards=[late, early, gone, his])

    assert await book.holdings(T, "ada") == [early, late]
    assert await book.holdings(T, "nobody") == []


async def test_final_standings_are_read_by_place_by_subject_and_counted(book):
    lines = [ResultRow(T, "writers", "day:1", n, n, f"u{n}", "[1]", n) for n in range(1, 9_002)]
    other = ResultRow(T, "writers", "day:2", 1, 1, "zoe", "[2]", 1)
    await settled(book, await claimed(book), results=[other, *reversed(lines)])

    assert await book.results(T, "writers", "day:1", after=0, rows=10_000) == lines
    assert await book.results(T, "writers", "day:1", after=8_998, rows=2) == lines[8_998:9_000]
    assert await book.results(T, "writers", "day:1", after=9_001, rows=2) == []
    assert await book.results_of(T, "writers", "day:1", ["u9000", "zoe", "u7", "u9000"]) == [lines[6], lines[8_999]]
    assert await book.results_of(T, "writers", "day:2", ["u7"]) == []
    counts = [await book.results_count(T, "writers", period) for period in ("day:1", "day:2", "day:3")]
    assert counts == [9_001, 1, 0]


async def test_what_changed_late_comes_with_all_asked_metrics_of_its_subjects(book):
    day = {"period": "day:1"}
    ada, bob, cat = (tally(name, 3, reached=9, **day) for name in ("ada", "bob", "cat"))
    goals = tally("ada", 5, metric="goals", **day)
    before = await settled(
        book,
        await claimed(book),
        tallies=[ada, bob, cat, goals, tally("ada", 9, metric="other", **day), tally("dan"), tally("ada")],
        late=[
            LateRow(T, "day:1", "points", "cat", 9),
            LateRow(T, "day:1", "points", "ada", 9),
            LateRow(T, "day:1", "goals", "ada", 9),
            LateRow(T, "all", "points", "dan", 9),
        ],
    )
    await settled(book, before, late=[LateRow(T, "day:1", "points", "ada", 12)])

    async def late(metrics, subjects=None, rows=9):
        return await book.late(T, "day:1", metrics, subjects=subjects, rows=rows)

    assert await late(["points", "goals"]) == [goals, ada, cat]
    assert await late(["points", "goals"], rows=1) == [goals, ada]
    assert await late(["points"], ["bob", "cat"]) == [cat]
    assert await late(["points"], []) == []
    assert await late(["other"]) == []


async def test_reads_do_not_wait_for_a_settlement(book):
    """Given a settlement of 200,000 rows under way, when somebody reads, then the read ends before the settlement."""
    before = await settled(book, await claimed(book), tallies=[tally("ada", 1)])
    many = [tally("ada", 2), *(tally(f"user-{number}", number) for number in range(200_000))]

    async with asyncio.TaskGroup() as group:
        settling = group.create_task(settled(book, before, tallies=many))
        await asyncio.sleep(0)
        cells = await book.load(T, ["ada"], ["all"])
        assert not settling.done()

    assert cells.tallies == [tally("ada", 1)]
    assert (await book.load(T, ["ada"], ["all"])).tallies == [tally("ada", 2)]
    assert len(await everything(book.tallies(T, "points", "all"))) == 200_001


# Starting


async def test_a_start_finds_the_programs_of_its_partition_oldest_first(book):
    one, two = ProgramRow(T, 1, 5, "a = 1", "2025a", 1), ProgramRow(T, 2, 9, "a = 2", "2025b", 1)
    await settled(book, await claimed(book, 0), programs=[two, one])
    await settled(book, await claimed(book, 1), programs=[ProgramRow("elsewhere", 1, 1, "", "2025a", 1)])

    assert (await book.start(0)).programs == [one, two]


async def test_a_period_keeps_when_it_was_first_seen_and_closes_once(book):
    other = PeriodRow("elsewhere", "day:1", 1, 0)
    await settled(book, await claimed(book, 1), periods=[other])
    before = await settled(book, await claimed(book, 0), periods=[PeriodRow(T, "day:1", 50, 0)])
    for late in (PeriodRow(T, "day:1", 60, 0), PeriodRow(T, "day:1", 70, 700), PeriodRow(T, "day:1", 80, 0)):
        before = await settled(book, before, periods=[late])
    before = await settled(book, before, periods=[PeriodRow(T, "day:1", 90, 900)])

    assert (await book.start(0)).periods == [PeriodRow(T, "day:1", 50, 700)]
    assert (await book.start(1)).periods == [other]


async def test_runs_of_the_repeat_index_come_back_until_they_expire(book):
    kept = [run(1, 0, expires_us=31), run(1, 1, expires_us=40, data=bytes(range(256))), run(2, 0, expires_us=31)]
    other = await settled(book, await claimed(book, 1), repeats=[run(9, expires_us=25)])
    before = await settled(book, await claimed(book, 0), log_time_us=20, repeats=[kept[2], run(0, 0, expires_us=30)])

    await settled(book, before, log_time_us=30, repeats=[kept[1], kept[0], run(3, 0, expires_us=30)])
    await settled(book, other, log_time_us=24)  # its own log time counts, not the other partition's

    assert [r async for r in (await book.start(0)).repeats] == kept
    assert [r async for r in (await book.start(1)).repeats] == [run(9, expires_us=25)]


async def test_what_retractions_need_comes_back_until_it_is_over(book):
    kept = [AppliedRow(T, "e1", "applied", 31, '[5,"ada"]'), AppliedRow(T, "e2", "awaited", 40, "")]
    over = AppliedRow(T, "e0", "awaited", 30, "")
    other = await settled(book, await claimed(book, 1), applied=[AppliedRow("u", "e1", "awaited", 25, "")])
    before = await settled(book, await claimed(book, 0), log_time_us=20, applied=[kept[0]._replace(until_us=2), over])

    await settled(book, before, log_time_us=30, applied=kept)
    await settled(book, other, log_time_us=24)  # its own log time counts, not the other partition's

    assert sorted(await book.applied(T, ["e2", "e1", "e0", "e9"])) == kept
    assert (await book.start(0)).awaited == [kept[1]]
    assert (await book.start(1)).awaited == [AppliedRow("u", "e1", "awaited", 25, "")]


async def test_the_archive_comes_oldest_first(books):
    book = await books.open()
    await settled(book, await claimed(book, 0), segments=[segment(0, 11), segment(0, 1), segment(0, 200)])
    await settled(book, await claimed(book, 1), segments=[segment(1, 5)])
    await book.close()

    book = await books.open()

    assert [s async for s in book.segments(0)] == [segment(0, 1), segment(0, 11), segment(0, 200)]
    assert [s async for s in book.segments(7)] == []


async def test_a_closed_book_says_so_and_may_be_closed_again(book):
    before = await claimed(book)
    await book.close()
    await book.close()

    with pytest.raises(Unavailable):
        await book.load(T, ["ada"], ["all"])
    with pytest.raises(Unavailable):
        await settled(book, before)
