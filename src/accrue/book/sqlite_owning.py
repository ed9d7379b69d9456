"""Who has which partition, in SQLite: plain functions over one connection. Taking one is in sqlite_settle.py."""

from __future__ import annotations

import sqlite3

from accrue.book.owning import Attending, Owned, check_checkpoints, check_deployment, not_owned
from accrue.book.queries import load_queries

_SQL = load_queries("own.sql")


def found(connection: sqlite3.Connection, *, partitions: int, log_identity: str, created_us: int) -> None:
    """See `Owners.found`."""
    connection.execute("BEGIN IMMEDIATE")
    row = {"partitions": partitions, "log_identity": log_identity, "created_us": created_us}
    if connection.execute(_SQL["found"], row).rowcount == 1:
        held = connection.execute(_SQL["checkpoints"]).fetchall()
        check_checkpoints(held, partitions=partitions, log_identity=log_identity)
    else:
        deployment = connection.execute(_SQL["deployment"]).fetchone()
        check_deployment(deployment, partitions=partitions, log_identity=log_identity)
    connection.execute("COMMIT")


def deployment(connection: sqlite3.Connection) -> tuple[int, str] | None:
    """See `Owners.deployment`."""
    found: tuple[int, str] | None = connection.execute(_SQL["deployment"]).fetchone()
    return found


def owners(connection: sqlite3.Connection) -> list[Owned]:
    """See `Owners.owners`."""
    return [Owned(*row) for row in connection.execute(_SQL["owners"])]


def beat(connection: sqlite3.Connection, partition: int, epoch: int) -> None:
    """See `Owners.beat`."""
    if connection.execute(_SQL["beat"], {"partition": partition, "epoch": epoch}).rowcount != 1:
        raise not_owned(partition, epoch)


def release(connection: sqlite3.Connection, partition: int, epoch: int) -> None:
    """See `Owners.release`."""
    if connection.execute(_SQL["release"], {"partition": partition, "epoch": epoch}).rowcount != 1:
        raise not_owned(partition, epoch)


def attend(connection: sqlite3.Connection, name: str, *, room: int, is_wary: bool) -> None:
    """See `Owners.attend`."""
    connection.execute(_SQL["attend"], {"name": name, "room": room, "wary": is_wary})


def attending(connection: sqlite3.Connection) -> list[Attending]:
    """See `Owners.attending`."""
    rows = connection.execute(_SQL["attending"])
    return [Attending(name, heartbeat, room, bool(wary)) for name, heartbeat, room, wary in rows]


def depart(connection: sqlite3.Connection, name: str) -> None:
    """See `Owners.depart`."""
    connection.execute(_SQL["depart"], {"name": name})
