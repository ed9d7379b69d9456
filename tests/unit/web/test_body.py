"""Reading a body: how much of it, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from accrue.core.event import BODY_SIZE_BYTES_MAX
from accrue.errors import TooLarge
from accrue.web.body import Message, read_body
from accrue.web.problems import WrongMediaType

PIECE = b" " * (BODY_SIZE_BYTES_MAX // 4)


class Sender:
    """Sends as many pieces as it is asked for, without end."""

    def __init__(self) -> None:
        self.pieces = 0

    async def receive(self) -> dict[str, Any]:
        self.pieces += 1
        return {"type": "http.request", "body": PIECE, "more_body": True}


async def test_a_body_without_end_is_read_up_to_the_limit_and_no_further() -> None:
    sender = Sender()

    with pytest.raises(TooLarge):
        await read_body(sender.receive, {})

    assert sender.pieces == 5


async def test_a_body_that_says_it_is_too_large_is_not_read_at_all() -> None:
    sender = Sender()

    with pytest.raises(TooLarge):
        await read_body(sender.receive, {b"content-length": b"%d" % (BODY_SIZE_BYTES_MAX + 1)})

    assert sender.pieces == 0


async def test_a_compressed_body_is_refused_by_the_name_of_its_header() -> None:
    async def never() -> Message:
        raise AssertionError("nothing is read")

    with pytest.raises(WrongMediaType) as refused:
        await read_body(never, {b"content-encoding": b"gzip"})

    assert refused.value.field == "Content-Encoding"
