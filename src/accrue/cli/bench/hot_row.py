"""The naive side of `accrue bench hot`: one row that everybody updates, one durable transaction each.

On SQLite one connection, because there is one writer anyway; on PostgreSQL so many clients at the same time, as the
requests of an application are, each waiting for the row in its turn.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from accrue.cli.bench.report import Miscounted
from accrue.clock import Clock
from accrue.connect.sqlite import SqliteThread

CREATE = "CREATE TABLE tallies (id INTEGER PRIMARY KEY, value BIGINT NOT NULL)"
INSERT = "INSERT INTO tallies VALUES (1, 0)"
UPDATE = "UPDATE tallies SET value = value + 1 WHERE id = 1"
SELECT = "SELECT value FROM tallies"


async def on_sqlite(path: Path, clock: Clock, seconds: float) -> tuple[int, float]:
    """How many in about so long, and how long exactly: WAL and synchronous=FULL, as the log has them."""
    thread = SqliteThread(path)  # opens exactly so
    await thread.open()

    def work(connection: sqlite3.Connection) -> tuple[int, float]:
        connection.execute(CREATE)
        connection.execute(INSERT)
        updates, began = 0, clock.monotonic_s()
        while (spent := clock.monotonic_s() - began) < seconds or not updates:
            connection.execute(UPDATE)
            updates += 1
        (value,) = connection.execute(SELECT).fetchone()
        _check(value, updates)
        return updates, spent

    try:
        return await thread.run(work)
    finally:
        await thread.close()


async def on_postgres(url: str, clock: Clock, seconds: float, *, clients: int) -> tuple[int, float]:
    """The same on PostgreSQL, in an empty database; a commit is on disk when it returns (`synchronous_commit=on`)."""
    from accrue.connect.postgres import Connection, connect

    connections: list[Connection] = []
    try:
        for _ in range(clients):
            connections.append(await connect(url, settings={"synchronous_commit": "on"}))
        await connections[0].execute(CREATE)
        await connections[0].execute(INSERT)
        began = clock.monotonic_s()

        async def client(connection: Connection) -> int:
            update = await connection.prepare(UPDATE)
            updates = 0
            while clock.monotonic_s() - began < seconds or not updates:
                await update.fetch()
                updates += 1
            return updates

        updates = sum(await asyncio.gather(*map(client, connections)))
        spent = clock.monotonic_s() - began
        _check(await connections[0].fetchval(SELECT), updates)
        return updates, spent
    finally:
        for connection in connections:
            await connection.close()


def _check(value: int, updates: int) -> None:
    if value != updates:
        raise Miscounted(f"The naive design counted {value} of {updates}.")
