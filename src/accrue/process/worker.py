"""The worker: owns one partition, folds its log, publishes, settles, closes periods.

The steps, for each round of the loop:

1. read the next records, bounded by bytes;
2. decode them, and set aside repeats and conflicts;
3. load what is not in memory from the book;
4. decide, event by event, in order;
5. publish what changed to the boards, at most once a tick;
6. settle when it is time: everything dirty and the position, in one transaction, while the fold goes on;
7. trim the log up to the checkpoint.

Steps 2 to 4 are in fold.py. Start-up begins at the checkpoint and is nothing but this loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from sys import getsizeof

import structlog
from msgspec import Struct

from accrue import crashpoints
from accrue.boards.base import Boards
from accrue.book.archive import GENESIS, Building, SegmentBuilder
from accrue.book.base import Book, Checkpoint, Settlement, Written
from accrue.clock import Clock
from accrue.core.reader import read
from accrue.errors import AccrueError, Corrupt, Fenced, Unavailable
from accrue.log.base import Log, Position
from accrue.process import settle
from accrue.process.base import Status
from accrue.process.before import compare_log
from accrue.process.fold import Fold
from accrue.process.gather import GATHER_EVENTS, GATHER_S, Read, groups, pack
from accrue.process.outcome import Recent
from accrue.process.publish import Publisher
from accrue.process.rest import Rest
from accrue.process.settle import Generations, Pending
from accrue.process.window_alarm import WindowAlarm
from accrue.process.world import Memory, World

COMPRESS_IN_THREAD_BYTES_MIN = 64 * 1024
RETRY_S = 1.0
LOOK_S = 1.0
"""How often it is asked whether boards that nothing was sent to were lost."""
logger = structlog.get_logger("accrue.process")


class Limits(Struct, frozen=True, kw_only=True):
    """When the worker does what. The units are in the names."""

    tick_s: float = 0.025
    settle_interval_s: float = 60.0
    settle_dirty_rows: int = 400_000
    settle_archive_bytes: int = 64 << 20
    read_size_bytes: int = 4 << 20
    entries_in_memory_max: int = 5_000_000
    shared: bool = False
    """Other processes share log and book: settle as soon as a program was taken, because they read it in the book, and
    wait for a log that is out of reach."""


class Worker:
    """Folds one partition. Open it with `start`, then run `run` in a task until it is cancelled or raises."""

    def __init__(
        self,
        log: Log,
        book: Book,
        boards: Boards,
        clock: Clock,
        *,
        partition: int,
        memory: Memory,
        limits: Limits,
        new_segment: Callable[[int], Building] = SegmentBuilder,
        on_claim: Callable[[int], None] = lambda epoch: None,
    ) -> None:
        self._log, self._book, self._clock, self._limits = log, book, clock, limits
        self.partition = partition
        self.world = World(memory)
        self._window_alarm = WindowAlarm(self.world.indexes)
        self.publisher = Publisher(self.world, boards, book)
        self.position: Position = 0
        self.written = Written(rows=0, transactions=0)
        self._fold = Fold(self.world, book)
        self._pending = Pending([], [])
        self._new_segment, self._on_claim = new_segment, on_claim
        self._segment = new_segment(partition)
        self._archive = GENESIS
        self._published: Position = 0
        self._catch_up_to: Position = 0  # where the log ended at the start: before that, nobody reads a board
        self._advanced = asyncio.Condition()
        self._recent = Recent()
        self._conflicts_counted = 0  # so many of the world's conflicts are in the figure below
        self._conflicts_size_bytes = 0
        self._still = asyncio.Lock()  # held while a record is folded or a settlement is put together
        self._whole = True  # no record is half folded
        self._settle_now = asyncio.Event()
        self._room = asyncio.Event()  # set whenever a settlement took something away
        self._settling = asyncio.Lock()
        self._events = 0  # folded since the start
        self._failed: BaseException | None = None
        self._trouble: str | None = None

    async def start(self, *, owner: str, address: str = "", seen: tuple[int, int] | None = None) -> None:
        """Take the partition and remember what the book says. Raises `Corrupt` when log and book do not fit, and then
        both are as they were. `address` and `seen` are those of `Owners.claim`: `Fenced` when another was quicker."""
        await compare_log(self._log, self._book, self.partition)
        self.checkpoint: Checkpoint = await self._book.claim(
            self.partition, owner=owner, log_identity=self._log.identity, address=address, seen=seen
        )
        self._on_claim(self.checkpoint.epoch)  # what comes now may take longer than a lease
        facts = settle.read_facts(self.checkpoint)
        self._archive = bytes.fromhex(facts.archive) or GENESIS
        world = self.world
        world.counts = facts.counts
        known = await self._book.start(self.partition)
        for row in known.periods:
            world.periods[row.tenant, row.period] = row
        world.failed.load(known.failed)
        for program in known.programs:
            world.versions[program.tenant] = program.version
            partial = ["all", *(period for tenant, period in world.periods if tenant == program.tenant)]
            state = world.use(program.tenant, read(program.text), partial=partial)
            state.program_sequence, state.tzdata = program.sequence, program.tzdata
        self._fold.retractions.load(known.awaited)
        indexes = {index.name: index for index in world.indexes}
        async for run in known.repeats:
            indexes[run.index].load(run)
        if self.checkpoint.position:
            world.advance(self.checkpoint.log_time_us)
        self.position = self._published = self.checkpoint.position
        await self.publisher.start(
            epoch=self.checkpoint.epoch, log=self._log.identity, position=self.checkpoint.position
        )
        # After that: nobody else publishes any more, so the boards show no more than the log holds now.
        self._catch_up_to = self.publisher.catch_up_to = await self._log.end(self.partition)
        crashpoints.point("start 4: checkpoint and index loaded")

    async def run(self) -> None:
        """Fold, publish and settle until cancelled. Raises what made it stop: then nothing more is folded."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fold_records())
                tasks.create_task(self._publish_ticks())
                tasks.create_task(self._settle_in_time())
        except BaseExceptionGroup as group:
            self._failed = group.exceptions[0]
            async with self._advanced:
                self._advanced.notify_all()
            raise group.exceptions[0] from None

    # --- what others wait for -------------------------------------------------------------------------------------

    async def applied(self, position: Position, *, timeout_s: float) -> Position:
        """Return once the boards show everything up to `position`, and up to where they do. Raises `Unavailable` after
        `timeout_s`."""
        if self._published >= position:
            return self._published
        try:
            async with asyncio.timeout(timeout_s), self._advanced:
                await self._advanced.wait_for(lambda: self._published >= position or self._failed is not None)
        except TimeoutError:
            raise Unavailable(f"Position {position} is not applied yet; the boards are at {self._published}.") from None
        if self._failed is not None:
            raise Unavailable("The worker has stopped; see the server's log.") from self._failed
        return self._published

    def outcomes(self, position: Position) -> bytes | None:
        """What became of the events of a recent record; None when that is no longer remembered."""
        return self._recent.of(position)

    def status(self) -> Status:
        """How it is doing; for metrics, /readyz and people."""
        world = self.world
        return Status(
            position=self.position,
            log_time_us=world.log_time_us,
            published=self._published,
            settled=self.checkpoint.position,
            events=world.counts,
            rows_written=self.written.rows,
            settlements=self.written.transactions,
            dirty_rows=self._dirty_rows(),
            entries_in_memory=sum(state.entries for state in world.tenants.values()),
            repeats_remembered=world.repeats.entries,
            repeats_size_bytes=sum(index.size_bytes for index in world.indexes),
            repeat_window_us=world.repeats.effective_window_us,
            repeats_forgotten_early=self._window_alarm.forgotten_early,
            publishing_fails=self.publisher.trouble,
            failing=str(self._failed) if self._failed else self._trouble,
        )

    async def settle(self) -> None:
        """Settle now. Raises what the book raises; then everything is still dirty."""
        crashpoints.point("settle 1: before it begins")
        async with self._settling:
            async with self._still:
                if not self._whole:
                    raise Unavailable("The worker stopped in the middle of a record. A new start folds it again.")
                before, position = self.checkpoint, self.position
                if position == before.position:
                    return
                self._finish_segment()
                self.publisher.take()
                settlement = settle.begin(self.world, before, position, self._pending, self._archive)
            crashpoints.point("settle 2: generation taken, rows not made")
            try:
                settlement = await settle.with_rows(settlement, self.world)
                if self.publisher.trouble is None:  # else boards that outlive a crash would show less than the book has
                    await self.publisher.attempt(self.position)
            except BaseException:
                settle.put_back(self.world)
                raise
            crashpoints.point("settle 3: rows made")
            generations = await self._commit(settlement)
        await settle.let_go(settlement, generations)
        await self._make_room()
        crashpoints.point("settle 10: cleared, before the trim")
        try:
            await self._log.trim(self.partition, up_to=position)
        except Unavailable as error:  # what is settled is settled, and the next settlement trims this, too
            logger.warning("the log could not be trimmed", partition=self.partition, reason=error.detail)
        crashpoints.point("settle 11: trimmed")

    # --- the steps ------------------------------------------------------------------------------------------------

    async def _fold_records(self) -> None:
        while True:
            # 1. read
            try:
                found = await self._log.read(
                    self.partition, after=self.position, size_bytes_max=self._limits.read_size_bytes
                )
            except Unavailable as error:
                if not self._limits.shared:
                    raise
                logger.warning("the log is out of reach; it is asked again", reason=error.detail)
                await asyncio.sleep(RETRY_S)
                continue
            crashpoints.point("process 1: records read")
            events, limits = 0, self._limits
            size_bytes_max = min(COMPRESS_IN_THREAD_BYTES_MIN, limits.settle_archive_bytes // 16)
            for group in groups(found, events_max=limits.settle_dirty_rows, size_bytes_max=size_bytes_max):
                async with self._still:
                    self._whole = False  # stays so when the fold fails halfway: what is half done must never be settled
                    events += await self._fold_group(group)
                    self._whole = True
                await self._hold_back()
                await asyncio.sleep(0)
            if events < GATHER_EVENTS and self.position >= self._catch_up_to:
                await asyncio.sleep(min(GATHER_S, limits.tick_s))

    async def _fold_group(self, group: Sequence[Read]) -> int:
        """Steps 2 to 4 for these records. Returns how many events they have."""
        packing = None
        if len(group[0][1]) < COMPRESS_IN_THREAD_BYTES_MIN:
            pack(self._segment, group)
        else:
            packing = asyncio.ensure_future(asyncio.to_thread(pack, self._segment, group))
        outcomes = await self._fold.apply_all([(position, record) for position, _, record in group])
        if packing is not None:
            await packing
        for (position, _, _), of_record in zip(group, outcomes, strict=True):
            crashpoints.point("process 4: record folded")
            self.position = position
            self._recent.remember(position, of_record)
        if self._segment.is_full:
            self._finish_segment()
        if self._limits.shared and self.world.programs:
            self._settle_now.set()
        events = sum(map(len, outcomes))
        self._events += events
        return events

    async def _publish_ticks(self) -> None:
        looked_s = self._clock.monotonic_s()
        rest = Rest(self._clock, lambda: self._events, tick_s=self._limits.tick_s, is_shared=self.publisher.is_shared)
        while True:
            # 5. publish
            position, began_s = self.position, self._clock.monotonic_s()
            rest.begin()
            is_new = position > self._published or self.publisher.waits
            if is_new and position >= self._catch_up_to:
                crashpoints.point("process 5: before publishing")
                if not await self.publisher.attempt(position):
                    await asyncio.sleep(RETRY_S)
                    continue
                self._published = position
                crashpoints.point("process 5: published")
                async with self._advanced:
                    self._advanced.notify_all()
            if began_s - looked_s >= LOOK_S:
                looked_s = began_s
                await self.publisher.look()
            await rest.over()

    async def _settle_in_time(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.settle_interval_s):
                    await self._settle_now.wait()
            self._settle_now.clear()  # before settling: who asks meanwhile may ask for what comes after it
            # 6. settle, 7. trim
            try:
                await self.settle()
            except (Fenced, Corrupt):
                raise
            except AccrueError as error:
                self._trouble = f"settling fails: {error.detail}"
                logger.warning("settling failed; everything stays dirty", reason=error.detail)
                await asyncio.sleep(RETRY_S)
                self._settle_now.set()

    async def _commit(self, settlement: Settlement) -> Generations:
        committing = asyncio.ensure_future(self._book.settle(settlement))
        cancelled: asyncio.CancelledError | None = None
        while not committing.done():
            try:
                await asyncio.wait([committing])
            except asyncio.CancelledError as error:  # the book goes on with it, and how that ends has to be known
                cancelled = error
        try:
            written = committing.result()
        except BaseException as error:
            settle.put_back(self.world)
            if cancelled is not None:  # whoever tries again after an error must not try again after this
                raise cancelled from error
            raise
        crashpoints.point("settle 9: before memory is cleared")
        generations = settle.clear(self.world, settlement, self._pending)
        self._conflicts_counted = self._conflicts_size_bytes = 0
        self._room.set()
        self.checkpoint = settlement.after
        self._trouble = None
        self._window_alarm.look()
        self.written = Written(
            rows=self.written.rows + written.rows, transactions=self.written.transactions + written.transactions
        )
        if cancelled is not None:
            raise cancelled
        return generations

    async def _hold_back(self) -> None:
        """Ask for a settlement when enough is dirty, and wait for one when there is twice that."""
        limits = self._limits
        dirty = self._dirty_rows()
        if dirty >= limits.settle_dirty_rows or self._waiting_size_bytes() >= limits.settle_archive_bytes:
            self._settle_now.set()
        while self._is_overfull():
            await self._room.wait()

    def _is_overfull(self) -> bool:
        if self.position == self.checkpoint.position:
            return False  # what still counts as dirty was settled before it was published: no settlement takes it away
        limits = self._limits
        settling = sum(state.settling_rows for state in self.world.tenants.values())
        too_much = self._waiting_size_bytes() >= 2 * limits.settle_archive_bytes
        if too_much or self._dirty_rows() + settling >= 2 * limits.settle_dirty_rows:
            self._room.clear()
            return True
        return False

    def _dirty_rows(self) -> int:
        waiting = len(self.world.failed) + len(self.world.conflicts) + len(self.world.results)
        return waiting + sum(state.dirty_rows for state in self.world.tenants.values())

    def _waiting_size_bytes(self) -> int:
        """What whole events take that wait for a settlement: the archive, failed and conflicting ones."""
        conflicts = self.world.conflicts
        self._conflicts_size_bytes += sum(getsizeof(row.body) for row in conflicts[self._conflicts_counted :])
        self._conflicts_counted = len(conflicts)
        segments = self._segment.size_bytes + sum(len(segment.data) for segment in self._pending.segments)
        return segments + self.world.failed.size_bytes + self._conflicts_size_bytes

    def _finish_segment(self) -> None:
        if not self._segment.is_empty:
            segment = self._segment.finish(previous=self._archive)
            self._pending.segments.append(segment)
            self._archive = segment.digest
            self._segment = self._new_segment(self.partition)

    async def _make_room(self) -> None:
        """Forget what is clean and was not touched by the last settlement, when memory holds too much."""
        states = list(self.world.tenants.values())
        if sum(state.entries for state in states) > self._limits.entries_in_memory_max:
            async with self._still:
                for state in states:
                    for _ in state.evict():
                        await asyncio.sleep(0)
