"""A data directory whose files do not fit, or are not whole, is refused at start and stays as it was."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from accrue import Accrue
from accrue.clock import ManualClock
from accrue.config import Config, LogConfig
from accrue.errors import Corrupt, Full

RULES = '[metrics.points]\n[[rules]]\non = "read"\ngive = [{ to = "actor", metric = "points" }]\n'
PAGE_SIZE_BYTES = 4_096
FILLING = "x" * 16_000


@pytest.fixture
def opening(tmp_path: Path):
    """Opens one data directory, again and again."""
    program = tmp_path / "program.toml"
    program.write_text(RULES)

    def opened(**settings):
        config = Config(data_dir=tmp_path / "data", program=program, **settings)
        return Accrue.open(config, clock=ManualClock(1_795_237_200_000_000))

    return opened


def files(tmp_path: Path) -> dict[str, bytes]:
    """What the directory holds; the lock is written by every try."""
    return {file.name: file.read_bytes() for file in (tmp_path / "data").iterdir() if file.name != "lock"}


def page_at(page: int) -> int:
    return (page - 1) * PAGE_SIZE_BYTES


def middle_child(file: bytes, page: int) -> int:
    """A page in the middle of those below this one (https://www.sqlite.org/fileformat.html, section 1.6): starting
    reads only what is on the way to the first and the last row."""
    start = page_at(page)
    assert file[start] in (2, 5)
    cells = int.from_bytes(file[start + 3 : start + 5], "big")
    pointer = start + 12 + 2 * (cells // 2)
    cell = start + int.from_bytes(file[pointer : pointer + 2], "big")
    return int.from_bytes(file[cell : cell + 4], "big")


async def read(accrue: Accrue, actor: str, id: str = "", data: dict[str, str] | None = None) -> None:
    await accrue.track("read", id=id or actor, actor=actor, data=data, wait="applied")


async def test_an_older_log_put_back_is_refused_and_nothing_is_touched(tmp_path: Path, opening) -> None:
    async with opening() as accrue:
        await read(accrue, "ann")
    shutil.copy(tmp_path / "data" / "log.db", tmp_path / "older.db")
    async with opening() as accrue:
        await read(accrue, "bob")
    newer = (tmp_path / "data" / "log.db").read_bytes()
    shutil.copy(tmp_path / "older.db", tmp_path / "data" / "log.db")
    before = files(tmp_path)

    with pytest.raises(Corrupt, match=r"this is an older log\. Put the newer one back"):
        async with opening():
            pass

    assert files(tmp_path) == before
    (tmp_path / "data" / "log.db").write_bytes(newer)
    async with opening() as accrue:
        assert (await accrue.tally("points", "bob")).value == 1


async def test_an_older_book_put_back_is_refused_and_nothing_is_touched(tmp_path: Path, opening) -> None:
    async with opening() as accrue:
        await read(accrue, "ann")
    older = (tmp_path / "data" / "book.db").read_bytes()
    async with opening() as accrue:
        await read(accrue, "bob")  # settled on the way out, and then trimmed from the log
    async with opening() as accrue:
        await read(accrue, "cat")
    (tmp_path / "data" / "book.db").write_bytes(older)
    before = files(tmp_path)

    with pytest.raises(Corrupt, match=r"begins after position \d+"):
        async with opening():
            pass

    assert files(tmp_path) == before


@pytest.mark.parametrize(("name", "table"), [("book.db", "tallies"), ("log.db", "records")])
async def test_a_damaged_page_is_found_at_start_and_its_file_named(
    tmp_path: Path, opening, name: str, table: str
) -> None:
    async with opening() as accrue:
        for number in range(60):
            await read(accrue, f"{number}-{FILLING[:200]}", id=f"{number}", data={"text": FILLING[:4_000]})
    file = tmp_path / "data" / name
    with sqlite3.connect(file) as connection:
        if name == "log.db":  # what is settled was trimmed; damage strikes what was not
            records = [(place, FILLING.encode()) for place in range(1_000, 1_500)]
            connection.executemany("INSERT INTO records (place, record) VALUES (?, ?)", records)
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.close()
    damaged = bytearray(file.read_bytes())
    damaged[page_at(middle_child(damaged, root))] = 0xA5  # no kind of page
    file.write_bytes(damaged)
    before = files(tmp_path)

    with pytest.raises(Corrupt, match=rf"{name} is (damaged|not a sound SQLite file)"):
        async with opening():
            pass

    assert files(tmp_path) == before


async def test_a_full_log_accepts_nothing_until_a_settlement_made_room(opening) -> None:
    async with opening(log=LogConfig(size_bytes_max=16 << 20)) as accrue:
        taken: list[int] = []

        async def send() -> None:
            events = [
                {"id": f"{len(taken)}:{number}", "type": "read", "actor": "ann", "data": {"text": FILLING}}
                for number in range(60)
            ]
            taken.append((await accrue.send_many(events)).accepted)

        async def send_much() -> None:
            for _ in range(100):
                await send()

        with pytest.raises(Full, match=r"log\.db"):
            await send_much()

        await accrue.settle()

        await send()
        assert 16 << 20 < sum(taken) * len(FILLING) < 18 << 20
        await read(accrue, "ann", id="last")
        assert (await accrue.tally("points", "ann")).value == sum(taken) + 1
