"""The naive count: the rules of examples/programs/writers.toml by hand, in plain Python, one event after the other.

It is what the engine is checked against, so it shares nothing with it: no rules file, no fold, no calendar. It keeps
what it counts and nothing else, so it can run for as long as the demo does.

It also counts the rows that the usual design would have written: one UPDATE for each amount that changes something
(and it is spared those for weeks, days, badges and streaks).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

from accrue.cli.demo.community import Happening
from accrue.cli.demo.words import CRAWLERS

DAILY_POINTS = 50
COMMENTATOR = {"bronze": 10, "silver": 100, "gold": 1000}
A_GOOD_DAY = 200
STEADY_DAYS = 7
NICE_LIKES, NICE_READERS = 10, 20

Counts = defaultdict[str, int]
ByDay = defaultdict[tuple[str, date], int]


class Naive:
    """Counts what it is given, each number once. `fold` in the order of the log wherever the order matters."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.distinct = 0
        self.repeated = 0
        self.conflicting = 0
        self.row_writes = 0
        self.crawled_in_all = 0
        self.points: Counts = defaultdict(int)
        self.points_of_day: ByDay = defaultdict(int)
        self.reputation: Counts = defaultdict(lambda: 1)
        self.comments_written: Counts = defaultdict(int)
        self.views: Counts = defaultdict(int)
        self.views_of_day: ByDay = defaultdict(int)
        self.readers: Counts = defaultdict(int)
        self.comments: Counts = defaultdict(int)
        self.likes: Counts = defaultdict(int)
        self.crawled: Counts = defaultdict(int)
        self.topics: dict[str, str] = {}
        self.days_written: defaultdict[str, set[date]] = defaultdict(set)
        self.badges: defaultdict[str, set[tuple[str, str, str | None]]] = defaultdict(set)
        self.users: set[str] = set()
        self.posts: dict[str, str] = {}
        self._capped: ByDay = defaultdict(int)
        self._readers_today: defaultdict[tuple[str, date], set[str]] = defaultdict(set)
        self._reacted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def fold(self, happening: Happening, *, altered: bool = False) -> None:
        """Count an accepted event. `altered`: it says something else than the first one with its number did."""
        if altered:
            self.conflicting += 1
            return
        if not self.seen.add(happening.number):
            self.repeated += 1
            return
        self.distinct += 1
        if happening.actor is not None:
            self.users.add(happening.actor)
        self.users.add(happening.owner)
        self.posts[happening.object] = happening.owner
        day = day_in_paris(happening.time_us)
        match happening.type:
            case "article.viewed":
                self._viewed(happening, day)
            case "post.published":
                self._published(happening, day)
            case "comment.created":
                self._commented(happening, day)
            case "reaction.added":
                self._reacted_to(happening, day)

    # --- the rules, in the order of the file ----------------------------------------------------------------------

    def _viewed(self, event: Happening, day: date) -> None:
        self.row_writes += 1
        if event.detail in CRAWLERS:
            self.crawled[event.object] += 1
            self.crawled_in_all += 1
            return
        self.views[event.object] += 1
        self.views_of_day[event.object, day] += 1
        if event.actor is None or event.actor == event.owner:
            return
        today = self._readers_today[event.object, day]
        if event.actor not in today:
            today.add(event.actor)
            self.readers[event.object] += 1
            self.row_writes += 1
            self._give_points(event.owner, 1, day)
            self._nice_post(event.object)

    def _published(self, event: Happening, day: date) -> None:
        assert event.actor is not None
        self.topics[event.object] = event.detail
        self._give_points(event.actor, 10, day)
        self.days_written[event.actor].add(day)
        if self.streak(event.actor)[1] >= STEADY_DAYS:
            self.badges[event.actor].add(("steady", "", None))

    def _commented(self, event: Happening, day: date) -> None:
        assert event.actor is not None
        self.comments_written[event.actor] += 1
        self.comments[event.object] += 1
        self.row_writes += 2
        for level, least in COMMENTATOR.items():
            if self.comments_written[event.actor] >= least:
                self.badges[event.actor].add(("commentator", level, None))
        if event.actor != event.owner and len(event.detail) >= 20:
            room = DAILY_POINTS - self._capped[event.actor, day]
            if room > 0:
                self._capped[event.actor, day] += min(5, room)
                self._give_points(event.actor, min(5, room), day)

    def _reacted_to(self, event: Happening, day: date) -> None:
        assert event.actor is not None
        who = self._reacted[event.object, event.detail]
        if event.actor == event.owner or event.actor in who:
            return
        who.add(event.actor)
        before = self.reputation[event.owner]
        if event.detail == "like":
            self.likes[event.object] += 1
            self.row_writes += 1
            self._give_points(event.owner, 2, day)
            self.reputation[event.owner] = before + 5
            self._nice_post(event.object)
        else:
            self.reputation[event.owner] = max(before - 2, 1)
        self.row_writes += self.reputation[event.owner] != before

    def _give_points(self, user: str, amount: int, day: date) -> None:
        self.row_writes += 1
        self.points[user] += amount
        self.points_of_day[user, day] += amount
        if self.points_of_day[user, day] >= A_GOOD_DAY:
            self.badges[user].add(("a_good_day", "", None))

    def _nice_post(self, post: str) -> None:
        if self.likes[post] >= NICE_LIKES and self.readers[post] >= NICE_READERS:
            self.badges[self.posts[post]].add(("nice_post", "", post))

    # --- what is asked afterwards ---------------------------------------------------------------------------------

    def points_of_week(self, user: str, day: date) -> int:
        """The points of the week, Monday to Sunday, that holds the day."""
        monday = day - timedelta(days=day.weekday())
        return sum(self.points_of_day.get((user, monday + timedelta(days=n)), 0) for n in range(7))

    def streak(self, user: str) -> tuple[int, int, date | None]:
        """The run of days that the last day written ends, the longest run, and that last day."""
        current = longest = 0
        last: date | None = None
        for day in sorted(self.days_written.get(user, ())):
            current = current + 1 if last is not None and day - last == timedelta(days=1) else 1
            longest, last = max(longest, current), day
        return current, longest, last


class Seen:
    """Which numbers were there already. Numbers come nearly in order, so all below a mark have been, and few beyond."""

    def __init__(self) -> None:
        self._below = 0
        self._beyond: set[int] = set()

    def add(self, number: int) -> bool:
        """Whether it is new."""
        if number < self._below or number in self._beyond:
            return False
        self._beyond.add(number)
        while self._below in self._beyond:
            self._beyond.remove(self._below)
            self._below += 1
        return True


def day_in_paris(time_us: int) -> date:
    """The date there. Summer time runs from the last Sunday of March to that of October, at one o'clock UTC."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    summer = _last_sunday(time.year, 3) <= time < _last_sunday(time.year, 10)
    return (time + timedelta(hours=2 if summer else 1)).date()


def _last_sunday(year: int, month: int) -> datetime:
    last = datetime(year, month, 31, 1, tzinfo=UTC)
    return last - timedelta(days=(last.weekday() + 1) % 7)
