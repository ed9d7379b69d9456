"""The JSON of each element of an array, untouched, so that one bad element does not cost the others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

from accrue.errors import Rejected
from accrue.ingest.explain import explain


def elements(body: bytes) -> Sequence[msgspec.Raw | bytes]:
    """The elements of the array `body`, which has no white space around it. Raises `Rejected`."""
    try:
        return _decoder.decode(body)
    except RecursionError:
        raise Rejected("The array is nested far too deep.", field="$") from None
    except msgspec.ValidationError:
        raise Rejected("The body is not a JSON array.", field="$") from None
    except msgspec.DecodeError as error:
        found = _read_leniently(body)
        if found is None:
            raise explain(error, body) from None
        return found


_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_lenient = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)
_SPACE = re.compile(r"[ \t\r\n]*")


def _read_leniently(body: bytes) -> list[bytes] | None:
    """The same, for an array that is not quite JSON: half a surrogate pair, NaN, a raw line break in a string.

    Python's reader is slower and lets these pass, so one bad string does not cost the other events of the array;
    the element that holds it is then refused by itself. None when the elements cannot be told apart.
    """
    text = body.decode("utf-8", "surrogateescape")
    found: list[bytes] = []
    if not text.startswith("["):
        return None
    try:
        at = _after_space(text, 1)
        while True:
            _, end = _lenient.raw_decode(text, at)
            found.append(text[at:end].encode("utf-8", "surrogateescape"))
            at = _after_space(text, end)
            if text[at] == "]":
                return found if at + 1 == len(text) else None
            if text[at] != ",":
                return None
            at = _after_space(text, at + 1)
    except (ValueError, IndexError, RecursionError):
        return None


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
