"""A cluster of which one node is away: what the others have goes on as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accrue.connect.redis import RedisClient, address_of
from accrue.errors import Misconfigured, Unavailable
from servers.cluster import RedisCluster

KEYS = [f"{{{letter}}}" for letter in "abcdefghijklmnopqrst"]
TRIES = 2
PARTLY = {"cluster-require-full-coverage": "no"}


def reads(key: str, *, commands: int) -> list[tuple[str, str]]:
    return [("GET", key)] * commands


@pytest.mark.parametrize("number", [0, 2])
async def test_the_other_nodes_are_asked_whichever_is_away_and_that_one_too_once_it_is_back(
    own_server: Callable[..., Any], number: int
) -> None:
    cluster: RedisCluster = own_server(RedisCluster, aof=True, settings=PARTLY)
    client = RedisClient(address_of(cluster.url))
    try:
        await client.check()
        gone = cluster.nodes[number]
        away = [key for key in KEYS if cluster.node_of(key) is gone]
        there = [key for key in KEYS if key not in away]
        assert len({client.place_of(key) for key in there}) == 2
        assert {client.place_of(key) for key in away}.isdisjoint(map(client.place_of, there))

        gone.kill()
        for commands in (1, 2) * TRIES:  # two go as a pipeline, of which the library knows less
            with pytest.raises(Unavailable):
                await client.many(reads(away[0], commands=commands))
            for key in there:
                assert await client.many(reads(key, commands=commands)) == [None] * commands
        cluster.start()

        for key in KEYS:
            assert await client.many(reads(key, commands=2)) == [None] * 2
    finally:
        await client.close()


async def test_who_comes_while_a_node_is_away_uses_the_others_and_judges_that_one_when_it_is_back(
    own_server: Callable[..., Any],
) -> None:
    cluster: RedisCluster = own_server(RedisCluster, settings=PARTLY)
    gone = cluster.nodes[1]
    gone.kill()
    client = RedisClient(address_of(cluster.url))
    try:
        await client.check()
        key = next(key for key in KEYS if cluster.node_of(key) is not gone)
        assert await client.one("GET", key) is None

        cluster.start()
        gone.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        for _ in range(2):
            with pytest.raises(Misconfigured, match="evicts"):
                await client.check()
        gone.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await client.check()

        cluster.kill()
        await client.check()  # it has seen all it wants to see
        with pytest.raises(Unavailable):
            await client.one("GET", key)
    finally:
        await client.close()
