"""Event streams made from a seed: the same seed gives the same events on every machine.

Numbers come from splitmix64 over a counter, so there is no generator whose state anybody could share, and no random
module. A stream is columns; `naive.py` counts the same columns the plain way, so what the engine says can be checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

VIEWED, COMMENTED, REACTED, PUBLISHED = range(4)
DETAILS = 1 << 20
SPAN_US = 60_000_000
"""The times of a stream lie evenly in the last minute before it was made."""

Whole = NDArray[np.int64]


class Stream(Struct, frozen=True, kw_only=True):
    """One entry an event in each column. `detail` stands for what is in `data`; see the functions of one detail."""

    kind: list[int]
    actor: list[int]
    object: list[int]
    owner: list[int]
    detail: list[int]
    time_us: list[int]

    def __len__(self) -> int:
        return len(self.kind)


def community(*, events: int, subjects: int, end_us: int, seed: int = 1) -> Stream:
    """A writers' community: a twentieth of the subjects are posts, the others users; of users some do much.

    60 % of the events are views, 20 % comments, 18 % reactions and 2 % new posts. Post p belongs to user p.
    """
    posts = max(subjects // 20, 1)
    users = max(subjects - posts, 1)
    share = uniform(events, seed=seed)
    kinds = np.searchsorted(np.array([0.60, 0.80, 0.98]), share, side="right")
    objects = zipf(events, size=posts, exponent=0.9, seed=seed + 1)
    actors = zipf(events, size=users, exponent=0.7, seed=seed + 2)
    return _stream(kinds, actors, objects, owners=objects, end_us=end_us, seed=seed)


def one_post(*, events: int, end_us: int, seed: int = 1) -> Stream:
    """Views of one post of one owner by everybody."""
    nobody = np.zeros(events, dtype=np.int64)
    actors = zipf(events, size=100_000, exponent=0.7, seed=seed)
    return _stream(nobody, actors, nobody, owners=nobody, end_us=end_us, seed=seed)


def readers(*, events: int, subjects: int, end_us: int, seed: int = 1) -> Stream:
    """Views in which exactly `subjects` take part, when there are enough events: a hundredth of them own the posts,
    a twentieth are the posts, the others read. Everybody appears once; the rest of the events follows Zipf's law."""
    owners = max(subjects // 100, 1)
    posts = max(subjects // 20, owners)
    actors = max(subjects - owners - posts, 1)
    objects = _all_then_zipf(events, size=posts, exponent=1.1, seed=seed + 1)
    return _stream(
        np.zeros(events, dtype=np.int64),
        _all_then_zipf(events, size=actors, exponent=0.8, seed=seed + 2),
        objects,
        owners=objects % owners,
        end_us=end_us,
        seed=seed,
    )


# --- what an event's detail says: for the encoder below and for the naive count ----------------------------------


def seconds_of(detail: int) -> int:
    """How long a view lasted."""
    return detail % 60


def is_bot(detail: int) -> bool:
    """Whether it said that it is a machine: one view in twenty."""
    return detail // 64 % 20 == 0


def is_short(detail: int) -> bool:
    """Whether a comment is too short to be worth points: one in eight."""
    return detail % 8 == 0


# --- as NDJSON ---------------------------------------------------------------------------------------------------


def bodies(stream: Stream, *, batch: int) -> Iterator[bytes]:
    """The events as NDJSON, so many a body; one has about 230 bytes. Ids are unique and of fixed width."""
    second_us, written = -1, b""
    lines: list[bytes] = []
    columns = zip(stream.kind, stream.actor, stream.object, stream.owner, stream.detail, stream.time_us, strict=True)
    for number, (kind, actor, post, owner, detail, time_us) in enumerate(columns):
        if time_us // 1_000_000 != second_us:
            second_us = time_us // 1_000_000
            written = _second(second_us)
        lines.append(
            _LINE % (number, _TYPES[kind], written, time_us // 1_000 % 1_000, actor, post, owner) + _data(kind, detail)
        )
        if len(lines) == batch:
            yield b"\n".join(lines)
            lines.clear()
    if lines:
        yield b"\n".join(lines)


_TYPES = (b"article.viewed", b"comment.created", b"reaction.added", b"post.published")
START = b'{"id":"01JQ7Z8Y3K9V5T'
NUMBER_DIGITS = 12
"""Every line begins so, then comes its number in so many digits. Another number makes another event of it."""

_LINE = START + (
    b'%012d","type":"%b","time":"%b.%03dZ","actor":"user:%06d","object":"post:%05d","owner":"user:%06d","data":'
)
_LONG = b"What I liked most is the part on the old harbour."
_SHORT = b"Nice one!"


def _data(kind: int, detail: int) -> bytes:
    if kind == VIEWED:
        return b'{"seconds":%d,"bot":%b,"source":"organic","depth":0.83}}' % (
            seconds_of(detail),
            b"true" if is_bot(detail) else b"false",
        )
    if kind == COMMENTED:
        return b'{"text":"%b"}}' % (_SHORT if is_short(detail) else _LONG)
    if kind == REACTED:
        return b'{"kind":"like","from":"feed","device":"phone"}}'
    return b'{"topic":"travel","words":%d,"draft":false}}' % (200 + detail % 2_000)


def _second(seconds: int) -> bytes:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return time.replace(tzinfo=None).isoformat().encode()


def _stream(kinds: Whole, actors: Whole, objects: Whole, *, owners: Whole, end_us: int, seed: int) -> Stream:
    events = len(kinds)
    times_us = end_us - SPAN_US + np.arange(events, dtype=np.int64) * SPAN_US // max(events, 1)
    return Stream(
        kind=kinds.tolist(),
        actor=actors.tolist(),
        object=objects.tolist(),
        owner=owners.tolist(),
        detail=(uniform(events, seed=seed + 3) * DETAILS).astype(np.int64).tolist(),
        time_us=times_us.tolist(),
    )


# --- numbers -----------------------------------------------------------------------------------------------------


def uniform(count: int, *, seed: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), by splitmix64 of a counter (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014)."""
    start = seed * 0xD1342543DE82EF95 % 2**64  # so that the streams of two seeds do not overlap
    z = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(start)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def zipf(count: int, *, size: int, exponent: float, seed: int) -> Whole:
    """Numbers from 0 up to `size`, where number n comes up in proportion to 1 / (n + 1) ** exponent."""
    weights = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -exponent)
    drawn = np.searchsorted(weights, uniform(count, seed=seed) * weights[-1], side="right")
    whole: Whole = np.minimum(drawn, size - 1).astype(np.int64)
    return whole


def _all_then_zipf(count: int, *, size: int, exponent: float, seed: int) -> Whole:
    drawn = zipf(count, size=size, exponent=exponent, seed=seed)
    once = min(count, size)
    drawn[:once] = np.arange(once)
    return drawn
