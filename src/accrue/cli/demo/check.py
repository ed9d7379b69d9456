"""The check: everything the server answers about the community, against the naive count of the same traffic.

Every user and post is asked for over HTTP, and every user once more for each day on which points were earned, the way
anybody would ask. Nothing is looked up in memory or on disk.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from accrue.cli.demo.connection import Connection
from accrue.cli.demo.figures import figures
from accrue.cli.demo.lanes import Counts
from accrue.cli.demo.messages import DIFFERENCES_MAX, Verdict
from accrue.cli.demo.naive import Naive
from accrue.errors import Unavailable
from accrue.serve.answers import BoardPage, Profile

CONNECTIONS = 8
BOARD_ROWS_MAX = 1_000
PROGRAM_EVENTS = 1
"""The program itself is an event in the log, and is counted as one that was applied."""


class Compared(NamedTuple):
    """One value: what it is, what the naive count says, what the server says."""

    what: str
    naive: object
    server: object


class Question(NamedTuple):
    """A profile to ask for: of a user or a post, as of a day."""

    kind: str
    id: str
    day: date


async def check(port: int, naive: Naive, counts: Counts, *, position: int, today: date) -> Verdict:
    """Wait until reads show `position`, ask for everything, and compare. Raises `Unavailable`."""
    connections = [Connection(port) for _ in range(CONNECTIONS)]
    questions = iter(_questions(naive, today))
    compared = 0
    differing: list[str] = []

    def note(values: Iterable[Compared]) -> None:
        nonlocal compared
        for value in values:
            compared += 1
            if value.naive != value.server:
                differing.append(f"{value.what}: counted {value.naive}, the server says {value.server}")

    async def ask(connection: Connection) -> None:
        for question in questions:
            note(_profile(naive, question, today, await _asked(connection, question, position)))

    try:
        await asyncio.gather(*(ask(connection) for connection in connections))
        note(await _totals(connections[0], naive, counts))
        note(await _board(connections[0], "writers", naive.points))
        note(await _board(connections[0], "posts", naive.views))
    finally:
        for connection in connections:
            await connection.close()
    return Verdict(compared=compared, differing=len(differing), differences=differing[:DIFFERENCES_MAX])


def _questions(naive: Naive, today: date) -> Iterator[Question]:
    days: defaultdict[str, set[date]] = defaultdict(set)
    for user, day in naive.points_of_day:
        days[user].add(day)
    for user in sorted(naive.users):
        for day in sorted(days[user] | {today}):
            yield Question("user", user, day)
    for post in sorted(naive.posts):
        yield Question("object", post, today)


async def _asked(connection: Connection, question: Question, position: int) -> Profile:
    path = f"/v1/{question.kind}s/{quote(question.id, safe='')}"
    answer = await connection.get(path, at=question.day.isoformat(), after=position)
    if answer.status != 200:
        raise Unavailable(f"The server answered {answer.status} to {path}: {answer.body[:200]!r}.")
    return msgspec.json.decode(answer.body, type=Profile)


async def _totals(connection: Connection, naive: Naive, counts: Counts) -> list[Compared]:
    """Every event counted once. A request that had to be sent twice may have arrived twice, and then is repeated."""
    found = await figures(connection)
    repeated = found.repeated - min(max(found.repeated - naive.repeated, 0), counts.resent)
    return [
        Compared("events counted", naive.distinct, found.new - PROGRAM_EVENTS),
        Compared("events that failed", 0, found.failed + found.unmatched),
        Compared("repeats", naive.repeated, repeated),
        Compared("conflicts", naive.conflicting, found.conflicting),
        Compared("rejected", counts.to_be_rejected, counts.rejected),
    ]


async def _board(connection: Connection, name: str, counted: dict[str, int]) -> list[Compared]:
    """A whole board, page by page: who is on it, with what, best first."""
    rows: list[tuple[str, object]] = []
    cursor: str | None = None
    while True:
        answer = await connection.get(f"/v1/boards/{name}", limit=BOARD_ROWS_MAX, cursor=cursor)
        if answer.status != 200:
            raise Unavailable(f"The server answered {answer.status} to the board {name}: {answer.body[:200]!r}.")
        page = msgspec.json.decode(answer.body, type=BoardPage)
        rows += [(row.subject, row.values[0]) for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    best_first = sorted((value for value in counted.values()), reverse=True)
    return [
        Compared(f"the board {name}, by rank", best_first, [value for _, value in rows]),
        Compared(f"the board {name}, by name", dict(counted), dict(rows)),
    ]


def _profile(naive: Naive, question: Question, today: date, profile: Profile) -> Iterator[Compared]:
    name, id, day = f"{question.kind} {question.id}", question.id, question.day
    if question.kind == "object":
        expected: dict[str, object] = {
            "views": {"all": naive.views.get(id, 0), "day": naive.views_of_day.get((id, day), 0)},
            "readers": {"all": naive.readers.get(id, 0)},
            "comments": {"all": naive.comments.get(id, 0)},
            "likes": {"all": naive.likes.get(id, 0)},
            "crawled": {"all": naive.crawled.get(id, 0)},
        }
        yield Compared(f"{name}: topic", naive.topics.get(id), profile.attributes.get("topic"))
        owned = {badge for badge in naive.badges.get(naive.posts[id], ()) if badge[2] == id}
        yield Compared(
            f"{name}: badges",
            {(badge, level) for badge, level, _ in owned},
            {(b.badge, b.level) for b in profile.badges},
        )
    else:
        points = {
            "all": naive.points.get(id, 0),
            "week": naive.points_of_week(id, day),
            "day": naive.points_of_day.get((id, day), 0),
        }
        expected = {
            "points": points,
            "reputation": {"all": naive.reputation.get(id, 1)},
            "comments_written": {"all": naive.comments_written.get(id, 0)},
        }
        held = {(badge.badge, badge.level, badge.subject) for badge in profile.badges}
        yield Compared(f"{name}: badges", naive.badges.get(id, set()), held)
        yield from _streak(naive, id, today, profile)
    for metric in sorted(expected.keys() | profile.tallies.keys()):
        yield Compared(f"{name}: {metric} on {day}", expected.get(metric), profile.tallies.get(metric))


def _streak(naive: Naive, user: str, today: date, profile: Profile) -> Iterator[Compared]:
    current, longest, last = naive.streak(user)
    running = last is not None and last >= today - timedelta(days=1)
    found = profile.streaks["writing"]
    yield Compared(
        f"user {user}: writing",
        (current if running else 0, longest, last.isoformat() if last else None, running),
        (found.current, found.longest, found.last, found.running),
    )
