"""Archived events as lines of JSON: what came in, with what the log knows about it beside it, or by itself.

One record is held at a time besides the two segments of archived.py, so memory does not grow with the archive.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from accrue.book.base import Checkpoint
from accrue.book.snapshot import Snapshot
from accrue.core.event import ADJUST, RETRACT, SYSTEM_PREFIX, Stamp
from accrue.core.record import Batch, Record, decode, sequence
from accrue.process.replay.archived import archive_of

READ_SIZE_BYTES = 1 << 20

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Wanted(Struct, frozen=True, kw_only=True):
    """Which events: those with a log time from `from_us` on and before `to_us`, of one tenant or (None) of all.

    `plain`: only the events themselves, with the time that counts, as an import takes them. What an import does not
    take is left out then: the engine's own events, but for corrections and retractions.
    """

    from_us: int
    to_us: int
    tenant: str | None = None
    plain: bool = False


class Line(Struct, frozen=True, omit_defaults=True):
    """One event with what is known of it. `event` is its JSON as it came; `time` is the one that counts."""

    tenant: str
    sequence: int
    position: int
    log_time: str
    time: str
    event: msgspec.Raw
    stamp: Stamp | None = None


class Some(Struct, frozen=True):
    """The lines of one record, each ended by a line feed. `left_out` events were not plain ones."""

    position: int
    lines: bytes
    events: int
    left_out: int


async def exported(snapshot: Snapshot, checkpoint: Checkpoint, wanted: Wanted) -> AsyncIterator[Some]:
    """Every wanted event, in the order of the log, record by record; records without any come as empty ones.

    Raises `Corrupt` naming the first damaged segment.
    """
    log = archive_of(snapshot, checkpoint)
    after = 0
    try:
        while after < checkpoint.position:
            for position, data in await log.read(0, after=after, size_bytes_max=READ_SIZE_BYTES):
                after = position
                record = decode(data)
                if record.log_time_us >= wanted.to_us:
                    return  # log time never runs backwards
                if record.log_time_us >= wanted.from_us:
                    yield _of_record(position, record, wanted)
                else:
                    yield Some(position, b"", 0, 0)
    finally:
        await log.close()


def _of_record(position: int, record: Record, wanted: Wanted) -> Some:
    lines: list[bytes] = []
    events = left_out = first = 0
    for batch in record.batches:
        if wanted.tenant in (None, batch.tenant):
            if wanted.plain:
                some = _plain(batch)
                left_out += len(batch.times_us) - len(some)
            else:
                some = _with_metadata(position, first, record.log_time_us, batch)
            lines += some
            events += len(some)
        first += len(batch.times_us)
    return Some(position, b"".join(line + b"\n" for line in lines), events, left_out)


def _with_metadata(position: int, first: int, log_time_us: int, batch: Batch) -> list[bytes]:
    log_time = iso_us(log_time_us)
    return [
        _encode(
            Line(
                tenant=batch.tenant,
                sequence=sequence(position, first + at),
                position=position,
                log_time=log_time,
                time=iso_us(time_us),
                event=msgspec.Raw(body),
                stamp=batch.stamps.get(at),
            )
        )
        for at, (body, time_us) in enumerate(zip(batch.body.split(b"\n"), batch.times_us, strict=True))
    ]


def _plain(batch: Batch) -> list[bytes]:
    """The events of applications, each with the time that counts: an import elsewhere must not stamp its own."""
    lines = []
    for body, time_us in zip(batch.body.split(b"\n"), batch.times_us, strict=True):
        event = _decode(body)
        type = msgspec.json.decode(event["type"], type=str)
        if not type.startswith(SYSTEM_PREFIX) or type in (ADJUST, RETRACT):
            event["time"] = msgspec.Raw(_encode(iso_us(time_us)))
            lines.append(_encode(event))
    return lines


def iso_us(time_us: int) -> str:
    """RFC 3339 in UTC, exact to the microsecond."""
    return (EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
