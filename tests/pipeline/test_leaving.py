"""Leaving takes a bounded time, also when the fold cannot go on; what it did not reach is there at the next start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from accrue import Accrue
from accrue.book.sqlite import SqliteBook
from accrue.errors import Unavailable

RULES = '[metrics.points]\n[[rules]]\non = "read"\ngive = [{ to = "actor", metric = "points" }]\n'


def opening(folder: Path) -> Any:
    (folder / "program.toml").write_text(RULES)
    return Accrue.open(program=folder / "program.toml", data_dir=folder / "data")


async def test_leaving_does_not_wait_for_a_book_that_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening(tmp_path) as accrue:
        await accrue.track("read", id="1", actor="ann", wait="applied")
    asked = asyncio.Event()

    async def away(*_: object) -> None:
        asked.set()
        raise Unavailable("away")

    async with asyncio.timeout(30):
        with monkeypatch.context() as patch:
            patch.setattr("accrue.wiring.SHUTDOWN_S_MAX", 0.05)
            patch.setattr(SqliteBook, "load", away)
            async with opening(tmp_path) as accrue:
                await accrue.track("read", id="2", actor="ann")  # nobody knows yet what the book has of ann
                await asked.wait()

    async with opening(tmp_path) as accrue:
        assert (await accrue.tally("points", "ann")).value == 2
        assert await accrue.track("read", id="2", actor="ann", wait="applied")
        assert (await accrue.tally("points", "ann")).value == 2


async def test_leaving_folds_and_settles_what_was_accepted_at_the_last_moment(tmp_path: Path) -> None:
    async with opening(tmp_path) as accrue:
        receipt = await accrue.send_many({"id": f"{n}", "type": "read", "actor": "ann"} for n in range(1_000))

    async with opening(tmp_path) as accrue:
        assert accrue.parts.worker.status().settled >= (receipt.position or 0)
        assert (await accrue.tally("points", "ann")).value == 1_000
