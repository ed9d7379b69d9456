"""The parts of the log in RabbitMQ that need no broker: an append under way, and a record as a message."""

from __future__ import annotations

import random
from typing import cast

import pytest

from accrue.connect.rabbitmq import StreamConnection
from accrue.errors import Corrupt, TooLarge, Unavailable
from accrue.log.rabbitmq_message import FOUNDING, Message, framed, packed, unpacked
from accrue.log.rabbitmq_stream import Cursor, Sent
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


async def test_a_cursor_skips_what_its_first_chunk_holds_too_much_and_gives_back_what_was_used_up() -> None:
    records = [packed(b"%d" % offset, writer=1, number=offset, size_bytes_max=1_000) for offset in range(10)]
    cursor = Cursor(cast(StreamConnection, None), "s", 3, Recent(0))

    cursor.feed(0, 2, records[2:6])
    cursor.feed(0, 6, [framed(FOUNDING, 1, 6, b""), *records[7:9]])

    assert cursor.take(2) == ([(4, b"3"), (5, b"4")], 0)
    assert cursor.taken == 5
    assert cursor.take(1_000) == ([(6, b"5"), (8, b"7"), (9, b"8")], 2)
    assert cursor.take(1_000) == ([], 0)
    assert cursor.first == 2


async def test_a_cursor_gives_what_stands_before_a_foreign_message_and_nothing_behind_it() -> None:
    record = packed(b"ours", writer=1, number=1, size_bytes_max=1_000)
    cursor = Cursor(cast(StreamConnection, None), "s", 0, Recent(0))

    cursor.feed(0, 0, [record, b"not ours", record])
    cursor.feed(0, 3, [record])

    assert cursor.take(1_000)[0] == [(1, b"ours")]
    with pytest.raises(Corrupt):
        cursor.take(1_000)


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
