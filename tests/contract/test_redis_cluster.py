"""A cluster of which one node is away: what the others have goes on as ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from accrue.connect.redis import RedisClient, Script
from accrue.connect.redis_address import address_of
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


async def test_what_is_under_way_when_all_nodes_are_killed_ends_with_an_error_of_ours(
    own_server: Callable[..., Any],
) -> None:
    cluster: RedisCluster = own_server(RedisCluster, aof=True, settings=PARTLY)
    client = RedisClient(address_of(cluster.url))
    ended, script, large = Counter[str](), Script("return 1"), "v" * 20_000

    async def use(key: str) -> None:
        while True:
            try:
                await client.run(script, [key], [large])
            except Unavailable:
                ended["unavailable"] += 1
            else:
                ended["done"] += 1
            await asyncio.sleep(0.002)

    async def count(word: str) -> None:
        """Until so has ended more."""
        seen = ended[word]
        while ended[word] < seen + 50:
            await asyncio.wait(users, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
            if broken := [user for user in users if user.done()]:
                await broken[0]

    try:
        users = [asyncio.create_task(use(key)) for key in KEYS]
        async with asyncio.timeout(60):
            await count("done")
            await asyncio.to_thread(cluster.kill)
            await count("unavailable")
            await asyncio.to_thread(cluster.start)
            await count("done")
    finally:
        for user in users:
            user.cancel()
        await asyncio.wait(users)
        await client.close()
