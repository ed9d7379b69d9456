"""Cursors of boards that keep no snapshots: they name the last row, and the next page begins below it.

So no row comes twice, and none is skipped that did not move meanwhile, also when the row itself moved or went away.
"""

from __future__ import annotations

from msgspec import Struct

from accrue.boards.cursor import Sealed
from accrue.core.ranking import Order, Style


class After(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The next page begins below the row with this member and score of the sorted set, as long as the board has this
    order."""

    order: Order
    member: str
    score: str
    style: Style


after_cursors = Sealed(After)
