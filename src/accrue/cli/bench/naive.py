"""The same events counted the plain way, to hold the engine's totals against."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from accrue.cli.bench.report import Miscounted
from accrue.cli.bench.workload import COMMENTED, REACTED, VIEWED, Stream, is_bot, is_short, seconds_of
from accrue.config import DEFAULT_TENANT
from accrue.engine import Accrue

DAY_US = 86_400_000_000
CAP = 200
LEVELS = (10, 100, 1_000)

Totals = dict[str, dict[str, int]]
"""Metric -> subject -> its total."""


class Expected(Struct, frozen=True):
    """What the engine has to say at the end. `awards` is how many badges, each level for itself, are held."""

    totals: Totals
    awards: int


def community_totals(stream: Stream) -> Expected:
    """What programs/community.toml makes of a stream."""
    points: Counter[int] = Counter()
    views: Counter[int] = Counter()
    comments: Counter[int] = Counter()
    likes: Counter[int] = Counter()
    capped: Counter[tuple[int, int]] = Counter()
    seen: set[tuple[int, int, int]] = set()
    columns = zip(stream.kind, stream.actor, stream.object, stream.owner, stream.detail, stream.time_us, strict=True)
    for kind, actor, post, owner, detail, time_us in columns:
        day = time_us // DAY_US
        if kind == VIEWED:
            if not is_bot(detail) and seconds_of(detail) >= 5 and (actor, post, day) not in seen:
                seen.add((actor, post, day))
                views[post] += 1
                points[owner] += 1
        elif kind == COMMENTED:
            comments[actor] += 1
            if actor != owner and not is_short(detail) and capped[actor, day] < CAP:
                capped[actor, day] += 5
                points[actor] += 5
        elif kind == REACTED:
            likes[post] += 1
            points[owner] += 2
        else:
            points[actor] += 10
    awards = sum(1 for count in comments.values() for level in LEVELS if count >= level)
    totals = {"points": _users(points), "views": _posts(views), "comments": _users(comments), "likes": _posts(likes)}
    return Expected(totals, awards)


def view_totals(stream: Stream) -> Expected:
    """What programs/views.toml makes of a stream."""
    return Expected({"views": _posts(Counter(stream.object)), "points": _users(Counter(stream.owner))}, 0)


def reader_totals(stream: Stream) -> Expected:
    """What programs/readers.toml makes of a stream."""
    return Expected({**view_totals(stream).totals, "reads": _users(Counter(stream.actor))}, 0)


async def check(accrue: Accrue, expected: Expected, *, events: int) -> int:
    """Compare every total of every subject, and how many events were applied, once each. Returns the sum of all
    totals. Raises `Miscounted`."""
    queries, wrong, total = accrue.parts.queries, [], 0
    for metric, naive in expected.totals.items():
        said: dict[str, object] = {}
        async for rows in queries.tallies(DEFAULT_TENANT, metric):
            said.update(rows)
        if said != naive:
            differing = sorted(name for name in naive.keys() | said.keys() if naive.get(name) != said.get(name))
            first = differing[0]
            wrong.append(f"{metric} of {first} is {said.get(first)}, not {naive.get(first)} ({len(differing)} differ)")
        total += sum(naive.values())
    awards = 0
    async for badges in queries.awards(DEFAULT_TENANT):
        awards += len(badges)
    if awards != expected.awards:
        wrong.append(f"{awards} badges are held, not {expected.awards}")
    counts = accrue.parts.live.statuses()[0].events[DEFAULT_TENANT]
    applied = counts.applied - 1  # the program came as an event too
    if (applied, counts.events) != (events, events + 1):
        wrong.append(f"{applied} of {events} events were applied ({counts})")
    if wrong:
        raise Miscounted("\n".join(["The engine and a plain count of the same events differ.", *wrong]))
    return total


def _users(counted: Counter[int]) -> dict[str, int]:
    return {f"user:{number:06}": count for number, count in counted.items()}


def _posts(counted: Counter[int]) -> dict[str, int]:
    return {f"post:{number:05}": count for number, count in counted.items()}
