"""A book that several processes share is verified as one on a data directory is, partition by partition."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from accrue.book.postgres import PostgresBook
from accrue.clock import SystemClock
from accrue.config import BookConfig
from accrue.log.memory import MemoryLog
from accrue.offline import verify_shared
from accrue.process.replay.report import Report
from pipeline.nodes import Servers, SharedBoards, tenants
from servers.postgres import PostgresServer

NAMES = ("red", "green", "t1", "t2")


async def test_a_shared_book_is_what_its_archives_say_until_somebody_changes_it(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    book = await PostgresBook.open(postgres_url)
    try:
        engines = Servers(MemoryLog(identity="test"), book, SharedBoards(instance="test"), partitions=2)
        for first in (0, 10):  # a second worker goes on where the first left
            async with engines.node() as node:
                for name, face in (await tenants(node, *NAMES)).items():
                    for number in range(first, first + 5):
                        await face.track("comment", id=f"{name}{number}", actor=f"user{number % 3}", wait="applied")
                    await face.track("comment", id=f"{name}0", actor="user0", wait="applied")
    finally:
        await book.close()

    async def verified() -> Report:
        config = replace(engines.config, book=BookConfig(url=postgres_url))
        return await verify_shared(config, SystemClock(), folder=tmp_path, on_step=lambda step, done, of: None)

    report = await verified()
    assert (report.faults, report.differing) == ([], {})
    assert (report.events, report.compared["tallies"]) == (4 + 2 * 6 * 4, 4 * 3 * 2)
    await asyncio.to_thread(
        postgres_server.ask,
        "UPDATE tallies SET value = value + 1 WHERE tenant = 'red' AND subject = 'user0' AND period = 'all'",
        database=postgres_url.rpartition("/")[2],
    )
    assert (await verified()).differing["tallies"] == 1
