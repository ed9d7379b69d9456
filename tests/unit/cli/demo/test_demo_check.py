"""The demo's traffic and check against a server in this process: they agree, and the check finds what does not."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from accrue.cli.bench.drive import engine_settings
from accrue.cli.demo.check import check
from accrue.cli.demo.community import Community
from accrue.cli.demo.examples import example_program
from accrue.cli.demo.lanes import Lanes
from accrue.cli.demo.messages import Verdict
from accrue.cli.demo.naive import day_in_paris
from accrue.cli.demo.replay import BATCH_EVENTS, Replay, batches
from accrue.clock import SystemClock
from accrue.config import ServerConfig
from accrue.engine import Accrue
from accrue.errors import Misconfigured
from accrue.server import listening

CLOCK = SystemClock()


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    settings = engine_settings(None, settle_interval_s=0.2)
    async with (
        Accrue.open(settings, program=example_program("writers")) as accrue,
        listening(accrue, ServerConfig(port=0)) as url,
    ):
        yield int(url.rpartition(":")[2])


class Sending(Lanes):
    """Lanes that stop after so many events."""

    async def until(self, events: int) -> None:
        original = self._take

        def take(*arguments: object) -> None:
            original(*arguments)  # type: ignore[arg-type]  # passed on as they are
            if self.counts.sent >= events:
                self.stopping.set()

        self._take = take  # type: ignore[method-assign, assignment]  # noted on the way
        await self.run(rate=0, seconds=None)


async def sent(port: int, events: int) -> Sending:
    community = Community(seed=3, wave_events=events, began_us=CLOCK.now_us())
    lanes = Sending(port, community, CLOCK)
    await lanes.until(events)
    return lanes


async def compared(port: int, lanes: Lanes) -> Verdict:
    today = day_in_paris(CLOCK.now_us())
    return await check(port, lanes.naive, lanes.counts, position=lanes.position, today=today)


async def test_the_server_and_the_naive_count_agree_and_a_wrong_count_is_found() -> None:
    async with serving() as port:
        lanes = await sent(port, 2_000)
        agreed = await compared(port, lanes)
        assert (agreed.differences, agreed.differing) == ([], 0)
        assert agreed.compared > 1_000

        progress = lanes.progress(per_s=0.0, finished=True)
        assert progress.sent >= 2_000
        told = progress.accepted + progress.repeated + progress.conflicting + progress.rejected
        assert told == progress.sent
        assert min(progress.repeated, progress.rejected, progress.crawled, progress.naive_rows) > 0

        lanes.naive.views["quiet-harbour-1"] += 1
        lanes.naive.badges["ada"].add(("gone", "", None))
        lanes.naive.conflicting += 1
        found = await compared(port, lanes)
        assert found.differing == 5  # the post, its place on the board twice, the badge and the conflicts
        assert any(line.startswith("user ada: badges") for line in found.differences)
        assert any(line.startswith("conflicts: counted") for line in found.differences)


def write(file: Path, *ids: str) -> Path:
    lines = [f'{{"id": "{id}", "type": "post.published", "actor": "bob", "object": "o-{id}"}}' for id in ids]
    file.write_text("\n\n".join([*lines, '{"id": "bad"}', '{"type": "post.published", "actor": "ada"}', ""]))
    return file


async def test_a_file_counts_once_and_its_second_pass_counts_nothing(tmp_path: Path) -> None:
    async with serving() as port:
        replay = Replay(port, write(tmp_path / "events.ndjson", "1", "2", "2", "3"), CLOCK)
        await replay.run(rate=0, seconds=None)
        progress = replay.progress(per_s=0.0, finished=True)
        assert (progress.sent, progress.accepted, progress.repeated, progress.rejected) == (6, 4, 1, 1)
        verdict = await replay.check()
        assert (verdict.differences, verdict.compared) == ([], 6)


async def test_a_file_that_is_another_one_the_second_time_is_found(tmp_path: Path) -> None:
    file = write(tmp_path / "events.ndjson", "1", "2")
    async with serving() as port:
        replay = Replay(port, file, CLOCK)
        await replay.run(rate=0, seconds=None)
        write(file, "1", "4")
        verdict = await replay.check()
        assert "events that counted the second time: 0 expected, 1 found" in verdict.differences
        assert verdict.differing == 2


def test_the_lines_of_a_file_are_always_cut_the_same_way(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson.gz"
    file.write_bytes(gzip.compress(b"\n".join(b'{"id":"%d"}' % n for n in range(BATCH_EVENTS + 1))))
    cut = list(batches(file))
    assert [(batch.number, len(batch.lines)) for batch in cut] == [(0, BATCH_EVENTS), (1, 1)]
    file.write_bytes(b"not gzip")
    with pytest.raises(Misconfigured, match="cannot be read"):
        list(batches(file))
