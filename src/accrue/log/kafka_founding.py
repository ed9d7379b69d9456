"""The topics of the log in Kafka: made once, by whoever comes first, and recognised by everyone after.

    <topic>             the partitions
    <topic>-identity    what the log was founded with; kept for ever

Whoever finds no identity makes the topic and only then writes what it founded. The first such record stands, also when
several found at the same time. So a log that has an identity has its topic; one that is missing was deleted, and is
not made again: its positions would begin anew.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from accrue.connect.kafka import (
    AIOKafkaAdminClient,
    AIOKafkaConsumer,
    AIOKafkaProducer,
    Cluster,
    ConfigResource,
    ConfigResourceType,
    NewTopic,
    TopicPartition,
    errors,
    stopped,
    translated,
)
from accrue.errors import Corrupt, Misconfigured, Unavailable
from accrue.log.base import Retention, check_retention

FORMAT = 1
DEFAULT_RETENTION_H = 168
FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
IDENTITY_WAIT_MS_MAX = 10_000


class Founded(Struct, frozen=True):
    """What the log was founded with: the first record of `<topic>-identity`."""

    format: int
    identity: str
    partitions: int


class Topic(Struct, frozen=True):
    """What the brokers do with the topic."""

    retention: Retention
    message_size_bytes_max: int


async def ensure(cluster: Cluster, name: str, *, partitions: int, create_identity: str) -> tuple[Founded, Topic]:
    """Create the log if there is none. Raises as `KafkaLog.open`."""
    admin = AIOKafkaAdminClient(**cluster.settings())
    consumer = AIOKafkaConsumer(**cluster.settings(), group_id=None, enable_auto_commit=False)
    try:
        await admin.start()
        await consumer.start()
        await create(admin, cluster, f"{name}-identity", 1, FOREVER)
        founded = await read_identity(consumer, name)
        if founded is None:
            await create(admin, cluster, name, partitions, topic_settings(cluster))
            await write_identity(cluster, name, Founded(FORMAT, create_identity, partitions))
            founded = await read_identity(consumer, name)
        if founded is None:
            raise Unavailable(f"{cluster} did not show the identity of the log {name!r}.")
        return check(founded, cluster, name, partitions), await look(admin, cluster, name, partitions)
    finally:
        await stopped(consumer)
        await admin.close()


def topic_settings(cluster: Cluster) -> dict[str, str]:
    """What a new topic is made with. Kafka's clock decides what is old, so that back-dated events are not expired."""
    try:
        hours = int(cluster.options.get("retention_h", DEFAULT_RETENTION_H))
    except ValueError as error:
        raise Misconfigured("?retention_h= in the URL of the log is a whole number of hours.") from error
    check_retention(Retention(age_s=hours * 3600), str(cluster), "raise ?retention_h= in the URL.")
    return {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(hours * 3_600_000),
        "retention.bytes": "-1",
    }


async def create(admin: Any, cluster: Cluster, topic: str, partitions: int, settings: dict[str, str]) -> None:
    """Make a topic, with the broker's own number of replicas, if it is not there."""
    wanted = NewTopic(topic, partitions, -1, replica_assignments={}, topic_configs=settings)
    answer = await admin.create_topics([wanted])
    code = answer.topic_errors[0][1]
    if code not in (0, errors.TopicAlreadyExistsError.errno):
        raise translated(errors.for_code(code)(), cluster)


async def read_identity(consumer: Any, name: str) -> Founded | None:
    """The first record of the identity's topic, None when there is none."""
    place = TopicPartition(f"{name}-identity", 0)
    if (await consumer.end_offsets([place]))[place] == 0:
        return None
    consumer.assign([place])
    consumer.seek(place, 0)
    found = (await consumer.getmany(place, timeout_ms=IDENTITY_WAIT_MS_MAX, max_records=1)).get(place)
    if not found:
        raise Unavailable(f"The topic {name}-identity did not show its first record.")
    try:
        return msgspec.json.decode(found[0].value, type=Founded)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"The topic {name}-identity does not say which log this is ({error}).") from error


async def write_identity(cluster: Cluster, name: str, founded: Founded) -> None:
    """Put it behind what others may have written there meanwhile."""
    producer = AIOKafkaProducer(**cluster.settings(), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        await producer.send_and_wait(f"{name}-identity", msgspec.json.encode(founded), partition=0)
    finally:
        await stopped(producer)


def check(founded: Founded, cluster: Cluster, name: str, partitions: int) -> Founded:
    """Raises when the log that is there is not the one that is wanted."""
    if founded.format != FORMAT:
        raise Corrupt(
            f"The log {name!r} in {cluster} has format {founded.format}; this version reads format {FORMAT}. "
            "Nothing was changed: install the version of Accrue that wrote it, or a newer one."
        )
    if founded.partitions != partitions:
        raise Misconfigured(
            f"The log {name!r} in {cluster} was created with {founded.partitions} partitions, which never changes; "
            f"{partitions} are configured. Correct the setting, or take another ?topic= for a new deployment."
        )
    return founded


async def look(admin: Any, cluster: Cluster, name: str, partitions: int) -> Topic:
    """What the brokers say of the topic. Raises when it is gone, or would lose records or give them another order."""
    (described,) = await admin.describe_topics([name])
    if described["error_code"]:
        raise Corrupt(
            f"{cluster} has lost the topic {name!r} of this log, and what was not settled yet with it. "
            "Nothing was changed. Put a backup back, or take another ?topic= for a new log."
        )
    if len(described["partitions"]) != partitions:
        raise Misconfigured(
            f"The topic {name!r} in {cluster} has {len(described['partitions'])} partitions now; the log was created "
            f"with {partitions}, which never changes. Take another ?topic= for a new deployment."
        )
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    if settings["cleanup.policy"] != "delete":
        raise Misconfigured(f"The topic {name!r} is compacted, which drops events. Set its cleanup.policy to delete.")
    if settings["message.timestamp.type"] != "LogAppendTime":
        raise Misconfigured(
            f"The topic {name!r} keeps the sender's time, by which late events expire too soon. "
            "Set its message.timestamp.type to LogAppendTime."
        )
    age_ms, size_bytes = int(settings["retention.ms"]), int(settings["retention.bytes"])
    retention = Retention(
        age_s=None if age_ms < 0 else age_ms // 1000, size_bytes=None if size_bytes < 0 else size_bytes
    )
    check_retention(retention, f"The topic {name!r}", "raise its retention.ms and retention.bytes, or set them to -1.")
    return Topic(retention, int(settings["max.message.bytes"]))
