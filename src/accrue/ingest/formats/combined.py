"""Web server logs in the combined format (NCSA, as Apache and nginx write it) as `page.viewed` events.

    10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 512 "https://from/" "Mozilla/5.0"

    {"type": "page.viewed", "id": "<digest>:<line>", "time": "2015-05-17T10:05:03+00:00", "actor": "10.0.0.1",
     "object": "/a", "data": {"method": "GET", "status": 200, "bytes": 512, "referrer": ..., "user_agent": ...}}

The object is the path without host, query and fragment. What the log writes as `-` is left out. Referrer and user
agent may be missing altogether (the common format), and a user agent may be cut off by the end of the line.
What is not UTF-8 becomes U+FFFD, and U+0000 is dropped. Texts past a limit are cut, see `_fitting` and `_text`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from accrue.core.event import SUBJECT_CHARACTERS_MAX
from accrue.ingest.formats import TOO_LONG, Line, numbered_lines

TEXT_CHARACTERS_MAX = 1_024
"""Referrer and user agent keep this many characters from the start."""

METHOD_CHARACTERS_MAX = 32
CUT_DIGEST_BYTES = 16

EVENT_TYPE = "page.viewed"
MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), start=1
    )
}

_QUOTED = rb'"((?:[^"\\]|\\.)*)'
_LINE = re.compile(
    rb"(?P<address>\S+) \S+ .*?"
    rb"\[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<clock>\d\d:\d\d:\d\d) "
    rb"(?P<hours>[+-]\d\d)(?P<minutes>\d\d)\] "
    + _QUOTED.replace(rb"(", rb"(?P<request>", 1)
    + rb'" (?P<status>\d{3}) (?P<size>\d{1,15}|-)'
    + rb"(?: "
    + _QUOTED.replace(rb"(", rb"(?P<referrer>", 1)
    + rb'" '
    + _QUOTED.replace(rb"(", rb"(?P<agent>", 1)
    + rb'(?:"|$))?(?: .*)?'
)
_REQUEST = re.compile(rb"(\S+) +(\S.*?)(?: +HTTP/[0-9.]+)?")


def read(file: BinaryIO, *, digest: str) -> Iterator[Line]:
    """One event a line; a line of another shape is a problem. Empty lines are skipped."""
    for number, line in numbered_lines(file):
        if line is None:
            yield Line(number, None, f"The line is {TOO_LONG}.")
        elif line.strip():
            yield _read_line(number, line, digest)


def _read_line(number: int, line: bytes, digest: str) -> Line:
    found = _LINE.fullmatch(line)
    if found is None:
        return Line(number, None, "The line is not in the combined log format.")
    month = MONTHS.get(found["month"])
    if month is None:
        return Line(number, None, f"{_text(found['month'])!r} is not a month.")
    request = _REQUEST.fullmatch(found["request"])
    if request is None:
        return Line(number, None, "The request has no method and path.")
    data: dict[str, str | int] = {
        "method": _text(request[1])[:METHOD_CHARACTERS_MAX],
        "status": int(found["status"]),
    }
    if found["size"] != b"-":
        data["bytes"] = int(found["size"])
    for name, group in (("referrer", "referrer"), ("user_agent", "agent")):
        text = _text(found[group] or b"-")
        if text not in ("", "-"):
            data[name] = text[:TEXT_CHARACTERS_MAX]
    day, year, clock = (found[name].decode() for name in ("day", "year", "clock"))
    offset = f"{found['hours'].decode()}:{found['minutes'].decode()}"
    event = {
        "type": EVENT_TYPE,
        "id": f"{digest}:{number}",
        "time": f"{year}-{month:02}-{day}T{clock}{offset}",
        "actor": _fitting(_text(found["address"])),
        "object": _fitting(_path(_text(request[2]))),
        "data": data,
    }
    return Line(number, msgspec.json.encode(event))


_ORIGIN = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def _path(target: str) -> str:
    """The path of a request target; a proxy's target begins with scheme and host."""
    return re.split("[?#]", _ORIGIN.sub("", target), maxsplit=1)[0] or "/"


def _fitting(subject: str) -> str:
    """A subject within its limit. A longer one keeps its start, then `~` and a digest of all of it, so that two
    long paths that begin alike stay two objects."""
    if len(subject) <= SUBJECT_CHARACTERS_MAX:
        return subject
    name = hashlib.blake2b(subject.encode(), digest_size=CUT_DIGEST_BYTES).hexdigest()
    return f"{subject[: SUBJECT_CHARACTERS_MAX - len(name) - 1]}~{name}"


_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"v": b"\v", b"f": b"\f"}


def _text(raw: bytes) -> str:
    """What the server wrote, with its escapes undone: `\\"`, `\\\\`, `\\n` and the like, and `\\xhh`."""
    if b"\\" in raw:
        raw = _ESCAPE.sub(_unescaped, raw)
    return raw.decode("utf-8", "replace").replace("\0", "")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    if escape[1] is not None:
        return bytes([int(escape[1], 16)])
    return _CONTROLS.get(escape[2], escape[2])
