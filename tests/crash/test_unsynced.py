"""The layer that loses what was not synced does so, and with it the crash tests see a missing sync."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from crash.entries import take_back
from crash.many import PYTHONPATH, crash

LOSES, KEEPS = 1, 3
"""Seeds of campaigns with the layer and without."""

WRITE_AND_DIE = """
import os, signal, sqlite3, sys
from pathlib import Path
from crash.unsynced import Disk
Disk(Path(sys.argv[2])).install()
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[3:]:
    connection.execute(statement)
print(*connection.execute("SELECT count(*) FROM t").fetchone(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
READ = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM t').fetchone())"


def python(script: str, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    ).stdout.strip()


@pytest.mark.parametrize(("synchronous", "left"), [("FULL", "3"), ("NORMAL", "0"), ("OFF", "0")])
def test_what_was_not_synced_is_gone_and_what_was_is_there(tmp_path: Path, synchronous: str, left: str) -> None:
    file, side = tmp_path / "some.db", tmp_path / "side"
    made = python(WRITE_AND_DIE, file, side, "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)")
    take_back(side, Random(0))
    inserts = ["INSERT INTO t VALUES (1)"] * 3
    seen = python(WRITE_AND_DIE, file, side, f"PRAGMA synchronous = {synchronous}", *inserts)
    take_back(side, Random(0))

    assert (made, seen) == ("0", "3")  # the process itself saw them
    assert python(READ, file) == left


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_the_crash_tests_turn_red_when_the_product_does_not_sync(synchronous: str) -> None:
    tally = crash(4, first_seed=LOSES, jobs=1, synchronous=synchronous)

    assert any("was acked, and of its events counted 0" in fault for fault in tally.faults), tally.faults


def test_and_without_the_layer_nobody_would_see_it() -> None:
    assert not crash(4, first_seed=KEEPS, jobs=1, synchronous="OFF").faults
