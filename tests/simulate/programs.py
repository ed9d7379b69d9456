"""Programs drawn from a seed: everything a rules file can say, in small worlds where everything meets everything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from random import Random

TYPES = ("posted", "viewed", "voted", "played")
RETRACTABLE = ("posted", "viewed")
"""Those that move no streak of events."""
USER_METRICS = ("points", "karma", "cash")
OBJECT_METRICS = ("views", "score")
TOPICS = ("tea", "sea", "7")
PERIODS = ("hour", "day", "week", "month", "year")


class ProgramMaker:
    """Draws one program, and later versions of it that an engine may change to."""

    def __init__(self, random: Random, *, timezone: str, around: date) -> None:
        self._random = random
        self._around = around
        self._timezone = timezone
        self._season = self._chance(0.4)
        self._named = 0
        self._retract_days = random.choice((0, 1, 30))
        self._metrics = {name: self._metric(name) for name in (*USER_METRICS, *OBJECT_METRICS)}
        self._streaks = self._drawn_streaks()
        self._attribute = self._chance(0.6)  # whether rules set `topic` on objects and `mood` on users
        self._rules = [self._rule() for _ in range(random.randint(2, 6))]
        self._caps = {name: self._cap(name) for name in ("few", "some")}
        self._boards = [self._board(number) for number in range(random.randint(1, 3))]
        self._badges = [self._badge(number) for number in range(random.randint(0, 4))]
        if self._attribute:
            self._rules.append(
                '[[rules]]\nname = "attributes"\non = ["posted", "voted"]\n'
                'set = [{ on = "object", attribute = "topic", value = "data.topic" }, '
                '{ on = "actor", attribute = "mood", value = "value" }]\n'
            )

    def text(self) -> str:
        """The program as it is now."""
        parts = [f'[tenant]\ntimezone = "{self._timezone}"\n']
        if self._season:
            middle = self._around + timedelta(days=1)
            first, after = self._around - timedelta(days=20), self._around + timedelta(days=9)
            parts.append(
                "[ranges.season]\n"
                f"one = {{ from = {first}, to = {middle} }}\n"
                f"two = {{ from = {middle + timedelta(days=2)}, to = {after} }}\n"
            )
        parts.append('[lookups.weights]\ntea = 3\nsea = 0.5\n7 = -1\ntrue = 2\n"1.5" = 4\n')
        parts += [f"[metrics.{name}]\n{said}" for name, said in self._metrics.items()]
        parts += [*self._rules, *self._caps.values(), *self._boards, *self._streaks.values(), *self._badges]
        return "\n".join([*parts, self._retract()])

    def change(self) -> None:
        """Make another version: what was counted keeps its meaning, everything else may change."""
        what = self._random.randrange(8)
        if what == 0:
            self._caps = {name: self._cap(name) for name in self._caps}
        elif what == 1:
            self._rules.insert(0, self._rule())
            self._retract_days = self._random.choice((0, 1, 30))
        elif what == 2 and len(self._rules) > 2:
            self._rules.pop(self._random.randrange(len(self._rules) - 1))  # the last one may set attributes
        elif what == 3:
            self._boards = [self._re_tied(board) for board in self._boards]
        elif what == 4:
            self._boards.append(self._board(len(self._boards) + 10))
        elif what == 5:
            self._badges = [self._badge(number) for number in range(self._random.randint(0, 4))]
        elif what == 6:
            name = self._random.choice(USER_METRICS)
            kept = [line for line in self._metrics[name].splitlines() if line.startswith("scale")]
            self._metrics[name] = "\n".join([*kept, "initial = 3", "min = 2", ""])
        else:
            for name in self._streaks:
                self._streaks[name] = self._streaks[name].replace('"posted"', '"voted"')

    # --- parts --------------------------------------------------------------------------------------------------------

    def _metric(self, name: str) -> str:
        said = ['of = "object"'] if name in OBJECT_METRICS else []
        if self._chance(0.3):
            said.append(f"scale = {self._random.choice((1, 2, 6))}")
        if self._chance(0.25):
            said.append(f"initial = {self._random.choice((1, 5))}")
        if self._chance(0.35):
            said.append(f"min = {self._random.choice((0, 1, -2) if 'initial' in ' '.join(said) else (0, -2))}")
        if self._chance(0.2):
            said.append(f'periods = ["{self._random.choice(PERIODS)}"]')
        return "\n".join([*said, ""])

    def _rule(self) -> str:
        random, self._named = self._random, self._named + 1
        lines = [
            "[[rules]]",
            f'name = "rule {self._named}"',
            f"on = {_quoted(random.sample(TYPES, random.randint(1, 2)))}",
        ]
        if self._chance(0.5):
            lines.append(f'when = "{self._condition()}"')
        if self._chance(0.3):
            lines.append(f"once = {_quoted(self._once())}")
        capped = self._chance(0.3)
        gives = [self._give(capped=capped) for _ in range(random.randint(1, 3))]
        lines.append(f"give = [{', '.join(gives)}]")
        if capped:
            lines.append(f'cap = "{random.choice(("few", "some"))}"')
        return "\n".join([*lines, ""])

    def _give(self, *, capped: bool) -> str:
        random = self._random
        to = random.choice(("actor", "actor", "owner", "data.other")) if capped else self._to()
        metric = "points" if capped else random.choice(OBJECT_METRICS if to == "object" else USER_METRICS)
        parts = [f'to = "{to}"', f'metric = "{metric}"']
        if self._chance(0.8):
            parts.append(f"amount = {self._amount()}")
        if self._chance(0.2) and to != "data.other":
            parts.append(f'when = "{self._condition()}"')
        if not capped and self._chance(0.15):
            parts.append(f'mode = "{random.choice(("set", "most", "least"))}"')
        return "{ " + ", ".join(parts) + " }"

    def _to(self) -> str:
        return self._random.choice(("actor", "actor", "owner", "object", "object", "data.other"))

    def _once(self) -> list[str]:
        words = ["actor", "object", "owner", "data.topic", "data.n", *PERIODS, *(["season"] if self._season else [])]
        return self._random.sample(words, self._random.randint(1, 3))

    def _amount(self) -> str:
        plain = ("1", "2", "5", "-1", "-3", "0", "0.25", "-0.5", "0.0035", "7.125")
        read = (
            "value", "data.n", "data.n * 2", "-data.n", "1 if data.flag else 2", "lookup('weights', data.topic, 1)",
            "min(value, 5)", "max(data.n, 1, value)", "round(data.n)", "round(data.n, 1)", "floor(data.n / 2)",
            "data.n // 3", "data.n % 3", "abs(data.n - 2)", "len(data.topic)", "9007199254740990", "data.n / 7",
            "actor.points // 2 + 1", "5 if object.day.views > 1 else 1", "lookup('weights', data.n)",
            "1 + actor.streak.daily if data.flag else 1", "0.1 * data.n",
        )  # fmt: skip
        if self._chance(0.5):
            return self._random.choice(plain)
        return f'"{self._random.choice(read)}"'

    def _condition(self, depth: int = 2) -> str:
        if depth and self._chance(0.3):
            word = self._random.choice((" and ", " or "))
            return f"({self._condition(depth - 1)}{word}{self._condition(depth - 1)})"
        known = [
            "value >= 2", "value < 0", "data.n > 1.5", "actor != owner", "actor == owner", "data.topic == 'tea'",
            "data.topic in ['tea', 'sea']", "'e' in data.topic", "len(data.topic) >= 2", "not data.flag", "data.flag",
            "stamp.clamped", "not stamp.crawler", "data.n is not null", "data.n + 1 > 2", "1 < data.n <= 4",
            "actor.points < 10", "owner.karma >= 1", "actor.day.points < 6", "object.views > 1", "id != 'e1'",
            "object.week.score < 4",
            "actor.streak.daily >= 2", "actor.longest.daily < 3", "actor.streak.unbroken < 3", "type == 'voted'",
            "object.score % 2 == 0", "data.topic < data.other", "value", "actor.month.cash <= 2",
        ]  # fmt: skip
        if self._attribute:
            known += ["object.topic == 'tea'", "actor.mood > 1", "object.topic == data.topic"]
        if self._season:
            known += ["actor.season.points < 4"]
        chosen = self._random.choice(known)
        return f"not ({chosen})" if self._chance(0.15) else chosen

    def _retract(self) -> str:
        """Which events can be taken back: none that moves a streak of events or replaces a tally."""
        said = [*self._rules, *self._streaks.values()]
        types = [
            type
            for type in RETRACTABLE
            if any(f'"{type}"' in part for part in said)
            and not any(f'"{type}"' in rule and "mode" in rule for rule in self._rules)
        ]
        return f"[retract]\ntypes = {_quoted(types)}\ndays = {self._retract_days}\n" if self._retract_days else ""

    def _cap(self, name: str) -> str:
        per = self._random.choice(("day", "week", "all", "hour", *(["season"] if self._season else [])))
        return f'[caps.{name}]\nmetric = "points"\nlimit = {self._random.choice((0, 3, 8))}\nper = "{per}"\n'

    def _board(self, number: int) -> str:
        random = self._random
        metrics = random.choice((USER_METRICS, OBJECT_METRICS))
        kinds = ["all", *PERIODS[:3], *(["season"] if self._season else [])]
        periods = random.sample(kinds, random.randint(1, 3))
        lines = [f"[boards.board{number}]", f"periods = {_quoted(periods)}"]
        lines.append(f'ties = "{random.choice(("first", "last", "id"))}"')
        if self._chance(0.4):
            keys = [f"{name} {random.choice(('desc', 'asc'))}" for name in random.sample(metrics, 2)]
            lines.append(f"order = {_quoted(keys)}")
        else:
            lines.append(f'metric = "{random.choice(metrics)}"')
        return "\n".join([*lines, ""])

    def _re_tied(self, board: str) -> str:
        ties = self._random.choice(("first", "last", "id"))
        return "\n".join(f'ties = "{ties}"' if line.startswith("ties") else line for line in board.split("\n"))

    def _drawn_streaks(self) -> dict[str, str]:
        random = self._random
        every = random.choice(("hour", "week", "month", *(["season"] if self._season else [])))
        condition = f'when = "{random.choice(("value > 0", "data.flag", "data.n < 4"))}"\n' if self._chance(0.4) else ""
        return {
            "daily": '[streaks.daily]\non = ["posted"]\nevery = "day"\n' + condition,
            "often": f'[streaks.often]\non = ["posted", "viewed"]\nevery = "{every}"\nto = "owner"\n',
            "unbroken": '[streaks.unbroken]\non = ["played", "voted"]\nevery = "event"\nbreaks_when = "value < 0"\n',
        }

    def _badge(self, number: int) -> str:
        random = self._random
        lines = [f"[badges.badge{number}]"]
        of_object = self._chance(0.35)
        if of_object:
            lines.append('subject = "object"')
            known = ["views >= 2", "score >= 3", "day.views >= 2", "score > views"]
            known += ["views >= 1 and topic == 'tea'"] if self._attribute else []
        else:
            known = ["points >= 4", "karma >= 2", "day.points >= 3", "week.cash > 1", "points > karma"]
            known += [
                "streak.daily >= 2",
                "longest.unbroken >= 2",
                "streak.often >= 2 and points > 0",
                "hour.karma > 1",
            ]
            known += ["points >= 1 and mood > 0"] if self._attribute else []
        if self._chance(0.3):
            lines.append(f'levels = {{ low = "{random.choice(known)}", high = "{random.choice(known)}" }}')
        else:
            lines.append(f'when = "{random.choice(known)}"')
        what = random.randrange(4)
        if what == 0:
            lines.append("revocable = true")
        elif what == 1:
            lines.append("days = 2")
        elif what == 2 and of_object:
            lines.append('once = "owner"')
        return "\n".join([*lines, ""])

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


def _quoted(words: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
