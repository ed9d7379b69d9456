"""Events as they are, one JSON object a line. Empty lines are skipped; a line without an id gets a derived one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from accrue.ingest.checked import DECODE_ERRORS
from accrue.ingest.each import with_id
from accrue.ingest.formats import TOO_LONG, Line, numbered_lines


def read(file: BinaryIO, *, digest: str) -> Iterator[Line]:
    """The lines of the file. What is not a sound event passes too: the door says what is wrong with it."""
    for number, line in numbered_lines(file):
        if line is None:
            yield Line(number, None, f"The line is {TOO_LONG}.")
        elif event := line.strip():
            yield Line(number, _identified(event, f"{digest}:{number}"))


class _Identity(Struct):
    id: str | None = None


_identity_decoder = msgspec.json.Decoder(_Identity)


def _identified(event: bytes, id: str) -> bytes:
    """With this id when it has none. What cannot be read stays as it is, so that the door can name the fault."""
    try:
        return event if _identity_decoder.decode(event).id is not None else with_id(event, id)
    except DECODE_ERRORS:
        return event
