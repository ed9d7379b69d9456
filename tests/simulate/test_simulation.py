"""Seeds of the simulation, and that it is worth something: one seed is one run, and what is broken is found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from accrue.core import streak
from accrue.log.memory import MemoryLog
from accrue.process import settle
from accrue.process.world import World
from accrue.testing.faults import Rates
from simulate.__main__ import command, run_seed

SEEDS = 500
SEEDS_PER_TEST = 20


@pytest.mark.parametrize("first", range(1, SEEDS + 1, SEEDS_PER_TEST))
def test_under_every_fault_the_engine_does_what_the_model_says(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        try:
            run_seed(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}\nrun it again: {command(seed)}", pytrace=False)


def test_the_same_seed_is_the_same_run() -> None:
    for seed in (7, 11, 13):
        assert run_seed(seed) == run_seed(seed)


def test_every_fault_strikes_and_every_outcome_comes_about() -> None:
    struck: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for seed in range(1, 31):
        report = run_seed(seed)
        struck += report.struck
        outcomes += report.outcomes
    assert set(struck) == set(Rates.__struct_fields__)
    assert set(outcomes) == {"applied", "repeated", "conflicting", "failed", "unmatched", "retracted"}


def test_a_streak_that_cares_about_order_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streak, "bisect_left", lambda runs, _: len(runs))
    some_seed_fails()


def test_a_settlement_that_failed_and_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgotten(world: World) -> None:
        for state in world.tenants.values():
            state.settling.clear()

    monkeypatch.setattr(settle, "put_back", forgotten)
    some_seed_fails()


def test_an_acknowledgement_without_a_record_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    append = MemoryLog.append

    async def forgetful(log: Any, partition: int, record: bytes) -> int:
        return await log.end(partition) if b"viewed" in record else await append(log, partition, record)

    monkeypatch.setattr(MemoryLog, "append", forgetful)
    some_seed_fails()


def some_seed_fails(seeds: int = 60) -> None:
    for seed in range(1, seeds + 1):
        try:
            run_seed(seed)
        except Exception:
            return
    pytest.fail(f"{seeds} seeds did not find it")
