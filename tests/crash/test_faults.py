"""Disks that are full, that cannot sync, that refuse: what was acked stays, what could not be is not acked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from crash.entries import take_back
from crash.faulty import BEGIN_US, ON_THE_LAYER, Seen
from crash.judge import judge
from crash.many import PYTHONPATH
from crash.workload import Requests


def run(name: str, folder: Path) -> Seen:
    """Run a scenario to its end, which is a kill."""
    done = subprocess.run(
        [sys.executable, "-m", "crash.faulty", name, str(folder)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=Seen)


async def after(name: str, folder: Path) -> Seen:
    """What the clients saw of a scenario, when what is left after a power cut was found to be right."""
    seen = run(name, folder)
    take_back(folder / "side", Random(0))
    begun, acked = {number for number, _ in seen.answers}, {number for number, said in seen.answers if said == "acked"}
    assert await judge(folder / "data", Requests(0, begin_us=BEGIN_US), begun=begun, acked=acked) == []
    return seen


def said(seen: Seen, numbers: range) -> set[str]:
    """What came of these requests."""
    return {what for number, what in seen.answers if number in numbers}


def after_the_first_refusal(seen: Seen) -> list[str]:
    """What came of requests, in the order of their answers, from the first that was not acked."""
    answers = [what for _, what in seen.answers]
    return answers[next(at for at, what in enumerate(answers) if what != "acked") :]


async def test_a_full_log_acks_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    seen = await after("the log's disk is full", tmp_path)

    assert said(seen, range(20, 300)) == {"acked", "Full"}
    assert said(seen, range(300, 340)) == {"acked"}
    assert seen.read.startswith("u")


async def test_a_full_book_is_settled_later_and_accepting_goes_on(tmp_path: Path) -> None:
    seen = await after("the book's disk is full", tmp_path)

    assert said(seen, range(20, 60)) == {"acked"}
    assert seen.settles == ["Full", "settled"]
    assert seen.read.startswith("u")


async def test_an_append_that_could_not_be_synced_is_not_acked_and_the_next_ones_are(tmp_path: Path) -> None:
    seen = await after("a sync of the log fails once", tmp_path)

    refused = [what for _, what in seen.answers if what != "acked"]
    assert 0 < len(refused) <= 4  # those of one record
    assert set(refused) == {"Unavailable"}
    assert seen.answers[-1][1] == "acked"


async def test_nothing_is_acked_once_nothing_can_be_synced(tmp_path: Path) -> None:
    seen = await after("every sync of the log fails", tmp_path)

    assert said(seen, range(20)) == {"acked"}
    assert set(after_the_first_refusal(seen)) == {"Unavailable"}
    assert seen.read.startswith("u")


async def test_a_settlement_that_could_not_be_synced_is_settled_again(tmp_path: Path) -> None:
    seen = await after("a sync of the book fails once", tmp_path)

    assert seen.settles == ["Unavailable", "settled"]
    assert said(seen, range(70)) == {"acked"}


async def test_a_disk_that_has_become_read_only_acks_nothing_and_answers_reads(tmp_path: Path) -> None:
    seen = await after("the disk has become read-only", tmp_path)

    assert set(after_the_first_refusal(seen)) == {"Unavailable"}
    assert said(seen, range(20, 120)) == {"Unavailable"}
    assert seen.settles == ["Unavailable"]
    assert seen.read.startswith("u")


async def test_a_file_that_the_system_does_not_let_grow_is_a_disk_that_fails(tmp_path: Path) -> None:
    seen = await after("no file may grow", tmp_path)

    assert set(after_the_first_refusal(seen)) <= {"Full", "Unavailable"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        missing = pytest.fail if os.environ.get("CI") == "true" and os.getuid() == 0 else pytest.skip
        missing(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_small_file_system_that_is_full_goes_on_when_it_has_grown(small: Path) -> None:
    seen = await after("the file system is small", small)

    assert said(seen, range(20, 2_000)) == {"acked", "Full"}
    assert said(seen, range(2_000, 2_040)) == {"acked"}
    assert seen.settles[-1] == "settled"


def test_every_scenario_of_the_layer_is_run_here() -> None:
    assert all(f'after("{name}"' in Path(__file__).read_text() for name in ON_THE_LAYER)
