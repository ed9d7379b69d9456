"""When the broker may send the next chunk of the echo.

A broker that has sent all there is and may send more sleeps a millisecond or two before it looks again and only then
listens for what is new (RabbitMQ's stream reader, from 3.10 on). An append that comes meanwhile waits for that, and in
a row of appends each one does: 2 ms an append instead of 0.6. So it is given one chunk at a time, and while appends
follow each other the next one is asked for when it is certainly there, after its confirm: it is sent at once.

    chunk --> it has the last of ours:  ask when the next confirm arrives, and after HOLD_S at the latest
         \\--> others', or ours to come: ask for more at once, there may be much
"""

from __future__ import annotations

import asyncio

from accrue.connect.rabbitmq import StreamConnection

FIRST_CREDIT = 1
HOLD_S = 0.01
"""What other processes publish comes so much later to a reader here, at most."""
MORE_CREDIT = 16
"""Chunks asked for at once when what came was others'."""


class Pace:
    """Of one subscription, begun with `FIRST_CREDIT`. It is told what happens and gives credit."""

    def __init__(self, connection: StreamConnection) -> None:
        self._connection = connection
        self._subscription: int | None = None
        self._may_come = FIRST_CREDIT
        self._timer: asyncio.TimerHandle | None = None

    def heard(self, subscription: int, *, is_last: bool) -> None:
        """A chunk came. `is_last`: it had the last of what was confirmed."""
        self._subscription = subscription
        self._may_come -= 1
        if self._may_come:
            return
        if is_last:
            self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._ask, 1)
        else:
            self._ask(MORE_CREDIT)

    def hasten(self) -> None:
        """Something confirmed waits to be brought."""
        if not self._may_come:
            self._ask(1)

    def _ask(self, chunks: int) -> None:
        assert self._subscription is not None, "a chunk came"
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._may_come = chunks
        self._connection.give_credit(self._subscription, chunks)
