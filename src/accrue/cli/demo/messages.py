"""What the three processes of the demo tell each other: one JSON document a line, over standard input and output.

terminal --Task, then words--> traffic     words: stop, check
         <--Progress, Verdict--
terminal --words-------------> server      words: settle
         <--Listening, Settled--
"""

from __future__ import annotations

import asyncio
import sys
from typing import TypeVar

import msgspec
from msgspec import Struct

from accrue.errors import Unavailable

STOP = "stop"
CHECK = "check"
SETTLE = "settle"

LINE_SIZE_BYTES_MAX = 1 << 20


class Task(Struct, frozen=True, kw_only=True):
    """What the traffic process is to do. `seconds` None goes on until `stop`; `rate` is in events a second, 0 for no
    limit. With `file` the events of that file are played instead of made ones."""

    port: int
    seed: int
    rate: int
    seconds: float | None
    file: str | None = None


class Progress(Struct, frozen=True, kw_only=True, tag="progress"):
    """How the traffic is doing.

    The six counts of events are what the sender knows: what it sent, what was refused, and what became of the rest
    (repeats and conflicts by its own account). Times are of acks: `p50_ms` and `p99_ms` of the last thousand requests,
    or of all when `finished`. `naive_rows` is what a naive design would have written, `position` that of the last ack.
    """

    seconds: float
    sent: int = 0
    accepted: int = 0
    repeated: int = 0
    conflicting: int = 0
    rejected: int = 0
    crawled: int = 0
    per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    requests: int = 0
    position: int = 0
    naive_rows: int = 0
    viral: str | None = None
    viral_owner: str | None = None
    finished: bool = False


class Verdict(Struct, frozen=True, kw_only=True, tag="verdict"):
    """What the check found: how many values were compared, and those that differ, at most `DIFFERENCES_MAX` of them."""

    compared: int
    differing: int
    differences: list[str]


class Broken(Struct, frozen=True, tag="broken"):
    """The traffic could not go on."""

    detail: str


class Listening(Struct, frozen=True, tag="listening"):
    """The server is there. `taken` is the port that was wanted, when another process has it."""

    url: str
    taken: int | None = None


class Settled(Struct, frozen=True, tag="settled"):
    """Everything is in the book."""


Said = Progress | Verdict | Broken | Listening | Settled
Message = TypeVar("Message", bound=Struct)

DIFFERENCES_MAX = 20


def say(message: Struct) -> None:
    """One line on standard output, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def heard(line: bytes, wanted: type[Message]) -> Message:
    """The message of a line. Raises `Unavailable` when the process cannot go on, or has ended and said nothing."""
    try:
        found = msgspec.json.decode(line, type=Said)
    except msgspec.MsgspecError:
        raise Unavailable("A process of the demo has ended before its time.") from None
    if isinstance(found, wanted):
        return found
    raise Unavailable(found.detail if isinstance(found, Broken) else f"A process of the demo said {found}.")


async def standard_input() -> asyncio.StreamReader:
    """What the terminal process says. It ends when that process does, however it ends."""
    reader = asyncio.StreamReader(limit=LINE_SIZE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
