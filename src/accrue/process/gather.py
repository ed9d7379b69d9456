"""Gathering: what was read from the log in groups, small neighbours together, because a group is folded in one go.

A fold costs a fixed amount for each go, some ten times what deciding one event does. So small records are folded
together, and after few events the worker rests for a moment, while more come in; the first event after a quiet moment
does not wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accrue.book.archive import Building
from accrue.core.record import Record, decode
from accrue.errors import Corrupt
from accrue.log.base import Position

GATHER_EVENTS = 256
"""After folding fewer events than this, the worker rests."""
GATHER_S = 0.01
"""How long it rests, at most: never longer than a tick, after which boards show what is folded."""
TOGETHER_EVENTS_MAX = 512
"""What small records hold that are folded together."""

Read = tuple[Position, bytes, Record]
"""A record: where it stands, as it was read, and as it is."""


def groups(
    found: Sequence[tuple[Position, bytes]], *, events_max: int, size_bytes_max: int
) -> Iterator[Sequence[Read]]:
    """All records in order. A group is one record, or several that hold no more than this.

    Raises `Corrupt` for a damaged one, once the records before it were given.
    """
    events_max = min(events_max, TOGETHER_EVENTS_MAX)
    group: list[Read] = []
    events = size_bytes = 0
    for position, data in found:
        try:
            record = decode(data)
        except Corrupt:
            if group:
                yield group
            raise
        events, size_bytes = events + record.events, size_bytes + len(data)
        if group and (events > events_max or size_bytes > size_bytes_max):
            yield group
            group, events, size_bytes = [], record.events, len(data)
        group.append((position, data, record))
    if group:
        yield group


def pack(segment: Building, group: Sequence[Read]) -> None:
    """Put the records into the archive."""
    for position, data, record in group:
        segment.add(position, data, events=record.events)
