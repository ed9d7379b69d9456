"""The book in PostgreSQL, for when one machine is outgrown.

    settle, claim, release, found --> SETTLE_CONNECTIONS_MAX connections --+
    who is there and owns what -----> one connection ----------------------+--> the database
    every read ---------------------> READ_CONNECTIONS_MAX connections ----+

Each purpose has its own, so that neither a long settlement nor a crowd of readers makes an owner look dead, and each
is opened when it is first needed. A server that does not answer, also one that is only paused, is `Unavailable` after
a bounded wait. What the connections say of themselves to the server bounds what is left behind there: a process that
was paused in the middle of a transaction loses it after IDLE_IN_TRANSACTION, and with it the locks.
"""

from __future__ import annotations

from accrue.book import postgres_owning
from accrue.book.base import Checkpoint, Settlement, Written
from accrue.book.owning import Attending, Owned
from accrue.book.postgres_migrate import migrate
from accrue.book.postgres_read import LARGE_READ_WAIT_S_MAX, PostgresReads
from accrue.book.postgres_settle import SETTLE_WAIT_S_MAX, PostgresSettler, prepare
from accrue.connect.postgres import Lines

SETTLE_CONNECTIONS_MAX = 4
READ_CONNECTIONS_MAX = 4

IDLE_IN_TRANSACTION = "3s"
LOCK_WAIT = "8s"
"""Longer than the one before: who waits for a paused process gets its turn."""

DURABLE = {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "lock_timeout": LOCK_WAIT,
    "jit": "off",  # compiling a settlement's statements takes longer than it saves
}

BY_INDEX = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off", "jit": "off"}
"""Every read was written for an index that gives its rows in order. A server that has no statistics of a table yet
would read and sort the whole tenant for each page."""


class PostgresBook(PostgresReads):
    """A `Book` in a database, `Owners` too. Made by `open`; whoever opens it closes it."""

    def __init__(self, url: str) -> None:
        reading = {**BY_INDEX, "statement_timeout": f"{LARGE_READ_WAIT_S_MAX:.0f}s"}
        settling = {**DURABLE, "statement_timeout": f"{SETTLE_WAIT_S_MAX:.0f}s"}
        # A beat need not wait for the disk: when a crash of the server takes it back, it was seen all the same.
        beating = {"synchronous_commit": "off", "statement_timeout": f"{postgres_owning.BEAT_WAIT_S_MAX:.0f}s"}
        super().__init__(Lines(url, connections_max=READ_CONNECTIONS_MAX, settings=reading))
        self._writer = Lines(url, connections_max=SETTLE_CONNECTIONS_MAX, settings=settling, prepare=prepare)
        self._beater = Lines(url, connections_max=1, settings=beating)
        self._settler = PostgresSettler(self._writer)

    @classmethod
    async def open(cls, url: str) -> PostgresBook:
        """Open the book, or create it, and bring its schema up to date.

        Raises `Corrupt` for tables that are foreign or from a newer version, which stay as they are; `Misconfigured`
        for a URL, user, database or server that will not do; `Unavailable` when no server answers.
        """
        await migrate(url)
        book = cls(url)
        try:
            await book._writer.check()
        except BaseException:
            await book.close()
            raise
        return book

    async def claim(
        self,
        partition: int,
        *,
        owner: str,
        log_identity: str,
        address: str = "",
        seen: tuple[int, int] | None = None,
    ) -> Checkpoint:
        return await postgres_owning.claim(
            self._writer, partition, owner=owner, log_identity=log_identity, address=address, seen=seen
        )

    async def settle(self, settlement: Settlement) -> Written:
        return await self._settler.settle(settlement)

    async def found(self, *, partitions: int, log_identity: str, created_us: int) -> None:
        await postgres_owning.found(
            self._writer, partitions=partitions, log_identity=log_identity, created_us=created_us
        )

    async def deployment(self) -> tuple[int, str] | None:
        return await postgres_owning.deployment(self._writer)

    async def owners(self) -> list[Owned]:
        return await postgres_owning.owners(self._beater)

    async def beat(self, partition: int, *, epoch: int) -> None:
        await postgres_owning.beat(self._beater, partition, epoch)

    async def release(self, partition: int, *, epoch: int) -> None:
        await postgres_owning.release(self._writer, partition, epoch)

    async def attend(self, name: str, *, room: int, is_wary: bool) -> None:
        await postgres_owning.attend(self._beater, name, room=room, is_wary=is_wary)

    async def attending(self) -> list[Attending]:
        return await postgres_owning.attending(self._beater)

    async def depart(self, name: str) -> None:
        await postgres_owning.depart(self._beater, name)

    async def close(self) -> None:
        await super().close()
        await self._beater.close()
        await self._writer.close()
