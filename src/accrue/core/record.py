"""A record: what one group commit holds for one partition. The only thing the log stores.

    Record(log_time, [Batch(tenant, events as NDJSON, their times, their stamps), ...])

Events keep the JSON they came with, one a line. Beside them stands what ingest resolved: the time that counts
for periods, and the stamps. Order inside a tenant is the order in the batch; one tenant may have several batches.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from accrue.core.event import Stamp
from accrue.errors import Corrupt

FORMAT = 1
EVENTS_PER_RECORD_MAX = 1 << 20
"""A sequence number is position * 2^20 + index, so an event's place in the whole partition fits 63 bits."""


class Batch(Struct, array_like=True, frozen=True):
    """Consecutive events of one tenant. `body` has one JSON object a line, no line break inside one.

    `times_us` holds each event's time in microseconds; `stamps` has an entry, by index, where there is one.
    """

    tenant: str
    body: bytes
    times_us: list[int]
    stamps: dict[int, Stamp]


class Record(Struct, array_like=True, frozen=True):
    """`log_time_us` never runs backwards inside a partition."""

    format: int
    log_time_us: int
    batches: list[Batch]

    @property
    def events(self) -> int:
        return sum(len(batch.times_us) for batch in self.batches)


def encode(record: Record) -> bytes:
    """The record as it stands in the log and in the archive."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """The reverse. Raises `Corrupt` when the bytes are not a record of a known format."""
    try:
        record = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"A log record cannot be read: {error}.") from error
    if record.format != FORMAT:
        raise Corrupt(f"A log record has format {record.format}; this version reads format {FORMAT}.")
    return record


def sequence(position: int, index: int) -> int:
    """The event's place in its partition as one growing number."""
    return position * EVENTS_PER_RECORD_MAX + index


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)
