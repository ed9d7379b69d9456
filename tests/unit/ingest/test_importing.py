"""The import engine: each line once, in however many pieces, however much later."""

from __future__ import annotations

import gzip
import io
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from accrue.clock import ManualClock
from accrue.config import DEFAULT_TENANT
from accrue.core.record import Batch
from accrue.engine import Accrue
from accrue.errors import Conflict, NotFound, Rejected, Unavailable
from accrue.ingest.accept import Acceptor
from accrue.ingest.commit import Accepted
from accrue.ingest.importing import Importer, OnProgress, Progress, Source, Summary, import_key

PROGRAM = """
[metrics]
points = {}

[[rules]]
on = "scored"
give = { to = "actor", metric = "points", amount = "data.n" }
"""
NDJSON = Source(name="events.ndjson", format="ndjson")


class FailingAfter:
    """An acceptor that takes so many batches and then no more, as if the process had died."""

    def __init__(self, acceptor: Acceptor, batches: int) -> None:
        self._acceptor, self._left = acceptor, batches

    async def batch(self, batch: Batch) -> Accepted:
        if not self._left:
            raise Unavailable("The disk is gone.")
        self._left -= 1
        return await self._acceptor.batch(batch)


def file_of(content: bytes) -> BinaryIO:
    """A file as `open` gives it."""
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, io.BytesIO(content))))


@asynccontextmanager
async def engine(folder: Path, clock: ManualClock) -> AsyncIterator[Accrue]:
    program = folder / "program.toml"
    program.write_text(PROGRAM)
    async with Accrue.open(program=program, data_dir=folder / "data", clock=clock) as accrue:
        yield accrue


def importer(accrue: Accrue, clock: ManualClock, *, batches: int | None = None) -> Importer:
    acceptor = accrue.parts.acceptor
    door = acceptor if batches is None else FailingAfter(acceptor, batches)
    return Importer(door, accrue.parts.live, clock, tenant="default")  # type: ignore[arg-type]


async def imported(
    accrue: Accrue,
    clock: ManualClock,
    content: bytes,
    source: Source = NDJSON,
    *,
    batch_events: int = 10,
    batches: int | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Summary:
    return await importer(accrue, clock, batches=batches).run(
        file_of(content), source, batch_events=batch_events, on_progress=on_progress
    )


async def points(accrue: Accrue, subject: str = "ada") -> int | str:
    return (await accrue.tally("points", subject)).value


def scored(count: int, *, id: bool = True) -> bytes:
    lines = []
    for number in range(1, count + 1):
        named = f'"id": "e{number}", ' if id else ""
        lines.append(f'{{{named}"type": "scored", "actor": "ada", "data": {{"n": 1}}}}'.encode())
    return b"\n".join(lines) + b"\n"


async def test_a_file_is_imported_and_every_line_counted(tmp_path: Path) -> None:
    clock = ManualClock()
    async with engine(tmp_path, clock) as accrue:
        seen: list[Progress] = []
        summary = await imported(accrue, clock, scored(25), on_progress=seen.append)
        assert (summary.accepted, summary.events, summary.lines) == (25, 25, 25)
        assert await points(accrue) == 25
        assert [(progress.line, progress.events) for progress in seen] == [(10, 10), (20, 20), (25, 25)]


@pytest.mark.parametrize("id", [True, False])
async def test_the_same_file_again_changes_nothing_even_after_the_repeat_window(tmp_path: Path, id: bool) -> None:
    clock = ManualClock()
    async with engine(tmp_path, clock) as accrue:
        await imported(accrue, clock, scored(25, id=id))
        first_at = clock.now_us()
        position = accrue.parts.live.status().position
        clock.advance(seconds=72 * 3600)
        again = await imported(accrue, clock, scored(25, id=id), batch_events=7)
        assert (again.accepted, again.repeated, again.events) == (0, 25, 25)
        assert again.imported_before_us == first_at
        assert accrue.parts.live.status().position == position
    async with engine(tmp_path, clock) as accrue:
        assert (await imported(accrue, clock, scored(25, id=id))).repeated == 25
        assert await points(accrue) == 25


@pytest.mark.parametrize("id", [True, False])
async def test_an_interrupted_import_goes_on_where_it_stopped_even_after_the_window(tmp_path: Path, id: bool) -> None:
    clock = ManualClock()
    async with engine(tmp_path, clock) as accrue:
        with pytest.raises(Unavailable):
            await imported(accrue, clock, scored(25, id=id), batches=1)
    clock.advance(seconds=72 * 3600)
    async with engine(tmp_path, clock) as accrue:
        assert await points(accrue) == 10
        summary = await imported(accrue, clock, scored(25, id=id), batch_events=7)
        assert (summary.resumed_after_line, summary.accepted, summary.repeated) == (10, 15, 10)
        assert summary.events == 25
        assert await points(accrue) == 25
        assert (await imported(accrue, clock, scored(25, id=id))).imported_before_us > 0


async def test_every_line_is_in_exactly_one_count(tmp_path: Path) -> None:
    clock = ManualClock()
    lines = [
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 1}}',
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 1}}',  # a copy in the same batch
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 2}}',  # another body in the same batch
        b'{"id": "b", "type": "scored", "actor": "ada", "data": {"n": "many"}}',
        b'{"id": "c", "type": "unheard"}',
        b"",
        b"nonsense",
        b'{"id": "d", "type": "scored", "time": "2020-01-01T00:00:00"}',
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 1}}',  # a copy in a later batch
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 3}}',
        b'{"id": "x", "type": "scored", "actor": "' + b"a" * 40_000 + b'"}',
        b'{"id": "e", "type": "accrue.close", "data": {"period": "2020"}}',
        b'{"id": "f", "type": "accrue.adjust", "data": '
        b'{"metric": "points", "subject": "ada", "amount": 40, "reason": "late"}}',
        b'{"id": "g", "type": "accrue.retract", "ref": "h"}',
        b'{"id": "h", "type": "scored", "actor": "ada", "data": {"n": 1}}',  # taken back before it came
    ]
    async with engine(tmp_path, clock) as accrue:
        summary = await imported(accrue, clock, b"\n".join(lines), batch_events=6)
        assert summary.accepted == 2
        assert summary.repeated == 2
        assert summary.conflicting == 2
        assert summary.failed == 1
        assert summary.unmatched == 2
        assert summary.retracted == 1
        assert summary.rejected == 4
        assert summary.events == 14
        assert summary.lines == 15
        assert await points(accrue) == 41
        told = [(refusal.line, refusal.field) for refusal in summary.refusals]
        assert told == [(7, "$"), (8, "$.time"), (11, None), (12, "$.type")]


async def test_a_file_of_nothing_but_nonsense_is_taken_to_its_end(tmp_path: Path) -> None:
    clock = ManualClock()
    async with engine(tmp_path, clock) as accrue:
        summary = await imported(accrue, clock, b"no\n" * 35)
        assert (summary.rejected, summary.events, len(summary.refusals)) == (35, 35, 10)
        assert (await imported(accrue, clock, b"no\n" * 35)).imported_before_us > 0


async def test_an_empty_file_is_imported_once(tmp_path: Path) -> None:
    clock = ManualClock()
    async with engine(tmp_path, clock) as accrue:
        assert (await imported(accrue, clock, b"")).events == 0
        assert (await imported(accrue, clock, b"")).imported_before_us > 0


async def test_lines_that_fill_a_request_by_their_size_are_cut_into_several(tmp_path: Path) -> None:
    clock = ManualClock()
    text = "x" * 16_000
    lines = [
        f'{{"id": "e{n}", "type": "scored", "actor": "ada", "data": {{"n": 1, "text": "{text}"}}}}' for n in range(150)
    ]
    async with engine(tmp_path, clock) as accrue:
        summary = await imported(accrue, clock, "\n".join(lines).encode(), batch_events=1_000)
        assert summary.accepted == 150


async def test_the_same_table_with_another_mapping_is_another_import(tmp_path: Path) -> None:
    clock = ManualClock()
    table = b"home,away,goals\nada,bob,2\n"
    mapping = {"type": "'scored'", "data.n": "goals"}
    home = Source(name="t.csv", format="csv", mapping={**mapping, "actor": "home"})
    away = Source(name="t.csv", format="csv", mapping={"actor": "away", **mapping})
    async with engine(tmp_path, clock) as accrue:
        assert (await imported(accrue, clock, table, home)).accepted == 1
        assert (await imported(accrue, clock, table, away)).accepted == 1
        assert (await points(accrue), await points(accrue, "bob")) == (2, 2)
        assert (await imported(accrue, clock, table, home)).repeated == 1


def test_the_key_follows_bytes_format_and_mapping_and_not_the_name() -> None:
    def key(content: bytes, **source: object) -> str:
        return import_key(file_of(content), Source(**{"name": "a", "format": "csv", **source}))  # type: ignore[arg-type]

    one = key(b"a", mapping={"id": "x", "type": "y"})
    assert one == key(b"a", mapping={"type": "y", "id": "x"}, name="b")
    assert len({one, key(b"b", mapping={"id": "x", "type": "y"}), key(b"a"), key(b"a", format="ndjson")}) == 4


async def test_a_damaged_gzip_file_is_refused_before_anything_is_taken(tmp_path: Path) -> None:
    clock = ManualClock()
    packed = gzip.compress(scored(3_000, id=False))
    async with engine(tmp_path, clock) as accrue:
        with pytest.raises(Rejected, match="damaged"):
            await imported(accrue, clock, packed[:-20])
        assert await points(accrue) == 0
        assert (await imported(accrue, clock, packed)).accepted == 3_000


async def test_a_mapping_for_something_without_columns_is_refused(tmp_path: Path) -> None:
    clock = ManualClock()
    async with engine(tmp_path, clock) as accrue:
        with pytest.raises(Rejected, match="for CSV"):
            await imported(accrue, clock, b"", Source(name="a", format="ndjson", mapping={"id": "x"}))


async def test_an_unknown_tenant_is_not_found(tmp_path: Path) -> None:
    clock = ManualClock()
    async with engine(tmp_path, clock) as accrue:
        stranger = Importer(accrue.parts.acceptor, accrue.parts.live, clock, tenant="defaul")
        with pytest.raises(NotFound, match="default"):
            await stranger.run(file_of(scored(1)), NDJSON)


async def test_progress_that_cannot_be_noted_ends_the_import(tmp_path: Path) -> None:
    clock = ManualClock()
    key = import_key(file_of(scored(3)), NDJSON)
    async with engine(tmp_path, clock) as accrue:
        # The door refuses ids of the engine's own, so this one goes around it.
        squatter = b'{"id": "accrue.imported:%s:3", "type": "scored", "actor": "ada"}' % key.encode()
        await accrue.parts.acceptor.batch(Batch(DEFAULT_TENANT, squatter, [clock.now_us()], {}))
        with pytest.raises(Conflict):
            await imported(accrue, clock, scored(3))


@pytest.mark.parametrize("batch_events", [1, 3, 100])
async def test_a_conflict_is_kept_wherever_in_the_file_it_stands(tmp_path: Path, batch_events: int) -> None:
    clock = ManualClock()
    lines = [
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 1}}',
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 2}}',
        b'{"id": "b", "type": "scored", "actor": "ada", "data": {"n": 10}}',
        b'{"id": "a", "type": "scored", "actor": "ada", "data": {"n": 3}}',
    ]
    async with engine(tmp_path, clock) as accrue:
        summary = await imported(accrue, clock, b"\n".join(lines), batch_events=batch_events)
        await accrue.settle()

        assert (summary.accepted, summary.conflicting) == (2, 2)
        assert await points(accrue) == 11
        with closing(sqlite3.connect(tmp_path / "data" / "book.db")) as book:
            kept = [body for (body,) in book.execute("SELECT body FROM conflicts ORDER BY sequence")]
        assert kept == [lines[1].decode(), lines[3].decode()]
        again = await imported(accrue, clock, b"\n".join(lines), batch_events=batch_events)
        assert (again.repeated, again.conflicting, again.imported_before_us > 0) == (4, 0, True)
