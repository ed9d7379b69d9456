"""The newest records in memory: how much is held, and what happens when the storage knew better."""

from __future__ import annotations

from accrue.log.tail import ENTRY_SIZE_BYTES, Tail


def held(tail: Tail) -> list[int]:
    if tail.first > tail.last:
        return []
    return [position for position, _ in tail.since(tail.first - 1, 1 << 30)]


def test_the_oldest_records_are_forgotten_past_the_limit() -> None:
    tail = Tail(last=10, trimmed=0, size_bytes_max=3 * (100 + ENTRY_SIZE_BYTES))

    for position in range(11, 16):
        tail.add(position, b"x" * 100)

    assert held(tail) == [13, 14, 15]
    assert tail.size_bytes == 3 * (100 + ENTRY_SIZE_BYTES)


def test_a_record_larger_than_the_limit_is_not_held_at_all() -> None:
    tail = Tail(last=0, trimmed=0, size_bytes_max=500)
    tail.add(1, b"x" * 100)

    tail.add(2, b"x" * 1_000)

    assert held(tail) == []
    assert (tail.first, tail.last, tail.size_bytes) == (3, 2, 0)


def test_a_trim_forgets_what_is_held_and_never_moves_back() -> None:
    tail = Tail(last=0, trimmed=0, size_bytes_max=1 << 20)
    for position in range(1, 6):
        tail.add(position, b"x")

    tail.trim(3)
    tail.trim(2)

    assert tail.trimmed == 3
    assert held(tail) == [4, 5]


def test_after_catching_up_only_what_comes_next_is_held() -> None:
    tail = Tail(last=0, trimmed=0, size_bytes_max=1 << 20)
    tail.add(1, b"known")

    tail.catch_up(3)
    tail.add(3, b"late news of what the storage was asked about before")
    tail.add(4, b"new")

    assert (tail.first, tail.last) == (4, 4)
    assert tail.since(3, 1) == [(4, b"new")]
    assert tail.size_bytes == len(b"new") + ENTRY_SIZE_BYTES


def test_catching_up_with_what_is_known_changes_nothing() -> None:
    tail = Tail(last=0, trimmed=0, size_bytes_max=1 << 20)
    tail.add(1, b"one")
    tail.add(2, b"two")

    tail.catch_up(2)
    tail.catch_up(1)

    assert held(tail) == [1, 2]
