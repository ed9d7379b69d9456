"""The log in Kafka: one topic, a record a message.

    append --> idempotent producer, acks=all --> its answer has the offset      position = offset + 1
    read   --> a consumer of its own for each partition that is read here, assigned by hand, without a group

Positions are kept in the book and never in the broker, and no rebalancing takes part. **An acknowledgement** means that
all replicas in sync have the record (`min.insync.replicas` of the topic says how many that are at least); Kafka leaves
it to the operating system when it reaches their disks.

The producer repeats by itself what got no answer. An append that was given up here may therefore still come, before
whatever is appended after it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import zstandard

from accrue.connect.kafka import (
    AIOKafkaAdminClient,
    AIOKafkaConsumer,
    AIOKafkaProducer,
    Cluster,
    RecordsToDelete,
    TopicPartition,
    bounded,
    cluster_of,
    errors,
    stopped,
)
from accrue.errors import AccrueError, Misconfigured, TooLarge, Unavailable
from accrue.log.base import RECORD_SIZE_BYTES_MAX, Position, Retention
from accrue.log.kafka_founding import Founded, Topic, ensure
from accrue.log.kafka_reader import COMPRESSED, Reader, running

DEFAULT_TOPIC = "accrue"
OPEN_WAIT_S_MAX = 30.0
APPEND_WAIT_S_MAX = 10.0
ASK_WAIT_S_MAX = 10.0
MESSAGE_OVERHEAD_BYTES = 512


class KafkaLog:
    """See `Log`. Open it with `open`; use it in one event loop."""

    def __init__(self, cluster: Cluster, name: str, founded: Founded, topic: Topic) -> None:
        self._cluster = cluster
        self._name = name
        self._founded = founded
        self._topic = topic
        self._closed = False
        self._starting = asyncio.Lock()
        self._producer: Any = None
        self._asking: Any = None  # a consumer that only asks where partitions begin and end
        self._readers = [
            Reader(cluster, name, partition, partial(self._ends, partition)) for partition in range(founded.partitions)
        ]

    @classmethod
    async def open(cls, url: str, *, partitions: int, create_identity: str) -> KafkaLog:
        """The log of that topic, created with `create_identity` when there is none.

        The URL is `kafka://host:9092,host2:9092?topic=accrue&retention_h=168`.

        Raises `Misconfigured` (URL, user, version, another number of partitions, too short a retention, a compacted
        topic), `Corrupt` (the topic is gone, or the log is newer) and `Unavailable`.
        """
        cluster = cluster_of(url)
        name = cluster.options.get("topic", DEFAULT_TOPIC)
        ensuring = ensure(cluster, name, partitions=partitions, create_identity=create_identity)
        founded, topic = await bounded(cluster, ensuring, wait_s_max=OPEN_WAIT_S_MAX)
        return cls(cluster, name, founded, topic)

    @property
    def identity(self) -> str:
        return self._founded.identity

    @property
    def durability(self) -> str:
        return "confirmed"

    @property
    def record_size_bytes_max(self) -> int:
        return min(self._topic.message_size_bytes_max - MESSAGE_OVERHEAD_BYTES, RECORD_SIZE_BYTES_MAX)

    async def append(self, partition: int, record: bytes) -> Position:
        self._of(partition)
        value, headers = packed(record, self.record_size_bytes_max)

        async def send() -> int:
            producer = await self._started_producer()
            sent = await producer.send_and_wait(self._name, value, partition=partition, headers=headers)
            return int(sent.offset)

        try:
            offset = int(await running(bounded(self._cluster, send(), wait_s_max=APPEND_WAIT_S_MAX)))
        except AccrueError as error:
            if isinstance(error.__cause__, errors.KafkaError):
                await self._give_up_producer()  # what it does not repeat by itself it does not get over
            raise
        if offset < 0:
            raise Unavailable(f"{self._cluster} has the record already, and does not know any more where.")
        return offset + 1

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        return await self._of(partition).read(after, size_bytes_max)

    async def trim(self, partition: int, *, up_to: Position) -> None:
        """Where the user may; else the records grow old."""
        up_to = min(up_to, await self.end(partition))
        if up_to < await self.begin(partition):
            return
        admin = AIOKafkaAdminClient(**self._cluster.settings())

        async def delete() -> None:
            await admin.start()
            await admin.delete_records({TopicPartition(self._name, partition): RecordsToDelete(up_to)})

        try:
            await running(bounded(self._cluster, delete(), wait_s_max=ASK_WAIT_S_MAX))
        except Unavailable as error:
            if not isinstance(error.__cause__, Misconfigured):
                raise
        finally:
            await admin.close()

    async def begin(self, partition: int) -> Position:
        return (await self._ends(partition))[0] + 1

    async def end(self, partition: int) -> Position:
        return (await self._ends(partition))[1]

    async def retention(self) -> Retention:
        return self._topic.retention

    async def close(self) -> None:
        self._closed = True
        for reader in self._readers:
            await reader.close()
        async with self._starting:
            for client in (self._producer, self._asking):
                if client is not None:
                    await stopped(client)
            self._producer = self._asking = None

    def _of(self, partition: int) -> Reader:
        if self._closed:
            raise Unavailable("The log is closed.")
        if not 0 <= partition < len(self._readers):
            raise ValueError(f"partition {partition} is not in 0..{len(self._readers) - 1}")
        return self._readers[partition]

    async def _ends(self, partition: int) -> tuple[Position, Position]:
        """Trimmed or expired up to, last."""
        self._of(partition)
        place = TopicPartition(self._name, partition)

        async def ask() -> tuple[Position, Position]:
            asking = await self._started_asking()
            begin = await asking.beginning_offsets([place])
            end = await asking.end_offsets([place])
            return int(begin[place]), int(end[place])

        found: tuple[Position, Position] = await running(bounded(self._cluster, ask(), wait_s_max=ASK_WAIT_S_MAX))
        return found

    async def _started_producer(self) -> Any:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._started(
                    AIOKafkaProducer(
                        **self._cluster.settings(),
                        acks="all",
                        enable_idempotence=True,
                        max_request_size=self._topic.message_size_bytes_max,
                        max_batch_size=1,  # a record is a batch already; one that waits keeps the next one out
                    )
                )
            return self._producer

    async def _started_asking(self) -> Any:
        async with self._starting:
            if self._asking is None:
                self._asking = await self._started(
                    AIOKafkaConsumer(**self._cluster.settings(), group_id=None, enable_auto_commit=False)
                )
            return self._asking

    async def _started(self, client: Any) -> Any:
        if self._closed:
            await stopped(client)
            raise Unavailable("The log is closed.")
        try:
            await client.start()
        except BaseException:
            await stopped(client)
            raise
        return client

    async def _give_up_producer(self) -> None:
        async with self._starting:
            producer, self._producer = self._producer, None
            if producer is not None:
                await stopped(producer)


def packed(record: bytes, size_bytes_max: int) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The value and the headers of a message. Raises `TooLarge` when it does not fit even compressed."""
    if len(record) <= size_bytes_max:
        return record, []
    small = zstandard.ZstdCompressor(level=3).compress(record)
    if len(small) > size_bytes_max:
        raise TooLarge(
            f"A record has {len(record)} bytes, compressed {len(small)}; the topic takes {size_bytes_max}. "
            "Raise its max.message.bytes, or send fewer events in one request."
        )
    return small, [COMPRESSED]
