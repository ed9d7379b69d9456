"""A record as a message of a stream: an AMQP 1.0 data section, so that the broker's own tools can show it, with a
header of ours in front: what it is, who sent it, and its number there.

A confirm of the broker does not say at which offset a message is; its sender finds its own messages by writer and
number when they are delivered to it. A record that would not fit a frame is compressed.
"""

from __future__ import annotations

from struct import Struct as Layout
from struct import error as StructError
from typing import NamedTuple

import zstandard

from accrue.errors import Corrupt, TooLarge

LAYOUT = Layout(">4sIBQQ")
SECTION = b"\x00\x53\x75\xb0"
"""The descriptor of a data section whose size follows in four bytes."""

HEADER_SIZE_BYTES = LAYOUT.size
OWN_SIZE_BYTES = HEADER_SIZE_BYTES - 8  # what of the header is inside the section

RECORD, COMPRESSED, FOUNDING = 0, 1, 2
"""A record as it is, one compressed with zstd, and the first message of a stream, which says nothing."""


class Message(NamedTuple):
    """`record` is None for a founding message."""

    writer: int
    number: int
    record: bytes | None


def packed(record: bytes, *, writer: int, number: int, size_bytes_max: int) -> bytes:
    """The message. Raises `TooLarge` when it has more than `size_bytes_max` even compressed."""
    if len(record) + HEADER_SIZE_BYTES <= size_bytes_max:
        return framed(RECORD, writer, number, record)
    small = zstandard.ZstdCompressor(level=3).compress(record)
    if len(small) + HEADER_SIZE_BYTES > size_bytes_max:
        raise TooLarge(
            f"A record has {len(record)} bytes, compressed {len(small)}; the server takes {size_bytes_max}. "
            "Raise stream.frame_max in rabbitmq.conf, or send fewer events in one request."
        )
    return framed(COMPRESSED, writer, number, small)


def framed(kind: int, writer: int, number: int, body: bytes) -> bytes:
    """A message of that kind."""
    return LAYOUT.pack(SECTION, OWN_SIZE_BYTES + len(body), kind, writer, number) + body


def unpacked(message: bytes, *, stream: str, offset: int) -> Message:
    """The reverse of `packed`. Raises `Corrupt` for a message that is none of ours."""
    try:
        section, size_bytes, kind, writer, number = LAYOUT.unpack_from(message)
    except StructError:
        section, size_bytes, kind, writer, number = b"", 0, -1, 0, 0
    if section == SECTION and size_bytes == len(message) - 8:
        body = message[HEADER_SIZE_BYTES:]
        if kind == RECORD:
            return Message(writer, number, body)
        if kind == COMPRESSED:
            return Message(writer, number, zstandard.ZstdDecompressor().decompress(body))
        if kind == FOUNDING:
            return Message(writer, number, None)
    raise Corrupt(
        f"The stream {stream} holds something at offset {offset} that Accrue did not write, or a newer version did. "
        "Nothing else may publish there."
    )
