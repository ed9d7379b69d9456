"""Joining: consecutive records of a spool as one record of the log, so that a backlog takes few confirms.

Events keep what they were accepted with: their order, their times, their stamps. But a record has one log time, so all
get that of the last of these records, as if the group commit had merged them. (Not that of the first: ids would be
forgotten before their repeat window is over.)

For an event that is moved on like this, the fold could have forgotten what the event repeats. Therefore only records
of the same whole minute are joined. Ids are forgotten by whole buckets, a 24th of the repeat window each: none ends
inside a minute when `repeat_window_h` is a multiple of 0.4, and every event is judged as if the records had come one by
one. With another window the repeats of up to a minute at its very end may be missed. What is counted for a period
follows event time and stays; when a period was first seen, and when a retraction comes too late, moves by less than a
minute.

In the log, in the archive, and so for whoever replays or verifies, there is only the joined record.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from msgspec import Struct

from accrue.core.record import FORMAT, Record, decode, encode
from accrue.errors import Corrupt
from accrue.ingest.commit import merged

SAME_US = 60_000_000
"""Records are joined when no multiple of this lies between their log times."""

STAMP_GROWS_BYTES = 4
"""The index of a stamp is one byte at least, and five at most where the events before it are more."""


class JoinLimits(Struct, frozen=True, kw_only=True):
    """What a joined record holds at most; a single one may be larger. `oldest_us`: nothing stamped before is joined."""

    records_max: int
    events_max: int
    size_bytes_max: int
    oldest_us: int


class Joined(Struct, frozen=True):
    """The first `count` of some records as one. One alone is byte for byte what it was."""

    count: int
    record: bytes


def joined(found: Sequence[bytes], limits: JoinLimits) -> Joined:
    """As many of the first records as go together, at least one. Raises `Corrupt` when the first one is damaged."""
    parts: list[Record] = []
    events = size_bytes = 0
    for data in islice(found, limits.records_max):
        try:
            part = decode(data)
        except Corrupt:
            if parts:
                break
            raise
        events += part.events
        size_bytes += _size_bytes_max(data, part)
        if parts and not (
            part.log_time_us // SAME_US == parts[0].log_time_us // SAME_US
            and part.log_time_us >= limits.oldest_us
            and events <= limits.events_max
            and size_bytes <= limits.size_bytes_max
        ):
            break
        parts.append(part)
    if len(parts) == 1:
        return Joined(1, found[0])
    log_time_us = max(part.log_time_us for part in parts)  # the last one's, unless a clock was set back
    batches = merged([batch for part in parts for batch in part.batches])
    return Joined(len(parts), encode(Record(FORMAT, log_time_us, batches)))


def _size_bytes_max(data: bytes, part: Record) -> int:
    """What the record adds to a joined one at most: all of it but its head, which outweighs a longer list of times."""
    return len(data) + STAMP_GROWS_BYTES * sum(len(batch.stamps) for batch in part.batches)
