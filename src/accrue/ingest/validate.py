"""The door: from the bytes of a request to what may enter the log, with an answer for every event.

Two ways through, with the same rules:

    whole    all events decoded in one call and checked with a few passes over plain lists. It says yes to
             everything or gives up; it never says no.
    each     one event after the other, when the first way gave up: the good ones go in, each bad one is answered
             with its field and a sentence.

What is stored is the JSON as it came, one event a line: only line breaks between tokens become spaces, and an
event without an id of its own gets a derived one as its first member. A member name that stands twice counts
with its last value. That is how msgspec reads it here, and the fold reads with msgspec too, so what was checked
is what is applied; nothing else in Accrue reads these bytes.

A fault of the whole request (empty, too large, not an array) is raised; a fault of one event is its result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from accrue.core.event import (
    ADJUST,
    DATA_SIZE_BYTES_MAX,
    ID_CHARACTERS_MAX,
    SYSTEM_PREFIX,
    Event,
    Fraction,
    Stamp,
    Subject,
    Whole,
    has_nul,
)
from accrue.core.record import Batch
from accrue.errors import Rejected, TooLarge
from accrue.ingest.crawlers import is_crawler
from accrue.ingest.explain import explain

BODY_SIZE_BYTES_MAX = 1 << 20
EVENTS_PER_REQUEST_MAX = 1_000
EVENT_SIZE_BYTES_MAX = 2 * DATA_SIZE_BYTES_MAX
"""One event with all its white space: `data` at its limit and every other field at its limit, escaped, fit in."""

IDEMPOTENCY_KEY_CHARACTERS_MAX = ID_CHARACTERS_MAX - len(":999")
AHEAD_US_MAX = 5 * 60 * 1_000_000
"""A time further ahead of the clock than this becomes the time the event was received."""

TIME_US_END = 7_258_118_400_000_000
"""2200-01-01: times lie from 1970 up to here."""

Status = Literal["accepted", "repeated", "rejected"]


class EventResult(Struct, omit_defaults=True, frozen=True, gc=False):
    """The answer for one event. `field` and `detail` are given for a rejected one only.

    `id` is None when a rejected event has none that could be read. `repeated` means: an exact copy of an earlier
    event of this request. `clamped`: its time was too far ahead and became the time it was received.
    """

    id: str | None
    status: Status
    field: str | None = None
    detail: str | None = None
    clamped: bool = False


class Checked(Struct, frozen=True):
    """`batch` has the accepted events in order, and is None without any; `results` has one for each event sent."""

    batch: Batch | None
    results: list[EventResult]


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
            events = [_decoder.decode(body)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _each([body], terms)
        checked = _whole(body, events, terms)
        if checked is not None:
            return checked
    return _each([body], terms)


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
    elements = _elements(_content(body))
    _refuse_too_many(len(elements))
    lines = b"\n".join(elements)
    if _one_a_line(lines, len(elements)):
        events = _decoded(lines)
        checked = _whole(lines, events, terms) if events is not None else None
        if checked is not None:
            return checked
    return _each([bytes(element) for element in elements], terms)


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
    count = body.count(b"\n") + 1
    regular = _one_a_line(body, count)
    if not regular:
        lines = [line.strip(_WHITE_SPACE) for line in body.split(b"\n")]
        body = b"\n".join([line for line in lines if line])
        count = body.count(b"\n") + 1
        regular = _one_a_line(body, count)
    _refuse_too_many(count)
    if regular:
        events = _decoded(body)
        if events is not None and len(events) == count:
            checked = _whole(body, events, terms)
            if checked is not None:
                return checked
    return _each(body.split(b"\n"), terms)


# --- the request -------------------------------------------------------------------------------------------


class _Terms(NamedTuple):
    """What holds for every event of a request."""

    tenant: str
    now_us: int
    idempotency_key: str | None
    allowed_system: frozenset[str]


_WHITE_SPACE = b" \t\r\n"
"""What JSON calls white space: less than what `bytes.strip` takes by itself."""

_decoder = msgspec.json.Decoder(Event)
_elements_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def _terms(tenant: str, now_us: int, idempotency_key: str | None, allowed_system: frozenset[str]) -> _Terms:
    if idempotency_key is not None:
        _check_key(idempotency_key)
    return _Terms(tenant, now_us, idempotency_key, allowed_system)


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


def _elements(body: bytes) -> Sequence[msgspec.Raw | bytes]:
    """The JSON of each element of an array, untouched."""
    try:
        return _elements_decoder.decode(body)
    except RecursionError:
        raise Rejected("The array is nested far too deep.", field="$") from None
    except msgspec.ValidationError:
        raise Rejected("The body is not a JSON array.", field="$") from None
    except msgspec.DecodeError as error:
        elements = _elements_read_leniently(body)
        if elements is None:
            raise Rejected(f"{error}.", field="$") from None
        return elements


_lenient = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)


def _elements_read_leniently(body: bytes) -> list[bytes] | None:
    """The same, for an array that is not quite JSON: half a surrogate pair, NaN, a raw line break in a string.

    Python's reader is slower and lets these pass, so one bad string does not cost the other events of the array;
    the element that holds it is then refused by itself. None when the elements cannot be told apart.
    """
    text = body.decode("utf-8", "surrogateescape")
    elements: list[bytes] = []
    try:
        at = _after_space(text, 1)
        while True:
            _, end = _lenient.raw_decode(text, at)
            elements.append(text[at:end].encode("utf-8", "surrogateescape"))
            at = _after_space(text, end)
            if text[at] == "]":
                return elements if at + 1 == len(text) else None
            if text[at] != ",":
                return None
            at = _after_space(text, at + 1)
    except (ValueError, IndexError, RecursionError):
        return None


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


# --- all events at once ------------------------------------------------------------------------------------


def _one_a_line(body: bytes, count: int) -> bool:
    """Whether `count` events can only stand one a line.

    Inside a JSON value a `}` is never followed by a `{`, so a line break between the two stands between events;
    if every line break is such a one, none stands inside an event.
    """
    return body.count(b"}\n{") == count - 1 == body.count(b"\n") and b"\r" not in body


def _decoded(body: bytes) -> list[Event] | None:
    try:
        return _decoder.decode_lines(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _whole(body: bytes, events: list[Event], terms: _Terms) -> Checked | None:
    """The answer when every event is good as it stands; None when one may not be, or needs a closer look.

    `body` has exactly these events, one a line.
    """
    ids = [event.id for event in events]
    if None in ids or (len(ids) > 1 and len(set(ids)) != len(ids)):
        return None
    if any([type.startswith(SYSTEM_PREFIX) for type in {event.type for event in events}]):
        return None
    times_us = _times_us(events, terms.now_us)
    if min(times_us) < 0 or max(times_us) > terms.now_us + AHEAD_US_MAX:
        return None
    if (len(body) > DATA_SIZE_BYTES_MAX and _has_long_line(body)) or (b"\\" in body and has_nul(body)):
        return None
    stamps = _stamps(events) if _may_name_agents(body) else {}
    results = [EventResult(id, "accepted") for id in ids]
    return Checked(Batch(terms.tenant, body, times_us, stamps), results)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_ZONE = -1


def _times_us(events: list[Event], now_us: int) -> list[int]:
    """Exact microseconds; `_NO_ZONE` for a time without a time zone. (`timestamp() * 1e6` is one off in 2106.)"""
    return [
        now_us
        if (time := event.time) is None
        else ((time - _EPOCH) // _MICROSECOND if time.tzinfo is not None else _NO_ZONE)
        for event in events
    ]


def _has_long_line(body: bytes) -> bool:
    """Whether a line has more than 16 KiB, found in one step for every 16 KiB."""
    start = 0
    while len(body) - start > DATA_SIZE_BYTES_MAX:
        end = body.rfind(b"\n", start, start + DATA_SIZE_BYTES_MAX + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _may_name_agents(body: bytes) -> bool:
    """Whether `data.user_agent` may be there: written plainly, or with an escape in the name."""
    return b'"user_agent"' in body or b"\\u" in body


_CRAWLER = {verdict: Stamp(crawler=verdict) for verdict in (True, False)}


def _stamps(events: list[Event]) -> dict[int, Stamp]:
    return {
        index: _CRAWLER[is_crawler(agent)]
        for index, event in enumerate(events)
        if event.data and isinstance(agent := event.data.get("user_agent"), str)
    }


# --- one event after the other ------------------------------------------------------------------------------


class _Good(NamedTuple):
    """One event that may enter. `line` is what is stored."""

    line: bytes
    id: str
    time_us: int
    stamp: Stamp


_UNSTAMPED = Stamp()


def _each(lines: Sequence[bytes], terms: _Terms) -> Checked:
    """The answer when some events may be bad. `lines` has the JSON of each, untouched."""
    good: list[_Good] = []
    results: list[EventResult] = []
    seen: dict[str, bytes] = {}
    for index, line in enumerate(lines):
        try:
            event = _checked(line, index, terms)
        except Rejected as error:
            results.append(EventResult(_id_in(line), "rejected", error.field, error.detail))
            continue
        first = seen.setdefault(event.id, event.line)
        if first is event.line:
            good.append(event)
            results.append(EventResult(event.id, "accepted", clamped=event.stamp.clamped))
        elif first == event.line:
            results.append(EventResult(event.id, "repeated"))
        else:
            detail = "Another event of this request has the same id and says something else; the first one stands."
            results.append(EventResult(event.id, "rejected", "$.id", detail))
    if not good:
        return Checked(None, results)
    stamps = {index: event.stamp for index, event in enumerate(good) if event.stamp is not _UNSTAMPED}
    body = b"\n".join([event.line for event in good])
    return Checked(Batch(terms.tenant, body, [event.time_us for event in good], stamps), results)


def _checked(line: bytes, index: int, terms: _Terms) -> _Good:
    """One event with all its rules. Raises `Rejected`."""
    if len(line) > DATA_SIZE_BYTES_MAX:
        _check_size(line)
    try:
        event = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise explain(error, line) from None
    if b"\\" in line and has_nul(line):
        raise Rejected("A string holds the character U+0000, which no database stores in text.", field="$")
    if event.type.startswith(SYSTEM_PREFIX):
        _check_system(event, terms.allowed_system)
    id = event.id
    if id is None:
        if terms.idempotency_key is None:
            raise Rejected("An event needs an id, or its request an Idempotency-Key.", field="$.id")
        id = f"{terms.idempotency_key}:{index}"
        line = with_id(line, id)
    time_us, clamped = _time_us(event, terms.now_us)
    agent = event.data.get("user_agent") if event.data else None
    crawler = is_crawler(agent) if isinstance(agent, str) else None
    stamp = Stamp(crawler, clamped) if clamped or crawler is not None else _UNSTAMPED
    return _Good(_on_one_line(line), id, time_us, stamp)


class _Data(Struct):
    data: msgspec.Raw = msgspec.Raw()


_data_decoder = msgspec.json.Decoder(_Data)


def _check_size(line: bytes) -> None:
    if len(line) > EVENT_SIZE_BYTES_MAX:
        raise TooLarge(f"An event has at most {EVENT_SIZE_BYTES_MAX} bytes, this one {len(line)}.", field="$")
    try:
        size = len(bytes(_data_decoder.decode(line).data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise explain(error, line) from None
    if size > DATA_SIZE_BYTES_MAX:
        raise TooLarge(f"data has at most {DATA_SIZE_BYTES_MAX} bytes, here {size}.", field="$.data")


def _time_us(event: Event, now_us: int) -> tuple[int, bool]:
    """The time that counts for periods, and whether it was clamped."""
    if event.time is None:
        return now_us, False
    if event.time.tzinfo is None:
        raise Rejected("A time needs a time zone: add Z or an offset like +02:00.", field="$.time")
    time_us = (event.time - _EPOCH) // _MICROSECOND
    if not 0 <= time_us < TIME_US_END:
        raise Rejected("A time lies from 1970 up to 2199.", field="$.time")
    return (now_us, True) if time_us > now_us + AHEAD_US_MAX else (time_us, False)


class _Adjustment(Struct):
    """What `accrue.adjust` must say. Further members are the sender's own."""

    metric: Subject
    subject: Subject
    amount: Whole | Fraction
    reason: Subject


def _check_system(event: Event, allowed: frozenset[str]) -> None:
    if event.type not in allowed:
        raise Rejected(f"Types beginning with {SYSTEM_PREFIX!r} are the engine's own.", field="$.type")
    if event.type != ADJUST:
        return
    try:
        msgspec.convert(event.data, _Adjustment)
    except msgspec.ValidationError as error:
        fault, _, path = str(error).replace("`", "").partition(" - at $")
        raise Rejected(
            f"{ADJUST} needs data with metric, subject, amount and reason: {fault}.", field=f"$.data{path}"
        ) from None


def with_id(event: bytes, id: str) -> bytes:
    """The JSON object `event` with this id as its first member, in place of any it has. Values stay as written."""
    members = _members_decoder.decode(event)
    members.pop("id", None)
    return _encoder.encode({"id": id, **members})


class _Identity(Struct):
    id: str | None = None


_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_identity_decoder = msgspec.json.Decoder(_Identity)
_encoder = msgspec.json.Encoder()


def _id_in(line: bytes) -> str | None:
    """The id of a rejected event as far as it can be read, for the answer only."""
    try:
        id = _identity_decoder.decode(line).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return id if id is None or len(id) <= ID_CHARACTERS_MAX else None


def _on_one_line(line: bytes) -> bytes:
    """Line breaks become spaces: in sound JSON they stand between tokens only."""
    return line.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in line or b"\r" in line else line
