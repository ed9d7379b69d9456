"""What came by lately of one partition."""

from __future__ import annotations

import asyncio

from accrue.log.recent import ENTRY_SIZE_BYTES, Recent


def read_here(size_bytes_max: int = 1 << 20) -> Recent:
    recent = Recent(size_bytes_max)
    recent.is_read = True
    return recent


def test_only_what_follows_without_a_hole_is_given() -> None:
    recent = read_here()
    for position in (2, 3, 5):
        recent.add(position, b"%d" % position)

    assert recent.following(1, 1_000) == [(2, b"2"), (3, b"3")]
    assert recent.following(0, 1_000) == recent.following(3, 1_000) == recent.following(5, 1_000) == []


def test_one_record_is_given_even_when_it_does_not_fit() -> None:
    recent = read_here()
    recent.add(1, b"large")
    recent.add(2, b"next")

    assert recent.following(0, 1) == [(1, b"large")]
    assert recent.following(0, 9) == [(1, b"large"), (2, b"next")]


def test_nothing_is_held_where_nobody_reads_and_no_more_than_there_is_room() -> None:
    unread, recent = Recent(1 << 20), read_here(3 * (ENTRY_SIZE_BYTES + 1))
    for position in range(1, 10):
        unread.add(position, b"x")
        recent.add(position, b"x")
        recent.add(position, b"x")  # the same again takes no more room

    assert unread.following(0, 1_000) == []
    assert recent.following(6, 1_000) == [(7, b"x"), (8, b"x"), (9, b"x")]
    assert recent.following(5, 1_000) == []


def test_what_was_trimmed_is_forgotten() -> None:
    recent = read_here()
    for position in (1, 2, 3):
        recent.add(position, b"x")

    recent.forget(2)

    assert recent.following(0, 1_000) == []
    assert recent.following(2, 1_000) == [(3, b"x")]


async def test_a_ring_between_looking_and_waiting_is_heard() -> None:
    recent = read_here()
    heard = recent.heard
    recent.add(1, b"x")

    async with asyncio.timeout(5):
        await recent.wait(heard, 60)
        waiting = asyncio.ensure_future(recent.wait(recent.heard, 60))
        await asyncio.sleep(0)
        recent.ring()
        await waiting
