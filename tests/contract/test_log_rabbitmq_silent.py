"""A subscription that stays silent though the connection lives: as where it was made while a broker, just started, had
not yet found the leader of the stream. It is given up, and what it did not bring is brought by the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from accrue.connect.rabbitmq import StreamConnection, schema
from accrue.log import rabbitmq_stream
from accrue.log.base import Log
from contract.logs import IDENTITY, WAIT_S_MAX, open_rabbitmq


class Silence:
    """Which connections bring nothing any more: all there are, from `fall` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[StreamConnection] = []
        self._deaf: list[tuple[StreamConnection, int]] = []
        self.everything = False
        made, take = StreamConnection.connection_made, StreamConnection._take

        def note(connection: StreamConnection, transport: asyncio.BaseTransport) -> None:
            self.made.append(connection)
            made(connection, transport)

        def drop(connection: StreamConnection, frame: schema.Frame) -> None:
            if isinstance(frame, schema.Deliver) and (
                self.everything or (connection, frame.subscription_id) in self._deaf
            ):
                return
            take(connection, frame)

        monkeypatch.setattr(StreamConnection, "connection_made", note)
        monkeypatch.setattr(StreamConnection, "_take", drop)

    def fall(self) -> None:
        """Everything that is subscribed to now; not what will be."""
        self._deaf = [(connection, number) for connection in self.made for number in connection._subscriptions]


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    monkeypatch.setattr(rabbitmq_stream, "LOOK_S", 0.2)
    monkeypatch.setattr(rabbitmq_stream, "ON_ITS_WAY_S_MAX", 0.2)
    return Silence(monkeypatch)


@pytest.fixture
async def logs(silence: Silence, rabbitmq_url: str) -> AsyncIterator[list[Log]]:
    """Two processes have the log open."""
    opened = [await open_rabbitmq(rabbitmq_url, IDENTITY, None) for _ in range(2)]
    yield opened
    for log in opened:
        await log.close()


async def test_an_append_given_up_by_its_caller_does_not_leave_the_next_one_the_same_silence(
    logs: list[Log], silence: Silence
) -> None:
    (log, _) = logs
    first = await log.append(0, b"heard")
    silence.fall()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await log.append(0, b"confirmed, and not brought back")

    async with asyncio.timeout(WAIT_S_MAX):
        assert await log.append(0, b"brought back") == first + 2


@pytest.mark.parametrize("reads", ["on the echo of its own", "only reads"])
async def test_a_reader_gets_what_a_silent_subscription_did_not_bring(
    logs: list[Log], silence: Silence, reads: str
) -> None:
    here, there = logs
    reader = here if reads == "on the echo of its own" else there
    last = await here.append(0, b"heard")
    async with asyncio.timeout(WAIT_S_MAX):
        assert await reader.read(0, after=last - 1, size_bytes_max=1) == [(last, b"heard")]
        reading = asyncio.ensure_future(reader.read(0, after=last, size_bytes_max=1))
        await asyncio.sleep(0.1)  # it has subscribed
        silence.fall()
        other = there if reader is here else here
        appended = asyncio.ensure_future(other.append(0, b"not heard"))

        assert await reading == [(last + 1, b"not heard")]
        appended.cancel()  # its own echo is silent, too
        await asyncio.wait([appended])


async def test_a_question_given_up_by_its_caller_leaves_nothing_behind(logs: list[Log], silence: Silence) -> None:
    (log, _) = logs
    last = await log.append(0, b"heard")
    silence.everything = True
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await log.end(0)
    silence.everything = False
    async with asyncio.timeout(WAIT_S_MAX):
        assert await log.end(0) == last
    assert all(len(connection._subscriptions) < 2 for connection in silence.made if connection.error is None)


async def test_a_reader_that_has_everything_keeps_its_connection(logs: list[Log], silence: Silence) -> None:
    here, there = logs
    last = await here.append(0, b"heard")
    async with asyncio.timeout(WAIT_S_MAX):
        await there.read(0, after=last - 1, size_bytes_max=1)
        reading = asyncio.ensure_future(there.read(0, after=last, size_bytes_max=1))
        await asyncio.sleep(1.0)  # it has looked a few times
        connections = len(silence.made)
        await here.append(0, b"heard too")

        assert await reading == [(last + 1, b"heard too")]
        assert len(silence.made) == connections
