"""What `accrue check` calls order-free: any order of arrival inside the lateness bound comes to the same.

The whole fold is run over the same events in two orders. What is compared is what the verdicts promise: the tallies
that only order-free rules change, order-free streaks, badges and boards, and the final standings of those boards.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accrue.core.order_free import judge
from accrue.core.program import Program
from accrue.core.reader import read
from pipeline.partition import Partition, event, program, record

HOUR_US = 3_600_000_000
START_US = 1_774_569_600_000_000  # 2026-03-27 00:00 UTC; Paris has a 23-hour day on the 29th
END_US = START_US + 72 * HOUR_US
DAYS = ("2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30")
RULES = """
[tenant]
timezone = "Europe/Paris"
[metrics.points]
[metrics.views]
[metrics.earnings]
scale = 2
[metrics.balance]
[metrics.first]
[metrics.halves]
periods = ["day"]
[metrics.spoilt]

[[rules]]
name = "a view"
on = "viewed"
when = "actor != owner"
give = [
  { to = "object", metric = "views" },
  { to = "owner", metric = "points", amount = "2 if value == 3 else 1" },
  { to = "owner", metric = "earnings", amount = "0.0035 if value == 1 else -0.0051" },
]
[[rules]]
name = "a post"
on = "posted"
give = [{ to = "actor", metric = "points", amount = 3 }, { to = "actor", metric = "balance", amount = "round(value)" }]
[[rules]]
name = "not free"
on = ["posted", "viewed"]
once = ["actor", "day"]
give = [{ to = "actor", metric = "first", amount = "2 if value == 3 else 1" }]
[[rules]]
name = "a half"
on = "posted"
give = [{ to = "actor", metric = "halves", amount = "0.5" }]
[[rules]]
name = "capped"
on = "posted"
cap = "few"
give = [{ to = "actor", metric = "spoilt", amount = "2 if value > 0 else -1" }]
[caps.few]
metric = "spoilt"
limit = 3
per = "day"

[boards.readers]
metric = "points"
ties = "id"
periods = ["all", "day"]
[boards.both]
order = ["balance desc", "points asc"]
ties = "id"
periods = ["all"]
[boards.spoilt]
metric = "spoilt"
ties = "id"
periods = ["all", "day"]

[badges.writer]
levels = { bronze = "points >= 4", silver = "points >= 9" }
[badges.busy]
when = "day.points >= 4"
days = 2
[badges.rich]
when = "balance >= 3 and balance < 5"
revocable = true
[badges.lucky]
when = "balance >= 2"
[badges.exact]
when = "points == 6"

[streaks.writing]
on = "posted"
every = "day"
[streaks.reading]
on = "viewed"
every = "week"
when = "value > 0"
[streaks.runs]
on = "posted"
every = "event"
"""
PROGRAM: Program = read(RULES)

Timed = tuple[dict[str, Any], int]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Timed], list[Timed], list[int]]:
    """Events with times in three days, the same in another order, and how each is cut into records."""
    people = st.sampled_from(["ann", "bob", "cat"])
    events = [
        (
            event(
                draw(st.sampled_from(["viewed", "posted"])),
                f"e{number}",
                actor=draw(people),
                owner=draw(people),
                object=draw(st.sampled_from(["p1", "p2"])),
                value=draw(st.sampled_from([1, 2, 3, -2, -1])),
            ),
            START_US + draw(st.integers(0, 71)) * HOUR_US,
        )
        for number in range(draw(st.integers(2, 24)))
    ]
    return events, draw(st.permutations(events)), draw(st.lists(st.integers(1, 9), min_size=24, max_size=24))


async def came_to(events: list[Timed], sizes: list[int]) -> dict[str, list[tuple[Any, ...]]]:
    """Fold them, close every day when the bound is over, and return what the verdicts say is the same in any order."""
    with TemporaryDirectory() as folder:
        async with Partition(Path(folder)) as partition:
            await partition.feed([record([program(RULES)], times_us=[START_US], log_time_us=START_US)])
            left, cut = list(events), iter(sizes)
            while left:
                some = left[: next(cut)]
                del left[: len(some)]
                await partition.feed(
                    [record([each for each, _ in some], times_us=[at for _, at in some], log_time_us=END_US)]
                )
                await partition.caught_up()
            closes = [{"type": "accrue.close", "id": f"c{day}", "data": {"period": day}} for day in DAYS]
            await partition.feed([record(closes, times_us=[END_US] * len(DAYS), log_time_us=END_US)])
            await partition.caught_up()
            await partition.settle()
            return order_free_rows(partition)


def order_free_rows(partition: Partition) -> dict[str, list[tuple[Any, ...]]]:
    verdicts = judge(PROGRAM)
    rules = zip(PROGRAM.rules, verdicts.rules, strict=True)
    spoilt = {give.metric for rule, verdict in rules if not verdict.order_free for give in rule.gives}
    free = {
        kind: {verdict.name for verdict in getattr(verdicts, kind) if verdict.order_free}
        for kind in ("streaks", "boards", "badges")
    }
    tallies = [row[:5] for row in partition.rows("tallies") if "." not in row[1] and row[1] not in spoilt]
    return {
        "tallies": tallies,
        "carried": [row[:5] for row in partition.rows("tallies") if row[1].startswith("carry.")],
        "held": [row[1:5] for row in partition.rows("awards") if row[1] in free["badges"] and not row[7]],
        "streaks": [row for row in partition.rows("streaks") if row[1] in free["streaks"]],
        "results": [row for row in partition.rows("board_results") if row[1] in free["boards"]],
    }


def test_the_verdicts_leave_something_to_compare_and_something_out() -> None:
    verdicts = judge(PROGRAM)
    told = {
        kind: {verdict.name: verdict.order_free for verdict in getattr(verdicts, kind)}
        for kind in ("rules", "streaks", "boards", "badges")
    }
    assert told == {
        "rules": {"a view": True, "a post": True, "not free": False, "a half": False, "capped": False},
        "streaks": {"writing": True, "reading": True, "runs": False},
        "boards": {"readers": True, "both": True, "spoilt": False},
        "badges": {"writer": True, "busy": True, "rich": True, "lucky": False, "exact": False},
    }


@given(arrivals())
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    derandomize=True,
    database=None,
)
async def test_any_order_inside_the_lateness_bound_comes_to_the_same(
    case: tuple[list[Timed], list[Timed], list[int]],
) -> None:
    events, permuted, sizes = case
    assert await came_to(permuted, sizes) == await came_to(events, sizes[::-1])
