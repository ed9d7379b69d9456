"""A rules file with anything wrong is refused with lines; one that is accepted can be lived by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from accrue.core.program import Program, ProgramError
from accrue.core.reader import read
from fuzz.examples import tried
from fuzz.program_texts import EXAMPLES, programs
from pipeline.partition import Partition, event, program, record

NOW_US = 1_795_237_200_000_000
FIELDS: list[dict[str, Any]] = [
    {"actor": "ann", "object": "post", "owner": "bob", "value": 3, "data": {"kind": "x", "points": 3, "n": 2}},
    {
        "actor": "ann",
        "object": "post",
        "owner": "ann",
        "value": -(2**53) + 1,
        "data": {"text": "x" * 100, "a": {"b": "c"}},
    },
    {"actor": "ann", "value": 2**53 - 1, "data": {"points": "many", "kind": ["x"]}},
    {},
]


BADGE_WITH_A_CONSTANT = """
[metrics.points]
[badges.b]
when = "points > 1 and null < 5"
[[rules]]
on = "x"
give = [{ to = "actor", metric = "points" }]
"""


@pytest.fixture
async def partition(tmp_path: Path) -> AsyncIterator[Partition]:
    async with Partition(tmp_path) as partition:
        yield partition


def test_the_examples_are_programs_before_they_are_changed() -> None:
    assert len(EXAMPLES) >= 10
    assert sum(1 for text in EXAMPLES if isinstance(outcome(text), Program)) >= 8


@tried(500)
@given(text=programs())
@example(text="\ud800")
@example(text=BADGE_WITH_A_CONSTANT)
async def test_a_changed_program_is_refused_with_lines_or_its_events_are_folded_and_settled(
    partition: Partition, text: str
) -> None:
    found = outcome(text)
    if isinstance(found, ProgramError):
        lines = text.count("\n") + 1
        assert found.problems
        assert all(problem.message and 1 <= problem.line <= lines + 1 for problem in found.problems)
        return
    number = len(partition.worker.world.tenants)
    tenant = f"tenant-{number}"
    types = sorted(found.types)[:40] or ["x"]
    events = [event(type, f"{at}:{n}", **fields) for at, type in enumerate(types) for n, fields in enumerate(FIELDS)]
    times_us = [NOW_US + at for at in range(len(events))]
    await partition.feed(
        [
            record([program(text)], times_us=[NOW_US], log_time_us=NOW_US, tenant=tenant),
            record(events, times_us=times_us, log_time_us=NOW_US, tenant=tenant),
        ]
    )

    await partition.caught_up()
    await partition.worker.settle()

    assert partition.worker.status().events[tenant].events == len(events) + 1
    assert partition.worker.status().failing is None
    assert partition.worker.world.tenants[tenant].program.text == text


def outcome(text: str) -> Program | ProgramError:
    try:
        return read(text)
    except ProgramError as error:
        return error
