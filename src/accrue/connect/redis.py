"""Redis: one client for a deployment, its settings checked, its scripts loaded, its errors translated.

Nothing waits for longer than `WAIT_S_MAX` for a server that does not answer, or `CLUSTER_WAIT_S_MAX` for a cluster. A
client connects by itself again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Collection, Sequence
from contextlib import suppress
from typing import Any

import structlog

from accrue.connect.redis_address import Address
from accrue.errors import AccrueError, Corrupt, Full, Misconfigured, Unavailable

try:
    from redis import exceptions as said
    from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    from accrue.connect.redis_cluster import CLOSED_MEANWHILE, Cluster
except ImportError as missing:
    raise Misconfigured("Redis needs a package that is not installed: pip install accrue[redis]") from missing

WAIT_S_MAX = 1.0
CONNECTIONS_MAX = 32
RETRIES = 1
"""A connection that the server closed while nobody used it shows that only when it is used. Whatever is sent may be
sent twice: it reads, or it is a write that a server takes once."""
CLUSTER_WAIT_S_MAX = 3.0
"""A cluster's client asks node after node, twice, when none answers; enough for one that does to be found."""
VERSION_MIN = 7
FULL = ("OOM", "MISCONF")
NOT_ALLOWED = ("NOAUTH", "WRONGPASS", "NOPERM")
FAILURES = (said.RedisError, said.RedisClusterException, OSError, TimeoutError)

logger = structlog.get_logger("accrue.connect")


class Script:
    """A script by its digest. The server is sent its text when it does not know it.

    `errors` are the first words of the errors that it returns itself.
    """

    def __init__(self, text: str, *, errors: Collection[str] = ()) -> None:
        self.text = text
        self.errors = errors
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """A pool of connections to a server or a cluster. Every error is one of errors.py, but for `Said`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._checked = False
        common: dict[str, Any] = {
            "username": address.user,
            "password": address.password,
            "decode_responses": True,
            "socket_timeout": WAIT_S_MAX,
            "socket_connect_timeout": WAIT_S_MAX,
            "protocol": 2,
        }
        self._client: Any  # the two are not of one type, and the library's stubs promise less than it does
        if address.is_cluster:
            self._client = Cluster(
                host=address.host,
                port=address.port,
                max_connections=CONNECTIONS_MAX,
                retry=Retry(NoBackoff(), RETRIES),
                ssl=address.is_encrypted,
                **common,
            )
        else:
            encrypted: dict[str, Any] = {"connection_class": SSLConnection} if address.is_encrypted else {}
            pool = BlockingConnectionPool(
                max_connections=CONNECTIONS_MAX,
                timeout=WAIT_S_MAX,
                host=address.host,
                port=address.port,
                db=address.database,
                retry=Retry(NoBackoff(), RETRIES, (said.ConnectionError,)),
                **common,
                **encrypted,
            )
            self._client = Redis.from_pool(pool)

    async def check(self) -> None:
        """See once that the server is one that boards can be kept on. Raises `Misconfigured` saying what to change,
        and `Unavailable` when it does not answer: then it is asked again next time."""
        if self._checked:
            return
        if self.address.is_cluster:
            several, everybody = await self._of_each_node()
        else:
            several, everybody = {str(self.address): await self._ask(self._client.info())}, True
        for place, info in several.items():
            _judge(place, info, is_cluster=self.address.is_cluster)
        self._checked = everybody

    async def _of_each_node(self) -> tuple[dict[str, dict[str, Any]], bool]:
        """What each node says of itself, and whether all did. One that is away keeps nobody from the others."""
        await self._ask(self._client.initialize())
        nodes = self._client.get_primaries()
        asked = [self._ask(self._client.info(target_nodes=[node])) for node in nodes]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, Unavailable) or len(failures) == len(nodes):
                raise failure
        told = zip(nodes, answers, strict=True)
        return {node.name: answer for node, answer in told if isinstance(answer, dict)}, not failures

    def place_of(self, key: str) -> str:
        """Which server has a key, as far as is known before the first call: a node of a cluster, or the only one."""
        if self.address.is_cluster:
            with suppress(said.SlotNotCoveredError):
                return str(self._client.get_node_from_key(key).name)
        return str(self.address)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> Any:
        """Run a script whose keys are all of one tenant. Raises `Said` for an error that is the script's own."""
        return await self._ask(self._run(script, (len(keys), *keys, *arguments)), script.errors)

    async def _run(self, script: Script, call: Sequence[str | int | bytes]) -> Any:
        try:
            return await self._client.evalsha(script.digest, *call)
        except said.NoScriptError:  # the server was started anew
            return await self._client.eval(script.text, *call)

    async def one(self, *command: str | int) -> Any:
        """One command."""
        return await self._ask(self._client.execute_command(*command))

    async def many(self, commands: Sequence[Sequence[str | int]]) -> list[Any]:
        """Several commands that do not depend on each other, in one go for each server."""
        if not commands:
            return []
        if len(commands) == 1:  # a pipeline of a cluster that fails takes all its connections along
            return [await self.one(*commands[0])]
        pipeline = self._client.pipeline() if self.address.is_cluster else self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        found: list[Any] = await self._ask(pipeline.execute())
        return found

    async def close(self) -> None:
        """Give the connections back. Harmless to repeat."""
        if self.address.is_cluster:
            await self._client.leave()
        else:
            await self._client.aclose()
            await self._client.connection_pool.disconnect()

    async def _ask(self, answer: Awaitable[Any], own_errors: Collection[str] = ()) -> Any:
        """The answer, or its error in our words."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        try:
            async with asyncio.timeout(CLUSTER_WAIT_S_MAX if self.address.is_cluster else None):
                return await answer
        except FAILURES as error:
            words = str(error).split(" ", 1)
            if words[0] in own_errors:
                raise Said(*words) from error
            raise self._translated(error) from error
        except CLOSED_MEANWHILE as error:
            if not self.address.is_cluster:
                raise
            raise Unavailable(f"{self.address} cannot be reached: a connection was closed meanwhile.") from error
        finally:
            # The library sends with asyncio.wait_for, which before Python 3.12 lost a cancellation now and then.
            if task and task.cancelling() > before:
                raise asyncio.CancelledError

    def _translated(self, error: Exception) -> AccrueError:
        text = str(error) or type(error).__name__
        code = text.split(" ", 1)[0]
        if isinstance(error, said.AuthenticationError | said.NoPermissionError) or code in NOT_ALLOWED:
            return Misconfigured(f"{self.address} refuses the user or the password in its URL: {text}")
        if "DB index is out of range" in text:
            return Misconfigured(f"{self.address} has no database of that number.")
        if "Cluster mode is not enabled" in text:
            return Misconfigured(f"{self.address} is one server, not a cluster: its URL begins with redis://.")
        if isinstance(error, said.OutOfMemoryError) or code in FULL:
            return Full(f"{self.address} takes no more: {text}", retry_after_s=10)
        if code == "WRONGTYPE":
            return Corrupt(f"Something else writes to the keys of the boards in {self.address}: {text}")
        return Unavailable(f"{self.address} cannot be reached: {text}")


class Said(Exception):
    """An error that a script returned itself, for whoever wrote the script: its first word, and the rest."""

    def __init__(self, word: str, rest: str = "") -> None:
        super().__init__(word)
        self.word, self.rest = word, rest


def _judge(place: str, info: dict[str, Any], *, is_cluster: bool) -> None:
    """Raises `Misconfigured` when boards cannot be kept on such a server."""
    version = str(info.get("redis_version", ""))
    if version and int(version.split(".", 1)[0]) < VERSION_MIN:
        raise Misconfigured(f"{place} is Redis {version}; boards need version {VERSION_MIN} or newer.")
    if bool(info.get("cluster_enabled")) and not is_cluster:
        raise Misconfigured(f"{place} is a node of a cluster: its URL begins with redis-cluster://.")
    if info.get("role") == "slave":
        raise Misconfigured(f"{place} is a replica of {info.get('master_host')}: name the server it follows.")
    policy = info.get("maxmemory_policy")
    if policy is None:
        logger.warning("the server does not say whether it evicts; boards need maxmemory-policy noeviction", at=place)
    elif policy != "noeviction":
        raise Misconfigured(
            f"{place} evicts keys when its memory is full (maxmemory-policy {policy}), and boards would lose members. "
            "Set it: CONFIG SET maxmemory-policy noeviction, and in its configuration."
        )
