"""Files from outside as events: `accrue import` reads one of these formats and sends what comes out to the door.

    file --> unpacked, numbered lines --> ndjson | csv | combined --> Line(number, event or problem) --> validate

A reader only reshapes. It never judges an event beyond what it needs to write it down; the door does that, and
says no with the field. A line that cannot be read is a problem with its number, and the reading goes on. A whole
file that cannot be read (damaged gzip, no header, unknown column) raises `Rejected`.

An event without an id of its own gets `{digest}:{line number}`, so the same file again is the same events.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from accrue.errors import Rejected

LINE_SIZE_BYTES_MAX = 1 << 20
CHUNK_SIZE_BYTES = 1 << 20
GZIP_BEGINS = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """What one line (or one CSV row, by its first line) became: the JSON of an event, or what is wrong with it.

    Exactly one of `event` and `problem` is given. `number` starts at 1.
    """

    number: int
    event: bytes | None
    problem: str | None = None


def digest(file: BinaryIO) -> str:
    """The name of a file's content: BLAKE2b of its bytes as they are (packed, if they are), 32 hex characters.

    Reads to the end; the caller goes back to the start.
    """
    name = hashlib.blake2b(digest_size=16)
    while chunk := file.read(CHUNK_SIZE_BYTES):
        name.update(chunk)
    return name.hexdigest()


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a file, plain or gzip, from 1, without their line ends and without a byte order mark.

    A line past `LINE_SIZE_BYTES_MAX` is None. Raises `Rejected` when a gzip file is damaged.
    """
    content = _unpacked(file)
    number = 0
    try:
        while line := content.readline(LINE_SIZE_BYTES_MAX):
            number += 1
            if len(line) == LINE_SIZE_BYTES_MAX and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = content.readline(LINE_SIZE_BYTES_MAX)
                yield number, None
                continue
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            yield number, line.rstrip(b"\r\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Rejected(f"The gzip file is damaged after line {number}: {error}.") from error


TOO_LONG = f"longer than {LINE_SIZE_BYTES_MAX} bytes"


def _unpacked(file: BinaryIO) -> BinaryIO:
    buffered = io.BufferedReader(cast(io.RawIOBase, file)) if not hasattr(file, "peek") else file
    begins = cast(io.BufferedReader, buffered).peek(len(GZIP_BEGINS))[: len(GZIP_BEGINS)]
    return cast(BinaryIO, gzip.GzipFile(fileobj=buffered) if begins == GZIP_BEGINS else buffered)
