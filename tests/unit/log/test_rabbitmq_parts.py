"""The parts of the log in RabbitMQ that need no broker: an append under way, and a record as a message."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import pytest

from accrue.connect.rabbitmq import StreamConnection
from accrue.errors import Corrupt, TooLarge, Unavailable
from accrue.log.rabbitmq_cursor import SIZE_BYTES_MAX, Cursor
from accrue.log.rabbitmq_echo import FIRST_CREDIT, HOLD_S, MORE_CREDIT, Pace
from accrue.log.rabbitmq_message import FOUNDING, Message, framed, packed, unpacked
from accrue.log.rabbitmq_stream import Sent
from accrue.log.recent import Recent


async def test_an_append_is_over_when_it_is_confirmed_and_has_come_back_in_either_order() -> None:
    for first in ("confirm", "place"):
        sent = Sent()
        if first == "confirm":
            sent.confirm()
        else:
            sent.place(7)
        assert not sent.done.done()

        if first == "confirm":
            sent.place(7)
        else:
            sent.confirm()
        assert await sent.done == 7


async def test_an_append_whose_connection_broke_stays_failed() -> None:
    sent = Sent()
    sent.confirm()
    sent.fail(Unavailable("The broker has gone."))
    sent.place(7)

    with pytest.raises(Unavailable):
        await sent.done


class Connection:
    """Counts the chunks that are asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def give_credit(self, subscription: int, chunks: int = 1) -> None:
        self.asked += chunks


def cursor_at(after: int) -> tuple[Cursor, Connection]:
    connection = Connection()
    return Cursor(cast(StreamConnection, connection), "s", after, Recent(0)), connection


async def test_a_cursor_skips_what_its_first_chunk_holds_too_much() -> None:
    records = [packed(b"%d" % offset, writer=1, number=offset, size_bytes_max=1_000) for offset in range(10)]
    cursor, _ = cursor_at(3)

    cursor.feed(0, 2, records[2:6])
    cursor.feed(0, 6, [framed(FOUNDING, 1, 6, b""), *records[7:9]])

    assert cursor.take(2) == [(4, b"3"), (5, b"4")]
    assert cursor.taken == 5
    assert cursor.take(1_000) == [(6, b"5"), (8, b"7"), (9, b"8")]
    assert cursor.take(1_000) == []
    assert cursor.first == 2


async def test_a_cursor_asks_for_more_as_long_as_little_waits_to_be_taken() -> None:
    record = packed(bytes(SIZE_BYTES_MAX // 2), writer=1, number=1, size_bytes_max=SIZE_BYTES_MAX)
    cursor, connection = cursor_at(0)

    cursor.feed(0, 0, [record])
    assert connection.asked == 1
    cursor.feed(0, 1, [record])
    cursor.feed(0, 2, [record])
    assert connection.asked == 1

    cursor.take(SIZE_BYTES_MAX)
    assert connection.asked == 3


async def test_a_cursor_gives_what_stands_before_a_foreign_message_and_nothing_behind_it() -> None:
    record = packed(b"ours", writer=1, number=1, size_bytes_max=1_000)
    cursor, _ = cursor_at(0)

    cursor.feed(0, 0, [record, b"not ours", record])
    cursor.feed(0, 3, [record])

    assert cursor.take(1_000) == [(1, b"ours")]
    with pytest.raises(Corrupt):
        cursor.take(1_000)


async def test_the_echo_of_the_last_of_ours_is_asked_on_by_the_next_confirm() -> None:
    connection = Connection()
    pace = Pace(cast(StreamConnection, connection))

    pace.heard(0, is_last=True)
    assert connection.asked == 0
    pace.hasten()
    assert connection.asked == 1
    pace.hasten()
    assert connection.asked == 1


async def test_the_echo_of_the_last_of_ours_is_asked_on_when_nothing_follows() -> None:
    connection = Connection()
    pace = Pace(cast(StreamConnection, connection))

    pace.heard(0, is_last=True)
    await asyncio.sleep(3 * HOLD_S)
    assert connection.asked == FIRST_CREDIT


async def test_the_echo_of_others_goes_on_at_once() -> None:
    connection = Connection()
    pace = Pace(cast(StreamConnection, connection))

    for _ in range(FIRST_CREDIT + MORE_CREDIT):
        pace.heard(0, is_last=False)
    assert connection.asked == 2 * MORE_CREDIT


def test_a_record_comes_back_out_of_its_message_compressed_only_where_it_has_to_be() -> None:
    text = b"the same words again and again " * 1_000

    plain = packed(text, writer=1, number=2, size_bytes_max=100_000)
    small = packed(text, writer=1, number=2, size_bytes_max=1_000)

    assert text in plain
    assert len(small) <= 1_000
    for message in (plain, small):
        assert unpacked(message, stream="s", offset=0) == Message(1, 2, text)
    with pytest.raises(TooLarge, match=r"stream\.frame_max"):
        packed(random.Random(1).randbytes(2_000), writer=1, number=2, size_bytes_max=1_000)


def test_a_founding_message_holds_no_record() -> None:
    assert unpacked(framed(FOUNDING, 1, 2, b""), stream="s", offset=0) == Message(1, 2, None)


@pytest.mark.parametrize(
    "message", [b"", b"short", b"x" * 100, framed(9, 1, 2, b"a newer kind"), framed(0, 1, 2, b"")[:-1]]
)
def test_what_is_none_of_our_messages_is_corrupt(message: bytes) -> None:
    with pytest.raises(Corrupt, match=r"stream s .* offset 5"):
        unpacked(message, stream="s", offset=5)
