"""What is sent to an engine that will be killed, and what has to have come of it.

Requests have numbers; what a request holds follows from the campaign's seed and its number, so whoever judges
afterwards needs no other record of it. Every event counts once for an object of its own (`seen`), so that each can be
told apart, and besides for others (points, badges, streaks, a cap, `once`), so that half an effect would show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

EVENTS_MAX = 12
USERS = 7
HOUR_US = 3_600_000_000
REQUESTS_AN_HOUR = 6
"""Events move on an hour of event time every so many requests, so that there are always periods to close."""

FAULTS_MAX = 5
LEVELS = {"bronze": 5, "silver": 25}

PROGRAM = """
[tenant]
timezone = "Europe/Paris"

[metrics.seen]
[metrics.points]
[metrics.made]
[metrics.met]
[metrics.gained]
[metrics.credit]

[[rules]]
name = "each"
on = "did"
set = [{ on = "actor", attribute = "last", value = "value" }]
give = [
  { to = "object", metric = "seen" },
  { to = "actor", metric = "points", amount = "value" },
  { to = "owner", metric = "points", amount = 1 },
  { to = "actor", metric = "made" },
]

[[rules]]
name = "once"
on = "did"
once = ["actor", "owner"]
give = [{ to = "actor", metric = "met" }]

[[rules]]
name = "capped"
on = "did"
cap = "daily"
give = [{ to = "actor", metric = "gained", amount = "value" }]

[caps.daily]
metric = "gained"
limit = LIMIT
per = "day"

[boards.top]
metric = "points"
periods = ["all", "hour", "day"]

[badges.maker]
levels = { bronze = "made >= 5", silver = "made >= 25" }

[streaks.doing]
on = "did"
every = "day"
"""
PROGRAMS = (PROGRAM.replace("LIMIT", "40"), PROGRAM.replace("LIMIT", "25"))
"""Two programs, which differ in what nobody counts here but the engine: going from one to the other is a record."""


class Requests:
    """The requests of one campaign."""

    def __init__(self, seed: int, *, begin_us: int) -> None:
        self._seed = seed
        self._begin_us = begin_us

    def events(self, number: int) -> list[dict[str, Any]]:
        """The events of a request."""
        random = Random(f"{self._seed} {number}")
        time_us = self._begin_us + number // REQUESTS_AN_HOUR * HOUR_US
        return [self._event(f"{number}-{at}", random, time_us) for at in range(random.randint(1, EVENTS_MAX))]

    def body(self, number: int, *, changed: bool = False) -> bytes:
        """The same as NDJSON; `changed` gives every event another body under the same id."""
        events = self.events(number)
        if changed:
            events = [{**event, "actor": "somebody else"} for event in events]
        return b"\n".join(map(msgspec.json.encode, events))

    def _event(self, id: str, random: Random, time_us: int) -> dict[str, Any]:
        if random.random() < 0.05:
            data = {"metric": "credit", "subject": f"e:{id}", "amount": 1, "reason": "a test"}
            return {"id": id, "type": "accrue.adjust", "data": data}
        time_us -= random.choice((0, 0, 0, 1, 30)) * HOUR_US  # some come late
        return {
            "id": id,
            "type": "did",
            "time": datetime.fromtimestamp(time_us // 1_000_000, UTC),
            "actor": f"u{random.randrange(USERS)}",
            "owner": f"u{random.randrange(USERS)}",
            "object": f"e:{id}",
            "value": random.randint(1, 5),
        }


Values = Mapping[str, Mapping[str, int]]
"""Metric -> subject -> its value of all time."""


def faults(
    requests: Requests, values: Values, badges: Mapping[tuple[str, str], int], *, begun: Iterable[int], acked: set[int]
) -> list[str]:
    """What is wrong with a book that says this, when these requests were begun and these answered; nothing at best.

    1. Every event of an answered request counted once; 2. one of another request once or not at all, and then the
    request as a whole; 3. nothing else counted; 4. everything else is what the counted events make.
    """
    found = []
    counted: list[dict[str, Any]] = []
    known = {**values.get("seen", {}), **values.get("credit", {})}
    for number in begun:
        events = requests.events(number)
        counts = [known.pop(f"e:{event['id']}", 0) for event in events]
        if any(count not in (0, 1) for count in counts):
            found.append(f"events of request {number} counted {counts} times")
        elif number in acked and not all(counts):
            found.append(f"request {number} was acked, and of its events counted {sum(counts)} of {len(counts)}")
        elif any(counts) and not all(counts):
            found.append(f"request {number} counted by half: {counts}")
        counted += [event for event, count in zip(events, counts, strict=True) if count]
    if known:
        found.append(f"counted though never sent: {sorted(known)[:3]}")
    expected = _made_of([event for event in counted if event["type"] == "did"])
    for metric, by_subject in expected.items():
        if dict(values.get(metric, {})) != by_subject:
            found.append(f"{metric} is {dict(values.get(metric, {}))}, but the counted events make {by_subject}")
    held = {
        (level, user): 1 for level, least in LEVELS.items() for user, made in expected["made"].items() if made >= least
    }
    if dict(badges) != held:
        found.append(f"badges held are {dict(badges)}, not {held}")
    return found[:FAULTS_MAX] + ([f"and {len(found) - FAULTS_MAX} faults more"] if len(found) > FAULTS_MAX else [])


def _made_of(events: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    points: Counter[str] = Counter()
    for event in events:
        points[event["actor"]] += event["value"]
        points[event["owner"]] += 1
    made = Counter(event["actor"] for event in events)
    met = Counter(actor for actor, _ in {(event["actor"], event["owner"]) for event in events})
    return {"points": dict(points), "made": dict(made), "met": dict(met)}
