"""A client that does not give up: what was not answered is sent again, with the same id, until it is.

It is how everybody's client should be, and what makes the difference after a crash: the request whose answer was lost
may have been counted already.
"""

from __future__ import annotations

import asyncio

from accrue.cli.bench.ack_client import Requests
from accrue.cli.demo.connection import Connection
from accrue.errors import Unavailable

OUTAGE_S_MAX = 90.0
"""A server that has not answered a request for so long is not coming back."""


class Insistent:
    """So many connections to one port, each with one request under way. `again` counts what was sent again."""

    def __init__(self, port: int, requests: Requests, *, connections: int) -> None:
        self._port = port
        self._requests = requests
        self._connections = connections
        self._ending = False
        self.again = 0

    async def run(self) -> None:
        """Send until `end`, then until all is answered. Raises `Unavailable` when a request never is."""
        await asyncio.gather(*(self._one() for _ in range(self._connections)))

    def end(self) -> None:
        """Begin nothing new."""
        self._ending = True

    async def _one(self) -> None:
        connection = Connection(self._port)
        try:
            while not self._ending:
                await self._insist(connection, event_of(self._requests.next()))
        finally:
            await connection.close()

    async def _insist(self, connection: Connection, event: bytes) -> None:
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + OUTAGE_S_MAX
        while True:
            try:
                answer = await connection.post("/v1/events", event, "application/json")
            except Unavailable:
                if loop.time() > give_up_s:
                    raise
                self.again += 1
                continue
            self.again += answer.attempts > 1
            if answer.status != 202:
                raise Unavailable(f"An event was refused with {answer.status}: {answer.body.decode(errors='replace')}")
            return


def event_of(request: bytes) -> bytes:
    """The body of a request."""
    return request.partition(b"\r\n\r\n")[2]
