"""Reading a request: its body within the limit, its JSON, its Content-Type, its tenant.

Every route reads through here, the hot one too, so they all refuse the same things in the same words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeVar

import msgspec

from accrue.core.event import BODY_SIZE_BYTES_MAX, has_nul
from accrue.errors import Rejected, TooLarge
from accrue.web.faults import sentence, type_of
from accrue.web.problems import Malformed, WrongMediaType

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
"""ASGI's own shapes: its messages are dictionaries of anything."""

App = Callable[[Scope, Receive, Send], Awaitable[None]]

Body = TypeVar("Body")


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request announces one."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


async def read_body(receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
    """The whole body. Raises `TooLarge`, before reading it when its announced length says so already, `Malformed` when
    the client leaves in the middle, and `WrongMediaType` for a compressed one."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding != b"identity":
        raise WrongMediaType(
            f"A body is sent as it is, without Content-Encoding {encoding[:20].decode('latin-1')!r}.",
            field="Content-Encoding",
        )
    announced = headers.get(b"content-length", b"")
    if len(announced) > 6 and announced.isdigit() and int(announced[:20]) > BODY_SIZE_BYTES_MAX:
        raise _too_large()
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > BODY_SIZE_BYTES_MAX:
            raise _too_large()
        return body
    parts: list[bytes] = []
    size_bytes = 0
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        size_bytes += len(parts[-1])
        if size_bytes > BODY_SIZE_BYTES_MAX:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
    raise Malformed("The connection was closed before the body was whole.")


def _too_large() -> TooLarge:
    return TooLarge(f"A request body has at most {BODY_SIZE_BYTES_MAX} bytes; send it in parts.")


def media_type(headers: Mapping[bytes, bytes], accepted: tuple[str, ...]) -> str:
    """The Content-Type without its parameters. Raises `WrongMediaType` unless it is one of `accepted`.

    It must be there: a page in a browser may send a body of no type or of text/plain anywhere without asking first.
    """
    given = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if given not in accepted:
        what = f"not {given!r}" if given else "and it is missing"
        raise WrongMediaType(f"The Content-Type here is {' or '.join(accepted)}, {what}.", field="Content-Type")
    return given


JSON = ("application/json",)


async def read_json(receive: Receive, headers: Mapping[bytes, bytes], decoder: msgspec.json.Decoder[Body]) -> Body:
    """A JSON body in the shape of the decoder. Raises `Malformed` when it is no JSON, `Rejected` naming the field
    when it has another shape, and what `read_body` and `media_type` raise."""
    media_type(headers, JSON)
    body = await read_body(receive, headers)
    if not is_json(body):
        raise Malformed("The body is not JSON, in UTF-8." if body else "The body is empty.", field="$")
    if has_nul(body):
        raise Rejected("A string holds the character U+0000, which no database stores in text.", field="$")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_shape(str(error), decoder.type) from None
    except msgspec.DecodeError:  # a number too long for any reader
        raise Malformed("The body holds a number that cannot be read.", field="$") from None


def is_json(body: bytes) -> bool:
    """Whether this is JSON at all. Only refused requests pay for the answer."""
    try:
        _anything.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


_anything = msgspec.json.Decoder()


def _wrong_shape(message: str, shape: object) -> Rejected:
    """What msgspec says, as a sentence with the field it is about."""
    fault, _, path = message.partition(" - at ")
    path = path.strip("`") or "$"
    for start in ("Object missing required field ", "Object contains unknown field "):
        if fault.startswith(start):
            name = fault.removeprefix(start).strip("`")[:64]
            said = "is missing" if "missing" in start else "is not a field here"
            return Rejected(f"{name!r} {said}.", field=f"{path}.{name}")
    name = path.removeprefix("$.")
    words = None if path == "$" else sentence(fault, name, type_of(shape, name))
    return Rejected(words or f"{fault.replace('`', '')}.", field=path)


def replaying(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before `body` was read from it: for whoever may have to answer a request a second time."""
    given = False

    async def again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        message: Message = await receive()
        return message

    return again
