"""What became of the events of a record: processes ask the worker of its partition, which alone knows.

    gateway --> GET /node/outcomes?partition=3&position=17 --> worker
            <-- 200, one byte an event                             it waited until reads show the record
                404                                                it no longer remembers
                503                                                not yet, or it has not this partition

It is between processes: no client needs it, because no client knows where in a record its events are. A record holds
the events of many requests, which all want to know the same, so one question is asked for all of them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Protocol, Self

from accrue.clock import Clock
from accrue.connect.http import Peers
from accrue.errors import Elsewhere, Unavailable
from accrue.web.circuit import Circuits
from accrue.web.told import HERE_S_MAX, PATH

CONNECT_S_MAX = 0.5
ANSWER_S_MAX = HERE_S_MAX + 2.0
"""A worker that has not answered by then stands still."""

QUESTIONS_MAX = 32
"""So many questions about one partition are under way; the others wait. Records are applied in order, so those that
wait could not be answered before."""

RETRY_S = 2.0
"""A worker that did not answer is left alone this long."""


class Addresses(Protocol):
    """Where workers listen; see `Directory`."""

    def address(self, partition: int) -> str:
        """The URL of the partition's worker; empty when it has none just now."""
        ...

    def is_silent(self, partition: int) -> bool:
        """Whether the partition's worker cannot be asked at all."""
        ...

    async def look(self) -> None:
        """Look anew. Raises `Unavailable`."""
        ...


class Asking:
    """Asks, while its block runs."""

    def __init__(self, addresses: Addresses, clock: Clock) -> None:
        self._addresses = addresses
        self._peers = Peers(connect_s=CONNECT_S_MAX, piece_s=ANSWER_S_MAX)
        self._circuits = Circuits(clock, retry_s=RETRY_S)
        self._turns: defaultdict[int, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(QUESTIONS_MAX))

    async def __aenter__(self) -> Self:
        await self._peers.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._peers.__aexit__(kind, error, trace)

    async def outcomes(self, partition: int, position: int) -> bytes | None:
        """What became of the events of a record, as the partition's worker says, once reads show it; None when that is
        no longer remembered. One that has the partition no more is not the last to be asked.

        Raises `Elsewhere` when the worker does not know, or not yet, and `Unavailable` when none answers."""
        address = self._addresses.address(partition)
        said = Unavailable("No worker that could be asked has this tenant just now.")
        try:
            if address:
                return await self._outcomes(address, partition, position)
        except Unavailable as error:
            said = error
        if self._addresses.is_silent(partition):
            raise said
        await self._addresses.look()  # it may be another's by now
        newer = self._addresses.address(partition)
        if newer in ("", address):
            raise said
        return await self._outcomes(newer, partition, position)

    async def _outcomes(self, address: str, partition: int, position: int) -> bytes | None:
        """As the process at `address` says."""
        async with self._turns[partition]:
            with self._circuits.of(address).asking():
                status, body = await self._asked(address, f"partition={partition}&position={position}")
        if status == 404:
            return None
        if status != 200:
            raise Elsewhere(f"{address} does not know what became of position {position}, or not yet.")
        return body

    async def _asked(self, address: str, query: str) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(ANSWER_S_MAX),
                self._peers.ask("GET", address, PATH, query, headers=(), body=b"") as answer,
            ):
                return answer.status, await answer.read()
        except TimeoutError as error:
            raise Unavailable(f"{address} did not answer in {ANSWER_S_MAX:g} s.") from error
