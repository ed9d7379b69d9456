"""What the server said to a request for events: where it stands in the log, and what became of each event."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Struct

from accrue.cli.demo.connection import Answer
from accrue.errors import Unavailable


class Received(NamedTuple):
    """`position` is 0 when nothing was accepted. `statuses`, one an event: accepted, repeated or rejected."""

    position: int
    statuses: list[str]


def received(answer: Answer, events: int) -> Received:
    """Read an answer to so many events. Raises `Unavailable` for one that is neither yes nor no."""
    if answer.status == 202 or 400 <= answer.status < 500:
        document = _decoder.decode(answer.body)
        if len(document.results) == events:
            return Received(document.position, [result.status for result in document.results])
        if answer.status != 202:  # refused as a whole, so there is nothing to say of each
            return Received(0, ["rejected"] * events)
    raise Unavailable(f"The server answered {answer.status} to a request for events: {answer.body[:200]!r}.")


class _Result(Struct):
    status: str


class _Document(Struct):
    """Of a 202, or of a problem: then there is no position."""

    position: int = 0
    results: list[_Result] = []


_decoder = msgspec.json.Decoder(_Document)
