"""Who publishes which tenant's boards, in memory: the comparisons that every write begins with."""

from __future__ import annotations

from accrue.boards.base import Mark, Turn
from accrue.errors import Fenced, Lost, Misconfigured


class Turns:
    """The turn and the mark of every tenant."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Turn, str]] = {}
        self._positions: dict[str, int] = {}

    def begin(self, tenant: str, turn: Turn, *, log: str) -> Mark | None:
        """Hold this turn from now on. Returns the mark found, and raises as `Boards.begin`."""
        found = self.mark(tenant)
        if found is not None:
            held, held_log = self._held[tenant]
            if held_log != log:
                raise another_log(tenant)
            if held.epoch > turn.epoch:
                raise fenced(tenant, held.epoch, turn.epoch)
            if held[:2] >= turn[:2]:
                raise lost(tenant)
        self._held[tenant] = turn, log
        self._positions.setdefault(tenant, 0)
        return found

    def check(self, tenant: str, turn: Turn) -> None:
        """Raises `Fenced` or `Lost` unless this turn is held."""
        held, _ = self._held.get(tenant, (None, ""))
        if held == turn:
            return
        if held is not None and held.epoch > turn.epoch:
            raise fenced(tenant, held.epoch, turn.epoch)
        raise lost(tenant)

    def step(self, tenant: str, turn: Turn, *, position: int | None = None) -> Turn:
        """A write is done. Returns what is held now."""
        _, log = self._held[tenant]
        after = turn._replace(step=turn.step + 1)
        self._held[tenant] = after, log
        if position is not None:
            self._positions[tenant] = position
        return after

    def mark(self, tenant: str) -> Mark | None:
        """See `Boards.marks`."""
        if tenant not in self._held:
            return None
        return Mark(self._held[tenant][0].epoch, self._positions[tenant])

    def clear(self) -> None:
        """Forget everything, as a wipe does."""
        self._held.clear()
        self._positions.clear()


def fenced(tenant: str, held: int, mine: int) -> Fenced:
    """A newer publisher was here."""
    return Fenced(f"The boards of {tenant!r} were taken over under epoch {held}; this worker has epoch {mine}.")


def lost(tenant: str) -> Lost:
    """What is there is not what this publisher wrote last."""
    return Lost(f"The boards of {tenant!r} do not hold what was published there last; they are published again.")


def another_log(tenant: str) -> Misconfigured:
    """The positions of two logs cannot be compared."""
    return Misconfigured(
        f"The boards of {tenant!r} were published from another log. If that deployment is no longer used, empty its "
        "boards; else give this one a name of its own: ?name=... in the boards' URL."
    )
