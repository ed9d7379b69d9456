"""What becomes of a log whose server is killed, restarted and paused. The log objects stay open all the while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from accrue.errors import Misconfigured, Unavailable
from accrue.log import kafka, kafka_reader, postgres, rabbitmq_stream
from accrue.log.base import Log
from contract.logs import IDENTITY, WAIT_S_MAX, follow, open_kafka, open_postgres, open_rabbitmq
from servers.fixtures import running
from servers.kafka import KafkaServer
from servers.postgres import PostgresServer
from servers.rabbitmq import RabbitmqServer
from servers.server import Server

RECOVERY_S_MAX = 30
"""Only so that a log that never recovers fails its test instead of hanging it."""

FAR = 1 << 40
"""A position that is never reached."""

SERVERS = {
    "postgres": (PostgresServer, open_postgres),
    "rabbitmq": (RabbitmqServer, open_rabbitmq),
    "kafka": (KafkaServer, open_kafka),
}


@pytest.fixture(scope="module", params=SERVERS)
def own(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    """A server to break, for all tests here."""
    kind, _ = SERVERS[request.param]
    with running(kind) as server:
        yield request.param, server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A paused server is given up after half a second instead of ten."""
    for module in (postgres, rabbitmq_stream, kafka):
        monkeypatch.setattr(module, "APPEND_WAIT_S_MAX", 0.5)
    monkeypatch.setattr(kafka, "ASK_WAIT_S_MAX", 0.5)
    monkeypatch.setattr(postgres, "READ_WAIT_S_MAX", 0.5)
    monkeypatch.setattr(rabbitmq_stream, "PROBE_WAIT_S_MAX", 0.5)


@pytest.fixture
async def logs(own: tuple[str, Server]) -> AsyncIterator[list[Log]]:
    """Two processes have the log open: one appends, the other reads."""
    kind, server = own
    place = server.url_of(server.new_database()) if isinstance(server, PostgresServer) else None
    if isinstance(server, RabbitmqServer | KafkaServer):
        place = server.url_of(uuid4().hex)
    assert place is not None
    opened = [await SERVERS[kind][1](place, f"{IDENTITY} {number}", None) for number in range(2)]
    yield opened
    for log in opened:
        await log.close()


async def sent_until_taken(log: Log, record: bytes) -> int:
    """Send it again and again, as a client does."""
    async with asyncio.timeout(RECOVERY_S_MAX):
        while True:
            try:
                return await log.append(0, record)
            except Unavailable as error:
                await asyncio.sleep(error.retry_after_s / 20)


def without_repeats(found: list[tuple[int, bytes]]) -> list[bytes]:
    """The records in order, each where it stands first: what was sent again may be there twice."""
    return list(dict.fromkeys(record for _, record in found))


async def test_a_log_goes_on_after_its_server_was_paused(own: tuple[str, Server], logs: list[Log]) -> None:
    _, server = own
    here, there = logs
    acked = await here.append(0, b"before")
    waiting = asyncio.ensure_future(there.read(0, after=acked, size_bytes_max=1 << 20))

    server.pause()
    with pytest.raises(Unavailable):
        await here.append(0, b"meanwhile")
    server.resume()
    last = await sent_until_taken(here, b"after")

    async with asyncio.timeout(WAIT_S_MAX):
        await waiting
        found = await follow(there, until=last)
    assert without_repeats(found) in ([b"before", b"after"], [b"before", b"meanwhile", b"after"])


async def test_what_was_acknowledged_before_and_after_a_kill_is_all_there_in_order(
    own: tuple[str, Server], logs: list[Log]
) -> None:
    _, server = own
    here, there = logs
    acked: list[tuple[int, bytes]] = []
    enough = asyncio.Event()

    async def append_on() -> None:
        while not enough.is_set():
            record = b"%d" % len(acked)
            acked.append((await sent_until_taken(here, record), record))

    appending = asyncio.ensure_future(append_on())
    reading = asyncio.ensure_future(follow(there, until=FAR))
    while len(acked) < 20:
        await asyncio.wait([appending], timeout=0.01)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    enough.set()
    await appending
    acked.append((await sent_until_taken(here, b"last"), b"last"))

    assert not reading.done()  # the reader found its way back by itself
    reading.cancel()
    async with asyncio.timeout(RECOVERY_S_MAX):
        found = await follow(there, until=acked[-1][0])
    positions = [position for position, _ in found]
    assert positions == sorted(set(positions))
    assert set(acked) <= set(found)
    assert without_repeats(found) == [record for _, record in acked]


async def test_a_log_that_cannot_be_opened_says_what_to_do_and_not_the_password(own: tuple[str, Server]) -> None:
    kind, server = own
    wrong = {"nonsense://127.0.0.1": "URL"}
    if not isinstance(server, KafkaServer):
        wrong[server.url.replace("accrue-tests", "wr0ng-secret")] = "user or the password"
    if isinstance(server, PostgresServer):
        wrong[f"{server.url}-not"] = "no such database"
    if isinstance(server, RabbitmqServer):
        wrong[server.url.replace("/%2F?", "/nowhere?")] = "virtual host"
        wrong[server.url.replace(str(server.stream_port), str(server.amqp_port))] = "5552"
        wrong[server.url.replace(str(server.stream_port), "1")] = "rabbitmq_stream"
    if not isinstance(server, PostgresServer):
        wrong[f"{server.url_of('short')}&retention_h=23"] = "24 hours"

    for url, said in wrong.items():
        with pytest.raises(Misconfigured, match=said) as refused:
            await SERVERS[kind][1](url, IDENTITY, None)
        assert "accrue-tests" not in refused.value.detail
        assert "wr0ng-secret" not in refused.value.detail


async def test_a_reader_whose_server_stays_away_is_told_in_the_end(
    own: tuple[str, Server], logs: list[Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server = own
    for module in (postgres, rabbitmq_stream, kafka_reader):
        monkeypatch.setattr(module, "READ_RETRY_S_MAX", 0.5)
    last = await logs[0].append(0, b"before")
    waiting = asyncio.ensure_future(logs[1].read(0, after=last, size_bytes_max=1))
    await asyncio.sleep(0)

    server.kill()  # the last test here: it stays so

    async with asyncio.timeout(WAIT_S_MAX):
        for attempt in (waiting, logs[1].end(0), logs[1].begin(0), logs[0].append(0, b"x")):
            with pytest.raises(Unavailable):
                await attempt
