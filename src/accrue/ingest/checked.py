"""What comes out of the door: the limits of a request, its terms, and the answer for each of its events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from accrue.core.event import DATA_SIZE_BYTES_MAX, ID_CHARACTERS_MAX, Event, Retraction
from accrue.core.period import TIME_US_MAX
from accrue.core.record import Batch

EVENTS_PER_REQUEST_MAX = 1_000
EVENT_SIZE_BYTES_MAX = 2 * DATA_SIZE_BYTES_MAX
"""One event with all its white space: `data` at its limit and every other field at its limit, escaped, fit in."""

IDEMPOTENCY_KEY_CHARACTERS_MAX = ID_CHARACTERS_MAX - len(":999")
AHEAD_US_MAX = 5 * 60 * 1_000_000
"""A time further ahead of the clock than this becomes the time the event was received."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TIME_US_END = TIME_US_MAX
"""Times lie from 1970 up to here, 2200-01-01."""

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


class Terms(Struct, frozen=True, gc=False):
    """What holds for every event of a request.

    `allowed_system` names the types beginning with `accrue.` that this caller may send. An event without an id
    gets `{idempotency_key}:{index}`.
    """

    tenant: str
    now_us: int
    idempotency_key: str | None
    allowed_system: frozenset[str]


event_decoder = msgspec.json.Decoder(Event)
retraction_decoder = msgspec.json.Decoder(Retraction)
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a msgspec decoder raises on bytes from outside: its own errors, and two of Python's."""
