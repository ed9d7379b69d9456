"""What every book promises about names and numbers at their limits."""

import random

import pytest

from accrue.book.base import (
    AppliedRow,
    AttributeRow,
    AwardRow,
    ConflictRow,
    LateRow,
    PeriodRow,
    ResultRow,
    Settlement,
    TallyRow,
)
from accrue.core.event import ID_CHARACTERS_MAX, SUBJECT_CHARACTERS_MAX
from accrue.core.period import PERIOD_CHARACTERS_MAX
from accrue.errors import Corrupt
from contract.books import SEQUENCE_MAX, T, claimed, failed, moved, settled

NAME_CHARACTERS_MAX = 64
MAGNITUDE_MAX = 2**53 - 1
NAMES = ["", " ", "B", "Z", "Zoë", "_", "a", "ab", "a b", "z", "~", "\x7f", "\x80", "Ä", "é", "ﬀ", "漢", "\uffff", "🏆"]
BY_BYTES = sorted(NAMES, key=str.encode)


async def everything(batches) -> list:
    return [row for batch in [batch async for batch in batches] for row in batch]


async def test_names_come_in_the_order_of_their_bytes(book):
    """Whatever the language of the machine: boards, snapshots and pages rely on one order everywhere."""
    names = [name for name in BY_BYTES if name]
    shuffled = random.Random(1).sample(names, len(names))
    tallies = [TallyRow(T, "points", "day:1", name, 1, 1) for name in shuffled]
    awards = [AwardRow(T, name, "", "ada", "ada", 1, 1, 0) for name in shuffled]
    periods = [PeriodRow(name, name, 0, 0) for name in shuffled]
    late = [LateRow(T, "day:1", "points", name, 1) for name in shuffled]

    before = await claimed(book)
    await settled(book, before, tallies=tallies, awards=awards, periods=periods, late=late)

    assert [row.subject for row in await everything(book.tallies(T, "points", "day:1"))] == names
    assert [row.badge for row in await everything(book.awards(T))] == names
    assert [row.badge for row in await book.holdings(T, "ada")] == names
    assert [row.tenant for row in (await book.start(0)).periods] == names
    changed = await book.late(T, "day:1", ["points"], subjects=None, rows=5)
    assert [row.subject for row in changed] == names[:5]


async def test_names_as_long_as_they_may_be_fit_into_every_key(book):
    """No two characters alike, and four bytes each: nothing that a database could make shorter."""
    letters = [chr(0x20000 + n) for n in random.Random(2).sample(range(40_000), 400)]
    name, subject = "".join(letters[:NAME_CHARACTERS_MAX]), "".join(letters[:SUBJECT_CHARACTERS_MAX])
    period, event_id = "".join(letters[:PERIOD_CHARACTERS_MAX]), "".join(letters[:ID_CHARACTERS_MAX])
    tallies = [TallyRow(name, name, period, subject, MAGNITUDE_MAX, SEQUENCE_MAX)]
    awards = [AwardRow(name, name, name, subject, subject, 1, 1, 0)]
    attributes = [AttributeRow(name, "object", name, subject, "1")]
    applied = [AppliedRow(name, event_id, "awaited", 2**60, "")]
    results = [ResultRow(name, name, period, 1, 1, subject, "[1]", 1)]

    await settled(
        book,
        await claimed(book),
        tallies=tallies,
        awards=awards,
        attributes=attributes,
        applied=applied,
        results=results,
        late=[LateRow(name, period, name, subject, 1)],
        periods=[PeriodRow(name, period, 1, 1)],
    )

    cells = await book.load(name, [subject], [period])
    assert (cells.tallies, cells.awards, cells.attributes) == (tallies, awards, attributes)
    assert await book.applied(name, [event_id]) == (await book.start(0)).awaited == applied
    assert await book.results_of(name, name, period, [subject]) == results
    assert await book.late(name, period, [name], subjects=None, rows=1) == tallies


@pytest.mark.parametrize("value", [MAGNITUDE_MAX, -MAGNITUDE_MAX, MAGNITUDE_MAX + 1, 2**63 - 1, -(2**63)])
async def test_whole_numbers_come_back_to_the_last_digit(book, value):
    tallies = [TallyRow(T, "points", "all", "ada", value, SEQUENCE_MAX)]
    awards = [AwardRow(T, "b", "", "ada", "ada", value, SEQUENCE_MAX, 0)]
    conflicts = [ConflictRow(T, SEQUENCE_MAX - n, "e", "{}") for n in (1, 0)]

    await settled(book, await claimed(book), tallies=tallies, awards=awards, conflicts=conflicts)

    assert (await book.load(T, ["ada"], ["all"])).tallies == tallies
    assert await everything(book.awards(T)) == awards
    assert await book.conflicts(T, after=SEQUENCE_MAX - 2, rows=9) == conflicts
    assert await book.conflicts(T, after=SEQUENCE_MAX - 1, rows=9) == conflicts[1:]


@pytest.mark.parametrize("value", [2**63, "many"])
async def test_a_value_that_is_no_such_number_is_refused_with_all_that_came_with_it(book, value):
    before = await claimed(book)
    good, bad = TallyRow(T, "points", "all", "ada", 1, 1), TallyRow(T, "points", "all", "bob", value, 1)

    with pytest.raises(Corrupt):
        await settled(book, before, tallies=[good, bad])

    assert (await book.load(T, ["ada", "bob"], ["all"])).tallies == []
    assert (await book.settle(Settlement(before=before, after=moved(before), tallies=[good]))).rows == 2


async def test_a_name_with_the_character_zero_is_one_that_nothing_has(book):
    """No event may hold it, because no database stores it; who asks for it gets an answer all the same."""
    await settled(book, await claimed(book), tallies=[TallyRow(T, "points", "all", "ada", 1, 1)], failed=[failed(1)])

    cells = await book.load(T, ["a\0b", "ada"], ["all", "\0"])
    assert [row.subject for row in cells.tallies] == ["ada"]
    assert (await book.load("\0", ["ada"], ["all"])).tallies == []
    assert await book.holdings(T, "a\0b") == []
    assert await book.applied(T, ["a\0b"]) == []
    assert await everything(book.tallies(T, "\0", "all")) == []
    assert await book.results(T, "\0", "all", after=0, rows=2) == []
    assert await book.results_count(T, "\0", "all") == 0
    assert await book.results_of(T, "b", "all", ["\0"]) == []
    assert await book.late(T, "all", ["\0", "points"], subjects=["\0"], rows=2) == []
    assert await book.failed(T, after=0, rows=2, type="\0") == []
    assert await book.programs("\0") == []


async def test_text_that_escapes_the_character_zero_is_only_text(book):
    odd = failed(1)._replace(body='{"data":{"text":"a\\u0000b"}}')
    attributes = [AttributeRow(T, "user", "k", "ada", '"\\u0000"')]

    await settled(book, await claimed(book), failed=[odd], attributes=attributes)

    assert await book.failed(T, after=0, rows=2) == [odd]
    assert (await book.load(T, ["ada"], [])).attributes == attributes
