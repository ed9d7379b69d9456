"""What clients send: batches with known ids, among them some for the second time and some with another body.

Whatever a client sends follows from the seed, its own number and the number of the batch. Rules are of every kind, and
most of them look at the order of the log: a cap, a `once`, an attribute, boards on which ties go to who was first.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

PARTITIONS = 2
TENANTS = ("arts", "books", "cars", "dogs")
"""Two in each partition."""

USERS, OBJECTS, EVENTS_MAX = 12, 20, 8
HOUR_US = 3_600_000_000
ZONE = "Europe/Paris"

PROGRAM = """
[tenant]
timezone = "Europe/Paris"

[metrics.sent]
[metrics.points]
[metrics.made]
[metrics.met]
[metrics.gained]
[metrics.views]

[[rules]]
name = "each batch"
on = "sent"
give = [{ to = "actor", metric = "sent" }]

[[rules]]
name = "each"
on = "did"
set = [{ on = "actor", attribute = "last", value = "value" }]
give = [
  { to = "actor", metric = "points", amount = "value" },
  { to = "owner", metric = "points", amount = 1 },
  { to = "actor", metric = "made" },
  { to = "object", metric = "views" },
]

[[rules]]
name = "once"
on = "did"
once = ["actor", "object", "day"]
give = [{ to = "actor", metric = "met" }]

[[rules]]
name = "capped"
on = "did"
cap = "daily"
give = [{ to = "actor", metric = "gained", amount = "value" }]

[caps.daily]
metric = "gained"
limit = 60
per = "day"

[boards.senders]
metric = "sent"

[boards.top]
metric = "points"
periods = ["all", "day", "hour"]
ties = "first"

[boards.lucky]
order = ["gained desc", "met asc"]
periods = ["all", "day"]
ties = "first"

[boards.popular]
metric = "views"
ties = "id"

[badges.maker]
levels = { bronze = "made >= 5", silver = "made >= 50" }

[streaks.doing]
on = "did"
every = "day"
"""


def batch(seed: int, client: int, number: int, *, begin_us: int) -> bytes:
    """A batch as NDJSON. Its first event says whose it is."""
    random = Random(f"{seed} {client} {number}")
    head = {"id": f"{seed}-{client}-{number}", "type": "sent", "actor": f"c{client}"}
    time_us = begin_us + random.choice((0, 0, 1, 2, 24, 48)) * HOUR_US
    events = [head, *(_event(head["id"], at, random, time_us) for at in range(random.randint(1, EVENTS_MAX)))]
    return b"\n".join(map(msgspec.json.encode, events))


def contradicting(body: bytes) -> bytes:
    """The same ids with other bodies."""
    return body.replace(b'"actor":"', b'"actor":"x')


def _event(head: str, at: int, random: Random, time_us: int) -> dict[str, Any]:
    return {
        "id": f"{head}-{at}",
        "type": "did",
        "time": datetime.fromtimestamp(time_us // 1_000_000, UTC),
        "actor": f"u{random.randrange(USERS)}",
        "owner": f"u{random.randrange(USERS)}",
        "object": f"o{random.randrange(OBJECTS)}",
        "value": random.randint(1, 5),
    }
