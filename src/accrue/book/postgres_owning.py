"""Who has which partition, in PostgreSQL. Plain functions over the connections they are given."""

from __future__ import annotations

from typing import Any

import msgspec

from accrue import crashpoints
from accrue.book.base import Checkpoint
from accrue.book.owning import Attending, Owned, check_checkpoints, check_deployment, check_log, check_seen, not_owned
from accrue.book.queries import load_queries
from accrue.connect.postgres import Connection, Lines, rows_touched, transaction
from accrue.errors import Misconfigured

BEAT_WAIT_S_MAX = 2.0
"""Less than a lease by default: a beat that comes later than that says nothing."""

OWN_WAIT_S_MAX = 10.0


async def claim(
    lines: Lines, partition: int, *, owner: str, log_identity: str, address: str, seen: tuple[int, int] | None
) -> Checkpoint:
    """See `Owners.claim`. A settlement that is under way is waited for: one that comes later writes nothing.

    When the answer to the commit is lost (`Unavailable`), the partition may be taken; claiming it again is harmless.
    """

    async def work(connection: Connection) -> Checkpoint:
        async with transaction(connection):
            await connection.execute(_SQL["add_partition"], partition, log_identity)
            await connection.execute(_SQL["add_heartbeat"], partition)
            held = Checkpoint(*await _one(connection, "held", partition))
            heartbeat = await connection.fetchval(_SQL["held_heartbeat"], partition)
            check_log(held, log_identity)
            check_seen(partition, (held.epoch, heartbeat), seen)
            epoch = held.epoch + 1
            await connection.execute(_SQL["take_partition"], partition, epoch, owner, address, log_identity)
            await connection.execute(_SQL["take_heartbeat"], partition, epoch)
            crashpoints.point("claim 1: partition taken, before the commit")
        crashpoints.point("claim 2: claim committed")
        return msgspec.structs.replace(held, epoch=epoch, log_identity=log_identity)

    return await lines.run(work, wait_s_max=OWN_WAIT_S_MAX)


async def found(lines: Lines, *, partitions: int, log_identity: str, created_us: int) -> None:
    """See `Owners.found`."""

    async def write_or_compare(connection: Connection) -> None:
        async with transaction(connection):
            status = await connection.execute(_SQL["found"], partitions, log_identity, created_us)
            if rows_touched(status):
                held = [(row[0], row[1]) for row in await connection.fetch(_SQL["checkpoints"])]
                check_checkpoints(held, partitions=partitions, log_identity=log_identity)
            else:
                deployment = await _one(connection, "deployment")
                check_deployment(tuple(deployment), partitions=partitions, log_identity=log_identity)

    async def work(connection: Connection) -> Misconfigured | None:
        try:
            await write_or_compare(connection)
        except Misconfigured as error:  # returned, because one that comes out of `run` is taken to pass
            return error
        return None

    error = await lines.run(work, wait_s_max=OWN_WAIT_S_MAX)
    if error is not None:
        raise error


async def deployment(lines: Lines) -> tuple[int, str] | None:
    """See `Owners.deployment`."""
    row = await lines.run(lambda c: c.fetchrow(_SQL["deployment"]), wait_s_max=OWN_WAIT_S_MAX)
    return None if row is None else (row[0], row[1])


async def owners(lines: Lines) -> list[Owned]:
    """See `Owners.owners`."""
    rows = await lines.run(lambda c: c.fetch(_SQL["owners"]), wait_s_max=BEAT_WAIT_S_MAX)
    return [Owned(*row) for row in rows]


async def beat(lines: Lines, partition: int, epoch: int) -> None:
    """See `Owners.beat`."""
    status = await lines.run(lambda c: c.execute(_SQL["beat"], partition, epoch), wait_s_max=BEAT_WAIT_S_MAX)
    if not rows_touched(status):
        raise not_owned(partition, epoch)


async def release(lines: Lines, partition: int, epoch: int) -> None:
    """See `Owners.release`."""
    status = await lines.run(lambda c: c.execute(_SQL["release"], partition, epoch), wait_s_max=OWN_WAIT_S_MAX)
    if not rows_touched(status):
        raise not_owned(partition, epoch)


async def attend(lines: Lines, name: str, *, room: int, is_wary: bool) -> None:
    """See `Owners.attend`."""
    await lines.run(lambda c: c.execute(_SQL["attend"], name, room, is_wary), wait_s_max=BEAT_WAIT_S_MAX)


async def attending(lines: Lines) -> list[Attending]:
    """See `Owners.attending`."""
    rows = await lines.run(lambda c: c.fetch(_SQL["attending"]), wait_s_max=BEAT_WAIT_S_MAX)
    return [Attending(*row) for row in rows]


async def depart(lines: Lines, name: str) -> None:
    """See `Owners.depart`."""
    await lines.run(lambda c: c.execute(_SQL["depart"], name), wait_s_max=BEAT_WAIT_S_MAX)


async def _one(connection: Connection, query: str, *arguments: object) -> Any:
    """A row that is known to be there."""
    return await connection.fetchrow(_SQL[query], *arguments)


_SQL = load_queries("postgres/settle.sql") | load_queries("postgres/own.sql")
