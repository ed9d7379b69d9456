"""A folder that cannot be written to, and a log whose end is damaged: never half a truth."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from crash.faulty import BEGIN_US
from crash.judge import judge
from crash.many import PYTHONPATH
from crash.workload import PROGRAMS, Requests

NOBODY = 65_534

OPEN = """
import asyncio, os, sys, tempfile
from pathlib import Path
from accrue.config import Config
from accrue.engine import Accrue
from accrue.errors import AccrueError

async def opened(data_dir):
    async with Accrue.open(Config(data_dir=data_dir, program=program)):
        return "opened"

folder, program = Path(sys.argv[1]), Path(sys.argv[1]) / "program.toml"
with tempfile.TemporaryDirectory() as elsewhere:
    asyncio.run(opened(Path(elsewhere) / "data"))  # so that everything is imported that nobody may not read
if os.geteuid() == 0:
    os.seteuid(int(sys.argv[2]))  # root may write anywhere
try:
    print(asyncio.run(opened(folder / "data")))
except AccrueError as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may look into; pytest's own are for its user only."""
    path = Path(tempfile.mkdtemp(prefix="accrue-crash-folder-"))
    path.chmod(0o755)
    yield path
    for place in [path, *path.rglob("*")]:
        place.chmod(0o755)
    shutil.rmtree(path)


def python(*arguments: str) -> str:
    """Run it to its end, however it ends, and return what it said."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.stdout.strip()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, but for the shared memory, which says nothing."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if not file.name.endswith("-shm")}


@pytest.mark.parametrize("there", ["nothing", "a killed engine's data"])
def test_a_folder_that_is_read_only_is_refused_and_stays_as_it_is(folder: Path, there: str) -> None:
    (folder / "program.toml").write_text(PROGRAMS[0])
    (folder / "data").mkdir()
    if there != "nothing":
        python("-m", "crash.faulty", "nothing", str(folder))
    before = contents(folder / "data")
    for file in (folder / "data").iterdir():
        file.chmod(0o444)
    (folder / "data").chmod(0o555)

    said = python("-c", OPEN, str(folder), str(NOBODY))

    assert said.startswith("Misconfigured: ")
    assert str(folder / "data") in said
    assert contents(folder / "data") == before
    if there != "nothing":
        for file in (folder / "data").iterdir():
            file.chmod(0o644)
        (folder / "data").chmod(0o755)
        assert python("-c", OPEN, str(folder), str(os.geteuid())) == "opened"


@pytest.mark.parametrize("seed", range(6))
async def test_a_damaged_log_is_read_as_far_as_it_is_whole(tmp_path: Path, seed: int) -> None:
    """More than a power cut does: what had been synced is damaged. Then acked events are gone, and cannot but be; but
    none counts by half, or twice, and what counts is what a replay counts."""
    random = Random(seed)
    said = python("-m", "crash.faulty", "nothing", str(tmp_path))
    assert "acked" in said
    wal = tmp_path / "data" / "log.db-wal"
    content = bytearray(wal.read_bytes())
    at = random.randrange(len(content))
    if seed % 2:
        content[at] ^= 1 << random.randrange(8)
    else:
        del content[at:]
    wal.write_bytes(content)

    found = await judge(tmp_path / "data", Requests(0, begin_us=BEGIN_US), begun=set(range(20)), acked=set())

    assert found == []
