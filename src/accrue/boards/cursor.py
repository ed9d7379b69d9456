"""Cursors: an opaque text that says where a page ended.

Of boards with snapshots, a cursor names the process that made the snapshot, the snapshot's epoch, the next offset and
the rank style. A digest over these and the board's key makes sure that a mistyped cursor, or one of another board, is
not taken for a valid one. It guards against accidents, not against forgery: an offset may be asked for freely anyway.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, urlsafe_b64encode
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from accrue.boards.base import BoardKey, unknown_cursor
from accrue.core.ranking import Style

CURSOR_CHARACTERS_MAX = 4_096
DIGEST_SIZE_BYTES = 8

Natural = Annotated[int, Meta(ge=0)]
Content = TypeVar("Content", bound=Struct)


class Cursor(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The next page begins at `offset` (0 = first) of the snapshot `epoch` that the process `instance`
    made."""

    instance: str
    epoch: Natural
    offset: Natural
    style: Style


class Sealed(Generic[Content]):
    """Writes and reads cursors of one kind."""

    def __init__(self, content: type[Content]) -> None:
        self._decoder = msgspec.msgpack.Decoder(content)

    def encode(self, cursor: Content, key: BoardKey) -> str:
        """The cursor as text for a URL: letters, digits, `-` and `_` only."""
        body = _encoder.encode(cursor)
        return urlsafe_b64encode(_digest(body, key) + body).rstrip(b"=").decode()

    def decode(self, text: str, key: BoardKey) -> Content:
        """The reverse. Raises `Rejected` for anything that `encode` did not make for this board."""
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise unknown_cursor()
        try:
            data = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            digest, body = data[:DIGEST_SIZE_BYTES], data[DIGEST_SIZE_BYTES:]
            cursor = self._decoder.decode(body)
        except (ValueError, msgspec.MsgspecError):
            raise unknown_cursor() from None
        if digest != _digest(body, key):
            raise unknown_cursor()
        return cursor


def _digest(body: bytes, key: BoardKey) -> bytes:
    named = _encoder.encode((key, body))
    return hashlib.blake2b(named, digest_size=DIGEST_SIZE_BYTES).digest()


_encoder = msgspec.msgpack.Encoder()
