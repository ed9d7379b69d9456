"""What a gateway spooled comes to the same whether it reaches the log record by record or joined: the same outcome of
every event, also of those sent again just inside the repeat window or just past it, and the same state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from accrue.core.record import EVENTS_PER_RECORD_MAX, decode
from accrue.ingest.joining import SAME_US, JoinLimits, joined
from accrue.process.digest import StateDigest
from accrue.process.outcome import APPLIED, CONFLICTING, REPEATED
from accrue.process.world import Memory
from pipeline.partition import Partition, event, program, record

NOW_US = 1_795_237_200_000_000
MINUTE_US = 60_000_000
WINDOW_US = 48 * MINUTE_US
MEMORY = Memory(repeat_window_us=WINDOW_US, once_window_us=2 * WINDOW_US)
RULES = """
[metrics.points]
[metrics.hours]
[boards.best]
metric = "points"
ties = "first"
[[rules]]
on = "a"
give = [{ to = "actor", metric = "points", amount = "value" }]
[[rules]]
name = "once an hour"
on = "a"
once = ["actor", "hour"]
give = [{ to = "actor", metric = "hours" }]
"""


def spooled(chance: Random) -> list[bytes]:
    """Records of a few seconds each, over three windows. An id is sent again when its window is about to end or has."""
    at_us, sent, records = NOW_US, [(NOW_US, event("a", "0", actor="ann", value=1))], []
    while at_us < NOW_US + 3 * WINDOW_US:
        at_us += chance.randrange(20_000_000)
        some = []
        for _ in range(chance.randrange(1, 5)):
            old = [each for time_us, each in sent if abs(at_us - time_us - WINDOW_US) < 3 * MINUTE_US]
            if old and chance.random() < 0.5:
                again = chance.choice(old)
                some.append(again if chance.random() < 0.8 else {**again, "value": 7})
            else:
                id, actor = str(len(sent)), chance.choice(("ann", "bob", "cat"))
                sent.append((at_us, event("a", id, actor=actor, value=chance.randrange(5))))
                some.append(sent[-1][1])
        records.append(record(some, times_us=[at_us] * len(some), log_time_us=at_us))
    return records


def together(records: Sequence[bytes]) -> list[bytes]:
    limits = JoinLimits(records_max=1_000, events_max=20_000, size_bytes_max=1 << 20, oldest_us=0)
    found = []
    while records:
        some = joined(records, limits)
        found.append(some.record)
        records = records[some.count :]
    return found


async def folded(folder: Path, records: Sequence[bytes]) -> tuple[bytes, StateDigest]:
    """The outcome of every event, and the state, with events by their number."""
    outcomes = b""
    first = {1: 0}
    async with Partition(folder, memory=MEMORY) as partition:
        await partition.feed([record([program(RULES)], times_us=[NOW_US], log_time_us=NOW_US)])
        for each in records:
            await partition.feed([each])
            await partition.caught_up()
            position = await partition.log.end(0)
            first[position] = 1 + len(outcomes)
            some = partition.worker.outcomes(position)
            assert some is not None
            assert len(some) == decode(each).events
            outcomes += some
        await partition.settle()

        def event_number(sequence: int) -> int:
            position, index = divmod(sequence, EVENTS_PER_RECORD_MAX)
            return first[position] + index if position else 0

        return outcomes, partition.digest(event_number=event_number)


def others(state: StateDigest) -> dict[str, tuple[int, str]]:
    """All but when a period was first seen, which may be up to a minute later."""
    return {name: part for name, part in state.parts.items() if name != "periods"}


@pytest.mark.parametrize("seed", range(3))
async def test_joined_records_come_to_what_they_come_to_one_by_one(tmp_path: Path, seed: int) -> None:
    one_by_one = spooled(Random(seed))
    few = together(one_by_one)
    assert len(few) < len(one_by_one) / 4
    assert MEMORY.repeat_window_us // 24 % SAME_US == 0  # ids are forgotten at whole minutes

    outcomes, state = await folded(tmp_path / "one by one", one_by_one)
    of_joined, state_of_joined = await folded(tmp_path / "joined", few)

    seen = Counter(outcomes)
    assert min(seen[APPLIED], seen[REPEATED], seen[CONFLICTING]) > 20, seen
    assert of_joined == outcomes
    assert others(state_of_joined) == others(state)
