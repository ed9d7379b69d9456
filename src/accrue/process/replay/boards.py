"""Are boards what the tallies say? Each is made as the engine makes it, and walked through from the top.

One board is held at a time: memory grows with the largest of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from accrue.boards.base import BoardKey, Boards, Turn
from accrue.book.base import Start
from accrue.book.snapshot import Snapshot
from accrue.core.program import Program
from accrue.core.ranking import Row, sort_key
from accrue.core.reader import read
from accrue.core.rule import Board
from accrue.errors import Rejected
from accrue.process.close import board_rows, order_of, starting_scores
from accrue.process.replay.difference import Difference, Value
from accrue.process.state import TenantState
from accrue.process.world import Memory, World

PAGE_ROWS = 1_000


def boards_of(start: Start) -> list[tuple[str, Program, Board, str]]:
    """Every board in every period that holds tallies: (tenant, its program, board, period)."""
    programs = {row.tenant: row for row in start.programs}  # the last one of each counts
    found = []
    for tenant, row in sorted(programs.items()):
        program = read(row.text)
        for _, period, _, _ in (known for known in start.periods if known.tenant == tenant):
            try:
                kind = program.calendar.parse(period).kind
            except Rejected:  # a range that the program no longer has
                continue
            found += [(tenant, program, board, period) for board in program.boards.values() if kind in board.periods]
    return found


async def board_differences(
    boards: Boards, found: Snapshot, expected: Snapshot, where: tuple[str, Program, Board, str], turn: Turn
) -> AsyncIterator[Difference]:
    """Where a board made from the one book is not in the order that the tallies of the other give.

    `turn` is newer than that of the board before.
    """
    tenant, program, board, period = where
    key = BoardKey(tenant, board.name, period)
    state = TenantState(tenant, program, partial=(), remembers=World(Memory()).remembers())
    made = await board_rows(found, state, board, period)
    if not made:
        return
    begun = await boards.begin(tenant, turn, log="verify")
    held = await boards.rebuild(key, order_of(board), 0, [made], turn=begun.turn)
    wanted = iter(sorted(await member_rows(expected, state, board, period), key=sort_key(order_of(board))))
    rank, above = 0, None
    cursor: str | None = None
    while True:
        page = await boards.page(key, limit=PAGE_ROWS, offset=0, cursor=cursor, style="competition", now_us=0)
        for standing in page.standings:
            row = next(wanted, None)
            if row is not None and row.scores != above:
                rank, above = standing.place, row.scores
            says = (standing.rank, standing.subject, standing.scores)
            if row is None or says != (rank, row.subject, row.scores):
                should = None if row is None else (rank, row.subject, row.scores)
                yield _difference(key, standing.place, should, says)
        cursor = page.cursor
        if cursor is None:
            break
    for place, row in enumerate(wanted, start=page.members + 1):
        yield _difference(key, place, (place, row.subject, row.scores), None)
    await boards.drop(key, turn=held)


async def member_rows(book: Snapshot, state: TenantState, board: Board, period: str) -> list[Row]:
    """The members as the tallies say, put together without the engine's own way of doing it."""
    starts = starting_scores(state, board, period)
    scores: dict[str, list[int]] = {}
    reached: dict[str, int] = {}
    for column, key in enumerate(board.order):
        async for some in book.tallies(state.tenant, key.metric, period):
            for row in some:
                scores.setdefault(row.subject, list(starts))[column] = row.value
                reached[row.subject] = max(row.reached, reached.get(row.subject, 0))
    return [Row(subject, tuple(values), reached[subject]) for subject, values in scores.items()]


Told = tuple[int, str, tuple[int, ...]]


def _difference(key: BoardKey, place: int, expected: Told | None, found: Told | None) -> Difference:
    where: dict[str, Value] = {"tenant": key.tenant, "board": key.board, "period": key.period, "place": place}
    return Difference("boards", where, _told(expected), _told(found))


def _told(says: Told | None) -> dict[str, Value] | None:
    if says is None:
        return None
    rank, subject, scores = says
    return {"rank": rank, "subject": subject, "scores": ", ".join(map(str, scores))}
