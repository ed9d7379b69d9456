"""The address of a request: its parts as they were sent, and its query parameters, the unknown ones refused.

An id may hold any character, a slash too. Percent-encoded (`/v1/users/a%2Fb`) it is one part of the path, which a
server hands on decoded, as two. So routing looks at the path as it was sent, and the parts are decoded after it.
"""

from __future__ import annotations

from collections.abc import Collection, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from accrue.core.event import SUBJECT_CHARACTERS_MAX
from accrue.core.expression import nearest
from accrue.errors import Rejected
from accrue.web.problems import Malformed

QUERY_PARAMETERS_MAX = 32
NAME_CHARACTERS_MAX = 64
"""What is repeated of a name that a client sent; the rest is cut."""


def sent_path(scope: MutableMapping[str, Any]) -> str:
    """The path as it was sent, still percent-encoded, without the place this app is mounted at.

    The last part of a route that ends with an id takes all that follows, so slashes in it may also stand bare.
    """
    path = raw_path(scope)
    parts = path.split("/")
    depth = _ID_AT.get(parts[2] if len(parts) > 2 and parts[1] == "v1" else "", 0)
    if parts[2:3] == ["boards"] and parts[4:5] != ["around"]:
        depth = 0
    if depth and len(parts) > depth + 1:
        path = "/".join(parts[:depth]) + "/" + "%2F".join(parts[depth:])
    return path


def raw_path(scope: MutableMapping[str, Any]) -> str:
    """The path exactly as it was sent, a character a byte, without the place this app is mounted at."""
    raw = scope.get("raw_path")
    path = raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])
    root = scope.get("root_path", "")
    if root and scope["path"].startswith(root):
        path = path[len(quote(root)) :] if path.startswith(quote(root)) else path
    return path


_ID_AT = {"users": 3, "objects": 3, "tallies": 4, "boards": 5}
"""Which part of the path, by the first word after /v1/, is an id that ends it."""


def decoded(part: str, name: str) -> str:
    """One part of a path as text. Raises `Malformed` when it is not UTF-8, `Rejected` when no id can be that."""
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise Malformed(f"{name} in the path is not percent-encoded UTF-8.", field=name) from None
    if "\0" in text or len(text) > SUBJECT_CHARACTERS_MAX:
        raise Rejected(f"{name} has 1 to {SUBJECT_CHARACTERS_MAX} characters, U+0000 not among them.", field=name)
    return text


def query_of(query: bytes, known: Collection[str]) -> dict[str, str]:
    """The parameters of a query string. Raises `Malformed` when it cannot be read and `Rejected` for one that is not
    known here, naming the nearest, or that stands twice: a misspelt `limit` must not pass for no limit."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_PARAMETERS_MAX
        )
    except (UnicodeDecodeError, ValueError):
        raise Malformed("The query string is not percent-encoded UTF-8, or far too long.", field="query") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            shown = name[:NAME_CHARACTERS_MAX]
            hint = nearest(shown, sorted(known)) or "."
            raise Rejected(f"There is no parameter {shown!r} here{hint}", field=shown)
        if name in parameters:
            raise Rejected(f"The parameter {name!r} stands there twice.", field=name)
        parameters[name] = value
    return parameters
