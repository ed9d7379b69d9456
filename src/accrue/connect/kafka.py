"""Kafka: where it is, clients stopped within a bound, and its errors translated.

aiokafka's clients reconnect by themselves and never give up, and stopping one waits for what it still wants to send. So
every call here is bounded by who makes it, and `stopped` ends a client also when its brokers are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from accrue.errors import AccrueError, Corrupt, Misconfigured, TooLarge, Unavailable

try:
    # Named twice so that the modules of the log get them from here, and with them the error below.
    from aiokafka import AIOKafkaConsumer as AIOKafkaConsumer  # type: ignore[import-untyped]  # it ships no types
    from aiokafka import AIOKafkaProducer as AIOKafkaProducer
    from aiokafka import TopicPartition as TopicPartition
    from aiokafka import errors as errors
    from aiokafka.admin import AIOKafkaAdminClient as AIOKafkaAdminClient  # type: ignore[import-untyped]  # as above
    from aiokafka.admin import NewTopic as NewTopic
    from aiokafka.admin import RecordsToDelete as RecordsToDelete
    from aiokafka.admin.config_resource import ConfigResource as ConfigResource  # type: ignore[import-untyped]  # as above
    from aiokafka.admin.config_resource import ConfigResourceType as ConfigResourceType
except ImportError as missing:
    raise Misconfigured("Kafka needs its driver: pip install 'accrue[kafka]'.") from missing

Result = TypeVar("Result")

# While a broker is away aiokafka says so ten times a second. What goes wrong is raised, and said by who handles it.
if (logger := logging.getLogger("aiokafka")).level == logging.NOTSET:
    logger.setLevel(logging.CRITICAL)

DEFAULT_PORT = 9092
REQUEST_TIMEOUT_MS = 10_000
STOP_WAIT_S_MAX = 2.0
WANTED = "The Kafka URL cannot be used. It looks like kafka://host:9092,host2:9092?topic=accrue."


class Cluster(Struct, frozen=True):
    """Where the brokers are and who asks. `options` is what stood behind the `?`."""

    servers: list[str]
    user: str
    password: str
    options: dict[str, str]

    def __str__(self) -> str:
        return f"Kafka at {','.join(self.servers)}"

    def settings(self) -> dict[str, Any]:
        """What every client of aiokafka is given."""
        found: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "client_id": "accrue",
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
        }
        if self.user:
            found |= {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return found


def cluster_of(url: str) -> Cluster:
    """`kafka://user:password@host:9092,host2:9092?topic=accrue`; the user may be left out. Raises `Misconfigured`."""
    parts = urlsplit(url)
    who, _, where = parts.netloc.rpartition("@")
    user, _, password = who.partition(":")
    servers = [server if ":" in server else f"{server}:{DEFAULT_PORT}" for server in where.split(",") if server]
    if parts.scheme != "kafka" or not servers or not all(server.rpartition(":")[2].isdigit() for server in servers):
        raise Misconfigured(WANTED)
    return Cluster(servers, unquote(user), unquote(password), dict(parse_qsl(parts.query)))


async def bounded(cluster: Cluster, asking: Awaitable[Result], *, wait_s_max: float) -> Result:
    """What was asked for, within a time. Raises what `translated` makes of the driver's errors."""
    try:
        async with asyncio.timeout(wait_s_max):
            return await asking
    except TimeoutError as error:
        raise Unavailable(f"{cluster} did not answer within {wait_s_max:g} s.") from error
    except (errors.KafkaError, OSError) as error:
        raise translated(error, cluster) from error


async def stopped(client: Any) -> None:
    """Stop a producer or a consumer. What it could not send within the bound is given up."""
    if await _ended(client.stop):
        return
    for part in (getattr(client, name, None) for name in ("_coordinator", "_fetcher", "_sender")):
        if part is not None:
            await _ended(part.close)
    if (accumulator := getattr(client, "_message_accumulator", None)) is not None:
        accumulator.fail_all(errors.ProducerClosed())  # after its sender has gone, which would be put out by it
    await _ended((getattr(client, "client", None) or client._client).close)


async def _ended(close: Callable[[], Awaitable[None]]) -> bool:
    """Whether it closed within the bound. aiokafka passes on the cancelling of its own tasks: that is not ours."""
    me = asyncio.current_task()
    try:
        async with asyncio.timeout(STOP_WAIT_S_MAX):
            await close()
    except asyncio.CancelledError:
        if me is None or me.cancelling():
            raise
        return False
    except (TimeoutError, TypeError, errors.KafkaError, OSError):  # TypeError: a part was closed already
        return False
    return True


def translated(error: Exception, cluster: Cluster) -> AccrueError:
    """The driver's error in Accrue's words."""
    match error:
        case errors.AuthenticationFailedError() | errors.SaslAuthenticationFailed():
            return Misconfigured(f"{cluster} refused the user or the password. Check both in the URL.")
        case errors.UnsupportedSaslMechanismError() | errors.IllegalSaslStateError():
            return Misconfigured(f"{cluster} does not take a user and a password that way (SASL PLAIN).")
        case errors.TopicAuthorizationFailedError() | errors.ClusterAuthorizationFailedError():
            return Misconfigured(f"{cluster}: the user may not do that ({error}). Grant it, or name another user.")
        case errors.UnsupportedVersionError() | errors.UnsupportedForMessageFormatError():
            return Misconfigured(f"{cluster} is too old ({error}). At least Kafka 2.4 is needed.")
        case errors.MessageSizeTooLargeError() | errors.RecordTooLargeError() | errors.RecordListTooLargeError():
            return TooLarge(f"{cluster} takes no record of that size. Raise max.message.bytes of the topic.")
        case errors.CorruptRecordException():
            return Corrupt(f"{cluster} holds a damaged record: {error}. Nothing was changed.")
    return Unavailable(f"{cluster}: {str(error) or type(error).__name__}.")
