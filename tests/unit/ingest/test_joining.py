"""Joining records: nothing but the log time changes, and the limits hold."""

from __future__ import annotations

from random import Random

import pytest

from accrue.core.event import Stamp
from accrue.core.record import FORMAT, Batch, Record, decode, encode
from accrue.errors import Corrupt
from accrue.ingest.joining import SAME_US, JoinLimits, joined

MINUTE_US = 28_571_428 * SAME_US
"""A whole minute."""
LIMITS = {"records_max": 1_000, "events_max": 20_000, "size_bytes_max": 1 << 20, "oldest_us": 0}


def limits(**other: int) -> JoinLimits:
    return JoinLimits(**{**LIMITS, **other})


def spooled(*log_times_us: int, events: int = 1) -> list[bytes]:
    return [
        encode(Record(FORMAT, time_us, [Batch("a", b"\n".join([b"{}"] * events), [7] * events, {})]))
        for time_us in log_times_us
    ]


def test_events_stay_as_they_were_accepted_and_get_the_last_log_time() -> None:
    records = [
        Record(
            FORMAT, MINUTE_US + 1, [Batch("a", b"1\n2", [10, 20], {1: Stamp(crawler=True)}), Batch("b", b"3", [5], {})]
        ),
        Record(FORMAT, MINUTE_US + 2, [Batch("b", b"4", [4], {0: Stamp(clamped=True)}), Batch("a", b"5", [9], {})]),
        Record(FORMAT, MINUTE_US + 3, [Batch("a", b"6\n7", [8, 1], {0: Stamp(crawler=False)})]),
    ]

    some = joined([encode(each) for each in records], limits())

    assert some.count == 3
    assert decode(some.record) == Record(
        FORMAT,
        MINUTE_US + 3,
        [
            Batch("a", b"1\n2", [10, 20], {1: Stamp(crawler=True)}),
            Batch("b", b"3\n4", [5, 4], {1: Stamp(clamped=True)}),
            Batch("a", b"5\n6\n7", [9, 8, 1], {1: Stamp(crawler=False)}),
        ],
    )


def test_where_a_clock_was_set_back_it_is_the_latest_log_time() -> None:
    some = joined(spooled(MINUTE_US + 5, MINUTE_US + 9, MINUTE_US + 3), limits())

    assert (some.count, decode(some.record).log_time_us) == (3, MINUTE_US + 9)


@pytest.mark.parametrize(
    ("log_times_us", "count"),
    [
        ((MINUTE_US, MINUTE_US + SAME_US - 1, MINUTE_US + SAME_US), 2),
        ((MINUTE_US - 1, MINUTE_US), 1),
        ((MINUTE_US, MINUTE_US - 1), 1),
    ],
)
def test_only_records_of_the_same_minute_go_together(log_times_us: tuple[int, ...], count: int) -> None:
    assert joined(spooled(*log_times_us), limits()).count == count


def test_what_is_too_old_is_not_joined_to_what_is_not() -> None:
    records = spooled(MINUTE_US + 5, MINUTE_US + 6, MINUTE_US + 2)

    assert joined(records, limits(oldest_us=MINUTE_US + 3)).count == 2


def test_the_limits_hold() -> None:
    records = spooled(*[MINUTE_US] * 10, events=3)

    assert joined(records, limits(records_max=4)).count == 4
    assert joined(records, limits(events_max=14)).count == 4
    assert joined(records, limits(events_max=15)).count == 5
    assert joined(records, limits(size_bytes_max=3 * len(records[0]))).count == 3
    assert joined(records, limits()).count == 10


def test_one_alone_is_what_it_was_whatever_the_limits() -> None:
    records = spooled(MINUTE_US, MINUTE_US, events=3)

    some = joined(records, limits(events_max=1, size_bytes_max=1))

    assert (some.count, some.record) == (1, records[0])


def test_what_is_damaged_is_noticed_when_it_is_first() -> None:
    records = [*spooled(MINUTE_US, MINUTE_US), b"nothing"]

    assert joined(records, limits()).count == 2
    with pytest.raises(Corrupt):
        joined(records[2:], limits())


@pytest.mark.parametrize("seed", range(100))
def test_a_joined_record_is_never_larger_than_what_was_allowed(seed: int) -> None:
    chance = Random(seed)
    records = []
    for _ in range(chance.choice((2, 3, 20, 400))):
        batches = []
        for _ in range(chance.choice((1, 1, 3))):
            events = chance.choice((1, 1, 3, 40, 300))
            lines = [b"x" * chance.choice((0, 2, 300)) for _ in range(events)]
            stamps = {at: Stamp() for at in range(events) if chance.random() < 0.9}
            batches.append(Batch(chance.choice("ab"), b"\n".join(lines), [2**62] * events, stamps))
        records.append(encode(Record(FORMAT, MINUTE_US, batches)))
    allowed = sum(map(len, records)) + chance.randrange(-1_000, 1_000)  # where they just fit, or nearly

    some = joined(records, limits(size_bytes_max=allowed))

    assert some.count == 1 or len(some.record) <= allowed
