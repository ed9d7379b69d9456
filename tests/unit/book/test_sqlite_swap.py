"""A rebuilt book takes the place of the live one: whatever step the process dies at, there is one whole book."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from accrue.book import sqlite_swap
from accrue.book.owning import Owned
from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_swap import NEW, clear_new, swap
from accrue.errors import InUse, Misconfigured

STEPS = ("open", "fsync", "link", "open", "fsync", "replace", "open", "fsync")
"""What a swap asks of the system, in this order."""


class Died(BaseException):
    """The process is gone."""


async def book(path: Path, owner: str) -> None:
    made = await SqliteBook.open(path)
    await made.claim(0, owner=owner, log_identity="log")
    if owner == "old":
        await made.found(partitions=1, log_identity="log", created_us=5)
    await made.close()


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A live book and a new one, each owned by who its name says."""
    await book(tmp_path / "book.db", "old")
    await book(clear_new(tmp_path), "new")
    return tmp_path


def owner(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (name,) = connection.execute("SELECT owner FROM partitions").fetchone()
    return str(name)


def epoch(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT epoch FROM partitions").fetchone()
    return int(number)


def dying(monkeypatch: pytest.MonkeyPatch, *, before: int) -> list[str]:
    """Die before the call of that number, from 0. Returns the names of the calls as they are made."""
    made: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any) -> Any:
            if len(made) == before:
                raise Died
            made.append(name)
            return real(*arguments)

        return call

    for name in set(STEPS):
        monkeypatch.setattr(sqlite_swap.os, name, counted(name))
    return made


def test_the_new_book_takes_the_name_and_the_old_one_is_kept(data: Path) -> None:
    kept = swap(data, position=7, epoch=3)
    assert (owner(data / "book.db"), owner(kept), kept.name) == ("new", "old", "book.7.db")
    assert epoch(data / "book.db") == 3
    assert sorted(path.name for path in data.iterdir()) == ["book.7.db", "book.db"]


async def test_what_no_archive_holds_goes_over_to_the_new_book(data: Path) -> None:
    swap(data, position=7, epoch=3)
    swapped = await SqliteBook.open(data / "book.db")
    with pytest.raises(Misconfigured):
        await swapped.found(partitions=2, log_identity="log", created_us=6)
    await swapped.beat(0, epoch=3)
    assert await swapped.owners() == [Owned(0, "new", 3, 1, "")]
    await swapped.close()


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_swap_that_dies_leaves_a_whole_book_and_can_be_done_again(
    data: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patched:
        dying(patched, before=step)
        with pytest.raises(Died):
            swap(data, position=7, epoch=1)
    swapped = step > STEPS.index("replace")
    assert owner(data / "book.db") == ("new" if swapped else "old")
    if not swapped:
        assert owner(data / NEW) == "new"
        assert swap(data, position=7, epoch=1).name == "book.7.db"  # the same name: it is the same file
        assert (owner(data / "book.db"), owner(data / "book.7.db")) == ("new", "old")


def test_these_are_all_the_steps(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dying(monkeypatch, before=-1)
    swap(data, position=7, epoch=1)
    assert tuple(made) == STEPS


async def test_an_old_book_never_takes_the_name_of_another_one(data: Path) -> None:
    assert swap(data, position=7, epoch=1).name == "book.7.db"
    await book(clear_new(data), "newer")
    assert swap(data, position=7, epoch=1).name == "book.7-2.db"
    assert [owner(data / name) for name in ("book.7.db", "book.7-2.db", "book.db")] == ["old", "new", "newer"]


def test_a_book_that_somebody_reads_is_not_swapped(data: Path) -> None:
    """A reader keeps a write-ahead log beside the name, which SQLite would lay over the next book of that name."""
    with closing(sqlite3.connect(data / "book.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM partitions").fetchall()
        with pytest.raises(InUse, match=r"book\.db is open elsewhere"):
            swap(data, position=7, epoch=1)
    assert (owner(data / "book.db"), owner(data / NEW)) == ("old", "new")


async def test_what_an_earlier_attempt_left_is_cleared(data: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (data / f"{NEW}{suffix}").write_bytes(b"left over")
    await book(clear_new(data), "again")
    swap(data, position=7, epoch=1)
    assert owner(data / "book.db") == "again"
