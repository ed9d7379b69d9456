"""What is wrong with the JSON of an event, in a sentence its sender can act on, with the field it concerns.

msgspec finds the fault; this module only says it better: it names the member of `data` where msgspec writes
`[...]`, and says what it calls truncated when half a surrogate pair is meant. Only rejected events pay for that.
"""

from __future__ import annotations

import re

import msgspec

from accrue.core.event import DATA_DEPTH_MAX, Event, Json2, Json3, Json4, Scalar
from accrue.core.expression import nearest
from accrue.errors import Rejected

NAME_CHARACTERS_MAX = 64
"""What is repeated of a name that a client sent; the rest is cut."""

EVENT_FIELDS = [field.name for field in msgspec.structs.fields(Event)]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def explain(error: Exception, line: bytes) -> Rejected:
    """The error that decoding `line` as an `Event` raised, as an answer for whoever sent it."""
    if isinstance(error, UnicodeDecodeError):
        return Rejected("The event is not UTF-8.", field="$")
    if isinstance(error, RecursionError):
        return Rejected("The event is nested far too deep.", field="$")
    if isinstance(error, msgspec.ValidationError):
        return _wrong_shape(str(error), line)
    return Rejected(_malformed(str(error), line), field="$")


def shortened(name: str) -> str:
    """A name that a client sent, short enough to be repeated in an answer."""
    return name if len(name) <= NAME_CHARACTERS_MAX else name[:NAME_CHARACTERS_MAX] + "..."


_UNKNOWN = "Object contains unknown field `"
_MISSING = "Object missing required field `"
_WHERE = re.compile(r" - at `(\$[^`]*)`$")


def _wrong_shape(message: str, line: bytes) -> Rejected:
    if message.startswith(_UNKNOWN):
        # Only the event itself is closed to unknown names, so the name is all that follows.
        name = shortened(message[len(_UNKNOWN) : -1])
        hint = nearest(name, EVENT_FIELDS) or "."
        return Rejected(f"An event has no field {name!r}{hint}", field=f"$.{name}")
    if message.startswith(_MISSING):
        name = message[len(_MISSING) : -1]
        return Rejected(f"An event needs a {name}.", field=f"$.{name}")
    where = _WHERE.search(message)
    if where is None:
        got = message.rpartition("got ")[2].strip("`")
        return Rejected(f"An event is a JSON object, this is: {got}.", field="$")
    fault = message[: where.start()]
    path = where[1]
    if path.startswith("$.data["):
        path = _named(path, line)
    return Rejected(_sentence(fault, path), field=path)


def _sentence(fault: str, path: str) -> str:
    if path == "$.time":
        return "A time is a string like 2026-11-21T05:00:00Z (RFC 3339)."
    if fault.startswith(("Expected `int` ", "Expected `float` ", "Number out of range")):
        return "Numbers lie within +-(2^53-1), 9007199254740991."
    if path.startswith("$.data") and fault.startswith("Expected `bool |"):
        return f"Lists and objects may stand {DATA_DEPTH_MAX} deep, `data` itself counted; this one is deeper."
    return f"{fault.replace('`', '')}."


_HALF_PAIR = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]", re.DOTALL)
_NOT_A_NUMBER = re.compile(rb"[:\[,]\s*-?(?:NaN|Infinity)\b")


def _malformed(message: str, line: bytes) -> str:
    if line.startswith(BYTE_ORDER_MARK):
        return "The JSON begins with a byte order mark; send plain UTF-8 without one."
    if _HALF_PAIR.search(line):
        return "A string holds half of a surrogate pair (\\ud800 to \\udfff alone), which is not a character."
    if _NOT_A_NUMBER.search(line):
        return "NaN and Infinity are not JSON numbers."
    return f"{message}."


_STEP = re.compile(r"\[(\d+|\.\.\.)\]")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_by_depth: list[msgspec.json.Decoder[object]] = [msgspec.json.Decoder(inner) for inner in (Json4, Json3, Json2, Scalar)]


def _named(path: str, line: bytes) -> str:
    """`$.data[...][0]` with the names of the members: `$.data.tags[0]`.

    At every `[...]` it is the first member that cannot be decoded. None is found when a name stands there
    twice and only its first value is bad: then the path ends above it.
    """
    named = "$.data"
    try:
        value = _members.decode(line)["data"]
        for step, decoder in zip(_STEP.findall(path), _by_depth, strict=False):
            if step != "...":
                named += f"[{step}]"
                value = _elements.decode(value)[int(step)]
                continue
            members = _members.decode(value)
            name = next((name for name, raw in members.items() if not _fits(raw, decoder)), None)
            if name is None:
                break
            named += f".{shortened(name)}" if _PLAIN_NAME.fullmatch(name) else f"[{shortened(name)!r}]"
            value = members[name]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        pass  # a name that stands twice, or a worse fault further on: the path ends here
    return named


def _fits(raw: msgspec.Raw, decoder: msgspec.json.Decoder[object]) -> bool:
    try:
        decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True
