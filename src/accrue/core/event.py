"""An event: a fact someone sends. Its shape, its limits, and how its JSON is checked.

    {"id": "c7", "type": "comment.created", "time": "2026-11-21T05:00:00Z",
     "actor": "ada", "object": "post-1", "owner": "bob", "value": 3, "data": {"text": "..."}}

The JSON is kept as it came, so that exact decimals survive. This module only says whether it may come in;
what the rules read of it is decoded later, by a decoder that the program makes for itself (core/program.py).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

ID_CHARACTERS_MAX = 128
TYPE_CHARACTERS_MAX = 64
SUBJECT_CHARACTERS_MAX = 256
DATA_SIZE_BYTES_MAX = 16 * 1024
DATA_DEPTH_MAX = 4
BODY_SIZE_BYTES_MAX = 1 << 20
"""The body of a request, whatever it holds."""

MAGNITUDE_MAX = 2**53 - 1
"""Every number that comes in and every tally stays within +-(2^53-1): exact in JSON, in JavaScript and in Redis."""

SYSTEM_PREFIX = "accrue."
ADJUST = "accrue.adjust"
RETRACT = "accrue.retract"
SCORE = "accrue.score"
PROGRAM = "accrue.program"
CLOSE = "accrue.close"
IMPORTED = "accrue.imported"
REPLAY_FAILED = "accrue.failed.replay"
DROP_FAILED = "accrue.failed.drop"

Id = Annotated[str, Meta(min_length=1, max_length=ID_CHARACTERS_MAX)]
Type = Annotated[str, Meta(min_length=1, max_length=TYPE_CHARACTERS_MAX)]
Subject = Annotated[str, Meta(min_length=1, max_length=SUBJECT_CHARACTERS_MAX)]
Whole = Annotated[int, Meta(ge=-MAGNITUDE_MAX, le=MAGNITUDE_MAX)]
Fraction = Annotated[float, Meta(ge=-float(MAGNITUDE_MAX), le=float(MAGNITUDE_MAX))]
Scalar = None | bool | Whole | Fraction | str
# The nesting is written out because a finite type is checked while it is decoded, at no extra cost.
Json2 = Scalar | list[Scalar] | dict[str, Scalar]
Json3 = Scalar | list[Json2] | dict[str, Json2]
Json4 = Scalar | list[Json3] | dict[str, Json3]


class Event(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """One event as it may be sent. `value` and the numbers in `data` are any JSON numbers within +-(2^53-1)."""

    type: Type
    id: Id | None = None
    actor: Subject | None = None
    object: Subject | None = None
    owner: Subject | None = None
    time: datetime | None = None
    value: Whole | Fraction | None = None
    data: dict[str, Json4] | None = None


class Retraction(Event, forbid_unknown_fields=True, kw_only=True, gc=False):
    """`accrue.retract`: takes back the event whose id is `ref`."""

    ref: Id


class Stamp(Struct, frozen=True, omit_defaults=True):
    """What ingest found out about one event, once, so that the fold never asks again.

    `crawler`: the user agent in `data.user_agent` is that of a crawler that says so. `clamped`: the event's time
    was too far ahead and became the time it was received.
    """

    crawler: bool | None = None
    clamped: bool = False


ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def has_nul(body: bytes) -> bool:
    """Whether JSON text holds the character U+0000, which no database stores in text."""
    return b"\\u0000" in body and ESCAPED_NUL.search(body) is not None
