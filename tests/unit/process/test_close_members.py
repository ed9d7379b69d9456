"""The members of a board are gathered in slices, while everything else goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from accrue.book.base import Checkpoint, Settlement, TallyRow
from accrue.core.decide import Remembers
from accrue.core.reader import read
from accrue.core.table import TableKey
from accrue.process import settle
from accrue.process.close import SLICE_ROWS, board_members
from accrue.process.state import TenantState

PROGRAM = read(
    "[metrics.points]\n[[rules]]\non = 'a'\ngive = { to = 'actor', metric = 'points' }\n"
    "[boards.top]\nmetric = 'points'\nperiods = ['all']\n"
)
AT = Checkpoint(partition=0, epoch=1, position=1, log_identity="log", log_time_us=1, facts="{}")


class EmptyBook:
    """Nothing was settled when it was asked."""

    async def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        for rows in ():
            yield rows


async def test_a_settlement_that_ends_meanwhile_takes_nobody_away() -> None:
    never = Remembers({}, {}, lately=lambda key: False, ever=lambda key: False)
    state = TenantState("t", PROGRAM, partial=(), remembers=never)
    table = state.open(TableKey("tally", "points", "all"))
    names = [f"user {number}" for number in range(2 * SLICE_ROWS)]
    for sequence, name in enumerate(names, start=1):
        table[name] = 1
        table.dirty[name] = (1, sequence)
    state.touch({table: None})
    state.begin_settling()

    gathering = board_members(EmptyBook(), state, PROGRAM.boards["top"], "all")
    gathering.send(None)  # the first slice
    await settle.let_go(Settlement(before=AT, after=AT, tallies=[]), state.settled())
    try:
        while True:
            gathering.send(None)
    except StopIteration as stopped:
        members = stopped.value

    assert members.names == names
