"""The door: from the bytes of a request to what may enter the log, with an answer for every event.

Two ways through, with the same rules:

    whole    all events decoded in one call and checked with a few passes over plain lists. It says yes to
             everything or gives up; it never says no.
    each     one event after the other, when the first way gave up: the good ones go in, each bad one is answered
             with its field and a sentence.

What is stored is the JSON as it came, one event a line: only line breaks between tokens become spaces, and an
event without an id of its own gets a derived one as its first member. A member name that stands twice counts
with its last value. That is how msgspec reads it here, and the fold reads with msgspec too, so what was checked
is what is applied; nothing else in Accrue takes these bytes apart.

A fault of the whole request (empty, too large, not an array) is raised; a fault of one event is its result.
"""

from __future__ import annotations

import numpy as np

from accrue.core.event import BODY_SIZE_BYTES_MAX, DATA_SIZE_BYTES_MAX, SYSTEM_PREFIX, Event, Stamp, has_nul
from accrue.core.record import Batch
from accrue.errors import Rejected, TooLarge
from accrue.ingest.checked import (
    AHEAD_US_MAX,
    DECODE_ERRORS,
    EPOCH,
    EVENTS_PER_REQUEST_MAX,
    IDEMPOTENCY_KEY_CHARACTERS_MAX,
    MICROSECOND,
    Checked,
    EventResult,
    Terms,
    event_decoder,
)
from accrue.ingest.crawlers import is_crawler
from accrue.ingest.each import check_each
from accrue.ingest.elements import elements as elements_of

__all__ = ["Checked", "EventResult", "check_array", "check_ndjson", "check_one"]


def check_one(
    body: bytes,
    *,
    tenant: str,
    now_us: int,
    idempotency_key: str | None = None,
    allowed_system: frozenset[str] = frozenset(),
) -> Checked:
    """A body that is one JSON object, on one line or many.

    `allowed_system` names the types beginning with `accrue.` that this caller may send. An event without an id
    gets `{idempotency_key}:{index}`. Raises `TooLarge`, and `Rejected` for an empty body or an unusable key.
    """
    terms = _terms(tenant, now_us, idempotency_key, allowed_system)
    body = _content(body)
    if b"\n" not in body and b"\r" not in body:
        try:
            event = event_decoder.decode(body)
        except DECODE_ERRORS:
            return check_each([body], terms)
        checked = _whole_one(body, event, terms)
        if checked is not None:
            return checked
    return check_each([body], terms)


def check_array(
    body: bytes,
    *,
    tenant: str,
    now_us: int,
    idempotency_key: str | None = None,
    allowed_system: frozenset[str] = frozenset(),
) -> Checked:
    """A body that is one JSON array of events. The arguments, and what is raised, as for `check_one`.

    A fault that hides where an element ends spoils the whole array, and is raised.
    """
    terms = _terms(tenant, now_us, idempotency_key, allowed_system)
    elements = elements_of(_content(body))
    _refuse_too_many(len(elements))
    lines = b"\n".join(elements)
    if _one_a_line(lines) == len(elements):
        events = _decoded(lines)
        checked = _whole(lines, events, terms) if events is not None else None
        if checked is not None:
            return checked
    return check_each([bytes(element) for element in elements], terms)


def check_ndjson(
    body: bytes,
    *,
    tenant: str,
    now_us: int,
    idempotency_key: str | None = None,
    allowed_system: frozenset[str] = frozenset(),
) -> Checked:
    """A body of events, one a line; empty lines are skipped and not counted. Arguments as for `check_one`."""
    terms = _terms(tenant, now_us, idempotency_key, allowed_system)
    body = _content(body)
    count = _one_a_line(body)
    if count is None:
        lines = [line.strip(_WHITE_SPACE) for line in body.split(b"\n")]
        body = b"\n".join([line for line in lines if line])
        count = _one_a_line(body)
    _refuse_too_many(body.count(b"\n") + 1 if count is None else count)
    if count is not None:
        events = _decoded(body)
        if events is not None and len(events) == count:
            checked = _whole(body, events, terms)
            if checked is not None:
                return checked
    return check_each(body.split(b"\n"), terms)


# --- the request -------------------------------------------------------------------------------------------


_LINE_BREAK, _OPENING, _CLOSING = b"\n{}"
_WHITE_SPACE = b" \t\r\n"
"""What JSON calls white space: less than what `bytes.strip` takes by itself."""


def _terms(tenant: str, now_us: int, idempotency_key: str | None, allowed_system: frozenset[str]) -> Terms:
    if idempotency_key is not None:
        _check_key(idempotency_key)
    return Terms(tenant, now_us, idempotency_key, allowed_system)


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX or not key.isprintable():
        raise Rejected(
            f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} printable characters.",
            field="Idempotency-Key",
        )


def _content(body: bytes) -> bytes:
    """The body without white space around it, when there is something and not too much."""
    if len(body) > BODY_SIZE_BYTES_MAX:
        raise TooLarge(f"A request body has at most {BODY_SIZE_BYTES_MAX} bytes, this one {len(body)}.")
    body = body.strip(_WHITE_SPACE)
    if not body:
        raise Rejected("The body is empty.", field="$")
    return body


def _refuse_too_many(count: int) -> None:
    if count > EVENTS_PER_REQUEST_MAX:
        raise TooLarge(f"A request has at most {EVENTS_PER_REQUEST_MAX} events, this one {count}.", field="$")


# --- all events at once ------------------------------------------------------------------------------------


FEW_LINES_SIZE_BYTES_MAX = 4_096


def _one_a_line(body: bytes) -> int | None:
    """How many lines there are, if events can only stand one a line; None if they may stand otherwise.

    Inside a JSON value a `}` is never followed by a `{`, so a line break between the two stands between events;
    if every line break is such a one, none stands inside an event. A few lines are searched, many are looked at as an
    array: searching takes a tenth of the time for one line, and eight times as long for a thousand.
    """
    if b"\r" in body or body[:1] == b"\n" or body[-1:] == b"\n":
        return None
    if len(body) <= FEW_LINES_SIZE_BYTES_MAX:
        count = body.count(b"\n")
        return count + 1 if body.count(b"}\n{") == count else None
    letters = np.frombuffer(body, dtype=np.uint8)
    breaks = np.flatnonzero(letters == _LINE_BREAK)
    apart = (letters[breaks - 1] == _CLOSING) & (letters[breaks + 1] == _OPENING)
    return len(breaks) + 1 if bool(apart.all()) else None


def _decoded(body: bytes) -> list[Event] | None:
    try:
        return event_decoder.decode_lines(body)
    except DECODE_ERRORS:
        return None


def _whole(body: bytes, events: list[Event], terms: Terms) -> Checked | None:
    """The answer when every event is good as it stands; None when one may not be, or needs a closer look.

    `body` has exactly these events, one a line.
    """
    ids = [event.id for event in events if event.id is not None]
    if len(ids) != len(events) or (len(ids) > 1 and len(set(ids)) != len(ids)):
        return None
    if RESERVED_ID in "\n" + "\n".join(ids):  # one search through all of them; a false alarm costs only time
        return None
    for type in {event.type for event in events}:
        if type.startswith(SYSTEM_PREFIX):
            return None
    now_us = terms.now_us
    try:
        # Exact, where timestamp() * 1e6 is one off for a quarter of all times from 2106 to 2112.
        times_us = [now_us if event.time is None else (event.time - EPOCH) // MICROSECOND for event in events]
    except TypeError:  # a time without a time zone
        return None
    if min(times_us) < 0 or max(times_us) > now_us + AHEAD_US_MAX:
        return None
    if (len(body) > DATA_SIZE_BYTES_MAX and _has_long_line(body)) or (b"\\" in body and has_nul(body)):
        return None
    results = [EventResult(id, "accepted") for id in ids]
    return Checked(Batch(terms.tenant, body, times_us, _stamps(events)), results)


def _whole_one(body: bytes, event: Event, terms: Terms) -> Checked | None:
    """`_whole` of a single event, which most requests are, without a pass over lists for each question."""
    id, time, now_us = event.id, event.time, terms.now_us
    if id is None or id.startswith(SYSTEM_PREFIX) or event.type.startswith(SYSTEM_PREFIX):
        return None
    time_us = now_us
    if time is not None:
        if time.tzinfo is None:
            return None
        time_us = (time - EPOCH) // MICROSECOND
        if not 0 <= time_us <= now_us + AHEAD_US_MAX:
            return None
    if len(body) > DATA_SIZE_BYTES_MAX or (b"\\" in body and has_nul(body)):
        return None
    stamps = _stamps([event]) if event.data and "user_agent" in event.data else {}
    return Checked(Batch(terms.tenant, body, [time_us], stamps), [EventResult(id, "accepted")])


RESERVED_ID = "\n" + SYSTEM_PREFIX


def _has_long_line(body: bytes) -> bool:
    """Whether a line has more than 16 KiB, found in one step for every 16 KiB."""
    start = 0
    while len(body) - start > DATA_SIZE_BYTES_MAX:
        end = body.rfind(b"\n", start, start + DATA_SIZE_BYTES_MAX + 1)
        if end < 0:
            return True
        start = end + 1
    return False


_CRAWLER = {verdict: Stamp(crawler=verdict) for verdict in (True, False)}


def _stamps(events: list[Event]) -> dict[int, Stamp]:
    return {
        index: _CRAWLER[is_crawler(agent)]
        for index, event in enumerate(events)
        if event.data and "user_agent" in event.data and isinstance(agent := event.data["user_agent"], str)
    }
