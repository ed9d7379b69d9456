"""The second way through the door: one event after the other, so that only the bad ones stay out.

It knows every rule and says which one was broken. The first way (validate.py) is for requests in which all is well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from accrue.core.event import (
    ADJUST,
    DATA_SIZE_BYTES_MAX,
    ID_CHARACTERS_MAX,
    RETRACT,
    SYSTEM_PREFIX,
    Event,
    Fraction,
    Retraction,
    Stamp,
    Subject,
    Whole,
    has_nul,
)
from accrue.core.record import Batch
from accrue.errors import Rejected, TooLarge
from accrue.ingest.checked import (
    AHEAD_US_MAX,
    DECODE_ERRORS,
    EVENT_SIZE_BYTES_MAX,
    Checked,
    EventResult,
    Terms,
    event_decoder,
    retraction_decoder,
)
from accrue.ingest.crawlers import is_crawler
from accrue.ingest.explain import explain
from accrue.ingest.times import us_of


class _Good(NamedTuple):
    """One event that may enter. `line` is what is stored."""

    line: bytes
    id: str
    time_us: int
    stamp: Stamp


_UNSTAMPED = Stamp()


def check_each(lines: Sequence[bytes], terms: Terms) -> Checked:
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
        first = seen.get(event.id)
        if first is None:
            seen[event.id] = event.line
            good.append(event)
            results.append(EventResult(event.id, "accepted", clamped=event.stamp.clamped))
        elif first == event.line:
            results.append(EventResult(event.id, "repeated"))
        else:
            detail = "Another event of this request has this id and says something else; the first one stands."
            results.append(EventResult(event.id, "rejected", "$.id", detail))
    if not good:
        return Checked(None, results)
    stamps = {index: event.stamp for index, event in enumerate(good) if event.stamp is not _UNSTAMPED}
    body = b"\n".join([event.line for event in good])
    return Checked(Batch(terms.tenant, body, [event.time_us for event in good], stamps), results)


def _checked(line: bytes, index: int, terms: Terms) -> _Good:
    """One event with all its rules. Raises `Rejected`."""
    if len(line) > DATA_SIZE_BYTES_MAX:
        _check_size(line)
    try:
        event = _decoded(line)
    except DECODE_ERRORS as error:
        raise explain(error, line) from None
    if b"\\" in line and has_nul(line):
        raise Rejected("A string holds the character U+0000, which no database stores in text.", field="$")
    if isinstance(event, Retraction) and event.type != RETRACT:
        raise Rejected(f"Only {RETRACT} has a ref.", field="$.ref")
    if event.type.startswith(SYSTEM_PREFIX):
        _check_system(event, terms.allowed_system)
    id = event.id
    if id is None:
        if terms.idempotency_key is None:
            raise Rejected("An event needs an id, or its request an Idempotency-Key.", field="$.id")
        id = f"{terms.idempotency_key}:{index}"
        line = with_id(line, id)
    if id.startswith(SYSTEM_PREFIX):
        raise Rejected(f"Ids beginning with {SYSTEM_PREFIX!r} are the engine's own.", field="$.id")
    time_us, clamped = _time_us(event, terms.now_us)
    agent = event.data.get("user_agent") if event.data else None
    crawler = is_crawler(agent) if isinstance(agent, str) else None
    stamp = Stamp(crawler, clamped) if clamped or crawler is not None else _UNSTAMPED
    return _Good(_on_one_line(line), id, time_us, stamp)


_UNKNOWN_REF = "Object contains unknown field `ref`"
"""What msgspec says of a `ref` that stands in the event itself: in `data` the word means nothing."""


def _decoded(line: bytes) -> Event:
    """The event of a line: a `Retraction` when it has a `ref`, whatever its type. Raises `DECODE_ERRORS`."""
    try:
        return event_decoder.decode(line)
    except msgspec.ValidationError as error:
        if str(error) != _UNKNOWN_REF:
            raise
    return retraction_decoder.decode(line)


class _Data(Struct):
    data: msgspec.Raw = msgspec.Raw()


_data_decoder = msgspec.json.Decoder(_Data)


def _check_size(line: bytes) -> None:
    if len(line) > EVENT_SIZE_BYTES_MAX:
        raise TooLarge(f"An event has at most {EVENT_SIZE_BYTES_MAX} bytes, this one {len(line)}.", field="$")
    try:
        size = len(bytes(_data_decoder.decode(line).data))
    except DECODE_ERRORS as error:
        raise explain(error, line) from None
    if size > DATA_SIZE_BYTES_MAX:
        raise TooLarge(f"data has at most {DATA_SIZE_BYTES_MAX} bytes, here {size}.", field="$.data")


def _time_us(event: Event, now_us: int) -> tuple[int, bool]:
    """The time that counts for periods, and whether it was clamped."""
    if event.time is None:
        return now_us, False
    time_us = us_of(event.time, field="$.time")
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
    if event.type == RETRACT and not isinstance(event, Retraction):
        raise Rejected(f"{RETRACT} needs ref, the id of the event that is taken back.", field="$.ref")
    if event.type != ADJUST:
        return
    try:
        msgspec.convert(event.data, _Adjustment)
    except msgspec.ValidationError as error:
        fault, _, path = str(error).replace("`", "").partition(" - at $")
        missing = fault.removeprefix("Object missing required field ")
        if missing != fault:
            raise Rejected(f"{ADJUST} needs data.{missing}.", field=f"$.data.{missing}") from None
        raise Rejected(f"{ADJUST}: {fault}.", field=f"$.data{path}") from None


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
    except DECODE_ERRORS:
        return None
    return id if id is None or len(id) <= ID_CHARACTERS_MAX else None


def _on_one_line(line: bytes) -> bytes:
    """Line breaks become spaces: in sound JSON they stand between tokens only."""
    return line.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in line or b"\r" in line else line
