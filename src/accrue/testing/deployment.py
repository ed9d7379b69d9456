"""A deployment whose process can be killed between any two steps, and started again over what it left.

    +-- process: the whole engine as wiring.py puts it together ----+       what outlives it
    |  group commit, worker, fold, settle, closer, boards, queries  | --wire--> log, book.db
    +---------------------------------------------------------------+

Killing cuts the wire first: whatever the process still does then reaches nothing. What had been handed to a thread and
not been done is not done. Its tasks are cancelled only so that nothing of it stays in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import AsyncExitStack
from contextvars import Context, ContextVar, copy_context
from pathlib import Path
from typing import Any, TypeVar, cast

from accrue import backends, wiring
from accrue.boards.base import Boards
from accrue.boards.memory import MemoryBoards
from accrue.book.base import Book
from accrue.book.sqlite import SqliteBook
from accrue.config import Config
from accrue.errors import Corrupt, Fenced, Unavailable
from accrue.log.base import Log, Position
from accrue.log.memory import MemoryLog
from accrue.log.sqlite import SqliteLog
from accrue.testing.faults import Faults, FaultyBackend, Wire
from accrue.testing.loop import LoopClock, SimulatedLoop

IDENTITY = "simulated"
STARTS_MAX = 1_000
"""So many starts in a row may fail before something else must be wrong than the faults."""

Answer = TypeVar("Answer")
_process: ContextVar[Process | None] = ContextVar("process", default=None)


class Defect(Exception):
    """The engine ended with an error that no fault explains."""


class Process:
    """One life of the engine, from a start to a crash or a stop. `tasks` are those that still run."""

    def __init__(self, deployment: Deployment) -> None:
        self.wire = Wire(lambda: deployment.kill_after(deployment.faults.random.randrange(1, 40)))
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.parts: wiring.Alone | None = None
        self.defect: BaseException | None = None
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self.opened: list[SqliteBook | SqliteLog] = []
        self._deployment = deployment

    async def live(self) -> None:
        """Run until it is told to stop or dies of something."""
        deployment = self._deployment
        try:
            async with wiring.running(deployment.config, deployment.clock, opening=self._open) as parts:
                self.parts = parts
                self.ready.set()
                stopping = asyncio.ensure_future(self.stopping.wait())
                await asyncio.wait([parts.running, stopping], return_when=asyncio.FIRST_COMPLETED)
                self.parts = None
                stopping.cancel()
                if parts.running.done():
                    parts.running.result()
        except (Unavailable, Fenced):
            pass  # what a server would end with too; the next start begins at the checkpoint
        except Corrupt as error:
            if self.wire.appends:  # else it was handed over, and the log goes on without what it has not read
                self.defect = error
        except Exception as error:
            self.defect = error
        finally:
            self.parts = None
            self.ready.set()

    async def _open(self, _: Config, __: AsyncExitStack) -> tuple[Log, Book, Boards]:
        self.wire.check()
        log, book = await self._deployment.open(self)
        backends = {"log": log, "book": book, "boards": MemoryBoards(instance=IDENTITY)}
        faulty: list[Any] = [
            FaultyBackend(backend, kind, self._deployment.faults, self.wire) for kind, backend in backends.items()
        ]
        return faulty[0], faulty[1], faulty[2]


class Deployment:
    """What outlives the process, and the process of now. For one `SimulatedLoop`, inside which it is used."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        *,
        loop: SimulatedLoop,
        clock: LoopClock,
        faults: Faults,
        log_in_memory: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config, self.clock, self.faults = config, clock, faults
        self.starts = 0
        self.book_file = folder / "book.db"
        self._log_file = folder / "log.db"
        self._loop = loop
        self._memory_log = MemoryLog(identity=IDENTITY) if log_in_memory else None
        self._log: KeptLog | None = None
        self._kept: dict[Position, bytes] = {}
        self._now: Process | None = None
        self._before: list[Process] = []  # those that were handed over and do not know it yet
        self._starting = asyncio.Lock()
        loop.set_task_factory(_task)

    async def parts(self) -> wiring.Alone:
        """The parts of the process of now; when there is none, one is started, until that succeeds.

        Raises `Defect` when the process before ended with anything that is no consequence of a fault.
        """
        async with self._starting:
            for _ in range(STARTS_MAX):
                process = self._now
                if process is not None and process.parts is not None and not process.parts.running.done():
                    return process.parts
                if process is not None:
                    await self.bury()
                self.starts += 1
                self._now = process = Process(self)
                self._begin(process, process.live())
                await process.ready.wait()
        raise Defect(f"The engine did not start in {STARTS_MAX} attempts.")

    async def ask(self, question: Callable[[wiring.Alone], Coroutine[Any, Any, Answer]]) -> Answer:
        """Ask the process of now. Raises what the question raises, and `Unavailable` when the process dies of it."""
        parts = await self.parts()
        process = self._now
        assert process is not None
        asked = self._begin(process, question(parts))
        await asyncio.wait([asked])
        if asked.cancelled():
            raise Unavailable("The process died before it answered.")
        return cast(Answer, asked.result())

    def kill(self) -> None:
        """The process is gone, at once, and those that were handed over too. The next `parts` starts another one."""
        self._loop.drop_calls()
        for process in self._lives():
            process.wire.is_cut = True
            process.parts = None
            process.ready.set()
            for task in list(process.tasks):
                task.cancel()

    def hand_over(self) -> None:
        """The next `parts` starts another process while this one goes on, without clients and the way into the log,
        until it finds out that it has lost its partition. Only with a log in memory: a file has one writer."""
        process = self._now
        if process is not None and process.parts is not None and self._memory_log is not None:
            process.wire.appends = False
            self._before.append(process)
            self._now = None

    def kill_after(self, turns: int) -> None:
        """Kill the process of now, unless it is gone by then, between two turns of the loop."""
        process = self._now
        self._loop.after_turns(turns, lambda: self.kill() if process and self._now is process else None)

    def settle_soon(self) -> None:
        """Let the process of now settle, beside whatever else it does."""
        process = self._now
        if process is not None and process.parts is not None:
            self._begin(process, process.parts.worker.settle())

    async def stop(self) -> None:
        """Let the process end as it should: it folds what is there and settles."""
        async with self._starting:
            process = self._now
            if process is not None:
                process.stopping.set()
                while process.tasks and not process.wire.is_cut:
                    await asyncio.wait(list(process.tasks))
            await self.bury()

    async def bury(self) -> None:
        """See that nothing is left of the process of now. Raises `Defect`."""
        lives = self._lives()
        if not lives:
            return
        self.kill()
        self._log = None
        for process in lives:
            while process.tasks:
                for task in list(process.tasks):
                    task.cancel()
                await asyncio.wait(list(process.tasks), timeout=1)
            while process.opened:
                await process.opened.pop().close()
        self._now, self._before = None, []
        for process in lives:
            if process.defect is not None:
                raise Defect(f"The engine ended with: {process.defect!r}") from process.defect

    async def history(self) -> dict[Position, bytes]:
        """Every record the log ever held, by position, what was trimmed included."""
        while True:
            await self.parts()
            assert self._log is not None
            try:
                await self._log.keep()
            except Unavailable:  # the process died meanwhile, and its connections with it
                continue
            return dict(sorted(self._kept.items()))

    async def open(self, process: Process) -> tuple[KeptLog, SqliteBook]:
        """The log and the book, for a process that starts."""
        book = await SqliteBook.open(self.book_file)
        process.opened.append(book)
        log = self._memory_log or await self._open_log(process)
        self._log = KeptLog(log, self._kept)
        return self._log, book

    def _lives(self) -> list[Process]:
        return [*self._before, *([self._now] if self._now is not None else [])]

    async def _open_log(self, process: Process) -> SqliteLog:
        log = SqliteLog(self._log_file, create_identity=IDENTITY)
        process.opened.append(log)
        await log.open()
        return log

    def _begin(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(_process.set, process)
        return self._loop.create_task(work, context=context)


class KeptLog:
    """A log whose records are kept before they are trimmed, so that a run can be looked at from its beginning."""

    def __init__(self, log: MemoryLog | SqliteLog, kept: dict[Position, bytes]) -> None:
        self._log = log
        self._kept = kept
        self._one_at_a_time = asyncio.Lock()  # nothing may be trimmed that is being read

    async def keep(self) -> None:
        """Keep what the log holds."""
        async with self._one_at_a_time:
            await self._keep()

    async def trim(self, partition: int, *, up_to: Position) -> None:
        """See `Log.trim`."""
        async with self._one_at_a_time:
            await self._keep()
            await self._log.trim(partition, up_to=up_to)

    async def _keep(self) -> None:
        partition = backends.PARTITION
        while (last := max(self._kept, default=0)) < await self._log.end(partition):
            self._kept.update(await self._log.read(partition, after=last, size_bytes_max=1 << 20))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def _task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
) -> asyncio.Task[Any]:
    """A task that is known to the process it belongs to."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
    process = _process.get() if context is None else context.get(_process)
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: _forget(process, done))
    return task


def _forget(process: Process, task: asyncio.Task[Any]) -> None:
    process.tasks.pop(task, None)
    if not task.cancelled():
        task.exception()  # whoever wanted to know has asked
