"""Kill a gateway with a spool at every step and at any moment: what it said is durable is in the log in the end, in
its order, at most twice."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from accrue.clock import SystemClock
from accrue.crashpoints import SPOOL_POINTS
from accrue.errors import InUse
from accrue.ingest.parked import parked
from accrue.ingest.spool import Spool
from accrue.ingest.spooled_log import SpooledLog
from crash.many import PYTHONPATH, ROOT
from crash.spooling import LOG, TIMES, Walled, numbers, open_log

COUNT = 40
END_S_MAX = 60.0
"""Only so that a process that neither ends nor is killed fails its test."""


def started(folder: Path, *, first: int = 0, at: str | None = None, hits: int = 1) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    if at is not None:
        environment |= {"ACCRUE_CRASH_AT": at, "ACCRUE_CRASH_HITS": str(hits)}
    command = [sys.executable, "-m", "crash.spooling", str(folder), str(first), str(COUNT)]
    # Unbuffered, because `communicate` with a time-out reads past the buffer that `readline` fills.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0)


def said(output: bytes) -> tuple[list[int], list[int]]:
    """The numbers begun, and those acked, of what was said in whole lines."""
    words = [line.split() for line in output[: output.rfind(b"\n") + 1].splitlines()]
    return tuple([int(line[1]) for line in words if line[0] == kind] for kind in (b"begun", b"acked"))  # type: ignore[return-value]


async def forwarded(folder: Path) -> list[int]:
    """Start a gateway again, let it forward what is there, and say what the log has."""
    log = Walled(await open_log(folder))
    log.wall = False
    spool = await Spool.open(folder / "spool.db", log_identity=LOG)
    way = SpooledLog(log, spool, SystemClock(), times=TIMES)
    running = asyncio.ensure_future(way.run())
    async with asyncio.timeout(END_S_MAX):
        while way.status().waiting:  # noqa: ASYNC110 - it says how it is, and tells nobody
            await asyncio.sleep(0)
    running.cancel()
    await spool.close()
    found = await numbers(log._log)
    await log._log.close()
    return found


async def check(folder: Path, output: bytes, *, lives: int = 1) -> list[int]:
    begun, acked = said(output)
    found = await forwarded(folder)
    assert await parked(folder / "spool.db") == []
    first = list(dict.fromkeys(found))
    assert first == sorted(first)  # the order
    assert set(acked) <= set(first) <= set(begun)  # nothing lost, nothing invented
    assert max(Counter(found).values(), default=0) <= 1 + lives
    return found


@pytest.mark.parametrize(
    ("point", "hits"),  # how often it comes to forwarding depends on the machine, but for once
    [*((point, 1) for point in SPOOL_POINTS), *((point, 5) for point in SPOOL_POINTS if point.startswith("spool"))],
)
async def test_killed_at_any_step_nothing_acked_is_lost(tmp_path: Path, point: str, hits: int) -> None:
    process = started(tmp_path, at=point, hits=hits)

    output, _ = process.communicate(timeout=END_S_MAX)

    assert process.returncode == -signal.SIGKILL
    await check(tmp_path, output)


async def test_killed_between_forwarding_and_removing_all_of_it_is_forwarded_twice_in_order(tmp_path: Path) -> None:
    process = started(tmp_path, at="forward 3: removed, before the commit")

    output, _ = process.communicate(timeout=END_S_MAX)

    found = await check(tmp_path, output)
    assert list(Counter(found).values()).count(2) > 1  # what was joined


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_any_moment_again_and_again_nothing_acked_is_lost(tmp_path: Path, seed: int) -> None:
    random, outputs, lives = Random(seed), b"", 3
    for life in range(lives):
        process = started(tmp_path, first=life * COUNT)
        assert process.stdout is not None
        for _ in range(random.randrange(1, 2 * COUNT)):
            outputs += process.stdout.readline()
        process.kill()
        outputs += process.communicate(timeout=END_S_MAX)[0]
        outputs = outputs[: outputs.rfind(b"\n") + 1]

    await check(tmp_path, outputs, lives=lives)


async def test_a_file_that_another_process_has_is_refused(tmp_path: Path) -> None:
    process = started(tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(InUse, match=f"in use by process {process.pid}"):
            await Spool.open(tmp_path / "spool.db", log_identity=LOG)
    finally:
        process.kill()
        process.communicate(timeout=END_S_MAX)


def test_every_crash_point_of_the_spool_stands_in_the_code_once() -> None:
    placed: Counter[str] = Counter()
    for file in sorted((ROOT / "src" / "accrue").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in SPOOL_POINTS and file.name != "crashpoints.py":
                placed[str(node.value)] += 1
    assert placed == Counter(SPOOL_POINTS)
