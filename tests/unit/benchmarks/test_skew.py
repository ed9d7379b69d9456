"""The simulation of skew: its own law, that it repeats itself, and that the page shows what it prints."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "benchmarks" / "skew.py"


@pytest.fixture(scope="module")
def skew() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_every_event_falls_somewhere(skew: dict[str, Any]) -> None:
    shares = skew["weights"](1_000, 0.8)
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
    found = skew["loads"](shares, 64, 1)
    assert (len(found), sum(found)) == (64, pytest.approx(1))
    assert sum(skew["by_worker"](found, 16, 1)) == pytest.approx(1)
    assert found != skew["loads"](shares, 64, 2)


def test_a_tenant_is_never_split(skew: dict[str, Any]) -> None:
    shares = skew["weights"](1_000, 1.0)
    for partitions in (16, 256):
        one = skew["simulate"](shares, partitions, 16, 3)
        assert one.partition_middle >= one.largest * partitions
        assert one.worker_middle >= max(1.0, one.largest * 16)
        assert one.partition_worst >= one.partition_middle >= 1


def test_the_page_shows_what_it_prints() -> None:
    page = (ROOT / "docs" / "internals" / "scale.md").read_text()
    for options in ("--zipf 0", "--zipf 0.8", "--zipf 1"):
        command = f"python benchmarks/skew.py {options} --partitions 16 64 256 1024"
        assert command in page
        done = subprocess.run(
            [sys.executable, *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
        )
        assert done.stdout.splitlines()[2:6] == page.split(command, 1)[1].split("|---|\n", 1)[1].splitlines()[:4]


def test_fewer_partitions_than_workers_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--partitions", "4"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "at least as many" in done.stderr
