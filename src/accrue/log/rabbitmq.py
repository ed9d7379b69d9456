"""The log in RabbitMQ streams: one stream a partition.

    <name>-0, <name>-1, ...     the partitions
    <name>-identity             what the log was founded with; kept for ever

**Founding.** Whoever finds no identity makes the streams, puts a first message into each, and only then publishes what
it founded, as a message of `<name>-identity`. The first such message stands, also when several found at the same time.
So a log that has an identity has all its streams; one that is missing was deleted, and is not made again: its positions
would begin anew.

**A confirm** means that the record was written by a majority of the stream's replicas: the broker may die at any
moment after it. RabbitMQ leaves it to the operating system when that reaches the disks, so a power cut of all
replicas at once may take back what was confirmed.

**Retention.** A stream cannot be trimmed to a position; the broker drops what is older than the log was founded with
(`?retention_h=`, 168 hours). A policy of the operator may shorten that without being visible here: watch `begin`.
"""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Struct

from accrue import ids
from accrue.connect.rabbitmq import (
    EXISTS,
    NO_STREAM,
    PUBLISH_OVERHEAD_BYTES,
    Address,
    OffsetType,
    Refused,
    StreamConnection,
    address_of,
    schema,
    translated,
)
from accrue.connect.rabbitmq_leader import at_leader
from accrue.errors import Corrupt, Misconfigured, Unavailable
from accrue.log.base import RECORD_SIZE_BYTES_MAX, Position, Retention, check_retention
from accrue.log.rabbitmq_message import HEADER_SIZE_BYTES, SECTION
from accrue.log.rabbitmq_stream import Stream

FORMAT = 1
DEFAULT_NAME = "accrue"
DEFAULT_RETENTION_H = 168
FOUNDED_WAIT_S = 0.5
"""A log that does not show its identity within this is founded; that does no harm where it was only slow."""
IDENTITY_WAIT_S_MAX = 10.0
SEGMENT_SIZE_BYTES = 100 << 20
"""The broker drops whole files of this size. Its own default, 500 MB, would keep a quiet partition for ever."""


class Founding(Struct, frozen=True):
    """What the log was founded with: the message in `<name>-identity`."""

    format: int
    identity: str
    partitions: int
    retention: Retention


class RabbitmqLog:
    """See `Log`. Open it with `open`; use it in one event loop."""

    def __init__(self, founding: Founding, streams: list[Stream], *, frame_size_bytes_max: int) -> None:
        self._founding = founding
        self._closed = False
        self._streams = streams
        self._record_size_bytes_max = frame_size_bytes_max - PUBLISH_OVERHEAD_BYTES - HEADER_SIZE_BYTES

    @classmethod
    async def open(cls, url: str, *, partitions: int, create_identity: str) -> RabbitmqLog:
        """The log of that name, created with `create_identity` when there is none.

        The URL is `rabbitmq-stream://user:pw@host:5552/vhost?name=accrue&retention_h=168`.

        Raises `Misconfigured` (URL, no stream plugin, user, virtual host, server version, another number of partitions,
        too short a retention), `Corrupt` (a stream is gone, or the log is newer) and `Unavailable`.
        """
        address = address_of(url)
        name = address.options.get("name", DEFAULT_NAME)
        wanted = Founding(FORMAT, create_identity, partitions, retention_of(address))
        writer = int(ids.identity()[:16], 16)
        streams = [Stream(address, f"{name}-{partition}", writer=writer) for partition in range(partitions)]
        try:
            connection, is_new = await at_identity(address, name)
            try:
                founding = None if is_new else await founded(connection, name)
                if founding is None:
                    await make(connection, name, wanted)
                    for stream in streams:
                        await stream.found()
                    founding = await found(connection, name, wanted)
                check(founding, wanted, address, name)
                await check_streams(connection, name, partitions)
                return cls(founding, streams, frame_size_bytes_max=connection.frame_size_bytes_max)
            finally:
                await connection.close()
        except BaseException as error:
            for stream in streams:
                await stream.close()
            if isinstance(error, Refused):
                raise translated(error, address) from error
            raise

    @property
    def identity(self) -> str:
        return self._founding.identity

    @property
    def durability(self) -> str:
        return "confirmed"

    @property
    def record_size_bytes_max(self) -> int:
        return min(self._record_size_bytes_max, RECORD_SIZE_BYTES_MAX)

    async def append(self, partition: int, record: bytes) -> Position:
        return await self._of(partition).append(record)

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        return await self._of(partition).read(after=after, size_bytes_max=size_bytes_max)

    async def trim(self, partition: int, *, up_to: Position) -> None:
        """Nothing: a stream cannot be trimmed to a position, it grows old."""
        self._of(partition)

    async def begin(self, partition: int) -> Position:
        return await self._of(partition).begin()

    async def end(self, partition: int) -> Position:
        return await self._of(partition).end()

    async def retention(self) -> Retention:
        """As the log was founded. What a policy of the broker says is not visible here."""
        return self._founding.retention

    async def close(self) -> None:
        self._closed = True
        for stream in self._streams:
            await stream.close()

    def _of(self, partition: int) -> Stream:
        if self._closed:
            raise Unavailable("The log is closed.")
        if not 0 <= partition < len(self._streams):
            raise ValueError(f"partition {partition} is not in 0..{len(self._streams) - 1}")
        return self._streams[partition]


async def at_identity(address: Address, name: str) -> tuple[StreamConnection, bool]:
    """A connection to the leader of the stream with the identity; and whether that was only now made."""
    stream = identity_stream(name)
    try:
        return await at_leader(address, stream), False
    except Refused as refused:
        if refused.code != NO_STREAM:
            raise
    connection = await StreamConnection.open(address)
    try:
        is_new = await create(connection, stream, {})
    finally:
        await connection.close()
    return await at_leader(address, stream), is_new


async def founded(connection: StreamConnection, name: str, *, wait_s_max: float = FOUNDED_WAIT_S) -> Founding | None:
    """What the log was founded with: the first message, when there is one within that time."""
    stream = identity_stream(name)
    first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def came(subscription: int, offset: int, messages: list[bytes]) -> None:
        if not first.done():
            first.set_result(messages[0])

    subscription = await connection.subscribe(stream, OffsetType.FIRST, None, came, credit=1)
    try:
        async with asyncio.timeout(wait_s_max):
            message = await first
    except TimeoutError:
        return None
    finally:
        await connection.unsubscribe(subscription)
    try:
        return msgspec.json.decode(message[len(SECTION) + 4 :], type=Founding)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"The stream {stream} does not say which log this is ({error}). Nothing was changed.") from error


async def make(connection: StreamConnection, name: str, wanted: Founding) -> None:
    """Make the streams of the partitions, as far as they are not there."""
    retention = wanted.retention
    arguments = {"stream-max-segment-size-bytes": str(SEGMENT_SIZE_BYTES)}
    if retention.age_s is not None:
        arguments["max-age"] = f"{retention.age_s}s"
    if retention.size_bytes is not None:
        arguments["max-length-bytes"] = str(retention.size_bytes)
    for partition in range(wanted.partitions):
        await create(connection, f"{name}-{partition}", arguments)


async def found(connection: StreamConnection, name: str, wanted: Founding) -> Founding:
    """Publish what was founded, and return what stands: the first such message may be another's."""
    body = msgspec.json.encode(wanted)
    await connection.declare_publisher(identity_stream(name))
    connection.publish(1, SECTION + len(body).to_bytes(4, "big") + body)
    standing = await founded(connection, name, wait_s_max=IDENTITY_WAIT_S_MAX)
    if standing is None:
        raise Unavailable(f"{connection.address} did not confirm the identity of the log.")
    return standing


async def create(connection: StreamConnection, stream: str, arguments: dict[str, str]) -> bool:
    """Make a stream; False when it is there already."""
    asked = [schema.Property(key, value) for key, value in arguments.items()]
    try:
        await connection.request(schema.CreateResponse, lambda number: schema.Create(number, stream, asked))
    except Refused as refused:
        if refused.code != EXISTS:
            raise
        return False
    return True


def check(founding: Founding, wanted: Founding, address: Address, name: str) -> None:
    """Raises when the log that is there is not the one that is wanted."""
    if founding.format != FORMAT:
        raise Corrupt(
            f"The log {name!r} in {address} has format {founding.format}; this version reads format {FORMAT}. "
            "Nothing was changed: install the version of Accrue that wrote it, or a newer one."
        )
    if founding.partitions != wanted.partitions:
        raise Misconfigured(
            f"The log {name!r} in {address} was created with {founding.partitions} partitions, which never changes; "
            f"{wanted.partitions} are configured. Correct the setting, or take another ?name= for a new deployment."
        )


async def check_streams(connection: StreamConnection, name: str, partitions: int) -> None:
    """Raises `Corrupt` when a stream of the log is gone."""
    names = [f"{name}-{partition}" for partition in range(partitions)]
    answer = await connection.request(schema.MetadataResponse, lambda number: schema.Metadata(number, names))
    gone = [each.name for each in answer.metadata if each.response_code == NO_STREAM]
    if gone:
        raise Corrupt(
            f"{connection.address} has lost the streams {', '.join(gone)} of this log, and what was not settled yet "
            "with them. Nothing was changed. Put a backup back, or take another ?name= for a new log."
        )


def retention_of(address: Address) -> Retention:
    """What the URL asks for. Raises `Misconfigured` for what is too short, or no number."""
    try:
        hours = int(address.options.get("retention_h", DEFAULT_RETENTION_H))
    except ValueError as error:
        raise Misconfigured("?retention_h= in the URL of the log is a whole number of hours.") from error
    retention = Retention(age_s=hours * 3600)
    check_retention(retention, f"{address}", "raise ?retention_h= in the URL.")
    return retention


def identity_stream(name: str) -> str:
    """The stream that says which log it is."""
    return f"{name}-identity"
