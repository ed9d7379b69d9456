"""Everything that can be seen of a tenant, as one flat mapping: so two runs are compared, and a difference is named."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from accrue.boards.base import BoardKey
from accrue.core.ranking import Style
from accrue.core.streak import Streak
from accrue.errors import Rejected
from accrue.wiring import Alone

STYLES: tuple[Style, ...] = ("ordinal", "competition", "dense")
ROWS_MAX = 1_000
"""So many rows of a board are looked at."""

Outcome = dict[str, object]
"""What it is -> what it says: `tally points 2026-W47 ada` -> 12."""


async def outcome(
    parts: Alone, tenant: str, subjects: Collection[str], *, periods: Collection[str] | None = None
) -> Outcome:
    """What a running deployment shows now. Streaks and attributes of these subjects, in these periods or in all."""
    known = ["all", *(period for owner, period in parts.worker.world.periods if owner == tenant and period != "all")]
    looked_at = [period for period in known if periods is None or period in periods]
    found: Outcome = {}
    for period in looked_at:
        found.update(await _tallies(parts, tenant, period))
        found.update(await _boards(parts, tenant, period))
    async for rows in parts.live.awards(tenant):
        for row in rows:
            found[f"award {row.badge} {row.level} {row.subject}"] = (row.holder, row.time_us)
    for subject in subjects:
        for key, cell in (await parts.live.cells(tenant, subject, [])).items():
            if key.kind == "streak" and isinstance(cell, Streak):
                found[f"streak {key.name} {subject}"] = (cell.current, cell.longest)
            elif key.kind == "attribute":
                found[f"attribute {key.part} {key.name} {subject}"] = cell
    return found


def differences(found: Outcome, expected: Outcome) -> Iterator[str]:
    """A line for everything in which two outcomes differ."""
    for name in sorted({*found, *expected}):
        if name not in found or name not in expected or found[name] != expected[name]:
            yield f"{name}: {found.get(name, 'nothing')!r}, expected {expected.get(name, 'nothing')!r}"


async def _tallies(parts: Alone, tenant: str, period: str) -> Outcome:
    program, found = parts.live.program(tenant), Outcome()
    kind = _kind(parts, tenant, period)
    for metric in program.metrics.values():
        if kind in metric.periods:
            async for rows in parts.queries.tallies(tenant, metric.name, period=period):
                found.update({f"tally {metric.name} {period} {subject}": value for subject, value in rows})
    return found


async def _boards(parts: Alone, tenant: str, period: str) -> Outcome:
    """The pages in every style; of a closed period the final standings, and the live board that goes on beside it."""
    program, found = parts.live.program(tenant), Outcome()
    kind = _kind(parts, tenant, period)
    for board in program.boards.values():
        if kind not in board.periods:
            continue
        final = await parts.live.results(tenant, board.name, period)
        if final:
            page = await parts.queries.board(tenant, board.name, period=period, limit=ROWS_MAX)
            found[f"final {board.name} {period}"] = [(row.rank, row.subject, row.values) for row in page.rows]
        await parts.live.ensure_board(tenant, board, period)
        key = BoardKey(tenant, board.name, period)
        if await parts.boards.has(key):
            for style in STYLES:
                shown = await parts.boards.page(key, limit=ROWS_MAX, offset=0, cursor=None, style=style, now_us=0)
                rows = [(row.rank, row.subject, row.scores) for row in shown.standings]
                found[f"board {board.name} {period} {style}"] = rows
    return found


def _kind(parts: Alone, tenant: str, period: str) -> str | None:
    try:
        return parts.live.program(tenant).calendar.parse(period).kind
    except Rejected:  # a range, or an hour of another zone, that the program of now does not have
        return None
