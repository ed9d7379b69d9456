"""The connection to the server that leads a stream: made when it is needed, and again after it broke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from accrue.connect.rabbitmq import OK, Address, Refused, StreamConnection, schema, translated
from accrue.errors import AccrueError, Misconfigured, Unavailable

Result = TypeVar("Result")

NO_LEADER = 65_535
BACK_OFF_S_MIN = 0.1
BACK_OFF_S_MAX = 2.0
"""After a failed attempt to connect the next one waits, twice as long each time up to this."""


class LeaderLine:
    """The connection to the leader of one stream, again and again. `on_lost` is called each time one is lost.

    What is wrong with the server once the log is open is expected to pass: everything is `Unavailable`.
    """

    def __init__(self, address: Address, stream: str, *, on_lost: Callable[[AccrueError], None]) -> None:
        self.is_closed = False
        self._address = address
        self._stream = stream
        self._on_lost = on_lost
        self._connection: StreamConnection | None = None
        self._connecting = asyncio.Lock()
        self._back_off_s = self._not_before_s = 0.0

    async def connected(self) -> StreamConnection:
        """The connection there is, or a new one. Raises `Unavailable`."""
        if self._connection is not None and self._connection.error is None:
            return self._connection
        async with self._connecting:
            if self.is_closed:
                raise Unavailable("The log is closed.")
            if self._connection is not None and self._connection.error is None:
                return self._connection
            loop = asyncio.get_running_loop()
            if loop.time() < self._not_before_s:
                raise Unavailable(f"{self._address} could not be reached a moment ago.", retry_after_s=BACK_OFF_S_MAX)
            try:
                connection = await answered(self._address, at_leader(self._address, self._stream))
            except Exception:  # not when the caller gave up: that says nothing about the server
                self._back_off_s = min(max(2 * self._back_off_s, BACK_OFF_S_MIN), BACK_OFF_S_MAX)
                self._not_before_s = loop.time() + self._back_off_s
                raise
            self._back_off_s = self._not_before_s = 0.0
            if self.is_closed:
                await connection.close()
                raise Unavailable("The log is closed.")
            connection.on_lost = self._on_lost
            self._connection = connection
            return connection

    def abort(self, error: AccrueError) -> None:
        """Break the connection there is; the next call makes a new one."""
        if self._connection is not None:
            self._connection.abort(error)

    async def close(self) -> None:
        """Hang up; whoever waits gets `Unavailable`. Harmless to repeat."""
        self.is_closed = True
        if self._connection is not None:
            await self._connection.close()


async def answered(address: Address, asking: Awaitable[Result]) -> Result:
    """What was asked for; a refusal or a wrong setting is `Unavailable`."""
    try:
        return await asking
    except Refused as refused:
        raise Unavailable(translated(refused, address).detail) from refused
    except Misconfigured as error:
        raise Unavailable(error.detail) from error


async def at_leader(address: Address, stream: str) -> StreamConnection:
    """A connection to the server that leads the stream. Raises `Refused` when there is no such stream.

    Where the whole cluster is one server, its advertised name does not matter.
    """
    connection = await StreamConnection.open(address)
    try:
        found = await connection.request(schema.MetadataResponse, lambda number: schema.Metadata(number, [stream]))
        metadata = found.metadata[0]
        if metadata.response_code != OK:
            raise Refused(metadata.response_code)
        if metadata.leader_ref == NO_LEADER:
            raise Unavailable(f"{address}: the stream {stream} has no leader at the moment.")
        leader = next(broker for broker in found.brokers if broker.reference == metadata.leader_ref)
        here = (connection.properties.get("advertised_host"), connection.properties.get("advertised_port"))
        if len(found.brokers) == 1 or here == (leader.host, str(leader.port)):
            return connection
    except BaseException:
        await connection.close()
        raise
    await connection.close()
    there = Address(leader.host, leader.port, address.user, address.password, address.vhost, address.options)
    return await StreamConnection.open(there)
