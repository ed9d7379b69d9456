"""A reader's place in a stream: a subscription from one position on, and what it brought and was not taken yet."""

from __future__ import annotations

from collections import deque

from accrue.connect.rabbitmq import StreamConnection
from accrue.errors import AccrueError, Corrupt
from accrue.log.base import Position
from accrue.log.rabbitmq_message import unpacked
from accrue.log.recent import Recent

CREDIT = 4
"""Chunks that may be on their way to a reader. A chunk is what the broker wrote at once: often a single record."""
SIZE_BYTES_MAX = 8 << 20
"""No more chunks are asked for while a reader has so much that it did not take."""


class Cursor:
    """A subscription from one position on. `taken` is the position up to which its records were taken.

    `first` is the offset where what it was given begins, which is past `begun`, where it was to begin, when
    something is missing in between.
    """

    def __init__(self, connection: StreamConnection, stream: str, after: Position, recent: Recent) -> None:
        self.connection = connection
        self.taken = self.begun = after
        self.subscription = 0
        self.error: AccrueError | None = None
        self.first: int | None = None
        self._stream = stream
        self._recent = recent
        self._next = after  # the offset that is expected
        self._records: deque[tuple[Position, bytes]] = deque()
        self._size_bytes = 0
        self._owed = 0  # chunks that came and were not asked for anew

    def feed(self, subscription: int, offset: int, messages: list[bytes]) -> None:
        """A chunk came. It may begin before what was asked for. Behind what cannot be read nothing is taken."""
        if self.error is not None:
            return
        self.subscription = subscription
        if self.first is None:
            self.first = offset
        try:
            for at, message in enumerate(messages, offset):
                if at >= self._next:
                    record = unpacked(message, stream=self._stream, offset=at).record
                    if record is not None:
                        self._records.append((at + 1, record))
                        self._size_bytes += len(record)
        except Corrupt as error:
            self.error = error
        self._next = max(self._next, offset + len(messages))
        self._owed += 1
        self._ask()
        self._recent.ring()

    def take(self, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """One record at least when there is one, then what fits."""
        found: list[tuple[Position, bytes]] = []
        left = size_bytes_max
        while self._records and (not found or len(self._records[0][1]) <= left):
            found.append(self._records.popleft())
            left -= len(found[-1][1])
        if found:
            self.taken = found[-1][0]
            self._size_bytes -= sum(len(record) for _, record in found)
            self._ask()
        if self.error is not None and not found:
            raise self.error
        return found

    def _ask(self) -> None:
        if self._owed and self._size_bytes < SIZE_BYTES_MAX:
            self.connection.give_credit(self.subscription, self._owed)
            self._owed = 0
