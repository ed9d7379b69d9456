"""The repeat index: what it remembers, for how long, and that nothing but the log decides it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accrue.book.base import RepeatRun
from accrue.errors import Corrupt, Misconfigured
from accrue.process.repeats import RepeatIndex, keys
from accrue.process.repeats.filter import Filter, Indexes, Probe
from accrue.process.repeats.index import FOREVER_US, Sizes

HOUR_US = 3_600_000_000
SMALL = Sizes(head_entries_max=5, merged_entries_max=40, shelf_entries_min=16, few_keys=2, parts=4)
ROOMY = 1_000_000


class AlwaysMaybe(Filter):
    """The worst filter there can be that is still correct."""

    def maybe(self, keys: Probe) -> Indexes:
        return np.arange(keys.high.size)

    def maybe_one(self, place: int, first_bits: int, low: int) -> bool:
        return True


def index(
    *,
    window_us: int | None = 4 * HOUR_US,
    size_bytes_max: int = ROOMY,
    sizes: Sizes = SMALL,
    new_filter: Callable[[int], Filter] = Filter,
) -> RepeatIndex:
    return RepeatIndex(
        "events",
        window_us=window_us,
        bucket_us=HOUR_US,
        size_bytes_max=size_bytes_max,
        sizes=sizes,
        new_filter=new_filter,
    )


def crafted(number: int) -> bytes:
    """Keys of which eight at a time share their first half, and all that are alike mod 8 their last."""
    return (number // 8 * 0x9E37_79B9_7F4A_7C15 % 2**64).to_bytes(8, "little") + (number % 8).to_bytes(8, "little")


def filled(target: RepeatIndex, numbers: Sequence[int]) -> RepeatIndex:
    target.add_many([crafted(number) for number in numbers], [number % 97 for number in numbers])
    return target


def restarted(rows: Sequence[RepeatRun], log_time_us: int, **options: object) -> RepeatIndex:
    other = index(**options)  # type: ignore[arg-type]
    for row in rows:
        other.load(row)
    other.advance(log_time_us)
    return other


def digest(target: RepeatIndex) -> bytes:
    return b"".join(target.digest_entries())


class NaiveIndex:
    """The promise in plain words: parts in a list, each with its keys."""

    def __init__(self, window_us: int | None, entries_max: int, part_entries_max: int) -> None:
        self.window_us = window_us
        self.entries_max = entries_max
        self.part_entries_max = part_entries_max
        self.log_time_us = 0
        self.parts: list[tuple[int, dict[bytes, int]]] = []

    def add(self, key: bytes, fingerprint: int) -> None:
        start_us = self.log_time_us // HOUR_US * HOUR_US
        if not self.parts or self.parts[-1][0] != start_us or len(self.parts[-1][1]) == self.part_entries_max:
            self.parts.append((start_us, {}))
        self.parts[-1][1][key] = fingerprint

    def advance(self, log_time_us: int) -> None:
        self.log_time_us = log_time_us
        if self.window_us is not None:
            oldest_us = log_time_us - self.window_us
            self.parts = [(start, held) for start, held in self.parts if start + HOUR_US > oldest_us]
        while sum(len(held) for _, held in self.parts) > self.entries_max:
            del self.parts[0]

    def look_up(self, key: bytes) -> int | None:
        return next((held[key] for _, held in self.parts if key in held), None)


ADVANCE = st.tuples(st.just("advance"), st.sampled_from([0, 1, HOUR_US // 2, HOUR_US - 1, HOUR_US, 2 * HOUR_US]))
ADD = st.tuples(st.just("add"), st.integers(1, 30))
LOOK_UP = st.tuples(st.just("look up"), st.integers(1, 12))
FREEZE = st.tuples(st.just("freeze"), st.just(0))
RESTART = st.tuples(st.just("restart"), st.just(0))


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.one_of(ADD, ADD, ADVANCE, LOOK_UP, FREEZE, RESTART), max_size=40),
    entries_max=st.sampled_from([12, 60, 50_000]),
    window_us=st.sampled_from([None, 3 * HOUR_US, HOUR_US // 2]),
    new_filter=st.sampled_from([Filter, AlwaysMaybe]),
    seed=st.integers(0, 1_000),
)
def test_any_course_of_events_answers_like_the_naive_index(
    steps: list[tuple[str, int]],
    entries_max: int,
    window_us: int | None,
    new_filter: type[Filter],
    seed: int,
) -> None:
    chance = random.Random(seed)
    options = {"window_us": window_us, "size_bytes_max": entries_max * 20, "new_filter": new_filter}
    real = index(**options)  # type: ignore[arg-type]
    undisturbed = index(**options)  # type: ignore[arg-type]
    naive = NaiveIndex(window_us, entries_max, entries_max // SMALL.parts)
    pool = [crafted(number) for number in range(400)]
    chance.shuffle(pool)
    used, book, log_time_us = 0, [], 0
    for step, amount in steps:
        if step == "add":
            new = pool[used : used + amount]
            used += len(new)
            values = [chance.randrange(2**32) for _ in new]
            real.add_many(new, values)
            for key, value in zip(new, values, strict=True):
                undisturbed.add(key, value)
                naive.add(key, value)
        elif step == "advance":
            log_time_us += amount
            for each in (real, undisturbed, naive):
                each.advance(log_time_us)
        elif step == "look up":
            asked = chance.sample(pool, amount)
            assert real.look_up(asked) == [naive.look_up(key) for key in asked]
            assert [real.seen(key) for key in asked] == [naive.look_up(key) is not None for key in asked]
        else:
            book += real.freeze()
            book = [row for row in book if row.expires_us > log_time_us]
            if step == "restart":
                chance.shuffle(book)
                real = restarted(book, log_time_us, **options)
                # A start evicts what the next record would; the others get there with it.
                undisturbed.advance(log_time_us)
                naive.advance(log_time_us)
    assert digest(real) == digest(undisturbed)
    real.advance(log_time_us)
    naive.advance(log_time_us)
    assert real.look_up(pool) == [naive.look_up(key) for key in pool]
    undisturbed.advance(log_time_us)
    assert real.effective_window_us == undisturbed.effective_window_us


def test_a_new_id_a_repeat_and_a_conflict_are_told_apart() -> None:
    remembered = index()
    ada, bob = keys("community", ["ada-1", "bob-1"])
    remembered.add(ada, 7)
    assert remembered.look_up([ada, bob]) == [7, None]
    assert remembered.look_up([ada]) != [8]
    assert (remembered.seen(ada), remembered.seen(bob)) == (True, False)


def test_looking_up_adds_nothing() -> None:
    remembered = index()
    remembered.look_up([crafted(1)] * 10)
    assert remembered.entries == 0
    assert remembered.freeze() == []


@pytest.mark.parametrize("frozen", [False, True])
def test_keys_that_share_a_half_are_different_keys(frozen: bool) -> None:
    remembered = filled(index(sizes=Sizes()), range(0, 800, 2))
    if frozen:
        remembered.freeze()
    answers = remembered.look_up([crafted(number) for number in range(808)])
    assert answers == [number % 97 if number % 2 == 0 and number < 800 else None for number in range(808)]
    assert [remembered.seen(crafted(number)) for number in range(8)] == [True, False] * 4


def test_a_key_added_twice_is_noticed() -> None:
    with pytest.raises(ValueError, match="twice"):
        index().add_many([crafted(1), crafted(1)], [1, 2])


def test_every_key_needs_a_fingerprint() -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        index().add_many([crafted(1), crafted(2)], [1])


def test_an_id_is_remembered_for_the_whole_window_and_its_bucket_goes_at_once() -> None:
    remembered = index(window_us=4 * HOUR_US)
    remembered.advance(HOUR_US)
    filled(remembered, range(10))
    remembered.advance(2 * HOUR_US - 1)
    filled(remembered, range(10, 22))
    asked = [crafted(number) for number in range(22)]
    remembered.advance(6 * HOUR_US - 1)  # the last of them is exactly one window old
    assert None not in remembered.look_up(asked)
    remembered.advance(6 * HOUR_US)
    assert remembered.look_up(asked) == [None] * 22
    assert (remembered.entries, remembered.size_bytes, remembered.evicted_early) == (0, 0, 0)
    assert remembered.effective_window_us == 4 * HOUR_US


def test_a_run_expires_in_the_book_when_it_is_forgotten_in_memory() -> None:
    remembered = index(window_us=4 * HOUR_US)
    remembered.advance(HOUR_US + 5)
    [row] = filled(remembered, range(3)).freeze()
    assert (row.index, row.bucket, row.entries, row.expires_us) == ("events", HOUR_US, 3, 6 * HOUR_US)
    [row] = filled(index(window_us=None), range(3)).freeze()
    assert row.expires_us == FOREVER_US


def test_without_a_window_nothing_is_ever_forgotten() -> None:
    remembered = filled(index(window_us=None), range(20))
    remembered.advance(100 * 365 * 24 * HOUR_US)
    assert None not in remembered.look_up([crafted(number) for number in range(20)])
    assert remembered.effective_window_us is None


def test_log_time_that_runs_back_changes_nothing() -> None:
    remembered = index()
    remembered.advance(9 * HOUR_US)
    remembered.advance(HOUR_US)
    [row] = filled(remembered, range(3)).freeze()
    assert row.bucket == 9 * HOUR_US


def test_past_the_size_limit_the_oldest_part_goes_early_and_the_window_says_so() -> None:
    remembered = index(window_us=24 * HOUR_US, size_bytes_max=40 * 20)  # 40 entries in parts of 10
    for hour in range(4):
        remembered.advance(hour * HOUR_US)
        filled(remembered, range(10 * hour, 10 * hour + 10))
    remembered.advance(4 * HOUR_US)
    assert (remembered.entries, remembered.evicted_early) == (40, 0)
    assert remembered.effective_window_us == 24 * HOUR_US
    filled(remembered, [40])
    assert remembered.seen(crafted(0)), "nothing is forgotten inside a record"
    remembered.advance(4 * HOUR_US + 7)
    assert [remembered.seen(crafted(number)) for number in (0, 9, 10, 40)] == [False, False, True, True]
    assert (remembered.entries, remembered.evicted_early) == (31, 10)
    assert remembered.effective_window_us == 4 * HOUR_US + 7  # the last one that went was added at 0
    remembered.advance(25 * HOUR_US)
    assert remembered.effective_window_us == 24 * HOUR_US


def test_a_bucket_larger_than_the_limit_goes_in_pieces() -> None:
    remembered = filled(index(window_us=None, size_bytes_max=40 * 20), range(75))
    remembered.advance(1)
    assert [number for number in range(75) if remembered.seen(crafted(number))] == list(range(40, 75))


def test_what_went_before_it_was_ever_written_does_not_half_come_back() -> None:
    remembered = index(window_us=None, size_bytes_max=40 * 20)
    book = filled(remembered, range(5)).freeze()
    filled(remembered, range(5, 45))  # numbers 5-9 complete the first part, which now goes unwritten
    remembered.advance(1)
    book += remembered.freeze()
    again = restarted(book, 1, window_us=None, size_bytes_max=40 * 20)
    assert not remembered.seen(crafted(0))
    assert not again.seen(crafted(0))
    assert digest(again) == digest(remembered)
    assert again.effective_window_us == remembered.effective_window_us == 1
    assert [row.entries for row in remembered.freeze()] == []


def test_the_digest_does_not_depend_on_whether_the_next_record_has_come_to_evict() -> None:
    options = {"window_us": None, "size_bytes_max": 40 * 20}
    remembered = filled(index(**options), range(45))  # type: ignore[arg-type]
    again = restarted(remembered.freeze(), 0, **options)
    assert (remembered.entries, again.entries) == (45, 35)
    assert digest(again) == digest(remembered)
    remembered.advance(0)
    assert digest(again) == digest(remembered)


def test_freezing_hands_out_each_entry_once_and_merging_keeps_the_rows_valid() -> None:
    remembered, book = index(), []
    for start in range(0, 300, 3):
        book += filled(remembered, range(start, start + 3)).freeze()
    assert sum(row.entries for row in book) == remembered.entries == 300
    assert len({(row.bucket, row.run) for row in book}) == len(book)
    again = restarted(book, 0)
    assert again.look_up([crafted(number) for number in range(300)]) == [number % 97 for number in range(300)]
    assert digest(again) == digest(remembered)
    assert again.freeze() == []


def test_runs_made_after_a_start_have_new_numbers() -> None:
    book = filled(index(), range(7)).freeze()
    again = restarted(book, 0)
    book += filled(again, range(7, 14)).freeze()
    assert len({(row.bucket, row.run) for row in book}) == len(book)


def test_a_start_goes_on_at_the_log_time_of_what_it_loaded() -> None:
    before = index()
    before.advance(9 * HOUR_US + 5)
    after = index()
    after.load(*filled(before, range(3)).freeze())
    [row] = filled(after, range(3, 6)).freeze()
    assert (row.bucket, row.expires_us) == (9 * HOUR_US, 14 * HOUR_US)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("entries_max", [40, 36])
def test_a_part_read_back_in_any_order_is_as_old_as_its_last_entry(order: int, entries_max: int) -> None:
    # Given a first part written in two runs, and so many more that it goes: later (40) or at the start (36)
    options = {"window_us": None, "size_bytes_max": entries_max * 20}
    remembered, book, part = index(**options), [], entries_max // SMALL.parts  # type: ignore[arg-type]
    for log_time_us, numbers in ((5, range(4)), (9, range(4, part)), (20, range(part, 40))):
        remembered.advance(log_time_us)
        book += filled(remembered, numbers).freeze()
    again = restarted(book[::order], 20, **options)
    for each in (remembered, again):
        filled(each, range(40, 45)).advance(30)
    assert again.effective_window_us == remembered.effective_window_us == 21
    assert digest(again) == digest(remembered)


def test_a_part_that_goes_while_it_is_read_back_is_as_old_as_its_last_entry() -> None:
    options = {"window_us": None, "size_bytes_max": 36 * 20}
    remembered, book = index(**options), []  # type: ignore[arg-type]
    for log_time_us, numbers in ((5, range(4)), (9, range(4, 9)), (20, range(9, 45))):
        remembered.advance(log_time_us)
        book += filled(remembered, numbers).freeze()
    remembered.advance(30)
    again = restarted(book[2:] + book[:2], 30, **options)  # the last entry of the first part comes last
    assert again.effective_window_us == remembered.effective_window_us == 21
    assert again.evicted_early == remembered.evicted_early == 9


def test_entries_still_in_the_head_go_with_their_own_bucket() -> None:
    remembered = filled(index(window_us=4 * HOUR_US), range(3))
    remembered.advance(HOUR_US)
    filled(remembered, [3])
    remembered.advance(5 * HOUR_US)
    assert remembered.look_up([crafted(number) for number in range(4)]) == [None, None, None, 3]


def test_reading_back_never_holds_more_than_the_limit() -> None:
    book = filled(index(window_us=None), range(200)).freeze()
    again = index(window_us=None, size_bytes_max=40 * 20)
    for row in book:
        again.load(row)
        assert again.entries <= 40


def test_no_merge_makes_more_than_it_may() -> None:
    remembered = filled(index(), range(399))
    remembered.freeze()
    sizes = [run.entries for shelf in remembered._shelves for run in shelf.runs]
    assert SMALL.head_entries_max < max(sizes) <= SMALL.merged_entries_max


def test_small_runs_are_merged_so_that_few_are_searched() -> None:
    remembered = index(sizes=Sizes())
    for start in range(0, 3_000, 3):
        filled(remembered, range(start, start + 3)).freeze()
    assert remembered.size_bytes < 3_000 * 24 + 400_000  # 1,000 runs would add a megabyte
    assert sum(len(shelf.runs) for shelf in remembered._shelves) < 40


def test_the_digest_tells_two_states_apart() -> None:
    one, other = filled(index(), range(20)), filled(index(), range(19))
    assert digest(one) != digest(other)
    other.add(crafted(19), 5)
    assert digest(one) != digest(other), "same keys, other fingerprint"
    assert digest(one) == digest(filled(index(), range(19, -1, -1)))


def test_shorter_or_longer_buckets_after_a_start_lose_nothing() -> None:
    before = index(window_us=24 * HOUR_US)
    before.advance(30 * HOUR_US)
    book = filled(before, range(20)).freeze()
    for bucket_us in (HOUR_US // 4, 24 * HOUR_US):
        after = RepeatIndex("events", window_us=24 * HOUR_US, bucket_us=bucket_us, size_bytes_max=ROOMY)
        for row in book:
            after.load(row)
        after.advance(30 * HOUR_US + HOUR_US // 2)
        filled(after, range(20, 40))
        rows = after.freeze()
        assert all(row.bucket >= 30 * HOUR_US for row in rows)
        after.advance(54 * HOUR_US)
        assert None not in after.look_up([crafted(number) for number in range(40)])


def test_a_row_of_another_index_or_bucket_is_refused() -> None:
    [row] = filled(index(), range(3)).freeze()
    for wrong in (row._replace(index="views"), row._replace(bucket=1), row._replace(entries=4)):
        with pytest.raises(Corrupt, match="not what its row says"):
            index().load(wrong)


@pytest.mark.parametrize("wrong", [{"window_us": 0}, {"bucket_us": 0}, {"size_bytes_max": 19}])
def test_sizes_of_nothing_are_refused(wrong: dict[str, int]) -> None:
    sizes = {"window_us": 1, "bucket_us": 1, "size_bytes_max": 20} | wrong
    with pytest.raises(Misconfigured, match="'events'"):
        RepeatIndex("events", **sizes)  # type: ignore[arg-type]


def test_a_million_ids_take_at_most_24_bytes_each() -> None:
    remembered = index(window_us=24 * HOUR_US, size_bytes_max=1 << 30, sizes=Sizes())
    chance = np.random.default_rng(1)
    for hour in range(20):
        remembered.advance(hour * HOUR_US)
        for _ in range(50):
            data = chance.bytes(16_000)
            remembered.add_many([data[at : at + 16] for at in range(0, 16_000, 16)], range(1_000))
    assert remembered.entries == 1_000_000
    assert remembered.size_bytes / remembered.entries <= 24
    rows = remembered.freeze()
    assert sum(len(row.data) for row in rows) / 1_000_000 <= 20.1
    again = restarted(rows, 19 * HOUR_US, window_us=24 * HOUR_US, size_bytes_max=1 << 30, sizes=Sizes())
    assert again.size_bytes / again.entries <= 24
