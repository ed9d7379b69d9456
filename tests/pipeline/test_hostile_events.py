"""Events that a client may send and that once stopped the worker for good: they stand in the log, so every start met
them again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from accrue import Accrue
from accrue.clock import ManualClock
from accrue.config import Config

MAGNITUDE_MAX = 2**53 - 1
RULES = """
[metrics.points]
[metrics.floored]
min = 0
[caps.daily]
metric = "floored"
limit = 10
per = "day"
[[rules]]
on = "given"
give = [{ to = "actor", metric = "points" }]
[[rules]]
on = "fined"
give = [{ to = "actor", metric = "floored", amount = "-value * value" }]
cap = "daily"
"""


@pytest.fixture
async def accrue(tmp_path: Path) -> AsyncIterator[Accrue]:
    (tmp_path / "program.toml").write_text(RULES)
    config = Config(data_dir=tmp_path / "data", program=tmp_path / "program.toml")
    async with Accrue.open(config, clock=ManualClock(1_795_237_200_000_000)) as accrue:
        yield accrue


async def sent(accrue: Accrue, *lines: str) -> list[str]:
    """What became of these events."""
    return await accrue.outcomes(await accrue.send("\n".join(lines).encode()))


@pytest.mark.parametrize("id", ['"id":null,"id":"e1"', '"\\u0069d":null,"id":"e1"', '"id":"e0","id":"e1"'])
async def test_of_an_id_that_stands_twice_the_last_one_counts(accrue: Accrue, id: str) -> None:
    correction = '"type":"accrue.adjust","data":{"metric":"points","subject":"ann","amount":5,"reason":"r"}'
    outcomes = await sent(
        accrue,
        f'{{{id},"type":"given","actor":"ann"}}',
        f"{{{id.replace('e1', 'e2')},{correction}}}",
        '{"id":"e3","type":"given","actor":"ann"}',
    )

    assert outcomes == ["applied", "applied", "applied"]
    assert (await accrue.tally("points", "ann")).value == 7
    assert await sent(accrue, '{"id":"e1","type":"other"}') == ["conflicting"]


async def test_what_a_cap_has_used_stays_within_what_the_book_can_hold(accrue: Accrue) -> None:
    """Below its floor a metric stays where it is, but what is left under a cap goes on growing."""
    events = [
        f'{{"id":"{number}","type":"fined","actor":"ann","value":{value}}}'
        for number, value in enumerate([MAGNITUDE_MAX, 90_000_000, 90_000_000, 1])
    ]

    outcomes = await sent(accrue, *events)
    await accrue.settle()

    assert outcomes == ["failed", "applied", "failed", "applied"]
    assert (await accrue.tally("floored", "ann")).value == 0
