"""What is of one remote log only: mostly what it refuses, because somebody changed what it stands on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from accrue.connect.kafka import AIOKafkaAdminClient, cluster_of
from accrue.connect.postgres import connect
from accrue.connect.rabbitmq import StreamConnection, address_of, schema
from accrue.errors import AccrueError, Corrupt, Misconfigured
from accrue.log import kafka_founding, postgres, rabbitmq
from accrue.log.base import Retention
from contract.logs import IDENTITY, ROOM, WAIT_S_MAX, open_kafka, open_postgres, open_rabbitmq, read_all

# PostgreSQL


async def in_database(url: str, statement: str) -> None:
    connection = await connect(url)
    await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE log_meta SET format = 2", "newer one"),
        ("DELETE FROM log_meta", "lost its identity"),
        ("DROP TABLE log_meta", "foreign table log_records"),
    ],
)
async def test_tables_that_are_not_this_log_are_refused(postgres_url: str, statement: str, said: str) -> None:
    await (await open_postgres(postgres_url, IDENTITY, None)).close()
    await in_database(postgres_url, statement)

    with pytest.raises(Corrupt, match=said):
        await open_postgres(postgres_url, IDENTITY, None)


async def test_rows_that_somebody_deleted_are_missed(postgres_url: str) -> None:
    log = await open_postgres(postgres_url, IDENTITY, None)
    for number in range(5):
        await log.append(0, b"%d" % number)
    await in_database(postgres_url, "DELETE FROM log_records WHERE position = 3")

    assert await log.read(0, after=1, size_bytes_max=1) == [(2, b"1")]
    with pytest.raises(Corrupt, match="lacks records after 2"):
        await log.read(0, after=2, size_bytes_max=ROOM)

    await in_database(postgres_url, "DELETE FROM log_partitions WHERE partition = 1")
    with pytest.raises(Corrupt, match="lost the row of partition 1"):
        await log.append(1, b"nowhere")
    await log.close()


async def test_news_of_another_process_come_without_looking(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOOK_S", 10 * WAIT_S_MAX)
    here, there = [await open_postgres(postgres_url, IDENTITY, None) for _ in range(2)]
    found: list[tuple[int, bytes]] = []
    async with asyncio.timeout(WAIT_S_MAX):
        for number in range(5):
            waiting = asyncio.ensure_future(here.read(1, after=number, size_bytes_max=ROOM))
            await asyncio.wait([waiting], timeout=0.02)  # so that it waits, mostly; it has to come either way
            await there.append(1, b"%d" % number)
            found += await waiting

    assert found == [(number + 1, b"%d" % number) for number in range(5)]
    await here.close()
    await there.close()


async def test_a_log_made_new_is_another_one(postgres_url: str) -> None:
    await (await open_postgres(postgres_url, "old", None)).close()
    await in_database(postgres_url, "DROP TABLE log_meta, log_partitions, log_records")

    log = await open_postgres(postgres_url, "new", None)

    assert log.identity == "new"
    await log.close()


# RabbitMQ


async def in_broker(url: str, ask: Callable[[StreamConnection, str], Awaitable[Any]]) -> None:
    """`ask(connection, name of the streams)`."""
    address = address_of(url)
    connection = await StreamConnection.open(address)
    await ask(connection, address.options["name"])
    await connection.close()


async def test_a_stream_that_is_gone_is_not_made_again(rabbitmq_url: str) -> None:
    await (await open_rabbitmq(rabbitmq_url, IDENTITY, None)).close()
    await in_broker(
        rabbitmq_url,
        lambda broker, name: broker.request(schema.DeleteResponse, lambda each: schema.Delete(each, f"{name}-2")),
    )

    with pytest.raises(Corrupt, match=r"lost the streams .*-2 of this log"):
        await open_rabbitmq(rabbitmq_url, IDENTITY, None)


async def test_a_stream_with_other_settings_is_refused(rabbitmq_url: str) -> None:
    await in_broker(rabbitmq_url, lambda broker, name: rabbitmq.create(broker, f"{name}-1", {"max-age": "60s"}))

    with pytest.raises(Misconfigured, match="other settings"):
        await open_rabbitmq(rabbitmq_url, IDENTITY, None)


async def test_what_a_broker_has_dropped_is_missed(rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "SEGMENT_SIZE_BYTES", 50_000)
    monkeypatch.setattr(rabbitmq, "retention_of", lambda address: Retention(size_bytes=100_000))
    log = await open_rabbitmq(rabbitmq_url, IDENTITY, None)
    noise = random.Random(1).randbytes(10_000)
    positions = [await log.append(0, noise) for _ in range(3)]

    async with asyncio.timeout(WAIT_S_MAX):
        while await log.begin(0) <= positions[0] + 1:  # the broker drops a file after it began another one
            positions.append(await log.append(0, noise))

    later = await open_rabbitmq(rabbitmq_url, IDENTITY, None)
    with pytest.raises(Corrupt, match="records in between are gone"):
        await later.read(0, after=positions[0], size_bytes_max=ROOM)
    begin = await later.begin(0)
    assert [each for each, _ in await read_all(later, after=begin - 1)] == [each for each in positions if each >= begin]
    await log.close()
    await later.close()


async def test_a_message_of_somebody_else_is_not_passed_over(rabbitmq_url: str) -> None:
    log = await open_rabbitmq(rabbitmq_url, IDENTITY, None)
    before = await log.append(0, b"before")

    async def intrude(broker: StreamConnection, name: str) -> None:
        confirmed = asyncio.get_running_loop().create_future()
        broker.on_confirmed = lambda number, code: confirmed.set_result(code)
        await broker.declare_publisher(f"{name}-0")
        broker.publish(1, b"not ours")
        await confirmed

    await in_broker(rabbitmq_url, intrude)
    await log.append(0, b"after")

    assert await log.read(0, after=0, size_bytes_max=1) == [(before, b"before")]
    with pytest.raises(Corrupt, match="did not write"):
        await log.read(0, after=before, size_bytes_max=ROOM)
    await log.close()


# Kafka


async def in_cluster(url: str, ask: Callable[[Any, str], Awaitable[Any]]) -> None:
    """`ask(admin, topic)`."""
    cluster = cluster_of(url)
    admin = AIOKafkaAdminClient(**cluster.settings())
    await admin.start()
    await ask(admin, cluster.options["topic"])
    await admin.close()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("cleanup.policy", "compact", "compacted"),
        ("message.timestamp.type", "CreateTime", "LogAppendTime"),
        ("retention.ms", "3600000", "24 hours"),
        ("retention.bytes", "1000000", "bytes are needed"),
    ],
)
async def test_a_topic_that_would_lose_events_is_refused(kafka_url: str, setting: str, value: str, said: str) -> None:
    cluster = cluster_of(kafka_url)
    settings = {**kafka_founding.topic_settings(cluster), setting: value}
    await in_cluster(kafka_url, lambda admin, topic: kafka_founding.create(admin, cluster, topic, 4, settings))

    with pytest.raises(Misconfigured, match=said):
        await open_kafka(kafka_url, IDENTITY, None)


@pytest.mark.parametrize(("partitions", "error", "said"), [(None, Corrupt, "lost the topic"), (5, Misconfigured, "5")])
async def test_a_topic_that_is_gone_or_has_grown_is_refused(
    kafka_url: str, partitions: int | None, error: type[AccrueError], said: str
) -> None:
    cluster = cluster_of(kafka_url)
    await (await open_kafka(kafka_url, IDENTITY, None)).close()

    async def change(admin: Any, topic: str) -> None:
        await admin.delete_topics([topic])
        if partitions:
            settings = kafka_founding.topic_settings(cluster)
            await kafka_founding.create(admin, cluster, topic, partitions, settings)

    await in_cluster(kafka_url, change)

    with pytest.raises(error, match=said):
        await open_kafka(kafka_url, IDENTITY, None)
