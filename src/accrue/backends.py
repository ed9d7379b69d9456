"""Opens what the settings name, and what a data directory holds: the only file that knows every backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec

from accrue import crashpoints, ids
from accrue.boards.base import Boards
from accrue.boards.memory import MemoryBoards
from accrue.book.base import Book, Checkpoint
from accrue.book.owning import Owners
from accrue.book.snapshot import Snapshot
from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_scratch import SqliteScratch
from accrue.book.sqlite_snapshot import SqliteSnapshot
from accrue.book.sqlite_swap import NEW, clear_new, swap, take_alone
from accrue.clock import Clock
from accrue.config import Config
from accrue.errors import Absent, Misconfigured, Unavailable
from accrue.log.base import Log
from accrue.log.late import LateLog
from accrue.log.memory import LOG_SIZE_BYTES_MAX, MemoryLog
from accrue.log.sqlite import SqliteLog
from accrue.log.sqlite_look import Ends, look
from accrue.process.replay.scratch import Workshop
from accrue.process.settings import limits_of, memory_of

PARTITION = 0
"""An embedded deployment has one partition; every tenant lives in it."""


class SharedBook(Book, Owners, Protocol):
    """A book that several processes share, and that says who has which partition."""


async def open_backends(config: Config, stack: AsyncExitStack) -> tuple[Log, Book, Boards]:
    """Open the log, the book and the boards that the settings name; the stack closes them."""
    log = await _open_log(config)
    stack.push_async_callback(log.close)
    crashpoints.point("start 2: log open")
    book = await _open_book(config, stack)
    crashpoints.point("start 3: book open")
    boards = await open_boards(config)
    stack.push_async_callback(boards.close)
    return log, book, boards


async def open_node_backends(config: Config, stack: AsyncExitStack) -> tuple[Log, SharedBook, Boards]:
    """Open what several processes share; the stack closes it. A log that does not answer is a `LateLog`, where the book
    says which one it has to be. Raises `Misconfigured` for what cannot be shared."""
    if not config.book.url:
        raise Misconfigured(
            "The log is shared by several processes, so the book has to be, too: give [book] url (or --book)."
        )
    book: SharedBook | None = None
    try:
        log = await _open_shared_log(config.log.url, partitions=config.partitions)
    except (Unavailable, Absent) as error:
        book = await open_shared_book(config.book.url)
        stack.push_async_callback(book.close)
        held = await book.deployment()
        if held is None:
            raise
        opening = partial(_open_shared_log, config.log.url, partitions=config.partitions)
        log = LateLog(opening, identity=held[1], reason=error.detail)
    stack.push_async_callback(log.close)
    if book is None:
        book = await open_shared_book(config.book.url)
        stack.push_async_callback(book.close)
    boards = await open_boards(config)
    stack.push_async_callback(boards.close)
    return log, book, boards


async def open_snapshot(data_dir: Path) -> Snapshot:
    """The book of a data directory as it is now, also beside a server that has it. Whoever opens it closes it."""
    return await SqliteSnapshot.open(data_dir / "book.db")


async def open_log(config: Config, data_dir: Path) -> Log:
    """The log of a data directory that nobody else has. Whoever opens it closes it."""
    return await _open_log(msgspec.structs.replace(config, data_dir=data_dir))


async def open_new_book(data_dir: Path) -> Book:
    """An empty book beside the live one, which nobody else may have open: raises `InUse`. Nothing in the new one is
    synced before `swap_books`."""
    take_alone(data_dir)
    return await SqliteBook.open(clear_new(data_dir), synchronous="OFF")


@contextmanager
def nothing_left_over(data_dir: Path) -> Iterator[None]:
    """Remove the new book when the block does not come to swapping it."""
    try:
        yield
    finally:
        clear_new(data_dir)


async def open_new_snapshot(data_dir: Path) -> Snapshot:
    """That book as it is now."""
    return await SqliteSnapshot.open(data_dir / NEW)


def swap_books(data_dir: Path, old: Checkpoint) -> Path:
    """Put the new book in the place of the live one, and return where that is now. Both must be closed."""
    return swap(data_dir, position=old.position, epoch=old.epoch)


async def log_ends(data_dir: Path) -> Ends:
    """Where the log of a data directory begins and ends now, also beside a server that has it."""
    return await look(data_dir / "log.db", PARTITION)


def workshop(config: Config, clock: Clock, folder: Path, *, shares: int = 1) -> Workshop:
    """What folding an archive from the start takes, with its books in this folder."""
    return Workshop(
        scratch=SqliteScratch(folder),
        boards=MemoryBoards(instance=ids.identity()),
        clock=clock,
        memory=memory_of(config.process, shares=shares),
        limits=limits_of(config.process),
    )


async def _open_log(config: Config) -> Log:
    size_bytes_max = config.log.size_bytes_max
    if config.log.url:
        return await _open_shared_log(config.log.url, partitions=config.partitions)
    if config.data_dir is None:
        return MemoryLog(identity=ids.identity(), size_bytes_max=min(size_bytes_max, LOG_SIZE_BYTES_MAX))
    log = SqliteLog(config.data_dir / "log.db", create_identity=ids.identity(), size_bytes_max=size_bytes_max)
    await log.open()
    return log


async def _open_shared_log(url: str, *, partitions: int) -> Log:
    # Drivers are extras, so each is imported when it is asked for.
    identity = ids.identity()
    match scheme_of(url):
        case "postgresql" | "postgres":
            from accrue.log.postgres import PostgresLog

            return await PostgresLog.open(url, partitions=partitions, create_identity=identity)
        case "rabbitmq-stream":
            from accrue.log.rabbitmq import RabbitmqLog

            return await RabbitmqLog.open(url, partitions=partitions, create_identity=identity)
        case "kafka":
            from accrue.log.kafka import KafkaLog

            return await KafkaLog.open(url, partitions=partitions, create_identity=identity)
    raise _unknown(url, "log", "postgresql://, rabbitmq-stream:// and kafka://, and log.db in the data directory")


async def open_shared_book(url: str) -> SharedBook:
    """The book at this URL. Whoever opens it closes it. Raises `Misconfigured`."""
    if scheme_of(url) in ("postgresql", "postgres"):
        from accrue.book.postgres import PostgresBook

        return await PostgresBook.open(url)
    raise _unknown(url, "book", "postgresql://, and book.db in the data directory")


async def open_shared_snapshot(url: str) -> Snapshot:
    """The book at this URL as it is now. Whoever opens it closes it. Raises `Misconfigured`."""
    if scheme_of(url) in ("postgresql", "postgres"):
        from accrue.book.postgres_snapshot import PostgresSnapshot

        return await PostgresSnapshot.open(url)
    raise _unknown(url, "book", "postgresql://")


async def _open_book(config: Config, stack: AsyncExitStack) -> Book:
    book: Book
    if config.book.url:
        book = await open_shared_book(config.book.url)
    else:
        data_dir = config.data_dir
        if data_dir is None:
            data_dir = Path(stack.enter_context(TemporaryDirectory(prefix="accrue-")))
        book = await SqliteBook.open(data_dir / "book.db")
    stack.callback(crashpoints.point, "stop 5: book closed")  # after what is pushed next
    stack.push_async_callback(book.close)
    return book


async def open_boards(config: Config) -> Boards:
    """The boards that the settings name. Whoever opens them closes them. Raises `Misconfigured`."""
    url = config.boards.url
    if not url:
        return MemoryBoards(instance=ids.identity())
    if scheme_of(url) in ("redis", "rediss", "redis-cluster"):
        from accrue.boards.redis import RedisBoards

        return await RedisBoards.open(url)
    raise _unknown(url, "boards", "redis:// and redis-cluster://, and the memory of the process")


def scheme_of(url: str) -> str:
    """What stands before the colon."""
    return url.partition(":")[0].lower()


def _unknown(url: str, what: str, known: str) -> Misconfigured:
    return Misconfigured(f"Nothing here keeps the {what} at {scheme_of(url)}://... URLs. What does: {known}.")
