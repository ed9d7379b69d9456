"""The intake of a process: a group commit for each partition of the log, and each batch to that of its tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from accrue.core.placement import partition_of
from accrue.core.record import Batch
from accrue.ingest.commit import Accepted, GroupCommit


class Intake:
    """What `Acceptor` needs of several group commits. `commits` has one for each partition, in order."""

    def __init__(self, commits: Sequence[GroupCommit]) -> None:
        self._commits = commits

    @property
    def queue_events(self) -> int:
        """Events that wait for an append, in all partitions."""
        return sum(commit.queue_events for commit in self._commits)

    async def submit(self, batch: Batch) -> Accepted:
        """See `GroupCommit.submit`."""
        return await self._commits[partition_of(batch.tenant, len(self._commits))].submit(batch)

    async def run(self) -> None:
        """Run all of them until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for commit in self._commits:
                tasks.create_task(commit.run())

    async def drain(self) -> None:
        """Take nothing new, and return once everything submitted so far is durable or has failed."""
        await asyncio.gather(*(commit.drain() for commit in self._commits))
