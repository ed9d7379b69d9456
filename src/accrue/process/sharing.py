"""How the workers that are there share the partitions: evenly, as far as each has room.

    what is free        goes to whoever has fewest, and so on
    one at a time       is given up by whoever has two more than another with room

Each works this out for itself, from the same rows of the book. Where two saw different rows they may want the same
partition, and the claim decides (book/owning.py); or nobody wants one, and after a lease anybody takes it (lookout.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct


class Colleague(Struct):
    """A worker that is there, and how many partitions it has of those it has `room` for."""

    name: str
    held: int
    room: int
    is_wary: bool = False


def shared_out(free: Iterable[int], everybody: Sequence[Colleague]) -> dict[int, str]:
    """Who should take which of the free partitions. One for which nobody has room is left out; who is wary gets what
    the others have no room for."""
    held = {each.name: each.held for each in everybody}
    taken: dict[int, str] = {}
    for partition in free:
        with_room = [(each.is_wary, held[each.name], each.name) for each in everybody if held[each.name] < each.room]
        if with_room:
            _, _, name = min(with_room)
            taken[partition] = name
            held[name] += 1
    return taken


def should_give_up(held: int, others: Iterable[Colleague]) -> bool:
    """Whether somebody who has so many should let another have one."""
    return any(not each.is_wary and each.held < each.room and held - each.held >= 2 for each in others)
