"""The library's client of a Redis Cluster, made to get over a node that is away.

What it does otherwise (redis-py 8.1.0), so that this file can go when it no longer does:

- each time it looks where the slots are it asks its first node which commands there are, and fails for all with it;
- when slots are not served it closes all connections, with them those on which others wait;
- a call whose connection was closed so ends in an error of Python's own: `CLOSED_MEANWHILE`;
- a pipeline that fails does the same, so a single command is never sent as one (redis.py, `many`).
"""

from __future__ import annotations

from typing import Any

from redis import exceptions as said
from redis.asyncio import RedisCluster

NODES_TRIED_MAX = 3
"""One after the other, when some are away: each may take as long as a time-out."""

CLOSED_MEANWHILE = (AttributeError, RuntimeError)


class Cluster(RedisCluster):
    """See above. Close it with `leave`."""

    async def initialize(self, *args: Any, **options: Any) -> RedisCluster:
        """As the library's; when the first node is away the next one is the first."""
        for _ in range(NODES_TRIED_MAX):
            try:
                return await super().initialize(*args, **options)
            except (said.ConnectionError, said.TimeoutError):
                first = next(iter(self.nodes_manager.nodes_cache))
                self.nodes_manager.move_node_to_end_of_cached_nodes(first)
        return await super().initialize(*args, **options)

    async def aclose(self) -> None:
        """What the library does when slots are not served, to look for them anew. Here it does only that: else all
        connections would be closed, and with them whatever others wait for."""
        self._initialize = True

    async def leave(self) -> None:
        """Close the connections."""
        self._initialize = False  # else the library thinks that there are none
        await super().aclose()
