"""A record: what one group commit holds for one partition, or several joined. The only thing the log stores.

    Record(log_time, [Batch(tenant, events as NDJSON, their times, their stamps), ...])

Events keep the JSON they came with, one a line. Beside them stands what ingest resolved: the time that counts
for periods, and the stamps. Order inside a tenant is the order in the batch; one tenant may have several batches.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    """`log_time_us` is that of the gateway that made it; log time is the greatest so far (`World.advance`)."""

    format: int
    log_time_us: int
    batches: list[Batch]

    @property
    def events(self) -> int:
        return sum(len(batch.times_us) for batch in self.batches)


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of one tenant as one: bodies line after line, stamps moved to where their events now are."""
    if len(batches) == 1:
        return batches[0]
    times_us: list[int] = []
    stamps: dict[int, Stamp] = {}
    for batch in batches:
        if batch.stamps:
            first = len(times_us)
            for index, stamp in batch.stamps.items():
                stamps[first + index] = stamp
        times_us += batch.times_us
    return Batch(batches[0].tenant, b"\n".join([batch.body for batch in batches]), times_us, stamps)


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


def stamped_us(data: bytes) -> int:
    """The `log_time_us` of a record, without taking it apart. Raises `Corrupt` when the bytes are none."""
    try:
        return _head_decoder.decode(data).log_time_us
    except msgspec.MsgspecError as error:
        raise Corrupt(f"A log record cannot be read: {error}.") from error


def sequence(position: int, index: int) -> int:
    """The event's place in its partition as one growing number."""
    return position * EVENTS_PER_RECORD_MAX + index


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class _Head(Struct, array_like=True, frozen=True):
    """How a record begins. What comes after it is skipped."""

    format: int
    log_time_us: int


_head_decoder = msgspec.msgpack.Decoder(_Head)
