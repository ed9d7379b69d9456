"""Answers about a closed period: its final standings, with what late events would have made of them beside.

The standings never change, so a cursor into them is only a place, and holds for ever.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import NamedTuple, get_args

import msgspec

from accrue.boards.base import unknown_cursor
from accrue.book.base import ResultRow
from accrue.core.period import Period
from accrue.core.program import Program
from accrue.core.ranking import Style
from accrue.core.rule import Board
from accrue.core.tally import shown
from accrue.errors import NotFound
from accrue.process.base import FinalStandings
from accrue.serve.answers import BoardPage, BoardRow, Correction, Quantity, RankRow, Ranks, iso

CORRECTIONS_MAX = 100
"""How many corrections an answer lists."""

PREFIX = "final."
"""What a live cursor never begins with: it has no dots."""

CURSOR = re.compile(re.escape(PREFIX) + r"(\d{1,15})\.([a-z]{1,20})\.([0-9a-f]{16})", re.ASCII)


class Final(NamedTuple):
    """One board in one closed period, and the shapes its numbers are shown in: those of the program in force."""

    tenant: str
    standings: FinalStandings
    program: Program
    board: Board
    period: Period


def is_cursor(text: str) -> bool:
    """Whether a cursor leads into final standings. Those of live snapshots never look so."""
    return text.startswith(PREFIX)


async def page(final: Final, *, limit: int, offset: int, cursor: str | None, style: Style) -> BoardPage:
    """A page from `offset` (0 is the first), or from where the cursor ends, in its style. Raises `Rejected` for a
    cursor that was not handed out for this."""
    if cursor is not None:
        offset, style = _decoded(final, cursor)
    rows = await final.standings.page(first=offset + 1, rows=limit)
    return _page(final, rows, style, await _corrections(final, None))


async def around(final: Final, subject: str, *, before: int, after: int, style: Style) -> BoardPage:
    """The rows just above and below one member. Raises `NotFound` when it is not in the standings."""
    found = await final.standings.of([subject])
    if not found:
        where = f"the final standings of {final.board.name!r} in {final.period.id!r}"
        raise NotFound(f"{subject!r} is not in {where}.", field="subject")
    first = max(found[0].place - before, 1)
    rows = await final.standings.page(first=first, rows=found[0].place + after - first + 1)
    return _page(final, rows, style, await _corrections(final, [row.subject for row in rows]))


async def ranks(final: Final, subjects: Collection[str], *, style: Style) -> Ranks:
    """Where these stand in the final standings, and among each other."""
    found = await final.standings.of(subjects)
    ranked: list[RankRow] = []
    relative = dense = 0
    for at, row in enumerate(found):
        if style == "ordinal" or at == 0 or row.rank != found[at - 1].rank:
            relative, dense = at + 1, dense + 1
        above = (row.place if style == "ordinal" else row.rank) - 1
        percentile = 100.0 * (final.standings.members - above) / final.standings.members
        line = _row(final, row, style)
        among = dense if style == "dense" else relative
        ranked.append(RankRow(line.rank, line.subject, line.values, among, percentile))
    there = {row.subject for row in found}
    return Ranks(
        board=final.board.name,
        period=final.period.id,
        ranks=ranked,
        missing=[subject for subject in dict.fromkeys(subjects) if subject not in there],
        final=True,
        corrections=await _corrections(final, subjects),
    )


def _page(final: Final, rows: Sequence[ResultRow], style: Style, corrections: list[Correction]) -> BoardPage:
    board, period, members = final.board, final.period, final.standings.members
    return BoardPage(
        board=board.name,
        period=period.id,
        metrics=[key.metric for key in board.order],
        rows=[_row(final, row, style) for row in rows],
        members=members,
        as_of=iso(period.end_us),
        epoch=0,
        cursor=_cursor(final, rows[-1].place, style) if rows and rows[-1].place < members else None,
        final=True,
        corrections=corrections[:CORRECTIONS_MAX],
        more_corrections=len(corrections) > CORRECTIONS_MAX,
    )


async def _corrections(final: Final, subjects: Collection[str] | None) -> list[Correction]:
    """What late events changed: of these subjects, or of the first few that there are (one more than are shown)."""
    rows = CORRECTIONS_MAX + 1 if subjects is None else len(subjects)
    late = await final.standings.late(final.board, subjects=subjects, rows=rows)
    given = {row.subject: row for row in await final.standings.of([subject for subject, _ in late])}
    corrections = []
    for subject, scores in late:
        row = given.get(subject)
        before = None if row is None else _scores(row)
        if before != scores:
            corrections.append(
                Correction(
                    subject=subject,
                    rank=None if row is None else row.rank,
                    final=None if before is None else _shown(final, before),
                    corrected=_shown(final, scores),
                )
            )
    return corrections


def _row(final: Final, row: ResultRow, style: Style) -> BoardRow:
    rank = {"ordinal": row.place, "competition": row.rank, "dense": row.dense}[style]
    return BoardRow(rank, row.subject, _shown(final, _scores(row)))


def _scores(row: ResultRow) -> tuple[int, ...]:
    return msgspec.json.decode(row.scores, type=tuple[int, ...])


def _shown(final: Final, scores: tuple[int, ...]) -> list[Quantity]:
    kept = zip(scores, final.board.order, strict=False)  # standings of an older program may have other keys
    return [shown(score, final.program.metrics[key.metric].scale) for score, key in kept]


def _cursor(final: Final, place: int, style: Style) -> str:
    return f"{PREFIX}{place}.{style}.{_digest(final, place, style)}"


def _decoded(final: Final, cursor: str) -> tuple[int, Style]:
    """The place after which the page begins, and the style."""
    found = CURSOR.fullmatch(cursor)
    if found is not None:
        place, style, digest = int(found[1]), found[2], found[3]
        for known in get_args(Style):
            if known == style and digest == _digest(final, place, style):
                return place, known
    raise unknown_cursor()


def _digest(final: Final, place: int, style: str) -> str:
    """Against mistyping, and against cursors of another board; an offset may be asked for freely anyway."""
    named = msgspec.json.encode((final.tenant, final.board.name, final.period.id, place, style))
    return blake2b(named, digest_size=8).hexdigest()
