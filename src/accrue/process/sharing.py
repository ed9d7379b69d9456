"""How the workers that are there share the partitions: evenly, as far as each has room.

    what is free      goes to whoever has fewest, and so on
    what is too much  is given up one after the other: by whoever has most, to one with two fewer

Each works this out for itself, from the same rows of the book. Where two saw different rows they may want the same
partition, and the claim decides (book/owning.py); or nobody wants one, and after a lease anybody takes it (lookout.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from accrue.process.lookout import Free


class Colleague(Struct):
    """A worker that is there, and how many partitions it has of those it has `room` for.

    A wary one has something on its way already, or failed lately. A new one has not watched for a lease, so it does not
    see yet that the owner of a partition is silent.
    """

    name: str
    held: int
    room: int
    is_wary: bool = False
    is_new: bool = False


def shared_out(free: Iterable[Free], everybody: Sequence[Colleague]) -> dict[int, str]:
    """Who should take which of the free partitions: nobody more than it has room for, and whoever is wary, or cannot
    see it, only when nobody else can."""
    held = {each.name: each.held for each in everybody}
    taken: dict[int, str] = {}
    for partition, _, given_up, _ in free:
        able = [
            (each.is_new and not given_up, each.is_wary, held[each.name], each.name)
            for each in everybody
            if held[each.name] < each.room
        ]
        if able:
            *_, name = min(able)
            taken[partition] = name
            held[name] += 1
    return taken


def should_give_up(me: Colleague, others: Sequence[Colleague]) -> bool:
    """Whether to let another have a partition: as whoever has most, when one that has room and is neither wary nor new
    has two fewer; or because one has more than one has room for."""
    wanting = [each.held for each in others if each.held < each.room and not each.is_wary and not each.is_new]
    if not wanting or me.held > me.room:
        return bool(wanting)
    most = min([me, *others], key=lambda each: (-each.held, each.name))
    return most is me and me.held - min(wanting) >= 2
