"""Boards in Redis: sorted sets and hashes that a person can read, written and read by small scripts (lua/).

    publish --> publish.lua --> {tenant}:order:writers/all, {tenant}:rows:writers/all   <-- page.lua, ranks.lua
                   |
                   +-- first compares {tenant}:mark with the turn that the publisher holds (lua/fence.lua)

A script is one moment for Redis: it sees and leaves no half. A call takes as many rows as Redis sets in about a
millisecond, because it does nothing else meanwhile; a larger publication is several calls, each a step of the turn, so
that none can be missing before the last one moves the mark. Nobody remembers anything here: what this process knows of
the boards it is told with each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any, NamedTuple, NoReturn

import msgspec
import structlog

from accrue.boards.base import ANY, Abilities, Begun, BoardKey, Change, Mark, Page, RankOf, Seen, Turn, Usage
from accrue.boards.nearest import board_name, not_found
from accrue.boards.redis_cursor import After, after_cursors
from accrue.boards.redis_layout import board_key, check, columns, keys, read_what, row_of, tag, what_text
from accrue.boards.redis_usage import usage_of
from accrue.boards.turns import another_log, fenced, lost
from accrue.connect.redis import RedisClient, Said, Script
from accrue.connect.redis_address import address_of
from accrue.core.ranking import Order, Row, Standing, Style
from accrue.errors import Gone, NotFound, Rejected, Unavailable

ROWS_PER_CALL = 200
"""Redis is busy with so many rows for 1 ms, or 2 on a board of a million members."""
RANKS_PER_CALL = 75
"""Likewise for 0.5 ms, or 2 when the board has several metrics."""
BOARDS_PER_CALL = 100
STAGED_S = 3_600
"""What was staged by a worker that died in the middle of it goes by itself after this."""
DENSE_MEMBERS_MAX = 2_500
"""A dense rank counts the different scores above, so Redis has to walk through them: 1 to 2 ms for so many."""
PLACE_MAX = 2**53
TENANTS_AT_ONCE = 16

ABILITIES = Abilities(
    snapshots=False, dense_members_max=DENSE_MEMBERS_MAX, shared=True, tenants_at_once=TENANTS_AT_ONCE
)

logger = structlog.get_logger("accrue.boards")


def _script(*names: str, errors: Sequence[str]) -> Script:
    folder = files("accrue.boards") / "lua"
    return Script("".join((folder / f"{name}.lua").read_text() for name in names), errors=errors)


BEGIN = _script("begin", errors=["FENCED", "LOST", "ANOTHER"])
PUBLISH = _script("fence", "publish", errors=["FENCED", "LOST"])
STAGE = _script("fence", "stage", errors=["FENCED", "LOST"])
SWAP = _script("fence", "swap", errors=["FENCED", "LOST"])
DROP = _script("fence", "drop", errors=["FENCED", "LOST"])
PAGE = _script("standing", "page", errors=["DENSE", "NOBODY"])
RANKS = _script("standing", "ranks", errors=["DENSE"])


class RedisBoards:
    """The `Boards` of every process that names the same Redis and the same deployment."""

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name

    @classmethod
    async def open(cls, url: str) -> RedisBoards:
        """Connect. Raises `Misconfigured` for a wrong URL, and for a server that boards cannot be kept on.

        One that does not answer now is asked when it is first written to: the engine starts without it.
        """
        client = RedisClient(address_of(url))
        try:
            await client.check()
        except Unavailable as error:
            logger.warning("the boards are out of reach", reason=error.detail)
        except BaseException:
            await client.close()
            raise
        return cls(client, client.address.name)

    @property
    def abilities(self) -> Abilities:
        return ABILITIES

    # --- writing ------------------------------------------------------------------------------------------------------

    async def begin(self, tenant: str, turn: Turn, *, log: str) -> Begun:
        await self._client.check()
        head = tag(self._name, tenant)
        try:
            answer = await self._client.run(BEGIN, [f"{head}:mark", f"{head}:boards"], [turn.epoch, turn.number, log])
        except Said as said:
            if said.word == "ANOTHER":
                raise another_log(tenant) from said
            _refused(tenant, turn, said)
        epoch, position, listed = answer
        found = None if epoch is None else Mark(int(epoch), int(position))
        there = zip(listed[::2], listed[1::2], strict=True)
        boards = {board_key(tenant, field): read_what(what).program for field, what in there}
        return Begun(turn=turn, found=found, boards=boards)

    async def publish(self, tenant: str, changes: Sequence[Change], *, turn: Turn, position: int) -> Turn:
        calls, head = list(_calls(changes)), tag(self._name, tenant)
        for number, pieces in enumerate(calls, start=1):
            places = [keys(self._name, piece.change.key) for piece in pieces]
            names = [f"{head}:mark", f"{head}:boards"]
            names += [name for place in places for name in (place.order, place.rows)]
            blob = _encoder.encode([piece.told(place.field) for piece, place in zip(pieces, places, strict=True)])
            mark = position if number == len(calls) else ""
            turn = await self._write(PUBLISH, tenant, names, [mark, blob], turn)
        return turn

    async def rebuild(
        self, key: BoardKey, order: Order, program: int, batches: Iterable[Sequence[Row]], *, turn: Turn
    ) -> Turn:
        place, members = keys(self._name, key), 0
        for number, rows in enumerate(_batches(order, batches)):
            blob = _encoder.encode(columns(order, rows))
            names = [place.mark, place.new_order, place.new_rows]
            turn = await self._write(STAGE, key.tenant, names, [int(number == 0), STAGED_S, blob], turn)
            members += len(rows)
        names = [place.mark, place.boards, place.order, place.rows, place.new_order, place.new_rows]
        return await self._write(SWAP, key.tenant, names, [place.field, what_text(order, program), members], turn)

    async def drop(self, key: BoardKey, *, turn: Turn) -> Turn:
        place = keys(self._name, key)
        names = [place.mark, place.boards, place.order, place.rows]
        return await self._write(DROP, key.tenant, names, [place.field], turn)

    async def _write(
        self, script: Script, tenant: str, names: Sequence[str], arguments: Sequence[str | int | bytes], turn: Turn
    ) -> Turn:
        """One call, which is one step of the turn."""
        try:
            await self._client.run(script, names, [*turn, *arguments])
        except Said as said:
            _refused(tenant, turn, said)
        return turn._replace(step=turn.step + 1)

    # --- reading ------------------------------------------------------------------------------------------------------

    def place_of(self, tenant: str) -> str:
        return self._client.place_of(f"{tag(self._name, tenant)}:mark")

    async def marks(self, tenants: Sequence[str]) -> list[Mark | None]:
        commands = [("HMGET", f"{tag(self._name, tenant)}:mark", "epoch", "position") for tenant in tenants]
        return [
            None if epoch is None else Mark(int(epoch), int(position))
            for epoch, position in await self._client.many(commands)
        ]

    async def usage(self, tenant: str) -> Usage:
        return await usage_of(self._client, self._name, tenant)

    async def has(self, key: BoardKey, *, program: int | None = None) -> bool:
        place = keys(self._name, key)
        what = await self._client.one("HGET", place.boards, place.field)
        return what is not None and program in (None, read_what(what).program)

    async def page(
        self,
        key: BoardKey,
        *,
        limit: int,
        offset: int,
        cursor: str | None,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        rows = min(max(limit, 0), PLACE_MAX)
        if cursor is None:
            return await self._page(key, style, now_us, [rows, "from", min(max(offset, 0), PLACE_MAX)])
        after = after_cursors.decode(cursor, key)
        return await self._page(key, after.style, now_us, [rows, "below", after.member, after.score], after.order)

    async def around(
        self,
        key: BoardKey,
        subject: str,
        *,
        before: int,
        after: int,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        before, after = max(before, 0), max(after, 0)
        return await self._page(key, style, now_us, [before + 1 + after, "around", subject, before])

    async def ranks(
        self, key: BoardKey, subjects: Sequence[str], *, style: Style, now_us: int, seen: Seen = ANY
    ) -> list[RankOf]:
        asked = list(dict.fromkeys(subjects))
        if not asked:
            await self._read(PAGE, key, style, [0, "from", 0])
            return []
        told = []
        for start in range(0, len(asked), RANKS_PER_CALL):
            what, _, members, rows = await self._read(RANKS, key, style, asked[start : start + RANKS_PER_CALL])
            told += [_Told(members, *row) for row in rows]
        return _ranks_of(read_what(what).as_order, style, sorted(told, key=lambda row: (int(row.score), row.member)))

    async def close(self) -> None:
        await self._client.close()

    async def _page(
        self, key: BoardKey, style: Style, now_us: int, asked: list[str | int], ordered: Order | None = None
    ) -> Page:
        try:
            what, position, members, start, first, dense, told = await self._read(PAGE, key, style, asked)
        except Said:
            raise NotFound(f"{asked[2]!r} is not on the board {board_name(key)!r}.", field="subject") from None
        order = read_what(what).as_order
        if ordered not in (None, order):
            raise Gone("The board is ordered otherwise now; start paging again.", field="cursor")
        standings: list[Standing] = []
        for place, (member, score) in enumerate(zip(told[::2], told[1::2], strict=True), start=start + 1):
            subject, scores = row_of(order, member, score)
            if standings and scores != standings[-1].scores:
                first, dense = place - 1, dense + 1
            rank = {"ordinal": place, "competition": first + 1, "dense": dense}[style]
            standings.append(Standing(rank, place, subject, scores))
        cursor = None
        if standings and standings[-1].place < members:
            after = After(order=order, member=told[-2], score=told[-1], style=style)
            cursor = after_cursors.encode(after, key)
        return Page(standings=standings, members=members, epoch=int(position or 0), as_of_us=now_us, cursor=cursor)

    async def _read(self, script: Script, key: BoardKey, style: Style, asked: Sequence[str | int]) -> Any:
        """What a script answers. Raises `NotFound` for a board that is not here, and `Rejected` for one too large."""
        place = keys(self._name, key)
        names = [place.mark, place.boards, place.order, place.rows]
        try:
            answer = await self._client.run(script, names, [place.field, style, DENSE_MEMBERS_MAX, *asked])
        except Said as said:
            if said.word != "DENSE":
                raise
            raise Rejected(
                f"The board has {said.rest} members, and dense ranks are for up to {DENSE_MEMBERS_MAX} in Redis. "
                "Ask for style=competition.",
                field="style",
            ) from None
        if answer is None:
            listed = await self._client.one("HKEYS", place.boards)
            raise not_found(key, [board_key(key.tenant, field) for field in sorted(listed)])
        return answer


class _Piece(NamedTuple):
    """Some rows and some removals of a change, for one call."""

    change: Change
    rows: Sequence[Row]
    removed: Sequence[str]
    new: bool

    def told(self, field: str) -> list[Any]:
        """As publish.lua takes it."""
        change = self.change
        plain, subjects, prefixes, scores = columns(change.order, self.rows)
        what = what_text(change.order, change.program)
        return [field, what, self.new, plain, subjects, prefixes, scores, self.removed]


def _calls(changes: Sequence[Change]) -> Iterator[list[_Piece]]:
    """The changes cut into calls. Raises `Rejected` before anything is sent. There is at least one call."""
    call: list[_Piece] = []
    size = 0
    for piece in [piece for change in changes for piece in _pieces(change)]:
        rows = len(piece.rows) + len(piece.removed)
        if call and (size + rows > ROWS_PER_CALL or len(call) == BOARDS_PER_CALL):
            yield call
            call, size = [], 0
        call.append(piece)
        size += rows
    yield call


def _pieces(change: Change) -> Iterator[_Piece]:
    check(change.order, change.rows)
    rows = change.rows
    if len({row.subject for row in rows}) < len(rows):
        rows = list({row.subject: row for row in rows}.values())
    yield _Piece(change, rows[:ROWS_PER_CALL], (), change.new)
    for start in range(ROWS_PER_CALL, len(rows), ROWS_PER_CALL):
        yield _Piece(change, rows[start : start + ROWS_PER_CALL], (), False)
    for start in range(0, len(change.removed), ROWS_PER_CALL):
        yield _Piece(change, (), change.removed[start : start + ROWS_PER_CALL], False)


def _batches(order: Order, batches: Iterable[Sequence[Row]]) -> Iterator[Sequence[Row]]:
    """Pieces of a whole board, at least one."""
    none = True
    for rows in batches:
        check(order, rows)
        for start in range(0, len(rows), ROWS_PER_CALL):
            none = False
            yield rows[start : start + ROWS_PER_CALL]
    if none:
        yield ()


class _Told(NamedTuple):
    """A row of ranks.lua, and how many members the board had then. Places are from 0."""

    members: int
    place: int
    first: int
    dense: int
    member: str
    score: str


def _ranks_of(order: Order, style: Style, rows: Sequence[_Told]) -> list[RankOf]:
    """`rows` best first."""
    ranks: list[RankOf] = []
    relative, distinct = 0, 0
    for number, row in enumerate(rows, start=1):
        subject, scores = row_of(order, row.member, row.score)
        if style == "ordinal" or not ranks or scores != ranks[-1].standing.scores:
            relative, distinct = number, distinct + 1
        rank = {"ordinal": row.place + 1, "competition": row.first + 1, "dense": row.dense}[style]
        ranks.append(
            RankOf(
                Standing(rank, row.place + 1, subject, scores),
                distinct if style == "dense" else relative,
                100 * (row.members - row.first) / row.members,
            )
        )
    return ranks


def _refused(tenant: str, turn: Turn, said: Said) -> NoReturn:
    if said.word == "FENCED":
        raise fenced(tenant, int(said.rest), turn.epoch) from said
    raise lost(tenant) from said


_encoder = msgspec.msgpack.Encoder()
