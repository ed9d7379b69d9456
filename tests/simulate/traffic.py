"""What clients send, drawn from a seed: few users, objects and words, so that everything meets everything."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from accrue.ingest.accept import ScoreMode
from simulate.programs import OBJECT_METRICS, RETRACTABLE, TOPICS, TYPES, USER_METRICS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
USERS = ("ann", "bob", "cat", "dan")
OBJECTS = ("p1", "p2", "ann")  # an object may have the id of a user
LATE_S = (0, 0, 0, 1, MINUTE_S, HOUR_S, 3 * HOUR_S, DAY_S, 2 * DAY_S, 8 * DAY_S, 33 * DAY_S)
MODES: tuple[ScoreMode, ...] = ("set", "best", "add")
ROBOT = "Googlebot/2.1 (+http://www.google.com/bot.html)"


class Traffic:
    """Makes the lines of events. Ids are `e1`, `e2`, ... unless something is used again."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._made = 0
        self._lines: list[bytes] = []
        self._retractable: list[str] = []
        self._retracted = "e2"

    def batch(self, now_us: int) -> list[bytes]:
        """Some new events of about now; their times may be late, ahead or left out."""
        return [self._kept(self._event(now_us)) for _ in range(self._random.choice((1, 1, 2, 3, 6, 10)))]

    def again(self) -> list[bytes]:
        """Some of what was made before, as it was; sometimes an id comes with something else."""
        if not self._lines:
            return []
        lines = [self._random.choice(self._lines) for _ in range(self._random.randint(1, 5))]
        return list(dict.fromkeys(self._altered(line) if self._chance(0.2) else line for line in lines))

    def id(self) -> str:
        """An id that nobody has."""
        self._made += 1
        return f"e{self._made}"

    def score(self) -> tuple[str, int, ScoreMode]:
        """Whose score, what score, and how it joins the one there is."""
        subject = self._random.choice((*USERS, *OBJECTS))
        return subject, self._random.choice((0, 1, 3, 7, -2)), self._random.choice(MODES)

    def _event(self, now_us: int) -> dict[str, Any]:
        random = self._random
        if self._chance(0.06):
            return self._adjustment(now_us)
        if self._chance(0.08):
            return self._retraction()
        event: dict[str, Any] = {
            "id": self.id(),
            "type": random.choice((*TYPES, *TYPES, *TYPES, "unknown")),
            "actor": random.choice(USERS),
            "owner": random.choice((*USERS, None)),
            "object": random.choice(OBJECTS),
            "value": random.choice((1, 2, 3, 5, -2, -1, 0, 1.5, None)),
            "data": {
                "topic": random.choice((*TOPICS, *TOPICS, None, True, 1.5, 7)) if not self._chance(0.02) else ["tea"],
                "n": random.choice((0, 1, 2, 4, 7, 2.5, 0.0035, -1, None)),
                "flag": random.choice((True, False, None)),
                "other": random.choice((*USERS, "eve", None)) if not self._chance(0.03) else random.choice(("", 5)),
            },
        }
        if event["type"] in RETRACTABLE:
            self._retractable.append(event["id"])
        if self._chance(0.1):
            event["data"]["user_agent"] = random.choice((ROBOT, "a browser"))
        if self._chance(0.1):
            del event["data"]
        if self._chance(0.05):
            del event["actor"]
        return {**event, **self._time(now_us)}

    def _adjustment(self, now_us: int) -> dict[str, Any]:
        metric = self._random.choice((*USER_METRICS, *OBJECT_METRICS, "nothing"))
        subject = self._random.choice(OBJECTS if metric in OBJECT_METRICS else USERS)
        data = {"metric": metric, "subject": subject, "amount": self._random.choice((2, -3, 0.5)), "reason": "because"}
        return {"id": self.id(), "type": "accrue.adjust", "data": data, **self._time(now_us)}

    def _retraction(self) -> dict[str, Any]:
        """Of an event that was, or of the same once more; of one that will be, or of whatever it is."""
        random, what = self._random, self._random.random()
        if what < 0.6 and self._retractable:
            self._retracted = random.choice(self._retractable[-12:])
        elif what > 0.8:
            self._retracted = f"e{max(1, self._made + random.randint(-25, 4))}"
        return {"id": self.id(), "type": "accrue.retract", "ref": self._retracted}

    def _time(self, now_us: int) -> dict[str, str]:
        if self._chance(0.2):
            return {}
        ahead_s = self._random.choice((60, 299, 2 * HOUR_S)) if self._chance(0.1) else 0
        time_us = now_us - self._random.choice(LATE_S) * 1_000_000 + ahead_s * 1_000_000
        return {"time": (EPOCH + timedelta(microseconds=time_us)).isoformat()}

    def _altered(self, line: bytes) -> bytes:
        event = json.loads(line)
        event["value"] = 3 if event.get("value") != 3 else 1
        return self._written(event)

    def _kept(self, event: dict[str, Any]) -> bytes:
        line = self._written(event)
        self._lines.append(line)
        return line

    def _written(self, event: dict[str, Any]) -> bytes:
        return json.dumps(event, separators=(",", ":")).encode()

    def _chance(self, share: float) -> bool:
        return self._random.random() < share
