"""Errors as answers: RFC 9457 problem documents (`application/problem+json`) from the error tree.

    Rejected 422    NotFound 404    TooLarge 413    Gone 410    Conflict 409    Unavailable, Fenced 503    Full 507
    and of HTTP itself: Malformed 400, WrongMethod 405, WrongMediaType 415

Anything else is ours: 500, logged here, with nothing of it told. No input may lead there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import structlog
from msgspec import UNSET, Struct, UnsetType

from accrue.core.program import Problem, ProgramError
from accrue.errors import (
    AccrueError,
    Conflict,
    Elsewhere,
    Fenced,
    Full,
    Gone,
    NotFound,
    Rejected,
    TooLarge,
    Unavailable,
)

MEDIA_TYPE = b"application/problem+json"
TYPE_PREFIX = "urn:accrue:problem:"
ELSEWHERE = b"accrue-elsewhere"
"""The header of a 503 that says: ask the worker that has the tenant."""

Headers = list[tuple[bytes, bytes]]

logger = structlog.get_logger("accrue.web")


class Malformed(Rejected):
    """The body or the address is not even what its kind must be: not JSON, not UTF-8, cut off."""


class WrongMediaType(Rejected):
    """The body comes in a form that this route does not read: its Content-Type, or its Content-Encoding."""


class WrongMethod(Rejected):
    """The route is there, for other methods. `allowed` is the value of the Allow header."""

    def __init__(self, detail: str, *, allowed: str) -> None:
        super().__init__(detail)
        self.allowed = allowed


class ProblemDocument(Struct, frozen=True, kw_only=True):
    """A problem document. `type` names the kind and is stable, `detail` says what to do about this one.

    `field` is the offending part of the request: a path into the JSON (`$.data.seconds`), a parameter or a header.
    `nearest` is the closest name there is; `problems` are those of a rules file, each with its line; `results` has
    one for each event sent, when none of them was accepted.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET
    nearest: str | UnsetType = UNSET
    problems: Sequence[Problem] | UnsetType = UNSET
    results: list[msgspec.Raw] | UnsetType = UNSET


Answer = tuple[int, Headers, bytes]
"""A whole answer, ready to be sent: status, headers, body. A plain tuple, because the hot route makes one a request."""


class _Kind(NamedTuple):
    status: int
    name: str
    title: str


_KINDS: dict[type[BaseException], _Kind] = {
    Malformed: _Kind(400, "malformed", "The request cannot be read"),
    NotFound: _Kind(404, "not-found", "There is no such thing"),
    WrongMethod: _Kind(405, "wrong-method", "Not with this method"),
    Conflict: _Kind(409, "conflict", "The same id with another body"),
    Gone: _Kind(410, "gone", "No longer kept"),
    TooLarge: _Kind(413, "too-large", "Past a limit"),
    WrongMediaType: _Kind(415, "wrong-media-type", "Not in this form"),
    Rejected: _Kind(422, "rejected", "The request is wrong"),
    Unavailable: _Kind(503, "unavailable", "Not now"),
    Fenced: _Kind(503, "unavailable", "Not now"),
    Full: _Kind(507, "full", "No room on the disk"),
}
_UNEXPECTED = _Kind(500, "unexpected", "A fault of the server")


def answer_of(error: Exception, *, results: Sequence[object] | None = None, where: str = "") -> Answer:
    """The answer that an error becomes. An unexpected one is logged here, as of the request `where`."""
    kind = next((_KINDS[type] for type in type(error).__mro__ if type in _KINDS), _UNEXPECTED)
    if kind is _UNEXPECTED:
        logger.error("a request failed", request=where, exc_info=error)
    detail = error.detail if isinstance(error, AccrueError) and kind is not _UNEXPECTED else "See the server's log."
    field = error.field if isinstance(error, Rejected) else None
    nearest = error.nearest if isinstance(error, NotFound) else None
    problem = ProblemDocument(
        type=TYPE_PREFIX + kind.name,
        title=kind.title,
        status=kind.status,
        detail=detail,
        field=UNSET if field is None else field,
        nearest=UNSET if nearest is None else nearest,
        problems=error.problems if isinstance(error, ProgramError) else UNSET,
        results=UNSET if results is None else [msgspec.Raw(_encoder.encode(result)) for result in results],
    )
    body = _encoder.encode(problem)
    headers = [(b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(body))]
    if isinstance(error, Unavailable):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    if isinstance(error, Elsewhere):
        headers.append((ELSEWHERE, b"1"))
    if isinstance(error, WrongMethod):
        headers.append((b"allow", error.allowed.encode("latin-1")))
    return kind.status, headers, body


_encoder = msgspec.json.Encoder()
