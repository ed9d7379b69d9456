"""Looking at an embedded log without opening it: also safe beside the server that writes it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from accrue.connect.own_file import read_header
from accrue.connect.sqlite import SqliteThread
from accrue.errors import Corrupt
from accrue.log.base import Position
from accrue.log.sqlite import IDENTITY, PARTITIONS, last_position
from accrue.log.sqlite_file import check_header


class Ends(Struct, frozen=True):
    """Where one partition of a log begins and ends. `trimmed` is the last position that is gone."""

    identity: str
    trimmed: Position
    last: Position


async def look(path: Path, partition: int) -> Ends:
    """The ends of a partition as they are now. Raises `Corrupt` for what is no log, or none that can be read."""
    check_header(path, read_header(path))
    thread = SqliteThread(path, read_only=True)
    try:
        await thread.open()
        named = await thread.run(lambda c: c.execute(IDENTITY).fetchone())
        if named is None:
            raise Corrupt(f"{path} has lost its identity. Nothing was changed.")
        trimmed = dict(await thread.run(lambda c: c.execute(PARTITIONS).fetchall())).get(partition, 0)
        last = await thread.run(lambda c: last_position(c, partition))
    finally:
        await thread.close()
    return Ends(named[0], trimmed, max(trimmed, last))
