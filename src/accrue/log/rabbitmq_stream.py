r"""One partition of the log in RabbitMQ: a stream, the connection to its leader, and what is read of it.

    append --> publish --> confirm                                     position = offset + 1
                      \--> echo: what everybody publishes comes back --> the offset of our own; a copy for the reader
    read   --> what the echo brought, when that follows `after`; else a cursor: a subscription from `after` on

A confirm does not tell the offset, so whoever appends also subscribes, from the end on, and finds its own messages by
writer and number. The reader in the same process lives on that echo and subscribes itself only where it is behind.
When the echo may send its next chunk is asked of rabbitmq_echo.py.
Publishing has a connection of its own: on one that also delivers, a confirm waits behind each delivery (measured with
RabbitMQ 3.10: 4 ms an append instead of 2).

A stream that was founded is never empty. That is what makes its ends knowable: the last chunk and the first are
asked for and certain to come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count

from accrue.connect.rabbitmq import OK, PUBLISH_OVERHEAD_BYTES, Address, OffsetType, Refused, StreamConnection
from accrue.connect.rabbitmq_leader import LeaderLine, answered
from accrue.errors import AccrueError, Corrupt, Unavailable
from accrue.log.base import Position
from accrue.log.rabbitmq_cursor import CREDIT, Cursor
from accrue.log.rabbitmq_echo import FIRST_CREDIT, Pace
from accrue.log.rabbitmq_message import FOUNDING, framed, packed, unpacked
from accrue.log.recent import Recent
from accrue.log.tail import check_after

APPEND_WAIT_S_MAX = 10.0
PROBE_WAIT_S_MAX = 10.0
READ_RETRY_S_MAX = 20.0
"""So long a reader tries to get its connection back before it raises `Unavailable`."""
RETRY_S = 0.25
LOOK_S = 5.0
"""So often a reader that waits sees that it is still connected, and that there is nothing to read."""
ON_ITS_WAY_S_MAX = 1.0
"""What is in the stream may still be on its way to a reader for so long."""

RECENT_SIZE_BYTES_MAX = 8 << 20
"""Memory for what the echo brought lately, for each partition that is also read here."""


class Sent:
    """One append under way: over when it is confirmed and has come back."""

    def __init__(self) -> None:
        self.done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._confirmed = False
        self._position: Position | None = None

    @property
    def is_to_come(self) -> bool:
        """Whether the echo has it to bring, and did not yet."""
        return self._confirmed and self._position is None

    def confirm(self) -> None:
        """The broker has it."""
        self._confirmed = True
        self._settle()

    def place(self, position: Position) -> None:
        """It came back from there."""
        self._position = position
        self._settle()

    def fail(self, error: AccrueError) -> None:
        """It is not known what becomes of it."""
        if not self.done.done():
            self.done.set_exception(error)

    def _settle(self) -> None:
        if self._confirmed and self._position is not None and not self.done.done():
            self.done.set_result(self._position)


class Stream:
    """See `Log`, for one partition. `writer` tells this process' messages from all others."""

    def __init__(self, address: Address, name: str, *, writer: int) -> None:
        self._address = address
        self._name = name
        self._writer = writer
        self._numbers = count(1)
        self._recent = Recent(RECENT_SIZE_BYTES_MAX)
        self._line = LeaderLine(address, name, on_lost=self._lost)
        self._sending = LeaderLine(address, name, on_lost=self._fail_sent)
        self._declared: StreamConnection | None = None  # the connection that may publish
        self._sent: dict[int, Sent] = {}
        self._moving = asyncio.Lock()  # held while a subscription that lasts is made
        self._echoing: StreamConnection | None = None  # the connection that has the echo
        self._pace: Pace | None = None
        self._echoed: int | None = None  # the offset that the echo brings next; None before its first chunk
        self._cursor: Cursor | None = None
        self._probes: list[asyncio.Future[tuple[int, list[bytes]]]] = []

    async def append(self, record: bytes) -> Position:
        """See `Log.append`."""
        return await self._publish(
            lambda number, room: packed(record, writer=self._writer, number=number, size_bytes_max=room)
        )

    async def found(self) -> None:
        """See to it that the stream is not empty. Harmless to repeat."""
        await self._publish(lambda number, room: framed(FOUNDING, self._writer, number, b""))

    async def read(self, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """See `Log.read`."""
        loop = asyncio.get_running_loop()
        give_up_s: float | None = None
        recent = self._recent
        while True:
            recent.is_read = True
            heard, wait_s = recent.heard, LOOK_S
            try:
                connection = await self._line.connected()
                found = recent.following(after, size_bytes_max)
                if found:
                    await self._leave_cursor()
                elif self._echoing is not connection or self._echoed != after:  # else it will bring what comes next
                    found = await self._take(connection, after, size_bytes_max)
                if found:
                    return found
                give_up_s = None
            except Unavailable:
                give_up_s = give_up_s or loop.time() + READ_RETRY_S_MAX
                if self._line.is_closed or loop.time() > give_up_s:
                    raise
                wait_s = RETRY_S
            if not await recent.wait(heard, wait_s) and give_up_s is None:
                await self._see(after)

    async def begin(self) -> Position:
        """See `Log.begin`."""
        offset, _ = await self._probe(OffsetType.FIRST, None)
        return offset + 1

    async def end(self) -> Position:
        """See `Log.end`. The last chunk has it; only where processes founded the log at the same time it may hold
        nothing but a founding message, and what was before that is looked at."""
        offset, messages = await self._probe(OffsetType.LAST, None)
        while True:
            for at in range(offset + len(messages) - 1, offset - 1, -1):
                if unpacked(messages[at - offset], stream=self._name, offset=at).record is not None:
                    return at + 1
            if offset == 0:
                return 0
            earlier, messages = await self._probe(OffsetType.OFFSET, offset - 1)
            if earlier >= offset:
                return offset  # what was there has expired
            offset = earlier

    async def close(self) -> None:
        """See `Log.close`."""
        await self._line.close()
        await self._sending.close()
        self._recent.ring()

    async def _publish(self, make: Callable[[int, int], bytes]) -> Position:
        """1. See that the echo is on. 2. Publish `make(number, size_bytes_max)`. 3. Wait for confirm and echo."""
        number = next(self._numbers)
        try:
            async with asyncio.timeout(APPEND_WAIT_S_MAX):
                await self._hear_echo(await self._line.connected())
                connection = await self._may_publish()
                message = make(number, connection.frame_size_bytes_max - PUBLISH_OVERHEAD_BYTES)
                connection.publish(number, message)
                sent = self._sent[number] = Sent()
                return await sent.done
        except TimeoutError as error:
            silent = Unavailable(f"{self._address} did not confirm within {APPEND_WAIT_S_MAX:g} s.")
            self._break(silent)
            raise silent from error
        except asyncio.CancelledError:
            self._break(Unavailable(f"{self._address} did not confirm for so long as was waited."))
            raise
        finally:
            self._sent.pop(number, None)

    def _break(self, error: AccrueError) -> None:
        """Give up both connections. Whoever gives up an append does: what has confirmed may have stopped to echo."""
        self._line.abort(error)
        self._sending.abort(error)

    async def _may_publish(self) -> StreamConnection:
        async with self._moving:
            connection = await self._sending.connected()
            if self._declared is not connection:
                connection.on_confirmed = self._confirmed
                await answered(self._address, connection.declare_publisher(self._name))
                self._declared = connection
            return connection

    async def _hear_echo(self, connection: StreamConnection) -> None:
        async with self._moving:
            if self._echoing is connection:
                return
            pace = self._pace = Pace(connection)
            heard = partial(self._heard, pace)
            await answered(
                self._address,
                connection.subscribe(self._name, OffsetType.LAST, None, heard, credit=FIRST_CREDIT),
            )
            self._echoing = connection

    def _heard(self, pace: Pace, subscription: int, offset: int, messages: list[bytes]) -> None:
        is_ours = False
        for at, message in enumerate(messages, offset):
            try:
                writer, number, record = unpacked(message, stream=self._name, offset=at)
            except Corrupt:
                continue  # the reader will come to it
            if record is not None:
                self._recent.add(at + 1, record)
            if writer == self._writer and (sent := self._sent.get(number)) is not None:
                sent.place(at + 1)
                is_ours = True
        self._echoed = offset + len(messages)
        is_last = is_ours and not any(sent.is_to_come for sent in self._sent.values())
        pace.heard(subscription, is_last=is_last)

    def _confirmed(self, number: int, code: int) -> None:
        sent = self._sent.get(number)
        if sent is None:
            return
        if code == OK:
            sent.confirm()
            if sent.is_to_come and self._pace is not None:
                self._pace.hasten()
        else:
            sent.fail(Unavailable(f"{self._address} did not take a record ({Refused(code)})."))

    async def _take(
        self, connection: StreamConnection, after: Position, size_bytes_max: int
    ) -> list[tuple[Position, bytes]]:
        """What the cursor has, made new where it stands elsewhere."""
        cursor = await self._cursor_at(connection, after)
        if cursor.first is not None and cursor.first > cursor.begun:
            check_after(after, trimmed=await self.begin() - 1, last=after)
            cursor.begun = cursor.first  # there was nothing in between
        return cursor.take(size_bytes_max)

    async def _see(self, after: Position) -> None:
        """A reader has heard nothing for a while: see that there is nothing. A subscription may stay silent for good,
        as one that was made while the stream had only just found its leader; it goes with its connection."""
        heard = self._recent.heard
        with suppress(Unavailable):
            if await self.end() > after and not await self._recent.wait(heard, ON_ITS_WAY_S_MAX):
                self._line.abort(Unavailable(f"{self._address} has records of {self._name}, and did not send them."))

    async def _cursor_at(self, connection: StreamConnection, after: Position) -> Cursor:
        async with self._moving:
            cursor = self._cursor
            if cursor is not None and cursor.taken == after:
                return cursor
        await self._leave_cursor()
        if after > 0:
            check_after(after, trimmed=0, last=await self.end())
        async with self._moving:
            cursor = Cursor(connection, self._name, after, self._recent)
            subscribing = connection.subscribe(self._name, OffsetType.OFFSET, after, cursor.feed, credit=CREDIT)
            cursor.subscription = await answered(self._address, subscribing)
            self._cursor = cursor
            return cursor

    async def _leave_cursor(self) -> None:
        """End its subscription. Nothing to do when there is none, as when the connection has gone."""
        async with self._moving:
            cursor, self._cursor = self._cursor, None
            if cursor is not None and cursor.connection.error is None:
                await answered(self._address, cursor.connection.unsubscribe(cursor.subscription))

    async def _probe(self, where: OffsetType, offset: int | None) -> tuple[int, list[bytes]]:
        """One chunk: the offset where it begins, and its messages."""
        connection = await self._line.connected()
        chunk: asyncio.Future[tuple[int, list[bytes]]] = asyncio.get_running_loop().create_future()
        self._probes.append(chunk)

        def came(subscription: int, first: int, messages: list[bytes]) -> None:
            if not chunk.done():
                chunk.set_result((first, messages))

        try:
            async with asyncio.timeout(PROBE_WAIT_S_MAX):
                probing = connection.subscribe(self._name, where, offset, came, credit=1)
                subscription = await answered(self._address, probing)
                found = await chunk
                await answered(self._address, connection.unsubscribe(subscription))
        except TimeoutError as error:
            silent = Unavailable(f"{self._address} did not show the stream {self._name} within {PROBE_WAIT_S_MAX:g} s.")
            connection.abort(silent)
            raise silent from error
        except asyncio.CancelledError:  # its subscription would stay
            connection.abort(Unavailable(f"{self._address} did not show {self._name} for so long as was waited."))
            raise
        finally:
            self._probes.remove(chunk)
            chunk.cancel()
        return found

    def _lost(self, error: AccrueError) -> None:
        self._echoing = self._cursor = self._echoed = None
        self._fail_sent(error)
        for probe in self._probes:
            if not probe.done():
                probe.set_exception(error)
                probe.exception()  # it may still be subscribing
        self._recent.ring()

    def _fail_sent(self, error: AccrueError) -> None:
        for sent in self._sent.values():
            sent.fail(error)
