"""What a partition keeps aside: failed events, conflicts, and every version of a program. `Kept` for this process.

The book has what is settled, memory what came since. Memory is looked at first: what is settled in the meantime is in
the book by then, so nothing falls between the two.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from accrue.book.archive import unpack
from accrue.book.base import Book, ConflictRow, FailedRow, ProgramRow
from accrue.core import record as records
from accrue.core.record import EVENTS_PER_RECORD_MAX, sequence
from accrue.errors import Corrupt, NotFound, Rejected
from accrue.log.base import Log, Position
from accrue.process.single import can_be_replayed
from accrue.process.worker import Worker

SEARCHED_SIZE_BYTES_MAX = 64 << 20
"""So much of the archive (compressed) is searched for an event that was sent before another one, newest first."""

READ_SIZE_BYTES = 4 << 20

PLAIN = re.compile(r"[\w.:-]+", re.ASCII)
"""Ids of which JSON has one spelling, unless it is written with \\u escapes."""


class KeptState:
    """Reads what a worker keeps aside, over what the book has of it."""

    def __init__(self, worker: Worker, book: Book, log: Log, *, partition: int) -> None:
        self._worker, self._book, self._log, self._partition = worker, book, log, partition

    async def failed(self, tenant: str, *, after: int, rows: int, type: str = "") -> list[FailedRow]:
        newer = {
            at: row
            for at, row in self._worker.world.failed.unsettled(tenant).items()
            if at > after and (row is None or type in ("", row.type))
        }
        found = {row.sequence: row for row in newer.values() if row is not None}
        while True:
            some = await self._book.failed(tenant, after=after, rows=rows, type=type)
            found.update((row.sequence, row) for row in some if row.sequence not in newer)
            if len(some) < rows or sum(at <= some[-1].sequence for at in found) >= rows:
                break
            after = some[-1].sequence
        return [found[at] for at in sorted(found)[:rows]]

    async def failed_event(self, tenant: str, sequence: int) -> FailedRow:
        row = await self._worker.world.failed.find(self._book, tenant, sequence)
        if row is None:
            raise NotFound(f"No failed event waits at {sequence}.", field="sequence")
        return row

    async def replayable(self, tenant: str, sequence: int) -> FailedRow:
        row = await self.failed_event(tenant, sequence)
        if row.time_us < 0:
            raise Rejected(
                f"The failed event at {sequence} was parked by an earlier version, which did not keep its time. "
                "Send it again under another id, and drop this one.",
                field="sequence",
            )
        if not can_be_replayed(row):
            raise Rejected(
                f"The failed event at {sequence} is of the type {row.type!r}, which is not replayed: "
                "do again what led to it, and drop this one.",
                field="sequence",
            )
        return row

    def failed_reasons(self, tenant: str) -> Mapping[tuple[str, str], int]:
        return self._worker.world.failed.reasons(tenant)

    async def conflicts(self, tenant: str, *, after: int, rows: int) -> list[ConflictRow]:
        newer = [row for row in self._worker.world.conflicts if row.tenant == tenant and row.sequence > after]
        found = {row.sequence: row for row in newer}
        found.update((row.sequence, row) for row in await self._book.conflicts(tenant, after=after, rows=rows))
        return [found[at] for at in sorted(found)[:rows]]

    async def conflict(self, tenant: str, sequence: int) -> ConflictRow:
        found = await self.conflicts(tenant, after=sequence - 1, rows=1)
        if not found or found[0].sequence != sequence:
            raise NotFound(f"There is no conflict at {sequence}.", field="sequence")
        return found[0]

    async def first_body(self, conflict: ConflictRow) -> str | None:
        """The nearest event before it with its id that is no conflict: the first one, or a repeat of it."""
        async for match in self._before(conflict):
            if not await self._is_conflict(conflict.tenant, match.sequence):
                return match.body
        return None

    async def programs(self, tenant: str) -> list[ProgramRow]:
        newer = [row for row in self._worker.world.programs if row.tenant == tenant]
        found = {row.version: row for row in newer}
        found.update((row.version, row) for row in await self._book.programs(tenant))
        return [found[version] for version in sorted(found)]

    async def _is_conflict(self, tenant: str, sequence: int) -> bool:
        found = await self.conflicts(tenant, after=sequence - 1, rows=1)
        return bool(found) and found[0].sequence == sequence

    async def _before(self, conflict: ConflictRow) -> AsyncIterator[_Match]:
        """The events before a conflict that have its id, newest first: from the log, then from the archive."""
        position = conflict.sequence // EVENTS_PER_RECORD_MAX
        settled = self._worker.checkpoint.position
        while position > settled:
            try:
                matches = await self._unsettled(conflict, settled, position)
            except Corrupt:  # settled and trimmed while it was read: the archive has it by now
                if settled == self._worker.checkpoint.position:
                    raise
                settled = self._worker.checkpoint.position
                continue
            for match in matches:
                yield match
            break
        searched = 0
        async for segment in self._book.segments_before(self._partition, min(position, settled)):
            for match in await asyncio.to_thread(lambda found: _with_id(unpack(found), conflict), segment):
                yield match
            searched += len(segment.data)
            if searched > SEARCHED_SIZE_BYTES_MAX:
                return

    async def _unsettled(self, conflict: ConflictRow, after: Position, upto: Position) -> list[_Match]:
        matches: list[_Match] = []
        while after < upto:
            some = await self._log.read(self._partition, after=after, size_bytes_max=READ_SIZE_BYTES)
            matches[:0] = await asyncio.to_thread(_with_id, some, conflict)
            after = some[-1][0]
        return matches


class _Match(Struct, frozen=True):
    sequence: int
    body: str


class _Identity(Struct):
    id: str | None  # where the name stands twice the first one may be null


_identities = msgspec.json.Decoder(_Identity)


def _with_id(some: Sequence[tuple[Position, bytes]], conflict: ConflictRow) -> list[_Match]:
    """The events in these records before the conflict that have its tenant and id, newest first."""
    matches: list[_Match] = []
    plain = conflict.event_id.encode() if PLAIN.fullmatch(conflict.event_id) else b""
    for position, data in some:
        if plain not in data and b"\\u" not in data:
            continue
        first = sequence(position, 0)
        for batch in records.decode(data).batches:
            if batch.tenant == conflict.tenant:
                lines = batch.body.split(b"\n")
                matches += [
                    _Match(first + at, lines[at].decode())
                    for at, event in enumerate(_identities.decode_lines(batch.body))
                    if event.id == conflict.event_id and first + at < conflict.sequence
                ]
            first += len(batch.times_us)
    return matches[::-1]
