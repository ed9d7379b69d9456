"""The private servers of the tests: what they keep over a kill, a pause, a roll back, and that none is left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from accrue.errors import AccrueError
from accrue.log.rabbitmq import RabbitmqLog
from process.commands import ROOT, WAIT_S_MAX
from servers import install, tree
from servers.cluster import NODES, RedisCluster
from servers.fixtures import running
from servers.install import Missing
from servers.kafka import KafkaServer
from servers.postgres import PostgresServer
from servers.rabbitmq import RabbitmqServer
from servers.redis import RedisServer
from servers.server import ASK_AGAIN_S, Server

OwnServer = Callable[..., Any]


def test_a_killed_postgres_has_what_was_committed(own_server: OwnServer) -> None:
    server = own_server(PostgresServer)
    server.ask("CREATE TABLE facts (text text); INSERT INTO facts VALUES ('kept')")
    server.kill()
    assert not server.answers()
    server.start()
    assert server.ask("SELECT text FROM facts") == "kept"
    assert server.ask("SHOW fsync") == "on"


async def test_each_test_has_a_database_of_its_own(postgres_server: PostgresServer, postgres_url: str) -> None:
    other = postgres_server.new_database()
    postgres_server.ask("CREATE TABLE facts ()", database=other)
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE tablename = 'facts'") == 0
    await connection.close()
    postgres_server.drop_database(other)


def test_a_killed_redis_has_what_was_in_its_file_of_appends(own_server: OwnServer) -> None:
    with_file, without = own_server(RedisServer, aof=True), own_server(RedisServer)
    for server in (with_file, without):
        server.ask("SET", "fact", "kept")
        server.kill()
        server.start()
    assert (with_file.ask("GET", "fact"), without.ask("GET", "fact")) == ("kept", "")


@pytest.mark.parametrize("aof", [False, True])
def test_a_redis_rolled_back_has_what_it_had_when_it_was_saved(own_server: OwnServer, aof: bool) -> None:
    server = own_server(RedisServer, aof=aof)
    server.ask("SET", "fact", "old")
    first = server.save()
    server.ask("SET", "fact", "new")
    server.save()
    server.wipe()
    assert server.ask("DBSIZE") == "0"

    server.roll_back()
    assert server.ask("GET", "fact") == "new"
    server.roll_back(first)
    assert server.ask("GET", "fact") == "old"
    assert f"aof_enabled:{aof:d}" in server.ask("INFO", "persistence").split()
    server.ask("SET", "fact", "newest")
    server.kill()
    server.start()
    assert server.ask("GET", "fact") == ("newest" if aof else "old")


def test_a_redis_with_a_password_is_not_for_everybody(own_server: OwnServer) -> None:
    server = own_server(RedisServer, password="secret")
    stranger = ["redis-cli", "-e", "-p", str(server.port), "PING"]
    assert subprocess.run(stranger, capture_output=True, check=False, timeout=WAIT_S_MAX).returncode == 1
    assert server.ask("PING") == "PONG"
    assert server.url == f"redis://:secret@127.0.0.1:{server.port}/0"


def test_a_cluster_comes_back_when_a_node_does(own_server: OwnServer) -> None:
    cluster = own_server(RedisCluster, aof=True)
    for number in range(30):  # the -c of redis-cli follows to the node that has the key
        cluster.nodes[0].ask("-c", "SET", f"key {number}", "kept")
    assert all(node.ask("DBSIZE") != "0" for node in cluster.nodes)
    cluster.nodes[1].kill()
    assert not cluster.running
    cluster.start()
    assert sum(int(node.ask("DBSIZE")) for node in cluster.nodes) == 30
    cluster.wipe()
    assert [node.ask("DBSIZE") for node in cluster.nodes] == ["0"] * NODES


async def test_a_killed_rabbitmq_has_what_it_confirmed(own_server: OwnServer) -> None:
    server = own_server(RabbitmqServer)
    log = await RabbitmqLog.open(server.url, partitions=1, create_identity="facts")
    position = await log.append(0, b"kept")
    await log.close()
    server.kill()
    server.start()

    assert await _first_record(server.url) == [(position, b"kept")]


async def test_a_killed_kafka_has_what_it_acknowledged(own_server: OwnServer) -> None:
    server = own_server(KafkaServer)
    place = f"127.0.0.1:{server.port}"
    admin = AIOKafkaAdminClient(bootstrap_servers=place)
    await admin.start()
    await admin.create_topics([NewTopic("facts", num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=place, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait("facts", b"kept")
    server.kill()
    server.start()

    async with asyncio.timeout(WAIT_S_MAX), AIOKafkaConsumer(bootstrap_servers=place) as consumer:
        consumer.assign([TopicPartition("facts", 0)])
        await consumer.seek_to_beginning()
        assert (await consumer.getone()).value == b"kept"


@pytest.mark.parametrize("kind", [PostgresServer, RedisServer])
def test_a_paused_server_is_there_and_does_nothing(own_server: OwnServer, kind: type[Server]) -> None:
    server = own_server(kind)
    server.pause()
    [process] = server._processes
    assert {_state(pid) for pid in tree.members(process.pid)} == {"T"}
    server.resume()
    assert "T" not in {_state(pid) for pid in tree.members(process.pid)}
    assert server.answers()

    server.pause()
    server.kill()
    server.start()
    assert server.answers()


def test_a_server_that_is_stopped_keeps_its_data_and_its_place(own_server: OwnServer) -> None:
    server = own_server(PostgresServer)
    url = server.url
    server.ask("CREATE TABLE facts ()")
    server.restart()
    server.ask("TABLE facts")
    assert server.url == url


def test_a_server_that_cannot_start_says_why(own_server: OwnServer) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)postgres ended with 1\..*no-such-number"):
        own_server(PostgresServer, settings={"shared_buffers": "no-such-number"})
    with pytest.raises(RuntimeError, match=r"(?s)redis ended with 1\..*no-such-policy"):
        own_server(RedisServer, settings={"maxmemory-policy": "no-such-policy"})


def test_a_missing_server_skips_at_home_and_fails_on_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Server:
        raise Missing("apt-get install it")

    for ci, expected in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", ci)
        # Either is caught, because a skip that got out would only skip this test.
        either = (pytest.skip.Exception, pytest.fail.Exception)
        with pytest.raises(either, match="apt-get install it") as raised, running(missing):
            pass
        assert raised.type is expected


def test_what_only_root_may_install_is_named_and_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(install, "_missing", {})
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    for _ in range(2):
        with pytest.raises(Missing, match=r"Sundial is not on this machine.*: apt-get install sundial sand"):
            install._provided("Sundial", ["sundial", "sand"], lambda: looked.append("looked"))
    assert looked == ["looked", "looked"]  # before and after the attempt to install, not again for the next test


RUN = """
import sys
from servers.postgres import PostgresServer
from servers.redis import RedisServer
servers = [PostgresServer(), RedisServer()]
for server in servers:
    server.start()
print(*(server.directory for server in servers), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["killed", "done"])
def test_nothing_is_left_of_a_run_however_it_ended(postgres_server: PostgresServer, end: str) -> None:
    environment = {"PYTHONPATH": str(ROOT / "tests"), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, "-c", RUN], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        directories = [Path(word) for word in run.stdout.readline().split()]
        assert [directory.is_dir() for directory in directories] == [True, True]
        everything = tree.members(run.pid)
        assert len(everything) > 4  # the run, the guard, and two servers, of which one has processes of its own
        if end == "killed":
            run.kill()
        else:
            run.stdin.close()
        run.wait(WAIT_S_MAX)
    tree.wait_gone(everything)
    assert [directory.exists() for directory in directories] == [False, False]


async def _first_record(url: str) -> list[tuple[int, bytes]]:
    """The first of a log, as soon as it can be read: a node answers before its streams have found their leaders."""
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            try:
                log = await RabbitmqLog.open(url, partitions=1, create_identity="another")
            except AccrueError:
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            found = await log.read(0, after=0, size_bytes_max=1_000)
            await log.close()
            return found


def _state(pid: int) -> str:
    """As the system writes it: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
