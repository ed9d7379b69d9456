"""Several processes share the partitions of one deployment: nothing is lost or counted twice when they come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from accrue.book.base import Start
from accrue.core.placement import partition_of
from accrue.engine import Accrue
from accrue.errors import Corrupt, Misconfigured
from accrue.process import owner
from pipeline.nodes import LEASE_S, PROGRAM, Served, servers, tenants, until

TENANTS = ("red", "green", "t1", "t2", "t3")


async def points(face: Accrue, user: str) -> object:
    return (await face.user(user)).tallies["points"]["all"]


async def test_a_gateway_accepts_and_a_worker_counts(tmp_path: Path) -> None:
    async with servers(tmp_path) as engines, engines.node() as worker, engines.node(works=False) as gateway:
        faces = await tenants(gateway, *TENANTS)
        assert {partition_of(name, 2) for name in TENANTS} == {0, 1}
        for name, face in faces.items():
            for number in range(3):
                await face.track("comment", id=f"{name}{number}", actor="ada", wait="applied")
            await face.track("comment", id=f"{name}0", actor="ada", wait="applied")  # a repeat
            page = await face.board("writers").top()
            assert [(row.subject, row.values) for row in page.rows] == [("ada", [15])]
            assert await points(Accrue(worker, name), "ada") == 15
        assert gateway.live.statuses() == {}
        assert sorted(worker.live.statuses()) == [0, 1]


async def test_another_worker_goes_on_when_one_leaves(tmp_path: Path) -> None:
    async with servers(tmp_path) as engines, engines.node(works=False) as gateway:
        async with engines.node() as first:
            faces = await tenants(gateway, "red")
            await faces["red"].track("comment", id="a", actor="ada", wait="applied")
            assert first.live.statuses()
        async with engines.node() as second:
            await until(lambda: len(second.live.statuses()) == 2, within_s=LEASE_S)  # given up, so nobody waits
            await faces["red"].track("comment", id="a", actor="ada", wait="applied")
            await faces["red"].track("comment", id="b", actor="ada", wait="applied")
            assert await points(Accrue(second, "red"), "ada") == 10


async def test_of_two_workers_each_partition_has_one(tmp_path: Path) -> None:
    async with servers(tmp_path, partitions=4) as engines, engines.node() as one, engines.node() as two:
        await until(lambda: len(one.live.statuses()) + len(two.live.statuses()) == 4)
        await asyncio.sleep(2 * LEASE_S)
        assert not set(one.live.statuses()) & set(two.live.statuses())


async def test_a_worker_that_joins_later_gets_its_share_and_everything_is_counted_once(tmp_path: Path) -> None:
    async with servers(tmp_path, partitions=4) as engines, engines.node() as one:
        await until(lambda: len(one.live.statuses()) == 4)
        names = [f"tenant-{number}" for number in range(12)]
        assert {partition_of(name, 4) for name in names} == {0, 1, 2, 3}
        faces, sent = await tenants(one, *names), 0
        async with engines.node() as two:
            while len(two.live.statuses()) < 2 or len(one.live.statuses()) > 2 or sent < 10:
                for face in faces.values():
                    await face.track("comment", id=f"e{sent}", actor="ada")
                sent += 1
                await asyncio.sleep(0.02)
            assert not set(one.live.statuses()) & set(two.live.statuses())
            for face in faces.values():
                await face.track("comment", id="last", actor="ada", wait="applied")
            for node in (one, two):
                await node.settle()  # what another process works on is read from the book
            for name in names:
                for node in (one, two):
                    assert await points(Accrue(node, name), "ada") == 5 * (sent + 1)
        await until(lambda: len(one.live.statuses()) == 4)  # what it gave up it takes again


async def test_a_worker_that_stood_still_is_replaced_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with servers(tmp_path, partitions=1) as engines, engines.node() as first:
        faces = await tenants(first, "red")
        await faces["red"].track("comment", id="a", actor="ada", wait="applied")

        async def silent(partition: int, *, epoch: int) -> None:
            """A beat that does not arrive."""

        monkeypatch.setattr(engines.book, "beat", silent)
        async with engines.node() as second:
            await until(lambda: bool(second.live.statuses()))
            monkeypatch.undo()
            await until(lambda: not first.live.statuses())
            # What the first still accepts is counted by the second.
            await faces["red"].track("comment", id="b", actor="ada", wait="applied")
            assert await points(Accrue(second, "red"), "ada") == 10
            assert (await engines.book.checkpoint(0)).epoch == 2  # type: ignore[union-attr]  # it was claimed


async def test_a_worker_that_takes_long_to_start_keeps_its_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with servers(tmp_path, partitions=1) as engines:
        start = engines.book.start

        async def slow_start(partition: int) -> Start:
            await asyncio.sleep(4 * LEASE_S)
            return await start(partition)

        monkeypatch.setattr(engines.book, "start", slow_start)
        async with engines.node() as one, engines.node() as two:
            await until(lambda: len(one.live.statuses()) + len(two.live.statuses()) == 1)
            assert [row.epoch for row in await engines.book.owners()] == [1]


async def test_a_program_sent_to_a_gateway_is_known_to_the_others(tmp_path: Path) -> None:
    async with (
        servers(tmp_path) as engines,
        engines.node(),
        engines.node(works=False) as one,
        engines.node(works=False) as two,
    ):
        await Accrue(one, "red").use_program(PROGRAM)
        assert one.live.program("red").text == PROGRAM
        await until(lambda: "red" in two.live.tenants())


async def test_without_a_worker_events_are_accepted_and_reads_say_that_they_are_stale(tmp_path: Path) -> None:
    async with servers(tmp_path) as engines, engines.node(works=False) as gateway:
        async with engines.node():
            faces = await tenants(gateway, "red")
            await faces["red"].track("comment", id="a", actor="ada", wait="applied")
        await faces["red"].track("comment", id="b", actor="ada")
        profile = await gateway.fallback.queries.profile("red", "user", "ada")
        assert (profile.tallies["points"]["all"], profile.stale, profile.as_of is None) == (5, True, False)
        board = await gateway.fallback.queries.board("red", "writers")
        assert ([row.values for row in board.rows], board.stale) == ([[5]], True)
        async with engines.node() as worker:
            await until(lambda: len(worker.live.statuses()) == 2)
            assert await points(Accrue(worker, "red"), "ada") == 10


async def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    async with servers(tmp_path, partitions=2) as engines:
        async with engines.node():
            pass
        engines.config = type(engines.config)(partitions=3, log=engines.config.log, book=engines.config.book)
        with pytest.raises(Misconfigured, match="2 partitions"):
            async with engines.node():
                pass


async def test_a_worker_says_which_partitions_it_cannot_work_on_until_it_can_or_another_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "PAUSE_S", LEASE_S / 5)

    async def damaged(partition: int) -> int:
        raise Corrupt("the log is damaged")

    async def troubled(process: Served) -> tuple[list[dict[str, object]], bool]:
        ready = await process.client.get("/readyz")
        shown = 'accrue_partition_troubled{partition="0"} 1.0' in (await process.client.get("/metrics")).text
        assert ready.status_code == 200
        return ready.json()["troubled"], shown

    async with servers(tmp_path, partitions=1) as engines, engines.served() as one:
        await until(lambda: bool(one.node.live.statuses()))
        assert await troubled(one) == ([], False)
    for who in ("itself", "another"):
        async with servers(tmp_path, partitions=1) as engines:
            monkeypatch.setattr(engines.log, "end", damaged)
            async with engines.served() as one:
                await until(lambda: bool(one.node.troubles()))
                assert await troubled(one) == ([{"partition": 0, "reason": "the log is damaged"}], True)
                if who == "another":
                    monkeypatch.setattr(owner.Owner, "_take", lambda *_: None)
                    await engines.book.claim(0, owner="another", log_identity=engines.log.identity)
                else:
                    monkeypatch.setattr(engines.log, "end", type(engines.log).end.__get__(engines.log))
                    await until(lambda: bool(one.node.live.statuses()))
                await until(lambda: not one.node.troubles())
                assert await troubled(one) == ([], False)
