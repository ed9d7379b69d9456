"""The error for a board that is not there: it names the nearest one of the same tenant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from accrue.boards.base import BoardKey
from accrue.errors import NotFound

NEAREST_CANDIDATES_MAX = 1_000
"""How many names are compared to find the nearest to an unknown one."""


def board_name(key: BoardKey) -> str:
    """How errors name a board."""
    return f"{key.board}/{key.period}"


def not_found(key: BoardKey, boards: Iterable[BoardKey]) -> NotFound:
    """Names the nearest board of the same tenant: the same board in another period, before another board."""
    candidates = list(islice(boards, NEAREST_CANDIDATES_MAX))
    named = {other.board for other in candidates}
    board = key.board if key.board in named else _nearest(key.board, named)
    period = _nearest(key.period, {other.period for other in candidates if other.board == board}, cutoff=0.0)
    nearest = None if board is None or period is None else board_name(BoardKey(key.tenant, board, period))
    field = "period" if key.board in named else "board"
    return NotFound(f"There is no board {board_name(key)!r}.", field=field, nearest=nearest)


def _nearest(word: str, words: set[str], *, cutoff: float = 0.5) -> str | None:
    return next(iter(get_close_matches(word, sorted(words), n=1, cutoff=cutoff)), None)
