"""Processes of `accrue` that a bench starts, and ends whatever happens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from accrue.cli.bench.report import Miscounted
from accrue.cli.demo.connection import Connection

STOP_S_MAX = 60.0
READY_S_MAX = 60.0
LOOK_S = 0.05


@contextmanager
def started(arguments: Sequence[str], *, said: Path) -> Iterator[str]:
    """`accrue` with these arguments while the block runs; gives the URL it listens at. What it says goes to a file."""
    command = [sys.executable, "-m", "accrue.cli.main", *arguments]
    with said.open("wb") as file, subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=file) as process:
        try:
            yield _url(process, said)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


async def ready(port: int, path: str) -> None:
    """Return once a read there is answered with 200. Raises `Miscounted` when that takes too long."""
    connection = Connection(port)
    try:
        async with asyncio.timeout(READY_S_MAX):
            while (await connection.get(path)).status != 200:  # noqa: ASYNC110  # another process sets no event
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise Miscounted(f"Nothing is ready at {path} of port {port}.") from None
    finally:
        await connection.close()


def _url(process: subprocess.Popen[bytes], said: Path) -> str:
    """Wait until it says where it listens."""
    while process.poll() is None:
        words = said.read_text(errors="replace").split()
        if "listening" in words and len(words) > words.index("listening") + 1:
            return words[words.index("listening") + 1]
        try:
            process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            continue
    raise Miscounted(f"A process of the bench ended early:\n{said.read_text(errors='replace')[-6_000:]}")
