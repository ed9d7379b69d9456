"""What has to be true of log and book before a worker takes a partition."""

from __future__ import annotations

from accrue.book.base import Book
from accrue.errors import Corrupt
from accrue.log.base import Log
from accrue.process import settle


async def compare_log(log: Log, book: Book, partition: int) -> None:
    """See that the log goes on from the checkpoint, before anything is changed. Raises `Corrupt`."""
    held = await book.checkpoint(partition)
    if held is None or held.log_identity != log.identity:
        return  # a new partition, or one that `claim` refuses
    settle.read_facts(held)
    end = await log.end(partition)
    if end < held.position:
        raise Corrupt(
            f"The log of partition {partition} ends at {end}, but {held.position} is settled "
            "already: this is an older log. Put the newer one back; nothing was changed."
        )
    if end > held.position:  # the first record beyond it must still be there: an older book may be put back, too
        await log.read(partition, after=held.position, size_bytes_max=1)
