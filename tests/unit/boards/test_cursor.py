"""Cursors as text."""

from __future__ import annotations

import re

import pytest

from accrue.boards.base import BoardKey
from accrue.boards.cursor import Cursor, Sealed
from accrue.errors import Rejected

KEY = BoardKey("club", "writers", "all")
CURSORS = Sealed(Cursor)
CURSOR = Cursor(instance="5f0a", epoch=12, offset=2**31, style="dense")


def test_a_cursor_comes_back_as_it_was() -> None:
    assert CURSORS.decode(CURSORS.encode(CURSOR, KEY), KEY) == CURSOR


def test_a_cursor_fits_into_a_url() -> None:
    for offset in range(300):
        text = CURSORS.encode(Cursor(instance="5f0a", epoch=12, offset=offset, style="ordinal"), KEY)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", text)


@pytest.mark.parametrize(
    "key",
    [
        KEY._replace(tenant="guild"),
        KEY._replace(board="readers"),
        BoardKey("club", "writersall", ""),
        BoardKey("", "", ""),
    ],
)
def test_a_cursor_is_bound_to_its_board(key: BoardKey) -> None:
    with pytest.raises(Rejected) as refused:
        CURSORS.decode(CURSORS.encode(CURSOR, KEY), key)
    assert refused.value.field == "cursor"
