"""Closing a period: its final standings, once and for ever.

A period is closed by an `accrue.close` record, never by a clock, so every replay closes it at the same place. The
standings are computed from the book with what memory has newer over it, and written by the next settlement.
Closing again changes nothing; what arrives later counts, and the standings stay what they were.
"""

from __future__ import annotations

from itertools import chain

import msgspec

from accrue.book.base import Book, ResultRow
from accrue.core.arithmetic import Failure
from accrue.core.ranking import Order, Row, standings
from accrue.core.rule import Board
from accrue.core.table import TableKey
from accrue.process.state import TenantState
from accrue.process.world import World


async def close_period(world: World, book: Book, state: TenantState, period: str, sequence: int) -> None:
    """Write down the final standings of every board in this period. Raises `Failure` for an unknown period."""
    row = world.periods.get((state.tenant, period))
    if row is None:
        raise Failure(f"nothing was ever counted in the period {period!r}")
    if row.closed:
        return
    kind = state.kind_of(period)
    results: list[ResultRow] = []
    for board in state.program.boards.values():
        if kind in board.periods and kind != "all":
            rows = await board_rows(book, state, board, period)
            final = standings(rows.values(), order_of(board), "competition")
            results += [
                ResultRow(
                    state.tenant,
                    board.name,
                    period,
                    standing.place,
                    standing.rank,
                    standing.subject,
                    msgspec.json.encode(standing.scores).decode(),
                )
                for standing in final
            ]
    world.results += results
    world.put_period(row._replace(closed=sequence))


def order_of(board: Board) -> Order:
    """The order of a board's rows, as the read model wants it."""
    return Order(tuple(key.descending for key in board.order), board.ties)


def starting_scores(state: TenantState, board: Board, period: str) -> list[int]:
    """What a member without a tally of a metric has, for each metric of the order."""
    return [state.program.metrics[key.metric].initial if period == "all" else 0 for key in board.order]


async def board_rows(book: Book, state: TenantState, board: Board, period: str) -> dict[str, Row]:
    """Every member of a board in a period: whoever has a tally of any of its metrics there.

    From the book, with memory's newer values over it.

    Consistent at the instant it returns: what the fold changes meanwhile is taken from memory, last.
    """
    while True:
        before = state.settlements
        scores, reached = await _settled_scores(book, state.tenant, board, period)
        if state.settlements == before:  # else what was read may be older than what memory still knows as changed
            break
    for column, key in zip(scores, board.order, strict=True):
        table = state.tables.get(TableKey("tally", key.metric, period))
        if table is not None:
            column.update(table)
            for subject, (_, sequence) in state.unsettled(table).items():
                reached[subject] = max(sequence, reached.get(subject, 0))
    columns = list(zip(scores, starting_scores(state, board, period), strict=True))
    return {
        subject: Row(subject, tuple([column.get(subject, start) for column, start in columns]), reached.get(subject, 0))
        for subject in dict.fromkeys(chain.from_iterable(scores))
    }


async def _settled_scores(
    book: Book, tenant: str, board: Board, period: str
) -> tuple[list[dict[str, int]], dict[str, int]]:
    """For each key of the order the scores that the book has, and when each subject last changed."""
    scores: list[dict[str, int]] = []
    reached: dict[str, int] = {}
    for key in board.order:
        column: dict[str, int] = {}
        async for rows in book.tallies(tenant, key.metric, period):
            for row in rows:
                column[row.subject] = row.value
                reached[row.subject] = max(row.reached, reached.get(row.subject, 0))
        scores.append(column)
    return scores, reached
