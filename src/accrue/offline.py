"""What is done to a data directory as a whole, without an engine on it: verify, export, try out rules, replay.

All but a replay only read, at one moment of the book, and so may be done beside a running server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from difflib import get_close_matches
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from msgspec import Struct

from accrue import backends, ids
from accrue.book.base import Checkpoint
from accrue.book.snapshot import Snapshot
from accrue.clock import Clock
from accrue.config import DEFAULT_DATA_DIR, Config
from accrue.connect.data_dir import locked
from accrue.core.period import tzdata_version
from accrue.core.program import Program, refuse_change
from accrue.core.reader import read
from accrue.errors import Corrupt, Misconfigured, NotFound
from accrue.log.base import Position
from accrue.log.sqlite_look import Ends
from accrue.process.instead import Instead
from accrue.process.replay.export import Some, Wanted, exported
from accrue.process.replay.history import History, look_ahead
from accrue.process.replay.one_partition import OnePartition
from accrue.process.replay.rebuild import Order, Rebuilding, rebuild
from accrue.process.replay.refold import Refold
from accrue.process.replay.report import OnStep, Report
from accrue.process.replay.verify import compare_books, verify
from accrue.process.replay.whatif import Effect, effect, try_out


class Replayed(Struct, frozen=True, kw_only=True):
    """What a replay did. `report` compares the old book with the new one; None when another program was applied or an
    earlier replay was finished. `effect` says what a program changed. `kept` is where the old book is now."""

    position: Position
    report: Report | None
    effect: Effect | None
    kept: Path


async def verify_directory(config: Config, clock: Clock, *, folder: Path | None, on_step: OnStep) -> Report:
    """Compare the book of a data directory with a fresh fold of its archive; the fold's book goes into `folder`.

    Raises `Misconfigured` when there is nothing to verify. Changes nothing.
    """
    data_dir = existing(config)
    before = await backends.log_ends(data_dir)
    async with seen(data_dir) as (snapshot, checkpoint):
        after = await backends.log_ends(data_dir)
        with _temporary(folder) as place:
            shop = backends.workshop(config, clock, Path(place))
            report = await verify(snapshot, checkpoint, shop, on_step=on_step)
    report.unsettled = max(after.last - checkpoint.position, 0)
    report.faults += _log_faults(before, after, checkpoint, archived=report.archived)
    return report


async def verify_shared(config: Config, clock: Clock, *, folder: Path | None, on_step: OnStep) -> Report:
    """The same for a book that several processes share: one partition after the other, each as it is now.

    Looks at the book alone, and needs no server but its own. Raises `Misconfigured` when nothing is settled yet.
    """
    whole, partitions = Report(), config.partitions
    for partition in range(partitions):
        snapshot = await backends.open_shared_snapshot(config.book.url)
        try:
            found = OnePartition(snapshot, partition, partitions=partitions)
            checkpoint = await found.checkpoint(partition)
            if checkpoint is None or not checkpoint.position:
                continue  # nobody lives there yet
            with _temporary(folder) as place:
                shop = backends.workshop(config, clock, Path(place), shares=partitions)
                report = await verify(found, checkpoint, shop, on_step=on_step, gapless=False)
            whole.include(report, partition=partition)
        finally:
            await snapshot.close()
    if not whole.segments and not whole.faults:
        raise Misconfigured("Nothing was settled in this book yet: there is no archive.")
    return whole


async def try_program(
    config: Config, clock: Clock, *, tenant: str, text: str, folder: Path | None, on_step: OnStep
) -> Effect:
    """What would change if all of a tenant's events had been folded by this program. Changes nothing.

    Raises `ProgramError`, `NotFound` for a tenant that has no program, and `Corrupt` when the archive is not whole.
    """
    order = _order(tenant, text)
    async with seen(existing(config)) as (snapshot, checkpoint):
        old = await _program_before(snapshot, order)
        with _temporary(folder) as place:
            shop = backends.workshop(config, clock, Path(place))
            return await try_out(snapshot, checkpoint, shop, order, old, on_step=on_step)


async def replay(config: Config, clock: Clock, *, tenant: str, text: str | None, on_step: OnStep) -> Replayed:
    """Rebuild the book from the archive and put it in the place of the one there is, which is kept.

    With `text`, a program, all events of the tenant up to now are folded by that, and a record in the log says so.
    Nobody may have the data directory. Raises what `try_program` raises, and `InUse`.
    """
    data_dir = existing(config)
    order = None if text is None else _order(tenant, text)
    with locked(data_dir), backends.nothing_left_over(data_dir):
        async with AsyncExitStack() as stack:
            log = await backends.open_log(config, data_dir)
            stack.push_async_callback(log.close)
            new = await backends.open_new_book(data_dir)
            stack.push_async_callback(new.close)
            snapshot, checkpoint = await stack.enter_async_context(seen(data_dir))
            old = await _program_before(snapshot, order) if order else None
            ends = Ends(log.identity, 0, await log.end(backends.PARTITION))
            for fault in _log_faults(ends, ends, checkpoint, archived=None):
                raise Corrupt(fault)
            shop = backends.workshop(config, clock, stack.enter_context(_aside(data_dir)))
            task = Rebuilding(found=snapshot, checkpoint=checkpoint, log=log, new=new, shop=shop)
            comparing = _Comparing(data_dir, task, order, old, on_step)
            position = await rebuild(task, order, compare=comparing.compare, on_step=on_step)
        kept = backends.swap_books(data_dir, checkpoint)
    return Replayed(position=position, report=comparing.report, effect=comparing.effect, kept=kept)


async def is_decided(config: Config) -> bool:
    """Whether the log has a replay under another program that the book does not have yet. Raises as `replay` does."""
    data_dir = existing(config)
    with locked(data_dir):
        log = await backends.open_log(config, data_dir)
        try:
            async with seen(data_dir) as (_, checkpoint):
                history, end = History(), await log.end(backends.PARTITION)
                await look_ahead(log, history, after=checkpoint.position, end=end)
        finally:
            await log.close()
    return bool(history.stages)


class _Comparing:
    """What a rebuild has to say of the old book and the new one."""

    def __init__(
        self, data_dir: Path, task: Rebuilding, order: Order | None, old: Program | None, on_step: OnStep
    ) -> None:
        self.report: Report | None = None
        self.effect: Effect | None = None
        self._data_dir, self._task, self._order, self._old = data_dir, task, order, old
        self._on_step = on_step

    async def compare(self, fold: Refold, comparable: bool) -> None:
        task = self._task
        rebuilt = await backends.open_new_snapshot(self._data_dir)
        try:
            if self._order is not None and self._old is not None:
                position = task.checkpoint.position
                self.effect = await effect(self._order, self._old, task.found, rebuilt, position=position)
            elif comparable:
                self.report = await compare_books(
                    task.found, task.checkpoint, rebuilt, fold.worker, task.shop, on_step=self._on_step
                )
        finally:
            await rebuilt.close()


@asynccontextmanager
async def exported_records(config: Config, wanted: Wanted) -> AsyncIterator[tuple[Position, AsyncIterator[Some]]]:
    """The wanted events of the archive, record by record, and the position it ends at.

    Raises `Misconfigured` when there is no archive, and `NotFound` for a tenant that is not in it.
    """
    async with seen(existing(config)) as (snapshot, checkpoint):
        if wanted.tenant is not None:
            _check_tenant(wanted.tenant, [row.tenant for row in (await snapshot.start(backends.PARTITION)).programs])
        yield checkpoint.position, exported(snapshot, checkpoint, wanted)


def existing(config: Config) -> Path:
    """The data directory, which must be there. Raises `Misconfigured`, and `Corrupt` when half of it is missing."""
    place = config.data_dir or Path(DEFAULT_DATA_DIR)
    has_log, has_book = (place / "log.db").is_file(), (place / "book.db").is_file()
    if not has_log and not has_book:
        raise Misconfigured(f"There is no data directory at {place}. Say where it is with --data-dir.")
    if not has_log:
        raise Corrupt(f"{place} has a book but no log.db. Put the log back; nothing was changed.")
    if not has_book:
        raise Corrupt(f"{place} has a log but no book.db. Put the book back; nothing was changed.")
    return place


@asynccontextmanager
async def seen(data_dir: Path) -> AsyncIterator[tuple[Snapshot, Checkpoint]]:
    """The book as it is now, and how far it has come."""
    snapshot = await backends.open_snapshot(data_dir)
    try:
        checkpoint = await snapshot.checkpoint(backends.PARTITION)
        if checkpoint is None or not checkpoint.position:
            raise Misconfigured(f"Nothing was settled in {data_dir} yet: there is no archive.")
        yield snapshot, checkpoint
    finally:
        await snapshot.close()


def _order(tenant: str, text: str) -> Order:
    return Order(tenant, ids.event_id(), text, Instead(read(text), tzdata_version()))


async def _program_before(snapshot: Snapshot, order: Order) -> Program:
    """The program in force. Raises `NotFound`, and `ProgramError` where final standings that were given, which stay,
    would mean something else under the new one."""
    start = await snapshot.start(backends.PARTITION)
    programs = {row.tenant: row.text for row in start.programs}
    _check_tenant(order.tenant, programs)
    old = read(programs[order.tenant])
    if any(row.closed and row.tenant == order.tenant for row in start.periods):
        refuse_change(old, order.instead.program)
    return old


def _check_tenant(tenant: str, tenants: Collection[str]) -> None:
    if tenant not in tenants:
        close = get_close_matches(tenant, sorted(tenants), n=1)
        known = "" if close else f" There are {', '.join(sorted(tenants))}."
        raise NotFound(f"There is no tenant {tenant!r}.{known}", field="tenant", nearest=close[0] if close else None)


def _temporary(folder: Path | None) -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix="accrue-", dir=folder)
    except OSError as error:
        raise Misconfigured(f"{folder} cannot be used for temporary files: {error.strerror}.") from error


@contextmanager
def _aside(data_dir: Path) -> Iterator[Path]:
    """A folder beside the books, of a fixed name: what an interrupted replay left in it goes with the next one."""
    place = data_dir / "replaying"
    rmtree(place, ignore_errors=True)
    try:
        place.mkdir()
        yield place
    finally:
        rmtree(place, ignore_errors=True)


def _log_faults(before: Ends, after: Ends, checkpoint: Checkpoint, *, archived: Position | None) -> list[str]:
    """What is wrong between log and book. `before` was looked at before the book, `after` after it. `archived` is where
    the archive ends, None where nobody looked."""
    if before.identity != checkpoint.log_identity:
        return [f"The book belongs to the log {checkpoint.log_identity!r}, but the log here is {before.identity!r}."]
    if before.trimmed > checkpoint.position:
        trimmed = f"The log was trimmed up to position {before.trimmed}, but the"
        if archived is None:
            return [f"{trimmed} book's position is {checkpoint.position}. accrue verify says what the archive has."]
        if before.trimmed > archived:
            return [f"{trimmed} archive ends at {archived}: the records between are lost."]
        return []  # the archive has them: that it goes on past the book is a fault of its own
    if after.last < checkpoint.position:
        return [f"The log ends at position {after.last}, but {checkpoint.position} is settled: this is an older log."]
    return []
