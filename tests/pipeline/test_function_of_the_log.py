"""State is a function of the log: wherever settlements, restarts, evictions and failures fall, it is the same.

Hypothesis makes streams of events of a small world (few users, objects and ids, so that everything meets everything)
over the two days a year on which Paris changes its clocks. Each stream is folded in several ways, and the canonical
digest of the book afterwards must not tell which way it was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accrue.boards.base import BoardKey
from accrue.core.ranking import Style
from accrue.core.record import EVENTS_PER_RECORD_MAX, sequence
from accrue.errors import AccrueError, Fenced
from accrue.process.world import Memory
from pipeline.partition import TENANT, Partition, event, program, record

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START_US = 1_774_569_600_000_000  # 2026-03-27 00:00 UTC; Paris has a 23-hour day on the 29th
MOMENTS_US = [START_US + hours * HOUR_US for hours in (0, 22, 23, 24, 47, 48, 49, 50, 71, 72, 96)] + [
    START_US + 210 * DAY_US + hours * HOUR_US
    for hours in (22, 23, 24, 25, 48)  # and one of 25 hours in October
]
STYLES: tuple[Style, ...] = ("ordinal", "competition", "dense")

RULES = """
[tenant]
timezone = "Europe/Paris"

[ranges.season]
spring = { from = 2026-03-01, to = 2026-03-29 }

[metrics.points]
min = 0
[metrics.views]
[metrics.reputation]
initial = 1
min = 1
[metrics.earnings]
scale = 2
[metrics.best]
[metrics.made]

[lookups.weights]
answer = 3
question = 0.5

[[rules]]
name = "a view counts once a day"
on = "viewed"
once = ["actor", "object", "day"]
give = [
  { to = "object", metric = "views" },
  { to = "owner", metric = "earnings", amount = "0.0035" },
  { to = "owner", metric = "points", amount = "2 if object.kind == 'answer' else 1" },
]

[[rules]]
name = "posting"
on = ["posted", "commented"]
set = [
  { on = "object", attribute = "kind", value = "data.kind" },
  { on = "actor", attribute = "last", value = "value" },
]
give = [{ to = "actor", metric = "points", amount = "value" }, { to = "actor", metric = "made" }]

[[rules]]
name = "capped"
on = "commented"
cap = "daily"
give = [{ to = "actor", metric = "reputation", amount = "value * lookup('weights', object.kind, 1)" }]

[[rules]]
name = "voted"
on = "voted"
when = "actor != owner"
give = [
  { to = "owner", metric = "reputation", amount = "value" },
  { to = "data.other", metric = "points", amount = 1 },
  { to = "actor", metric = "best", amount = "value", mode = "most" },
]

[[rules]]
name = "first ever"
on = "posted"
once = ["actor"]
give = [{ to = "actor", metric = "points", amount = 7 }]

[caps.daily]
metric = "reputation"
limit = 9
per = "day"

[boards.first]
metric = "points"
periods = ["all", "day", "week", "season"]
[boards.last]
metric = "reputation"
ties = "last"
periods = ["all", "day"]
[boards.keys]
order = ["made desc", "points asc"]
periods = ["all", "day"]
[boards.seen]
metric = "views"
ties = "id"
periods = ["all", "hour"]

[badges.writer]
levels = { bronze = "made >= 1", silver = "day.made >= 2" }
[badges.rich]
when = "points >= 6"
revocable = true
[badges.steady]
when = "day.points >= 2"
days = 2
[badges.seen]
subject = "object"
when = "views >= 2 and kind == 'answer'"
[badges.seen_owner]
subject = "object"
once = "owner"
when = "views >= 1"
[badges.runner]
when = "streak.writing >= 2 or longest.unbeaten >= 2"

[streaks.writing]
on = ["posted", "commented"]
every = "day"
[streaks.unbeaten]
on = "voted"
every = "event"
breaks_when = "value < 0"

[retract]
types = ["posted", "commented", "viewed"]
days = 2
"""
FORGIVING = """[{ to = "actor", metric = "points", amount = "value if value > -9 else 2" }, {"""
"""Gives something for a value that is missing, on which the first rules fail: what is replayed under it succeeds."""
OTHER_RULES = (
    RULES.replace("limit = 9", "limit = 4")
    .replace('ties = "last"', 'ties = "first"')
    .replace('[{ to = "actor", metric = "points", amount = "value" }, {', FORGIVING)
) + '[[rules]]\nname = "more"\non = "viewed"\ngive = [{ to = "actor", metric = "made" }]\n'

PROGRAMS = {"first": RULES, "other": OTHER_RULES, "rubbish": "rubbish"}

users = st.sampled_from(["ann", "bob", "cat", "dan"])
things = st.sampled_from(["p1", "p2", "ann"])  # an object may have the id of a user
values = st.sampled_from([1, 2, 3, -2, -5, 0, None])


@st.composite
def ordinary(draw: st.DrawFn, number: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["viewed", "viewed", "posted", "commented", "commented", "voted", "voted", "unknown"]))
    data = {
        "viewed": {},
        "posted": {"kind": draw(st.sampled_from(["answer", "question", 2, 2.0, 1.5, True, [1]]))},
        "commented": {"kind": draw(st.sampled_from(["answer", "question"]))},
        "voted": {"other": draw(st.sampled_from(["ann", "eve", None, ""]))},
    }.get(kind)
    return event(
        kind,
        f"e{number}",
        actor=draw(users),
        owner=draw(st.one_of(users, st.none())),
        object=draw(things),
        value=draw(values),
        data=data,
    )


@st.composite
def systemic(draw: st.DrawFn, number: int) -> dict[str, Any]:
    period = draw(st.sampled_from(["2026-03-28", "2026-03-29", "2026-W13", "2026-10-25", "season:spring", "1999"]))
    data = draw(
        st.sampled_from(
            [
                ("accrue.adjust", {"metric": "reputation", "subject": "ann", "amount": -3, "reason": "r"}),
                ("accrue.adjust", {"metric": "views", "subject": "p1", "amount": 2, "reason": "r"}),
                ("accrue.adjust", {"metric": "nothing", "subject": "p1", "amount": 2, "reason": "r"}),
                ("accrue.score", {"metric": "best", "subject": "bob", "value": 2, "mode": "set"}),
                ("accrue.close", {"period": period}),
                ("accrue.close", {"period": period}),
                ("accrue.retract", draw(st.integers(max(0, number - 9), number + 3))),
                ("accrue.retract", draw(st.integers(max(0, number - 5), number + 1))),
                ("accrue.retract", draw(st.integers(0, 20))),
            ]
        )
    )
    if data[0] == "accrue.retract":  # of an event that may come, be of another type, or be a retraction itself
        return {"type": data[0], "id": f"e{number}", "ref": f"e{data[1]}"}
    return {"type": data[0], "id": f"s{number}", "data": data[1]}


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[dict[str, Any], int]]:
    """Events with their times: ordinary ones, the engine's own, repeats and conflicts, in no order of time."""
    stream: list[tuple[dict[str, Any], int]] = [({"program": "first", "id": "q"}, START_US)]
    for number in range(draw(st.integers(12, 45))):
        what = draw(st.integers(0, 19))
        if what in (0, 17):
            stream.append(({"program": draw(st.sampled_from([*PROGRAMS])), "id": f"q{number}"}, START_US))
        elif what >= 18 and (failing := [at for at, (each, _) in enumerate(stream) if _has_no_value(each)]):
            act = draw(st.sampled_from(["accrue.failed.replay"] * 4 + ["accrue.failed.drop"]))
            stream.append(({"again": act, "event": draw(st.sampled_from(failing)), "id": f"r{number}"}, START_US))
        elif what in (15, 16):  # fails under the first rules and not under the others
            without = event("posted", f"v{number}", actor=draw(users), object="p1", data={"kind": "answer"})
            stream.append((without, draw(st.sampled_from(MOMENTS_US))))
        elif what <= 4:
            stream.append((draw(systemic(number)), draw(st.sampled_from(MOMENTS_US))))
        elif what <= 7:  # sent again, or its id used for something else
            again, time_us = draw(st.sampled_from(stream))
            if what == 7 and "type" in again:
                again = {**again, "actor": draw(users)}
            stream.append((again, time_us))
        else:
            stream.append((draw(ordinary(number)), draw(st.sampled_from(MOMENTS_US))))
    return stream


def _has_no_value(each: dict[str, Any]) -> bool:
    return each.get("type") in ("posted", "commented") and "value" not in each


class Log:
    """A stream cut into records. The log's time moves `hours` an event, but not inside what `steps` holds together."""

    def __init__(self, stream: Sequence[tuple[dict[str, Any], int]], sizes: Iterator[int], *, hours: float = 0) -> None:
        self.records: list[bytes] = []
        self._first: list[int] = [0]
        self._sequences: list[int] = []
        at = 0
        while at < len(stream):
            some = stream[at : at + next(sizes)]
            self._sequences += [sequence(len(self.records) + 1, index) for index in range(len(some))]
            self.records.append(
                record(
                    [self._as_sent(each) for each, _ in some],
                    times_us=[time_us for _, time_us in some],
                    log_time_us=START_US + int(at * hours * HOUR_US),
                )
            )
            self._first.append(at + 1)
            at += len(some)

    def event_number(self, sequence: int) -> int:
        """The number of an event in its stream, from 1, however the stream was cut; 0 stays 0."""
        position, index = divmod(sequence, EVENTS_PER_RECORD_MAX)
        return self._first[position] + index if position else 0

    def _as_sent(self, each: dict[str, Any]) -> dict[str, Any]:
        """A program is written in full only here, so that hypothesis can show a stream. What is replayed or dropped is
        the number of an event until it is known where in the log that stands."""
        if "program" in each:
            return program(PROGRAMS[each["program"]], each["id"])
        if "again" in each:
            return event(each["again"], each["id"], data={"sequence": self._sequences[each["event"]]})
        return each


def every(size: int) -> Iterator[int]:
    while True:
        yield size


@asynccontextmanager
async def partition(**options: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        async with Partition(Path(folder), **options) as opened:
            yield opened


async def folded(log: Log, where: Partition, plan: Sequence[str] = ()) -> str:
    """Fold a log with what the plan says after each record, settle at the end, and return the digest."""
    for at, each in enumerate(log.records):
        await where.feed([each])
        act = plan[at] if at < len(plan) else ""
        if act:
            await where.caught_up()
        if act == "settle":
            await where.settle()
        elif act == "restart":
            await where.settle()
            await where.restart()
        elif act == "crash":
            await where.restart()
        elif act == "read":
            await everything_read(where)
    await where.caught_up()
    await where.settle()
    return where.digest(event_number=log.event_number)


async def everything_read(where: Partition) -> None:
    """Ask for every board and every subject: reading must not change anything."""
    for key in board_keys(where):
        await where.live.ensure_board(TENANT, where.live.program(TENANT).boards[key.board], key.period)
    for subject in ("ann", "bob", "p1", "nobody"):
        await where.live.cells(TENANT, subject, ["all", "2026-03-29"])


def board_keys(where: Partition) -> list[BoardKey]:
    state = where.worker.world.tenants[TENANT]
    periods = ["all", *(period for _, period in where.worker.world.periods if period != "all")]
    return [
        BoardKey(TENANT, name, period)
        for name, board in state.program.boards.items()
        for period in periods
        if state.kind_of(period) in board.periods
    ]


async def boards_shown(where: Partition) -> dict[tuple[BoardKey, Style], object]:
    shown: dict[tuple[BoardKey, Style], object] = {}
    for key in board_keys(where):
        await where.live.ensure_board(TENANT, where.live.program(TENANT).boards[key.board], key.period)
        if await where.boards.has(key):
            for style in STYLES:
                page = await where.boards.page(key, limit=1_000, offset=0, cursor=None, style=style, now_us=1)
                shown[key, style] = page.standings
    return shown


async def compared(log: Log, plan: Sequence[str] = (), **options: Any) -> None:
    """Fold it plainly, and as told; both must come to the same, boards included."""
    async with partition() as plain:
        expected = await folded(log, plain)
        expected_boards = await boards_shown(plain)
    async with partition(**options) as other:
        found = await folded(log, other, plan)
        assert found == expected, found.differences(expected)
        assert await boards_shown(other) == expected_boards


some_examples = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    derandomize=True,
    database=None,
)
plans = st.lists(st.sampled_from(["", "", "settle", "restart", "crash", "read"]), min_size=45, max_size=45)


@given(streams())
@some_examples
async def test_it_does_not_matter_how_often_it_is_settled(stream: list[tuple[dict[str, Any], int]]) -> None:
    await compared(Log(stream, every(1), hours=3), ["settle"] * len(stream))


@given(streams(), plans)
@some_examples
async def test_it_does_not_matter_where_it_stops_and_starts(
    stream: list[tuple[dict[str, Any], int]], plan: list[str]
) -> None:
    await compared(Log(stream, every(1), hours=3), plan)


@given(streams(), plans)
@some_examples
async def test_it_does_not_matter_what_memory_forgets(
    stream: list[tuple[dict[str, Any], int]], plan: list[str]
) -> None:
    await compared(Log(stream, every(2), hours=1), ["settle", *plan], entries_in_memory_max=1)


@given(streams(), plans, st.lists(st.sampled_from(["", "before"]), max_size=12))
@some_examples
async def test_settlements_that_fail_lose_and_double_nothing(
    stream: list[tuple[dict[str, Any], int]], plan: list[str], faults: list[str]
) -> None:
    await compared(Log(stream, every(1), hours=3), plan, faults=["before", *faults], entries_in_memory_max=5)


@pytest.mark.parametrize("hours", [0, 0.15, 3])
@given(streams())
@some_examples
async def test_it_does_not_matter_which_records_are_folded_together(
    hours: float, stream: list[tuple[dict[str, Any], int]]
) -> None:
    """Buckets of repeats last an hour here, and the window a day."""
    log = Log(stream, every(1), hours=hours)
    async with partition() as alone, partition(tick_s=0.01) as together:
        expected = await folded(log, alone, ["alone"] * len(stream))
        found = await folded(log, together)  # the worker rests after the first, and finds all others at once
        assert found == expected, found.differences(expected)
        for position in range(1, len(stream) + 1):
            assert together.worker.outcomes(position) == alone.worker.outcomes(position)


@given(streams())
@some_examples
async def test_it_does_not_matter_how_events_are_cut_into_records(stream: list[tuple[dict[str, Any], int]]) -> None:
    digests = []
    stream = [each for each in stream if "again" not in each[0]]  # what these say is where in the records events stand
    for size in (1, 7, len(stream)):
        log = Log(stream, every(size))
        async with partition() as where:
            digests.append(await folded(log, where, ["settle"] * (size == 7)))
    assert digests[1] == digests[0], digests[1].differences(digests[0])
    assert digests[2] == digests[0], digests[2].differences(digests[0])


@given(streams(), plans)
@some_examples
async def test_boards_published_live_are_those_rebuilt_from_the_book(
    stream: list[tuple[dict[str, Any], int]], plan: list[str]
) -> None:
    log = Log(stream, every(3), hours=1)
    async with partition() as where:
        for at, each in enumerate(log.records):
            await where.feed([each])
            await where.caught_up()
            if plan[at] == "settle":
                await where.settle()
            elif plan[at] == "read":
                await everything_read(where)
        live = await boards_shown(where)
        await where.settle()
        await where.restart()
        assert await boards_shown(where) == live


@given(streams())
@some_examples
async def test_what_once_rules_and_the_index_forget_is_told_by_the_log_alone(
    stream: list[tuple[dict[str, Any], int]],
) -> None:
    small = Memory(repeat_window_us=12 * HOUR_US, once_window_us=20 * HOUR_US, size_bytes_max=20 * 16)
    log = Log(stream, every(2), hours=2)
    async with partition(memory=small) as plain:
        expected = await folded(log, plain)
    async with partition(memory=small) as other:
        found = await folded(log, other, ["restart", "settle", "crash", ""] * len(stream))
        assert found == expected, found.differences(expected)


async def test_a_commit_of_unknown_outcome_stops_the_worker_and_the_next_one_goes_on_from_it() -> None:
    stream: list[tuple[dict[str, Any], int]] = [({"program": "first", "id": "q"}, START_US)] + [
        (event("posted", f"e{n}", actor="ann", object="p1", value=1, data={"kind": "answer"}), START_US)
        for n in range(6)
    ]
    log = Log(stream, every(1))
    async with partition() as plain:
        expected = await folded(log, plain)
    async with partition(faults=["", "after"]) as where:
        await where.feed(log.records[:3])
        await where.caught_up()
        await where.settle()
        await where.feed(log.records[3:5])
        await where.caught_up()

        with pytest.raises(AccrueError, match="nobody knows"):
            await where.worker.settle()
        with pytest.raises(Fenced):
            await where.worker.settle()

        await where.feed(log.records[5:])
        await where.restart()
        await where.caught_up()
        await where.settle()
        found = where.digest(event_number=log.event_number)
        assert found == expected, found.differences(expected)
