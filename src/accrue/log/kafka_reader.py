"""What is read of one partition of the log in Kafka: a consumer of its own, assigned by hand, without a group."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import zstandard

from accrue.connect.kafka import AIOKafkaConsumer, Cluster, TopicPartition, bounded, errors, stopped
from accrue.errors import Misconfigured, Unavailable
from accrue.log.base import Position
from accrue.log.tail import check_after

START_WAIT_S_MAX = 10.0
READ_RETRY_S_MAX = 20.0
"""So long a reader waits for a broker that does not answer before it raises `Unavailable`."""
LOOK_MS = 1_000
"""A reader without news sees this often whether the broker is still there."""
RETRY_S = 0.25
FETCH_WAIT_MS = 250
"""So long a broker keeps a question open when it has nothing; a reader that goes elsewhere waits for that to end."""
FETCH_SIZE_BYTES = 4 << 20
COMPRESSED = ("encoding", b"zstd")
"""The header of a record that would have been too large as it was."""


class Reader:
    """Reads one partition. `ends()` says before which position it begins, and the last one."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        partition: int,
        ends: Callable[[], Awaitable[tuple[Position, Position]]],
    ) -> None:
        self._cluster = cluster
        self._place = TopicPartition(topic, partition)
        self._ends = ends
        self._consumer: Any = None
        self._at: Position | None = None  # what was read last; None when the consumer stands elsewhere
        self._rest: deque[tuple[Position, bytes]] = deque()
        self._turn = asyncio.Lock()
        self._closed = False

    async def read(self, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """See `Log.read`."""
        loop = asyncio.get_running_loop()
        give_up_s: float | None = None
        while True:
            try:
                async with self._turn:
                    found = await self._look(after, size_bytes_max)
                if found:
                    return found
                give_up_s = None
            except Unavailable:
                give_up_s = give_up_s or loop.time() + READ_RETRY_S_MAX
                if self._closed or loop.time() > give_up_s:
                    raise
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """End the consumer; whoever reads gets `Unavailable`."""
        self._closed = True
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stopped(consumer)

    async def _look(self, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        consumer = await self._started()
        if self._at != after:
            await self._check(after)
            self._rest.clear()
            consumer.seek(self._place, after)
        self._at = None  # until this has gone well
        if not self._rest:
            self._rest += await self._fetch(consumer, after)
        found = first_that_fit(self._rest, size_bytes_max)
        self._at = found[-1][0] if found else after
        return found

    async def _fetch(self, consumer: Any, after: Position) -> list[tuple[Position, bytes]]:
        """What came, after waiting a while; nothing when there is nothing."""
        try:
            fetched = await consumer.getmany(self._place, timeout_ms=LOOK_MS)
        except errors.ConsumerStoppedError as error:
            raise Unavailable("The log is closed.") from error
        except errors.OffsetOutOfRangeError as error:
            await self._check(after)
            raise Unavailable(f"{self._cluster} has moved what is to be read.") from error
        except errors.KafkaError as error:
            raise Unavailable(f"{self._cluster}: {error}") from error
        messages = fetched.get(self._place, [])
        if not messages:
            await self._check(after)  # a broker that is gone looks like one that has nothing
        return [(message.offset + 1, unpacked(message)) for message in messages]

    async def _check(self, after: Position) -> None:
        trimmed, last = await self._ends()
        check_after(after, trimmed=trimmed, last=last)

    async def _started(self) -> Any:
        if self._closed:
            raise Unavailable("The log is closed.")
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._cluster.settings(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                fetch_max_wait_ms=FETCH_WAIT_MS,
                max_partition_fetch_bytes=FETCH_SIZE_BYTES,
                fetch_max_bytes=FETCH_SIZE_BYTES,
                max_poll_records=2_000,
            )
            try:
                await running(bounded(self._cluster, consumer.start(), wait_s_max=START_WAIT_S_MAX))
                consumer.assign([self._place])
            except BaseException:
                await stopped(consumer)
                raise
            self._consumer, self._at = consumer, None
        return self._consumer


def first_that_fit(records: deque[tuple[Position, bytes]], size_bytes_max: int) -> list[tuple[Position, bytes]]:
    """Take the first one, then as many as fit."""
    found: list[tuple[Position, bytes]] = []
    size_bytes = 0
    while records:
        size_bytes += len(records[0][1])
        if found and size_bytes > size_bytes_max:
            break
        found.append(records.popleft())
    return found


def unpacked(message: Any) -> bytes:
    """The record in a message."""
    value: bytes = message.value or b""
    return zstandard.ZstdDecompressor().decompress(value) if COMPRESSED in message.headers else value


async def running(asking: Awaitable[Any]) -> Any:
    """For when the log was open once: what is wrong with the brokers then is expected to pass."""
    try:
        return await asking
    except Misconfigured as error:
        raise Unavailable(error.detail) from error
