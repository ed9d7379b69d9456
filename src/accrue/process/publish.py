"""Publishing: what changed goes to the boards, absolutely, once a tick however often it changed.

1. take what changed since the last tick, for the boards and for the next settlement; nothing waits for this;
2. begin, if the boards may not know this publisher, or may not hold what it left: they say what they hold;
3. make whole what they do not hold, from the book with memory over it;
4. send the rows, and with them the mark: the position up to which all boards of the tenant are complete then.

After an error the outcome is not known: the rows wait on, and the next attempt begins at 2. What is sent twice changes
nothing. What waits is kept by tenant in outgoing.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog

from accrue.boards.base import BoardKey, Boards, Change, Mark, Turn
from accrue.book.base import Book
from accrue.core.ranking import Row
from accrue.core.rule import Board
from accrue.core.table import Table, TableKey
from accrue.errors import AccrueError, Fenced, Lost, Rejected, Unavailable
from accrue.log.base import Position
from accrue.process.close import board_members, order_of, starting_scores
from accrue.process.outgoing import Outgoing
from accrue.process.state import TenantState
from accrue.process.world import World

TRIES = 2
"""Boards that do not hold what was left there are begun again at once, and then in the next tick."""
LOOKED_AT_MAX = 2_000
"""So many tenants in one look; the others in the next."""

logger = structlog.get_logger("accrue.process")


class Publisher:
    """Keeps the boards in step with the fold. Every method is safe to repeat.

    `catch_up_to` is where the log ended when the worker started: the boards may show that much already, so nothing is
    sent before. `trouble` says why publishing fails, while it does.
    """

    def __init__(self, world: World, boards: Boards, book: Book) -> None:
        self._world = world
        self._boards = boards
        self._book = book
        self._outgoing: dict[str, Outgoing] = {}
        self._waiting: dict[str, Position] = {}  # tenants that have something to be sent; the mark is to come that far
        self._one_at_a_time = asyncio.Lock()
        self._epoch = self._begins = 0
        self._log = ""
        self._checkpoint: Position = 0
        self._reached: Position = 0
        self._looked_at = 0
        self.catch_up_to: Position = 0
        self.trouble: str | None = None

    async def start(self, *, epoch: int, log: str, position: Position) -> None:
        """Take the boards of every known tenant over, so that no publisher before this one gets through any more.

        `log` is the log's identity, `position` that of the checkpoint. Boards that cannot be reached are taken over
        later. Raises `Fenced`.
        """
        self._epoch, self._log, self._checkpoint, self._reached = epoch, log, position, position
        try:
            await self._each(list(self._world.tenants), self._take_over)
        except Unavailable as error:
            logger.warning("the boards are out of reach; they are taken over later", reason=error.detail)

    @property
    def is_shared(self) -> bool:
        """Whether the boards are outside of this process."""
        return self._boards.abilities.shared

    @property
    def waits(self) -> bool:
        """Whether there is something that no attempt has sent yet."""
        return bool(self._waiting)

    def take(self) -> None:
        """Step 1, for every tenant that had events: rows wait for the boards, and changes for the next settlement."""
        heard, self._world.heard = self._world.heard, {}
        for tenant, position in heard.items():
            state = self._world.tenants.get(tenant)
            if state is None:
                continue
            self._wait(tenant, position)
            touched, state.touched = [table for table in state.touched if table.changed], {}
            outgoing = self._of(tenant)
            for key, board in self._concerned(state, touched).items():
                self._take(state, outgoing, key, board)
            outgoing.bound()
            for table in touched:
                if table.key.kind == "award":
                    state.earned.note(table.key, table.changed, settlements=state.settlements)
                if table.dirty:
                    table.dirty.update(table.changed)
                else:
                    table.dirty = table.changed
                table.changed = {}

    async def publish(self, position: Position) -> None:
        """Bring every board up to what the fold holds now, and the marks to `position`, which is folded.

        Raises what the boards raise; then everything else was tried all the same.
        """
        async with self._one_at_a_time:
            self.take()
            self._reached = position
            if self._is_behind:
                return
            try:
                await self._each(list(self._waiting), partial(self._send, position=position))
            except Exception as error:
                self.trouble = str(error)
                raise
            self.trouble = None

    async def attempt(self, position: Position) -> bool:
        """Publish, and say whether that succeeded. Raises `Fenced` only."""
        try:
            await self.publish(position)
        except Fenced:
            raise
        except AccrueError as error:
            logger.warning("publishing failed; it is tried again", reason=error.detail)
            return False
        return True

    async def ensure(self, state: TenantState, board: Board, period: str) -> None:
        """Make a board whole, unless it is. One that nobody has a tally for stays unknown."""
        key, outgoing = BoardKey(state.tenant, board.name, period), self._of(state.tenant)
        async with self._one_at_a_time:
            if self._boards.abilities.shared and self._is_behind:
                raise Unavailable("The worker is catching up with the log.")
            await self._insist(outgoing, lambda: self._ensure(state, outgoing, key))

    async def drop(self, key: BoardKey) -> None:
        """Let go of a board. It comes back when somebody asks for it."""
        outgoing = self._of(key.tenant)
        async with self._one_at_a_time:
            await self._insist(outgoing, lambda: self._drop(outgoing, key))

    def live(self) -> list[BoardKey]:
        return [key for outgoing in self._outgoing.values() for key in outgoing.live]

    async def look(self) -> None:
        """Find out whether boards outside of this process were wiped or rolled back while nothing was sent to them."""
        if not self._boards.abilities.shared:
            return
        async with self._one_at_a_time:
            known = [out for out in self._outgoing.values() if out.turn is not None and out.tenant not in self._waiting]
            first = self._looked_at if self._looked_at < len(known) else 0
            some = known[first : first + LOOKED_AT_MAX]
            self._looked_at = first + len(some)
            try:
                marks = await self._boards.marks([outgoing.tenant for outgoing in some])
            except Unavailable:  # whatever is sent next finds out
                return
            for outgoing, mark in zip(some, marks, strict=True):
                if mark != Mark(self._epoch, outgoing.held):
                    outgoing.turn = None
                    self._wait(outgoing.tenant)

    # --- parts ------------------------------------------------------------------------------------------------------

    @property
    def _is_behind(self) -> bool:
        return self._reached < self.catch_up_to

    def _wait(self, tenant: str, position: Position = 0) -> None:
        """There is something to be sent, and the mark is to come at least so far."""
        self._waiting[tenant] = max(position, self._waiting.get(tenant, 0))

    def _of(self, tenant: str) -> Outgoing:
        outgoing = self._outgoing.get(tenant)
        if outgoing is None:
            outgoing = self._outgoing[tenant] = Outgoing(tenant, shown=self._checkpoint)
        return outgoing

    async def _each(self, tenants: list[str], work: Callable[[str], Awaitable[None]]) -> None:
        """Do it for every one, as many at once as the boards like best. Raises the first error, when all had a turn."""
        at_once = self._boards.abilities.tenants_at_once
        failed: list[BaseException] = []
        for start in range(0, len(tenants), at_once):
            some = tenants[start : start + at_once]
            if len(some) == 1:
                results: list[BaseException | None] = [None]
                try:
                    await work(some[0])
                except Exception as error:
                    results = [error]
            else:
                results = await asyncio.gather(*map(work, some), return_exceptions=True)
            failed += [result for result in results if result is not None]
            if failed and type(failed[0]) is Unavailable:
                break  # each of the others would wait as long to find the same
        if failed:
            raise failed[0]

    def _concerned(self, state: TenantState, touched: Iterable[Table]) -> dict[BoardKey, Board]:
        concerned: dict[BoardKey, Board] = {}
        for table in touched:
            if table.key.kind == "tally" and "." not in table.key.name:
                kind = _kind(state, table.key.part)
                for board in state.program.boards_on(table.key.name):
                    if kind in board.periods:
                        concerned[BoardKey(state.tenant, board.name, table.key.part)] = board
        return dict(sorted(concerned.items()))

    def _take(self, state: TenantState, outgoing: Outgoing, key: BoardKey, board: Board) -> None:
        """Let the rows that changed be sent; or let the board be made whole, which will have them."""
        if key in outgoing.whole:
            return
        if outgoing.live.get(key) != state.program_sequence:
            if not self._is_new(state, outgoing, board, key):
                outgoing.to_be_whole(key)
                return
            outgoing.live[key] = state.program_sequence
            outgoing.new[key] = None
        tables = [state.tables.get(TableKey("tally", item.metric, key.period)) for item in board.order]
        outgoing.put(key, _rows(tables, starting_scores(state, board, key.period)))

    def _is_new(self, state: TenantState, outgoing: Outgoing, board: Board, key: BoardKey) -> bool:
        """Whether everything the board has changed just now, so that publishing the changes publishes it all."""
        if key.period in state.partial or key in outgoing.live:
            return False
        tables = [state.tables.get(TableKey("tally", item.metric, key.period)) for item in board.order]
        return all(table is None or len(table) == len(table.changed) for table in tables)

    async def _take_over(self, tenant: str) -> None:
        outgoing = self._of(tenant)
        await self._begin(outgoing)
        if outgoing.whole:
            self._wait(tenant)

    async def _begin(self, outgoing: Outgoing) -> None:
        self._begins += 1
        turn = Turn(self._epoch, self._begins, 0)
        outgoing.begun(await self._boards.begin(outgoing.tenant, turn, log=self._log))

    async def _insist(self, outgoing: Outgoing, work: Callable[[], Awaitable[None]]) -> None:
        """Do it; and once more from step 2 on when the boards do not hold what was left there."""
        for left in reversed(range(TRIES)):
            try:
                if outgoing.turn is None:
                    await self._begin(outgoing)
                await work()
                return
            except Lost:
                outgoing.turn = None
                if not left:
                    raise
            finally:
                if outgoing.turn is None or outgoing.whole:
                    self._wait(outgoing.tenant)

    async def _send(self, tenant: str, *, position: Position) -> None:
        """Steps 2 to 4."""
        outgoing, state = self._of(tenant), self._world.tenants[tenant]
        await self._insist(outgoing, lambda: self._bring_up(outgoing, state, position))

    async def _bring_up(self, outgoing: Outgoing, state: TenantState, position: Position) -> None:
        if outgoing.held > position:
            outgoing.distrust()
        if outgoing.program_sequence != state.program_sequence:
            outgoing.program_sequence = state.program_sequence
            for key in [key for key in outgoing.live if not _is_kept(state, key)]:
                await self._drop(outgoing, key)
        for key in [key for key in outgoing.rows if outgoing.live.get(key) != state.program_sequence]:
            outgoing.to_be_whole(key)
        while outgoing.whole:
            await self._make_whole(state, outgoing, next(iter(outgoing.whole)))
        rows, boards = outgoing.taken(), state.program.boards
        changes = [
            Change(key, order_of(boards[key.board]), outgoing.live[key], some, new=key in outgoing.new)
            for key, some in rows.items()
        ]
        reached = self._waiting.pop(outgoing.tenant, 0)
        try:
            turn = await self._boards.publish(outgoing.tenant, changes, turn=_given_away(outgoing), position=position)
        except BaseException:
            outgoing.put_back(rows)
            raise
        finally:
            if reached > position:  # rows of a record that does not count as folded yet: the mark comes there later
                self._wait(outgoing.tenant, reached)
        outgoing.published(turn, position, rows)

    async def _ensure(self, state: TenantState, outgoing: Outgoing, key: BoardKey) -> None:
        if outgoing.live.get(key) == state.program_sequence:
            if not self._boards.abilities.shared or await self._boards.has(key, program=state.program_sequence):
                return
            raise Lost(f"The board {key.board}/{key.period} of {key.tenant!r} is gone.")
        await self._make_whole(state, outgoing, key)

    async def _make_whole(self, state: TenantState, outgoing: Outgoing, key: BoardKey) -> None:
        if not _is_kept(state, key):
            await self._drop(outgoing, key)
            return
        board, sequence = state.program.boards[key.board], state.program_sequence
        outgoing.to_be_whole(key)
        del outgoing.whole[key]
        outgoing.live[key] = sequence  # what changes while this waits is sent after it
        try:
            members = await board_members(self._book, state, board, key.period)
            if members.names:
                turn = _given_away(outgoing)
                outgoing.turn = await self._boards.rebuild(key, order_of(board), sequence, members.rows(), turn=turn)
                return
            if await self._boards.has(key):
                outgoing.turn = await self._boards.drop(key, turn=_given_away(outgoing))
        except BaseException:
            outgoing.to_be_whole(key)
            raise
        # One with nobody on it is not kept in mind: anybody may ask for any period.
        if key in outgoing.rows:
            outgoing.to_be_whole(key)
        outgoing.live.pop(key, None)

    async def _drop(self, outgoing: Outgoing, key: BoardKey) -> None:
        outgoing.to_be_whole(key)
        del outgoing.whole[key]
        outgoing.turn = await self._boards.drop(key, turn=_given_away(outgoing))


def _given_away(outgoing: Outgoing) -> Turn:
    """The turn to write under. Until the write is known to be done there is none."""
    turn, outgoing.turn = outgoing.turn, None
    assert turn is not None, "whoever writes has begun"
    return turn


def _kind(state: TenantState, period: str) -> str:
    """The kind of a period; none for a range that a new program no longer has."""
    try:
        return state.kind_of(period)
    except Rejected:
        return ""


def _is_kept(state: TenantState, key: BoardKey) -> bool:
    """Whether the program has this board in this period."""
    board = state.program.boards.get(key.board)
    return board is not None and _kind(state, key.period) in board.periods


_row: Callable[[tuple[str, tuple[int], int]], Row] = partial(tuple.__new__, Row)
"""`Row(*columns)` without the detour through Python, because most of what is published comes this way."""


def _rows(tables: list[Table | None], starts: list[int]) -> list[Row]:
    """The rows of every member that has something changed, absolutely."""
    if len(tables) == 1:
        (only,) = tables
        if only is None:
            return []
        return [_row((subject, (value,), sequence)) for subject, (value, sequence) in only.changed.items()]
    reached: dict[str, int] = {}
    for table in tables:
        for subject, (_, sequence) in table.changed.items() if table is not None else ():
            reached[subject] = max(sequence, reached.get(subject, 0))
    columns = [(table if table is not None else {}, start) for table, start in zip(tables, starts, strict=True)]
    return [
        Row(subject, tuple([column.get(subject, start) for column, start in columns]), sequence)
        for subject, sequence in reached.items()
    ]
