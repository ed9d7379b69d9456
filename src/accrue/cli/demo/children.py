"""The two processes that the terminal process starts: the server and the traffic.

They are in sessions of their own, so that Ctrl-C reaches the terminal process only and it decides what happens. Each
ends when its standard input does, so neither outlives the terminal process, even one that was killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
from msgspec import Struct

from accrue.cli.demo.messages import LINE_SIZE_BYTES_MAX, Message, heard
from accrue.errors import Unavailable

LEAVE_S_MAX = 30.0
"""For settling and closing. What is not gone by then is killed."""


class Child:
    """A process that is told words and says messages."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._ear, self._mouth = process, process.stdin, process.stdout

    def tell(self, word: str | Struct) -> None:
        """One word or document. One that has ended hears nothing."""
        line = word.encode() if isinstance(word, str) else msgspec.json.encode(word)
        with suppress(ConnectionError):
            self._ear.write(line + b"\n")

    async def hear(self, wanted: type[Message]) -> Message:
        """The next message. Raises `Unavailable` when the process cannot go on or has ended."""
        return heard(await self._mouth.readline(), wanted)

    async def leave(self) -> None:
        """Let it end, and wait until it has."""
        self._ear.close()
        try:
            async with asyncio.timeout(LEAVE_S_MAX):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it at once. Harmless to repeat."""
        with suppress(ProcessLookupError):
            self._process.kill()


@asynccontextmanager
async def started(module: str, arguments: Sequence[str] = ()) -> AsyncIterator[Child]:
    """Run a module of the demo while the block runs; it is killed when the block is left by an error."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"accrue.cli.demo.{module}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_SIZE_BYTES_MAX,
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"A process of the demo cannot be started: {error}.") from error
    child = Child(process)
    try:
        yield child
    except BaseException:
        child.kill()
        await process.wait()
        raise
    await child.leave()
