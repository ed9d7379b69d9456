"""What a settlement holds: every row that changed since the last checkpoint, with the position it reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import cast

import msgspec
from msgspec import Struct

from accrue.book.base import (
    AppliedRow,
    AttributeRow,
    AwardRow,
    Checkpoint,
    LateRow,
    RepeatRun,
    Segment,
    Settlement,
    StreakRow,
    TallyRow,
)
from accrue.core.attribute import encode_plain
from accrue.core.table import Change, Table
from accrue.errors import Corrupt
from accrue.process.outcome import Counts
from accrue.process.world import World

SLICE_ROWS = 4_000
"""Rows made before the event loop gets its turn: about two milliseconds."""


class Facts(Struct, frozen=True):
    """The small facts of a checkpoint: what each tenant's events came to, and the end of the archive's chain (hex)."""

    counts: dict[str, Counts]
    archive: str


class Pending(Struct):
    """What was taken out of memory for a settlement and must be offered again if it fails."""

    repeats: list[RepeatRun]
    segments: list[Segment]


def begin(world: World, before: Checkpoint, position: int, pending: Pending, archive: bytes) -> Settlement:
    """A settlement without its rows. The fold must stand still at `position`, which takes a moment only.

    Moves the dirty generation of every tenant to settling. The lists of `world` are left as they are: `clear` empties
    them once the book has them.
    """
    for state in world.tenants.values():
        state.begin_settling()
    for index in world.indexes:
        pending.repeats += index.freeze()
    facts = Facts({tenant: msgspec.structs.replace(counts) for tenant, counts in world.counts.items()}, archive.hex())
    return Settlement(
        before=before,
        after=msgspec.structs.replace(
            before,
            position=position,
            log_time_us=world.log_time_us,
            facts=msgspec.json.encode(facts).decode(),
        ),
        programs=list(world.programs),
        periods=list(world.new_periods.values()),
        results=world.results.rows(),
        failed=world.failed.rows(),
        failed_gone=world.failed.gone(),
        conflicts=list(world.conflicts),
        repeats=list(pending.repeats),
        segments=list(pending.segments),
    )


async def with_rows(settlement: Settlement, world: World) -> Settlement:
    """The settlement with every row of the settling generation. The fold may go on: what was taken does not change."""
    rows: dict[str, list[object]] = {"tally": [], "award": [], "streak": [], "attribute": [], "applied": []}
    late: list[LateRow] = []
    for state in list(world.tenants.values()):
        for table, changes in state.settling.items():
            made = _rows(table, changes)
            while some := list(islice(made, SLICE_ROWS)):
                rows[table.key.kind] += some
                await asyncio.sleep(0)
            made_late = _late(world, table, changes)
            while some_late := list(islice(made_late, SLICE_ROWS)):
                late += [row for row in some_late if row is not None]
                await asyncio.sleep(0)
    return msgspec.structs.replace(
        settlement,
        tallies=rows["tally"],
        awards=rows["award"],
        streaks=rows["streak"],
        attributes=rows["attribute"],
        applied=rows["applied"],
        late=late,
    )


Generations = list[dict[str, Change]]


def clear(world: World, settled: Settlement, pending: Pending) -> Generations:
    """The book has it: forget what was only kept for it. What came meanwhile stays. Returns what `let_go` may free."""
    del world.programs[: len(settled.programs)]
    world.results.settled(settled.results)
    world.failed.settled(settled.failed, settled.failed_gone)
    del world.conflicts[: len(settled.conflicts)]
    for row in settled.periods:
        if world.new_periods.get((row.tenant, row.period)) == row:
            del world.new_periods[row.tenant, row.period]
    del pending.repeats[: len(settled.repeats)]
    del pending.segments[: len(settled.segments)]
    return [changes for state in world.tenants.values() for changes in state.settled()]


async def let_go(settled: Settlement, generations: Generations) -> None:
    """Free what was settled, in slices: hundreds of thousands of objects freed at once hold the loop for 10 ms."""
    made = (settled.tallies, settled.awards, settled.streaks, settled.attributes, settled.applied)
    for rows in cast("tuple[list[object], ...]", made):  # lists, made by `with_rows`
        while rows:
            del rows[-SLICE_ROWS:]
            await asyncio.sleep(0)
    for changes in generations:
        while changes:
            for _ in range(min(len(changes), SLICE_ROWS)):
                changes.popitem()
            await asyncio.sleep(0)


def put_back(world: World) -> None:
    """The book has none of it: it is dirty again, and the next settlement offers it anew."""
    for state in world.tenants.values():
        state.settling_failed()


def read_facts(checkpoint: Checkpoint) -> Facts:
    """The facts of a checkpoint; empty ones for a new partition. Raises `Corrupt` when they are damaged."""
    if not checkpoint.position:
        return Facts({}, "")
    try:
        facts = msgspec.json.decode(checkpoint.facts, type=Facts)
        bytes.fromhex(facts.archive)
    except ValueError as error:
        raise Corrupt(
            f"The facts of the checkpoint in the book (partitions.facts) are damaged: {error}. Nothing was changed."
        ) from error
    return facts


_tally_row: Callable[[tuple[str, str, str, str, int, int]], TallyRow] = partial(tuple.__new__, TallyRow)
"""`TallyRow(*columns)` without the detour through Python, because these are most of all rows."""


def _late(world: World, table: Table, changes: dict[str, Change]) -> Iterator[LateRow | None]:
    """For each change of a tally in a closed period a row if it came after the close, else None."""
    tenant, (kind, metric, period) = table.tenant, table.key
    row = world.periods.get((tenant, period)) if kind == "tally" and "." not in metric else None
    if row is not None and row.closed:
        for subject, (_, sequence) in changes.items():
            yield LateRow(tenant, period, metric, subject, sequence) if sequence > row.closed else None


def _rows(table: Table, changes: dict[str, Change]) -> Iterator[object]:
    tenant, (kind, name, part) = table.tenant, table.key
    if kind == "tally":
        for subject, (value, sequence) in changes.items():
            yield _tally_row((tenant, name, part, subject, value, sequence))
    elif kind == "award":
        for subject, (award, _) in changes.items():
            revoked = int(award.revoked)
            yield AwardRow(tenant, name, part, subject, award.holder, award.time_us, award.sequence, revoked)
    elif kind == "streak":
        for subject, (streak, _) in changes.items():
            runs = msgspec.json.encode(streak).decode()
            yield StreakRow(tenant, name, subject, streak.current, streak.longest, streak.last, runs)
    elif kind == "applied":
        for event_id, (applied, _) in changes.items():
            yield AppliedRow(tenant, event_id, applied.state, applied.until_us, applied.effects)
    else:
        for subject, (value, _) in changes.items():
            yield AttributeRow(tenant, part, name, subject, encode_plain(value))
