"""The traffic of a writers' community, made from a seed: the program examples/programs/writers.toml is about it.

Forty writers and nearly a thousand readers. Every writer has published for some days when it begins. From then on
nearly everything is reading; who and what is read follows Zipf's law, until in the middle third of every wave one post
goes viral. Beside what is new comes what every queue brings along: the same event again (in the same request, at the
same time over another connection, or much later), now and then an id that says something else the second time, and
events that are none.

**Order.** What an event changes may depend on the events before it (reputation has a floor). Everything for which that
is so travels in the lane of the post's owner, one request after the other, so its order is known to the sender. The
rest adds up the same in any order, and goes by any lane.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from accrue.cli.demo.chance import Chance, Zipf
from accrue.cli.demo.words import ADJECTIVES, BROWSERS, COMMENTS, CRAWLERS, NOUNS, SHORT_COMMENTS, WRITERS

LANES = 8
READERS = 960
POSTS_MAX = 400
"""When there are so many, publishing is a new edition of an old one: what anybody remembers of the demo is bounded."""

OPENING_DAYS = 11
REMEMBERED_EVENTS = 4_096
DAY_US = 86_400_000_000

VIEWS, COMMENTS_UPTO, REACTIONS_UPTO = 0.80, 0.88, 0.995
"""Shares of the new events, added up. The rest are publications."""

REPEATS_IN_REQUEST, REPEATS_AT_ONCE, REPEATS_LATER = 0.004, 0.010, 0.016
CONFLICTS = 0.0004
MALFORMED = 0.001
CRAWLED = 0.06
WITHOUT_ACCOUNT = 0.20
VIRAL_SHARE_MAX = 0.70
VIRAL_FROM = 25
"""Posts before this one are read a lot anyway; nobody would notice."""


What = Literal["new", "repeat", "conflict", "malformed"]


class Happening(Struct, frozen=True, gc=False):
    """Something that happened in the community, once. `detail` is the user agent of a view, the text of a comment,
    the kind of a reaction, the topic of a post. `lane` is the connection it travels by."""

    number: int
    type: str
    actor: str | None
    object: str
    owner: str
    time_us: int
    detail: str
    lane: int


class Sent(Struct, frozen=True, gc=False):
    """One event as it is sent. What is `malformed` stands for no happening; a `conflict` has the id of another one."""

    what: What
    happening: Happening
    line: bytes
    lane: int


class Post(Struct, frozen=True, gc=False):
    """Something to read. `lane` is that of its owner."""

    id: str
    owner: str
    topic: str
    lane: int


class Community:
    """Makes the traffic. `wave_events` is how many new events pass while one viral post comes and goes."""

    def __init__(self, *, seed: int, wave_events: int, began_us: int) -> None:
        self._seed = seed
        self._wave_events = max(wave_events, 3)
        self._began_us = began_us
        self._chance = Chance(seed)
        self._users = [*WRITERS, *(f"reader-{n:03}" for n in range(READERS))]
        self._by_user = Zipf(len(self._users), 0.6)
        self._by_post = Zipf(POSTS_MAX, 0.9)
        self._posts: list[Post] = []
        self._lately: list[Sent] = []
        self._number = 0
        self._wave = -1
        self._share = 0.0
        self.viral: Post | None = None

    def opening(self) -> Iterator[Sent]:
        """What was published before anybody watches: writer n on so many of the last days, without a gap."""
        for place, writer in enumerate(WRITERS):
            for days in range(place * 7 % OPENING_DAYS, -1, -1):
                yield self._posting(self._published(writer), self._began_us - days * DAY_US)

    def next(self, now_us: int) -> list[Sent]:
        """A new event, and what comes with it: most often nothing."""
        self._go_on()
        sent = self._new(now_us)
        self._remember(sent)
        return [sent, *self._mischief(sent)]

    # --- what is new ----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """In the middle third of a wave the viral post's share grows, in the last it falls again."""
        wave, place = divmod(self._number, self._wave_events)
        if wave != self._wave:
            self._wave = wave
            self.viral = self._posts[self._chance.below(len(self._posts) - VIRAL_FROM) + VIRAL_FROM]
        part = 3 * place / self._wave_events
        grown = 0.0 if part < 1 else (part - 1) ** 2 if part < 2 else 1 - 0.7 * (part - 2)
        self._share = 0.02 + (VIRAL_SHARE_MAX - 0.02) * grown

    def _new(self, now_us: int) -> Sent:
        chance = self._chance
        kind = chance.share()
        if kind >= REACTIONS_UPTO:
            if len(self._posts) < POSTS_MAX:
                post = self._published(chance.one_of(WRITERS))
            else:
                post = chance.one_of(self._posts)
            return self._posting(post, now_us)
        post = self._posts[self._by_post.draw(chance, len(self._posts))]
        if self.viral is not None and chance.share() < self._share:
            post = self.viral
        actor = self._users[self._by_user.draw(chance, len(self._users))]
        if kind < VIEWS:
            return self._view(post, actor, now_us)
        if kind < COMMENTS_UPTO:
            text = chance.one_of(SHORT_COMMENTS if chance.share() < 0.15 else COMMENTS)
            return self._made("comment.created", actor, post, now_us, text)
        return self._made("reaction.added", actor, post, now_us, "dislike" if chance.share() < 0.12 else "like")

    def _view(self, post: Post, actor: str, now_us: int) -> Sent:
        share = self._chance.share()
        if share < CRAWLED:
            return self._made("article.viewed", None, post, now_us, self._chance.one_of(CRAWLERS))
        reader = None if share < CRAWLED + WITHOUT_ACCOUNT else actor
        return self._made("article.viewed", reader, post, now_us, self._chance.one_of(BROWSERS))

    def _published(self, owner: str) -> Post:
        number = len(self._posts)
        noun = NOUNS[number * 11 % len(NOUNS)]
        post = Post(f"{ADJECTIVES[number * 7 % len(ADJECTIVES)]}-{noun}-{number + 1}", owner, noun, _lane_of(owner))
        self._posts.append(post)
        return post

    def _posting(self, post: Post, time_us: int) -> Sent:
        return self._made("post.published", post.owner, post, time_us, post.topic)

    def _made(self, type: str, actor: str | None, post: Post, time_us: int, detail: str) -> Sent:
        number = self._number
        self._number = number + 1
        in_order = type in ("reaction.added", "post.published")
        lane = post.lane if in_order else number % LANES
        happening = Happening(number, type, actor, post.id, post.owner, time_us, detail, lane)
        return Sent("new", happening, self._line(happening), lane)

    def _line(self, happening: Happening) -> bytes:
        return _encoder.encode(
            {
                "id": f"demo-{self._seed}-{happening.number}",
                "type": happening.type,
                "time": (_EPOCH + timedelta(microseconds=happening.time_us)),
                "actor": happening.actor,
                "object": happening.object,
                "owner": happening.owner,
                "data": {_DETAILS[happening.type]: happening.detail},
            }
        )

    # --- what comes with it ---------------------------------------------------------------------------------------

    def _remember(self, sent: Sent) -> None:
        if len(self._lately) < REMEMBERED_EVENTS:
            self._lately.append(sent)
        else:
            self._lately[sent.happening.number % REMEMBERED_EVENTS] = sent

    def _mischief(self, sent: Sent) -> list[Sent]:
        share = self._chance.share()
        upto = REPEATS_IN_REQUEST
        if share < upto:
            return [_again(sent, sent.lane)]
        if share < (upto := upto + REPEATS_AT_ONCE):
            in_order = sent.happening.type in ("reaction.added", "post.published")
            return [_again(sent, sent.lane if in_order else (sent.lane + 1) % LANES)]
        if share < (upto := upto + REPEATS_LATER):
            earlier = self._chance.one_of(self._lately)
            return [_again(earlier, earlier.lane)]
        if share < (upto := upto + CONFLICTS):
            return [self._contradicting(self._chance.one_of(self._lately))]
        if share < upto + MALFORMED:
            line = _BAD[self._chance.below(len(_BAD))] % self._number
            return [Sent("malformed", sent.happening, line, sent.lane)]
        return []

    def _contradicting(self, earlier: Sent) -> Sent:
        """The same id with something else said. It follows in the lane of the first, so the first one stands."""
        other = msgspec.structs.replace(earlier.happening, detail=earlier.happening.detail + " (edited)")
        return Sent("conflict", earlier.happening, self._line(other), earlier.lane)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encoder = msgspec.json.Encoder()
_DETAILS = {
    "article.viewed": "user_agent",
    "comment.created": "text",
    "reaction.added": "kind",
    "post.published": "topic",
}

_BAD = (
    b'{"id":"bad-%d","type":"article.viewed","actor":',
    b'{"id":"bad-%d","actor":"ada","object":"a-post-without-a-type"}',
    b'{"id":"bad-%d","type":"comment.created","actor":"ada","time":"yesterday"}',
    b'{"id":"bad-%d","type":"reaction.added","actor":17,"object":"a-post"}',
    b'{"id":"bad-%d","type":"article.viewed","actor":"ada","colour":"blue"}',
    b'{"id":"bad-%d","type":"article.viewed","actor":"ada","value":NaN}',
)


def _again(sent: Sent, lane: int) -> Sent:
    return Sent("repeat", sent.happening, sent.line, lane)


def _lane_of(owner: str) -> int:
    return WRITERS.index(owner) % LANES
