"""RabbitMQ's stream protocol: one connection, and its errors translated.

Frames are encoded and decoded by rstream; the connection is our own, because a log needs to know when it has broken: a
server that fell silent, a frame that cannot be read or a request without an answer ends it at once, everything that
waited for it gets `Unavailable`, and nothing stays behind: there is no task, only callbacks.

    request --> answer by correlation id      publish --> confirmed / refused      subscribe --> chunks, by credit
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from accrue.errors import Absent, AccrueError, Misconfigured, Unavailable

try:
    # Named twice so that the modules of the log get them from here, and with them the error below.
    from rstream import schema as schema
    from rstream.constants import OffsetType as OffsetType
    from rstream.encoding import decode_frame, encode_frame, encode_publish
except ImportError as missing:
    raise Misconfigured("RabbitMQ streams need their driver: pip install 'accrue[rabbitmq]'.") from missing

Answer = TypeVar("Answer", bound=schema.Frame)
Chunk = Callable[[int, int, list[bytes]], None]
"""Is given the subscription, the offset of the first message of a chunk, and the messages."""

SERVER_VERSION_MIN = (3, 10)
DEFAULT_PORT = 5552
CONNECT_WAIT_S_MAX = 5.0
REQUEST_WAIT_S_MAX = 5.0
HEARTBEAT_S = 4
SILENCE_S_MAX = 10.0
"""A server from which nothing came for so long, not even a heartbeat, is taken for gone."""

FRAME_SIZE_BYTES_MAX = 64 << 20
"""What is asked for; the server's `stream.frame_max` (1 MiB unless it is raised) is usually less."""
CHUNK_SIZE_BYTES_MAX = 1 << 30
PUBLISH_OVERHEAD_BYTES = 32
"""What a frame with one message holds besides it."""

OK, NO_STREAM, EXISTS = 1, 2, 5
PUBLISHER = 0


class Address(Struct, frozen=True):
    """A server and who asks. `options` is what stood behind the `?`."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    options: dict[str, str]

    def __str__(self) -> str:
        return f"RabbitMQ at {self.host}:{self.port}"


class Refused(Exception):
    """The server's answer was a code other than OK."""

    def __init__(self, code: int) -> None:
        super().__init__(f"response code {code}")
        self.code = code


class StreamConnection(asyncio.Protocol):
    """One connection, used up once `error` is set. Publishes to one stream and subscribes to any."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.error: AccrueError | None = None
        self.frame_size_bytes_max = FRAME_SIZE_BYTES_MAX
        self.properties: dict[str, str] = {}
        self.on_lost: Callable[[AccrueError], None] = lambda error: None
        self.on_confirmed: Callable[[int, int], None] = lambda number, code: None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._gone = self._loop.create_future()
        self._buffer = bytearray()
        self._correlation = 0
        self._waiting: dict[int, asyncio.Future[schema.Frame]] = {}
        self._tuned: asyncio.Future[schema.Tune] = self._loop.create_future()
        self._subscriptions: dict[int, Chunk] = {}
        self._heard_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, address: Address) -> StreamConnection:
        """Connect and log in. Raises `Misconfigured` for what the operator has to change, else `Unavailable`."""
        connection = cls(address)
        try:
            async with asyncio.timeout(CONNECT_WAIT_S_MAX):
                await connection._loop.create_connection(lambda: connection, address.host, address.port)
                await connection._log_in()
        except ConnectionRefusedError as error:
            raise Absent(
                f"Nothing listens at {address.host}:{address.port}. Is RabbitMQ up, and are its streams on? "
                "`rabbitmq-plugins enable rabbitmq_stream` turns them on; they have a port of their own, 5552."
            ) from error
        except (OSError, TimeoutError) as error:
            connection.abort(Unavailable(f"{address} cannot be reached: {str(error) or 'it does not answer'}."))
            raise connection.error or Unavailable(f"{address} cannot be reached.") from error
        except BaseException:
            connection.abort(Unavailable(f"Logging in to {address} was given up."))
            raise
        return connection

    async def request(self, kind: type[Answer], ask: Callable[[int], schema.Frame]) -> Answer:
        """The answer to the frame that `ask(correlation id)` makes. Raises `Refused`, and `Unavailable` without one."""
        self._correlation += 1
        number = self._correlation
        answer = self._waiting[number] = self._loop.create_future()
        try:
            self.send(ask(number))
            async with asyncio.timeout(REQUEST_WAIT_S_MAX):
                found = await answer
        except TimeoutError as error:
            self.abort(Unavailable(f"{self.address} did not answer within {REQUEST_WAIT_S_MAX:g} s."))
            raise self.error or Unavailable(f"{self.address} did not answer.") from error
        finally:
            self._waiting.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # it may have broken before anybody waited
        code = getattr(found, "response_code", OK)
        if code != OK:
            raise Refused(code)
        return cast(Answer, found)

    def send(self, frame: schema.Frame) -> None:
        """Write a frame. Raises `Unavailable` on a connection that is used up."""
        self._write(encode_frame(frame))

    async def declare_publisher(self, stream: str) -> None:
        """Publish to that stream from now on, without a name: a reused name silently discards."""
        await self.request(
            schema.DeclarePublisherResponse,
            lambda number: schema.DeclarePublisher(number, publisher_id=PUBLISHER, reference="", stream=stream),
        )

    def publish(self, number: int, message: bytes) -> None:
        """Send one message; `on_confirmed(number, response code)` tells what became of it."""
        self._write(encode_publish(schema.Publish(PUBLISHER, [schema.Message(number, None, message)])))

    async def subscribe(self, stream: str, where: OffsetType, offset: int | None, chunk: Chunk, *, credit: int) -> int:
        """Have `chunk` called with what follows, `credit` times until more is given. Returns the subscription's id."""
        subscription = next(number for number in range(256) if number not in self._subscriptions)
        self._subscriptions[subscription] = chunk
        spec = schema.OffsetSpec.from_params(where, offset)
        try:
            await self.request(
                schema.SubscribeResponse,
                lambda number: schema.Subscribe(number, subscription, stream, spec, credit, []),
            )
        except Refused:
            del self._subscriptions[subscription]
            raise
        return subscription

    def give_credit(self, subscription: int, chunks: int = 1) -> None:
        """Let so many more chunks come. Nothing on a connection that is used up."""
        if self.error is None:
            self.send(schema.Credit(subscription, chunks))

    async def unsubscribe(self, subscription: int) -> None:
        """No more chunks. The id is free when the server has answered."""
        self._subscriptions[subscription] = lambda *late: None
        await self.request(schema.UnsubscribeResponse, lambda number: schema.Unsubscribe(number, subscription))
        del self._subscriptions[subscription]

    def abort(self, error: AccrueError) -> None:
        """Break it: whoever waits gets `error`. The first reason stays."""
        if self.error is not None:
            return
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        if not self._tuned.done():
            self._tuned.set_exception(error)
            self._tuned.exception()  # nobody may be waiting for it
        self.on_lost(error)

    async def close(self) -> None:
        """Say goodbye and hang up; a server that does not take it is not waited for."""
        if self.error is None and self._transport is not None:
            self._correlation += 1
            self.send(schema.Close(self._correlation, 1, "OK"))
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._transport.abort()
        self.abort(Unavailable(f"The connection to {self.address} was closed here."))
        if self._transport is not None:
            await asyncio.shield(self._gone)

    # --- what asyncio calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.error is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self.abort(Unavailable(f"{self.address} closed the connection{f' ({exc})' if exc else ''}."))

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        self._buffer += data
        try:
            while self.error is None and len(self._buffer) >= 4:
                size_bytes = int.from_bytes(self._buffer[:4], "big")
                if size_bytes > CHUNK_SIZE_BYTES_MAX:
                    raise Misconfigured(f"{self.address} does not speak RabbitMQ's stream protocol. Its port is 5552.")
                if len(self._buffer) < 4 + size_bytes:
                    return
                frame = decode_frame(bytes(memoryview(self._buffer)[4 : 4 + size_bytes]))
                del self._buffer[: 4 + size_bytes]
                self._take(frame)
        except AccrueError as error:
            self.abort(error)
        except Exception as error:
            # Whatever it was, what follows in the buffer cannot be trusted. A new connection begins afresh.
            self.abort(Unavailable(f"{self.address} sent what cannot be read ({error})."))

    def _take(self, frame: schema.Frame) -> None:
        match frame:
            case schema.Deliver():
                chunk = self._subscriptions.get(frame.subscription_id)
                if chunk is not None:
                    chunk(frame.subscription_id, frame.chunk_first_offset, frame.get_messages())
            case schema.PublishConfirm():
                for number in frame.publishing_ids:
                    self.on_confirmed(number, OK)
            case schema.PublishError():
                for refused in frame.errors:
                    self.on_confirmed(refused.publishing_id, refused.response_code)
            case schema.Tune():
                if not self._tuned.done():
                    self._tuned.set_result(frame)
            case schema.MetadataUpdate():
                self.abort(
                    Unavailable(f"{self.address}: the stream {frame.metadata_info.stream} has moved or is gone.")
                )
            case schema.Close():
                self.send(schema.CloseResponse(frame.correlation_id, OK))
                self.abort(Unavailable(f"{self.address} closed the connection: {frame.reason}."))
            case _:
                answer = self._waiting.get(frame.corr_id or 0)
                if answer is not None and not answer.done():
                    answer.set_result(frame)

    def _write(self, data: bytes) -> None:
        if self.error is not None:
            raise Unavailable(self.error.detail)
        assert self._transport is not None
        self._transport.write(data)

    async def _log_in(self) -> None:
        """The steps of the protocol, in its order."""
        asked = [schema.Property("product", "Accrue"), schema.Property("connection_name", "accrue")]
        peer = await self.request(schema.PeerPropertiesResponse, lambda number: schema.PeerProperties(number, asked))
        self.properties = {each.key: each.value for each in peer.properties}
        self._check_version(self.properties.get("version", ""))
        await self.request(schema.SaslHandshakeResponse, schema.SaslHandshake)
        secret = f"\0{self.address.user}\0{self.address.password}".encode()
        try:
            await self.request(
                schema.SaslAuthenticateResponse, lambda number: schema.SaslAuthenticate(number, "PLAIN", secret)
            )
            tune = await self._tuned
            self.frame_size_bytes_max = min(tune.frame_max or FRAME_SIZE_BYTES_MAX, FRAME_SIZE_BYTES_MAX)
            self.send(schema.Tune(self.frame_size_bytes_max, HEARTBEAT_S))
            opened = await self.request(schema.OpenResponse, lambda number: schema.Open(number, self.address.vhost))
        except Refused as refused:
            raise translated(refused, self.address) from refused
        self.properties |= {each.key: each.value for each in opened.properties}
        self._beat()  # not earlier: until it is open the server takes a heartbeat for an offence

    def _check_version(self, version: str) -> None:
        known = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if known and known < SERVER_VERSION_MIN:
            least = ".".join(map(str, SERVER_VERSION_MIN))
            raise Misconfigured(f"{self.address} is RabbitMQ {version}; at least {least} is needed.")

    def _beat(self) -> None:
        """Say that we are there, and see that the server is."""
        if self.error is not None:
            return
        if self._loop.time() - self._heard_s > SILENCE_S_MAX:
            self.abort(Unavailable(f"{self.address} has said nothing for {SILENCE_S_MAX:g} s."))
            return
        self.send(schema.Heartbeat())
        self._timer = self._loop.call_later(HEARTBEAT_S / 2, self._beat)


def address_of(url: str) -> Address:
    """`rabbitmq-stream://user:password@host:5552/vhost?name=accrue`. Raises `Misconfigured`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError as error:
        raise Misconfigured(WANTED) from error
    if parts.scheme != "rabbitmq-stream" or not host:
        raise Misconfigured(WANTED)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    return Address(host, port, user, password, vhost, dict(parse_qsl(parts.query)))


WANTED = "The RabbitMQ URL cannot be used. It looks like rabbitmq-stream://user:pw@host:5552/vhost?name=accrue."


def translated(refused: Refused, address: Address) -> AccrueError:
    """A refusal in Accrue's words."""
    match refused.code:
        case 8 | 9 | 10:
            return Misconfigured(f"{address} refused the user or the password. Check both in the URL.")
        case 11:
            return Misconfigured(f"{address} lets the user guest in from its own machine only. Name another user.")
        case 12:
            return Misconfigured(f"{address}: no virtual host {address.vhost!r}, or the user may not use it.")
        case 16:
            return Misconfigured(
                f"{address}: the user may not do that in {address.vhost!r}. "
                "It needs to configure, write and read: `rabbitmqctl set_permissions`."
            )
        case 17:
            return Misconfigured(f"{address}: a stream of that name exists with other settings. Take another ?name=.")
    return Unavailable(f"{address} refused: {refused}.")
