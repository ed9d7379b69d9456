"""One partition of a book that has several, as a book of its own: so that it can be compared with a fold of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace

from accrue.book.base import Checkpoint, Segment, Start, TallyRow
from accrue.book.snapshot import Row, Shape, Snapshot
from accrue.core.placement import partition_of

ALONE = 0
"""What the one partition of a book of its own is called."""


class OnePartition:
    """A `Snapshot` of what belongs to one partition: its archive, and the rows of the tenants that live in it."""

    def __init__(self, snapshot: Snapshot, partition: int, *, partitions: int) -> None:
        self._snapshot, self._partition, self._partitions = snapshot, partition, partitions

    async def checkpoint(self, partition: int) -> Checkpoint | None:
        held = await self._snapshot.checkpoint(self._partition)
        return None if held is None else replace(held, partition=ALONE)

    async def start(self, partition: int) -> Start:
        return await self._snapshot.start(self._partition)

    def segments(self, partition: int) -> AsyncIterator[Segment]:
        """As they are: a segment's digest covers the number of its partition."""
        return self._snapshot.segments(self._partition)

    def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        return self._snapshot.tallies(tenant, metric, period)

    async def shapes(self) -> list[Shape]:
        return await self._snapshot.shapes()

    async def rows(self, shape: Shape) -> AsyncIterator[list[Row]]:
        tenant, number = (shape.columns.index(name) if name in shape.columns else None for name in WHOSE)
        async for rows in self._snapshot.rows(shape):
            yield [self._alone(row, number) for row in rows if tenant is None or self._is_here(row[tenant])]

    async def damage(self) -> list[str]:
        return await self._snapshot.damage()

    async def close(self) -> None:
        await self._snapshot.close()

    def _is_here(self, tenant: object) -> bool:
        name = tenant.decode("utf-8", "replace") if isinstance(tenant, bytes) else str(tenant)  # text comes as bytes
        return partition_of(name, self._partitions) == self._partition

    def _alone(self, row: Row, number: int | None) -> Row:
        return row if number is None else (*row[:number], ALONE, *row[number + 1 :])


WHOSE = ("tenant", "partition")
