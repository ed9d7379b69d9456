"""Who gains and who loses what when a tenant's whole history is folded by another program.

Two books are gone through once, in the order of their keys; of each metric and badge the largest changes are kept, the
others are counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from heapq import nsmallest
from typing import Any

from msgspec import Struct

from accrue.book.base import Checkpoint
from accrue.book.snapshot import Row, Shape, Snapshot
from accrue.core.arithmetic import CONTEXT
from accrue.core.program import Program
from accrue.core.ranking import sort_key
from accrue.core.rule import Board
from accrue.core.tally import shown as amount_shown
from accrue.errors import Rejected
from accrue.process.close import order_of
from accrue.process.replay.archived import archive_of
from accrue.process.replay.boards import member_rows
from accrue.process.replay.compare import Comparison, shown
from accrue.process.replay.rebuild import Order, whole_archive
from accrue.process.replay.refold import refolding
from accrue.process.replay.report import OnStep
from accrue.process.replay.scratch import Workshop
from accrue.process.state import TenantState
from accrue.process.world import Memory, World

NAMED_MAX = 5
"""Subjects that are named for each metric and badge, on each side."""

TOP = 10
TRIED = "tried"
COMPACT_AT = 1_000
"""Candidates that are held for each side before only the largest are kept."""

Amount = int | str


class Moved(Struct, frozen=True):
    """One subject's total of a metric, before and after. None: it has none."""

    subject: str
    before: Amount | None
    after: Amount | None


class MetricEffect(Struct, frozen=True):
    """What becomes of a metric over all time: how many subjects change, by how much in all, and the largest changes."""

    metric: str
    subjects: int
    gaining: int
    losing: int
    net: Amount
    gains: list[Moved]
    losses: list[Moved]


class BadgeEffect(Struct, frozen=True):
    """Who wins a badge and who loses it; the first of each are named."""

    badge: str
    level: str
    won: int
    lost: int
    winners: list[str]
    losers: list[str]


class RankMove(Struct, frozen=True):
    """Where a member stands. None: not on the board."""

    subject: str
    before: int | None
    after: int | None


class BoardEffect(Struct, frozen=True):
    """The top ten of a board, before and after, best of `after` first; only those who are not where they were."""

    board: str
    period: str
    top: list[RankMove]


class Effect(Struct, frozen=True, kw_only=True):
    """What a program would change. `streaks` and `attributes` count the subjects whose own changes, by name."""

    tenant: str
    position: int
    metrics: list[MetricEffect]
    badges: list[BadgeEffect]
    boards: list[BoardEffect]
    streaks: dict[str, int]
    attributes: dict[str, int]

    @property
    def is_none(self) -> bool:
        """Whether nothing changes at all."""
        return not (self.metrics or self.badges or self.boards or self.streaks or self.attributes)


async def try_out(
    found: Snapshot, checkpoint: Checkpoint, shop: Workshop, order: Order, old: Program, *, on_step: OnStep
) -> Effect:
    """Fold the archive into a book that is thrown away, and say what would change. Raises `Corrupt` when the archive
    is not whole."""
    history = await whole_archive(found, checkpoint, on_step=on_step)
    instead = {**history.instead, order.tenant: order.instead}
    log, book = archive_of(found, checkpoint), await shop.scratch.fresh(TRIED)
    try:
        async with refolding(log, book, shop, instead=instead) as fold:
            await fold.reach(checkpoint.position, partial(on_step, "fold", of=history.events))
    finally:
        await log.close()
        await book.close()
    tried = await shop.scratch.snapshot(TRIED)
    try:
        return await effect(order, old, found, tried, position=checkpoint.position)
    finally:
        await tried.close()


async def effect(order: Order, old: Program, before: Snapshot, after: Snapshot, *, position: int) -> Effect:
    """The differences of two books for the tenant that an order concerns."""
    tenant, new = order.tenant, order.instead.program
    shapes = {shape.name: shape for shape in await after.shapes()}
    metrics: dict[str, _Metric] = {}
    badges: dict[tuple[str, str], _Badge] = {}
    streaks: dict[str, int] = {}
    attributes: dict[str, int] = {}
    for name in ("tallies", "awards", "streaks", "attributes"):
        shape = shapes[name]
        async for was, now in Comparison(shape, before, after).pairs():
            a, b = _named(shape, was), _named(shape, now)
            key = a or b
            if key["tenant"] != tenant:
                continue
            if name == "tallies":
                if key["period"] == "all" and "." not in key["metric"]:
                    _metric(metrics, key["metric"], old, new).take(key["subject"], a.get("value"), b.get("value"))
            elif name == "awards":
                held = [bool(side) and not side["revoked"] for side in (a, b)]
                badge = badges.setdefault((key["badge"], key["level"]), _Badge())
                badge.take(key["holder"] or key["subject"], was=held[0], now=held[1])
            elif name == "streaks":
                streaks[key["streak"]] = streaks.get(key["streak"], 0) + 1
            else:
                attributes[key["attribute"]] = attributes.get(key["attribute"], 0) + 1
    return Effect(
        tenant=tenant,
        position=position,
        metrics=[metric.effect(name) for name, metric in sorted(metrics.items()) if metric.subjects],
        badges=[badge.effect(*key) for key, badge in sorted(badges.items()) if badge.won or badge.lost],
        boards=await _boards(tenant, old, new, before, after),
        streaks=dict(sorted(streaks.items())),
        attributes=dict(sorted(attributes.items())),
    )


class _Metric:
    """One metric, while the books are gone through. Amounts are in whole units, because the scale may change."""

    def __init__(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        self._before, self._after = before, after  # scale, and what a subject without a tally has
        self.subjects = self._gaining = self._losing = 0
        self._net = Decimal(0)
        self._gains: list[tuple[Decimal, str, Moved]] = []
        self._losses: list[tuple[Decimal, str, Moved]] = []

    def take(self, subject: str, was: int | None, now: int | None) -> None:
        change = _units(now, *self._after) - _units(was, *self._before)
        if not change:
            return
        moved = Moved(
            subject,
            None if was is None else amount_shown(was, self._before[0]),
            None if now is None else amount_shown(now, self._after[0]),
        )
        self.subjects += 1
        self._net += change
        side = self._gains if change > 0 else self._losses
        self._gaining, self._losing = self._gaining + (change > 0), self._losing + (change < 0)
        side.append((-abs(change), subject, moved))
        if len(side) >= COMPACT_AT:
            side[:] = nsmallest(NAMED_MAX, side, key=_largest_first)

    def effect(self, name: str) -> MetricEffect:
        gains, losses = (
            [moved for _, _, moved in nsmallest(NAMED_MAX, side, key=_largest_first)]
            for side in (self._gains, self._losses)
        )
        net: Amount = int(self._net) if self._net == int(self._net) else str(self._net.normalize())
        return MetricEffect(name, self.subjects, self._gaining, self._losing, net, gains, losses)


class _Badge:
    """One badge, while the books are gone through."""

    def __init__(self) -> None:
        self.won = self.lost = 0
        self._winners: list[str] = []
        self._losers: list[str] = []

    def take(self, who: str, *, was: bool, now: bool) -> None:
        if was == now:
            return
        self.won, self.lost = self.won + now, self.lost + was
        names = self._winners if now else self._losers
        if len(names) < NAMED_MAX:
            names.append(who)

    def effect(self, badge: str, level: str) -> BadgeEffect:
        return BadgeEffect(badge, level, self.won, self.lost, self._winners, self._losers)


def _metric(metrics: dict[str, _Metric], name: str, old: Program, new: Program) -> _Metric:
    found = metrics.get(name)
    if found is None:
        sides = [
            (metric.scale, metric.initial) if (metric := program.metrics.get(name)) else (0, 0)
            for program in (old, new)
        ]
        found = metrics[name] = _Metric(*sides)
    return found


async def _boards(tenant: str, old: Program, new: Program, before: Snapshot, after: Snapshot) -> list[BoardEffect]:
    found = []
    for name in {**old.boards, **new.boards}:
        board = new.boards.get(name) or old.boards[name]
        for period in await _newest(tenant, new if name in new.boards else old, board, before, after):
            was = await _ranks(tenant, old, old.boards.get(name), before, period)
            now = await _ranks(tenant, new, new.boards.get(name), after, period)
            concerned = {**dict.fromkeys(_top(now)), **dict.fromkeys(_top(was))}
            top = [RankMove(subject, was.get(subject), now.get(subject)) for subject in concerned]
            top = [move for move in top if move.before != move.after]
            if top:
                found.append(BoardEffect(name, period, top))
    return found


async def _newest(tenant: str, program: Program, board: Board, before: Snapshot, after: Snapshot) -> list[str]:
    """Of each kind of period that a board is kept for, the one that ends last."""
    newest: dict[str, tuple[int, str]] = {}
    for snapshot in (before, after):
        for row in (await snapshot.start(0)).periods:
            if row.tenant == tenant:
                try:
                    period = program.calendar.parse(row.period)
                except Rejected:
                    continue
                if period.kind in board.periods:
                    newest[period.kind] = max(newest.get(period.kind, (0, "")), (period.end_us, row.period))
    return [newest[kind][1] for kind in board.periods if kind in newest]


async def _ranks(tenant: str, program: Program, board: Board | None, book: Snapshot, period: str) -> dict[str, int]:
    """Every member's competition rank, best first."""
    if board is None:
        return {}
    state = TenantState(tenant, program, partial=(), remembers=World(Memory()).remembers())
    ranks: dict[str, int] = {}
    above: tuple[int, ...] | None = None
    rank = 0
    rows = sorted(await member_rows(book, state, board, period), key=sort_key(order_of(board)))
    for place, row in enumerate(rows, start=1):
        if row.scores != above:
            rank, above = place, row.scores
        ranks[row.subject] = rank
    return ranks


def _top(ranks: dict[str, int]) -> Iterable[str]:
    return list(ranks)[:TOP]


def _named(shape: Shape, row: Row | None) -> dict[str, Any]:
    return {} if row is None else {name: shown(cell) for name, cell in zip(shape.columns, row, strict=True)}


def _units(value: int | None, scale: int, start: int) -> Decimal:
    return Decimal(start if value is None else value).scaleb(-scale, context=CONTEXT)


def _largest_first(entry: tuple[Decimal, str, Moved]) -> tuple[Decimal, str]:
    return entry[0], entry[1]
