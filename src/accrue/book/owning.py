"""The contract of who has which partition, kept in the book so that one transaction decides. Every book keeps it.

    a candidate   owners() ... owners(): the same (epoch, heartbeat) for the whole lease, on its own clock
                  claim(seen=(epoch, heartbeat)): of several candidates one wins, the others get `Fenced`
    the owner     beat, beat, ... release
    every worker  attend, attend, ... depart: the others share the partitions with it
    everybody     settles under an epoch: a later claim fences it (book/base.py)

No clock is compared with another one: what counts is whether the heartbeat moved while somebody watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from accrue.book.base import Checkpoint
from accrue.errors import Corrupt, Fenced, Misconfigured


class Owned(NamedTuple):
    """A partition that was claimed at least once. `owner` and `address` are '' after it was released.

    `heartbeat` grows, also from one owner to the next; only a crash of the database may take back the last of it.
    """

    partition: int
    owner: str
    epoch: int
    heartbeat: int
    address: str


class Attending(NamedTuple):
    """A worker that said it was there. It has `room` for so many partitions in all. A wary one wants none while others
    can have it: one is on its way to it already, or it could not work on one lately."""

    name: str
    heartbeat: int
    room: int
    is_wary: bool


class Owners(Protocol):
    """What the processes of a deployment know of each other."""

    async def found(self, *, partitions: int, log_identity: str, created_us: int) -> None:
        """Write down what the deployment is, or see that it is what was written: the first caller decides.

        A book from before there was such a row takes it from the caller, if its checkpoints agree. Raises
        `Misconfigured` for another number of partitions or another log, and then nothing has changed.
        """
        ...

    async def deployment(self) -> tuple[int, str] | None:
        """What was written down of the deployment, (partitions, log identity); None when nobody has founded it."""
        ...

    async def owners(self) -> list[Owned]:
        """Every partition that was ever claimed, by number."""
        ...

    async def claim(
        self,
        partition: int,
        *,
        owner: str,
        log_identity: str,
        address: str = "",
        seen: tuple[int, int] | None = None,
    ) -> Checkpoint:
        """See `Book.claim`. Given the (epoch, heartbeat) that was `seen`, (0, 0) for a partition nobody ever claimed,
        it raises `Fenced` when the book has others, and then nothing has changed."""
        ...

    async def beat(self, partition: int, *, epoch: int) -> None:
        """Raise the heartbeat. Raises `Fenced` when the partition is at another epoch."""
        ...

    async def release(self, partition: int, *, epoch: int) -> None:
        """Give the partition away: no owner, no address, the epoch stays. Who wants it need not wait for the lease.

        Raises `Fenced` when it is at another epoch. Harmless to repeat.
        """
        ...

    async def attend(self, name: str, *, room: int, is_wary: bool) -> None:
        """Say that a worker is there, the `owner` of claims: its heartbeat is raised, from 0."""
        ...

    async def attending(self) -> list[Attending]:
        """Every worker that has not departed, by name. Whether it lives its heartbeat tells."""
        ...

    async def depart(self, name: str) -> None:
        """Take a worker off the list: itself when it goes, or one that has long been silent. Harmless to repeat."""
        ...


def check_log(held: Checkpoint, log_identity: str) -> None:
    """Raises `Corrupt` when a checkpoint belongs to another log than the one that is here."""
    if held.log_identity not in ("", log_identity):
        raise Corrupt(
            f"The book's checkpoint of partition {held.partition} (position {held.position}) belongs to the log "
            f"{held.log_identity!r}, but the log here is {log_identity!r}. Nothing was changed. "
            "Put the right log back, or start with a new data directory, or a new database."
        )


def check_seen(partition: int, held: tuple[int, int], seen: tuple[int, int] | None) -> None:
    """Raises `Fenced` when the partition is not as the candidate saw it."""
    if seen is not None and held != seen:
        raise Fenced(
            f"Partition {partition} is at epoch {held[0]} and heartbeat {held[1]}, no longer at {seen[0]} and "
            f"{seen[1]}: another process has it. Nothing was changed."
        )


def not_owned(partition: int, epoch: int) -> Fenced:
    """What a process is told that has a partition no more."""
    return Fenced(f"Partition {partition} is no longer at epoch {epoch}: another process has it. Nothing was changed.")


def check_deployment(held: tuple[int, str], *, partitions: int, log_identity: str) -> None:
    """Raises `Misconfigured` when the deployment that a book belongs to, (partitions, log identity), is another one."""
    if held[0] != partitions:
        raise Misconfigured(
            f"The book belongs to a deployment of {held[0]} partitions, which never changes; {partitions} are "
            "configured. Correct the setting, or give a new deployment a book and a log of its own."
        )
    if held[1] != log_identity:
        raise _another_log(held[1], log_identity)


def check_checkpoints(held: Sequence[tuple[int, str]], *, partitions: int, log_identity: str) -> None:
    """Raises `Misconfigured` when checkpoints, as (partition, log identity), are not of such a deployment."""
    for partition, identity in held:
        if partition >= partitions:
            raise Misconfigured(
                f"The book has a checkpoint of partition {partition}, so its deployment has at least {partition + 1} "
                f"partitions; {partitions} are configured. Correct the setting."
            )
        if identity not in ("", log_identity):
            raise _another_log(identity, log_identity)


def _another_log(held: str, here: str) -> Misconfigured:
    return Misconfigured(
        f"The book belongs to a deployment with the log {held!r}, but the log here is {here!r}. Two deployments cannot "
        "share a book: put the right log back, or give this deployment a book of its own."
    )
