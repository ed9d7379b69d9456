"""Archive segments: raw records of one partition, compressed and chained. Pure functions; nothing is read or written.

    data     = "ACRS" | format: u8 | size of the content: u64 | one zstd frame of the content
    content  = for each record: position: u64 | size: u32 | the record's bytes as they stand in the log
    digest   = BLAKE2b-256(content | previous digest | partition | first | last | events: i64 each)

All numbers are big-endian. The digest covers the content and not the frame, so a segment may be compressed again,
harder, without breaking the chain. The content comes first, because what follows it is known only when the segment
ends and the bytes are then gone; the rest has one fixed size, so no two segments hash the same bytes. The format's
number is part of the hash (BLAKE2's personalisation).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from io import BytesIO
from itertools import pairwise
from struct import Struct
from typing import Protocol

import zstandard

from accrue.book.base import Segment
from accrue.errors import Corrupt

MAGIC = b"ACRS"
FORMAT = 1
LEVEL = 3
"""zstd's own default: a tenth of the size for JSON events, at a few hundred megabytes a second."""

GENESIS = bytes(32)
"""What stands as the previous digest in the first segment of a partition."""

CONTENT_SIZE_BYTES_FULL = 16 * 1024 * 1024
"""Past this much content a segment is full. A settlement may hold many; unpacking one stays cheap, and whoever folds
the archive again holds two of them."""

READ_SIZE_BYTES = 1024 * 1024

COMPRESSED_SIZE_BYTES_MIN = 64 * 1024
"""Small records wait until there is so much to compress: going back to the compressor's tables for each would cost two
to four times as much."""

_HEADER = Struct(">4sBQ")
_RECORD = Struct(">QI")
_TRAILER = Struct(">qqqq")


class Building(Protocol):
    """A segment while records come in. `finish` is asked only when it is not empty, and then nothing is added."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to finish."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether it is time to finish it."""
        ...

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        ...

    def add(self, position: int, record: bytes, *, events: int) -> None:
        """Take in the record at `position`, which holds so many events."""
        ...

    def finish(self, *, previous: bytes) -> Segment:
        """The segment, chained to the digest `previous`."""
        ...


class SegmentBuilder:
    """Compresses records as they are folded. Holds the compressed bytes, less than `COMPRESSED_SIZE_BYTES_MIN` that
    wait for it, and zstd's window (a few MiB)."""

    def __init__(self, partition: int, *, level: int = LEVEL) -> None:
        self._partition = partition
        self._compressor = zstandard.ZstdCompressor(level=level).compressobj()
        self._hash = _content_hash()
        self._pieces: list[bytes] = []
        self._waiting: list[bytes] = []
        self._waiting_size_bytes = 0
        self._first = 0
        self._last = 0
        self._events = 0
        self.size_bytes = 0
        """What is held so far: compressed, or waiting for it."""
        self.content_size_bytes = 0
        """What they were before."""

    @property
    def is_empty(self) -> bool:
        return self._last == 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to finish this segment and begin the next."""
        return self.content_size_bytes >= CONTENT_SIZE_BYTES_FULL

    def add(self, position: int, record: bytes, *, events: int) -> None:
        """Add the record at `position`, which holds so many events. Raises `Corrupt` when positions do not grow."""
        if position <= self._last:
            raise Corrupt(f"Partition {self._partition}: position {position} follows {self._last}.")
        self._waiting += (_RECORD.pack(position, len(record)), record)
        size_bytes = _RECORD.size + len(record)
        self._waiting_size_bytes += size_bytes
        self.size_bytes += size_bytes
        self.content_size_bytes += size_bytes
        if self._waiting_size_bytes >= COMPRESSED_SIZE_BYTES_MIN:
            self._compress()
        self._first = self._first or position
        self._last = position
        self._events += events

    def finish(self, *, previous: bytes) -> Segment:
        """The segment, chained to the digest `previous`. It must hold a record; nothing may be added after."""
        if self.is_empty:
            raise ValueError("A segment holds at least one record.")
        self._compress()
        self._pieces.append(self._compressor.flush())
        segment = Segment(
            partition=self._partition,
            first=self._first,
            last=self._last,
            events=self._events,
            digest=b"",
            previous=previous,
            data=_HEADER.pack(MAGIC, FORMAT, self.content_size_bytes) + b"".join(self._pieces),
        )
        return segment._replace(digest=_digest(self._hash, segment))

    def _compress(self) -> None:
        data = b"".join(self._waiting)
        self._hash.update(data)
        piece = self._compressor.compress(data)
        if piece:
            self._pieces.append(piece)
        self.size_bytes += len(piece) - self._waiting_size_bytes
        self._waiting.clear()
        self._waiting_size_bytes = 0


def pack(
    records: Iterable[tuple[int, bytes]], *, partition: int, events: int, previous: bytes, level: int = LEVEL
) -> Segment:
    """A segment of these (position, record) pairs, which hold `events` events in all."""
    builder = SegmentBuilder(partition, level=level)
    for index, (position, record) in enumerate(records):
        builder.add(position, record, events=events if index == 0 else 0)
    return builder.finish(previous=previous)


def unpack(segment: Segment) -> list[tuple[int, bytes]]:
    """The (position, record) pairs of a segment, after everything about it was checked.

    Raises `Corrupt`, naming the partition and the positions, for the first thing that is wrong.
    """
    content = _content(segment)
    records = _split(segment, content)
    positions = [position for position, _ in records]
    if not records or positions[0] != segment.first or positions[-1] != segment.last:
        raise _corrupt(segment, "it holds other positions than it says")
    if any(later <= earlier for earlier, later in pairwise(positions)):
        raise _corrupt(segment, "its positions do not grow")
    digest = _content_hash()
    digest.update(content)
    if _digest(digest, segment) != segment.digest:
        raise _corrupt(segment, "its digest does not match its content")
    return records


def check_chain(segments: Iterable[Segment], *, previous: bytes = GENESIS) -> bytes:
    """Check segments of one partition, oldest first, each whole and each in its place. Returns the last digest.

    `previous` is the digest before the first of them. Raises `Corrupt` for the first one that is wrong.
    """
    before: Segment | None = None
    for segment in segments:
        unpack(segment)
        if segment.previous != previous:
            raise _corrupt(segment, "it does not follow the segment before it: one is missing or was changed")
        if before and (segment.partition != before.partition or segment.first <= before.last):
            raise _corrupt(segment, f"it does not lie after position {before.last} of {before.partition}")
        before, previous = segment, segment.digest
    return previous


def _content_hash() -> blake2b:
    return blake2b(digest_size=len(GENESIS), person=b"accrue-segment-%d" % FORMAT)


def _digest(content: blake2b, segment: Segment) -> bytes:
    """The digest of a segment whose content was hashed; everything of it but `data` and `digest` goes in."""
    if len(segment.previous) != len(GENESIS):
        raise _corrupt(segment, f"its previous digest should be {len(GENESIS)} bytes long")
    content.update(segment.previous)
    content.update(_TRAILER.pack(segment.partition, segment.first, segment.last, segment.events))
    return content.digest()


def _content(segment: Segment) -> bytes:
    """The content, decompressed in steps and never past the size the header states."""
    if len(segment.data) < _HEADER.size:
        raise _corrupt(segment, "its header is cut off")
    magic, version, size = _HEADER.unpack_from(segment.data)
    if magic != MAGIC:
        raise _corrupt(segment, "it is not an archive segment")
    if version != FORMAT:
        raise _corrupt(segment, f"it has format {version}; this version reads format {FORMAT}")
    pieces: list[bytes] = []
    held = 0
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(BytesIO(segment.data[_HEADER.size :]))
        while held <= size and (piece := reader.read(READ_SIZE_BYTES)):
            pieces.append(piece)
            held += len(piece)
    except zstandard.ZstdError as error:
        raise _corrupt(segment, f"it cannot be decompressed: {error}") from error
    if held != size:
        raise _corrupt(segment, f"its content should be {size} bytes long and is not")
    return b"".join(pieces)


def _split(segment: Segment, content: bytes) -> list[tuple[int, bytes]]:
    records = []
    offset = 0
    while offset < len(content):
        start = offset + _RECORD.size
        if start > len(content):
            raise _corrupt(segment, "its last record is cut off")
        position, size = _RECORD.unpack_from(content, offset)
        offset = start + size
        if offset > len(content):
            raise _corrupt(segment, "its last record is cut off")
        records.append((position, content[start:offset]))
    return records


def _corrupt(segment: Segment, what: str) -> Corrupt:
    return Corrupt(
        f"The archive segment of partition {segment.partition}, positions {segment.first} to {segment.last}, "
        f"is damaged: {what}."
    )
