"""Ports of this machine that nothing else has."""

from __future__ import annotations

import errno
import random
import socket

FIRST, LAST = 20_000, 32_000
"""Below the range from which the system takes the near ends of connections: while a server is dead, a client that
tries again and again could otherwise be given the server's port, and even reach itself."""

_taken: set[int] = set()


def free_port() -> int:
    """A port on 127.0.0.1 that is free now and that no other call in this process returns."""
    while True:
        port = random.randint(FIRST, LAST)
        if port in _taken:
            continue
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        _taken.add(port)
        return port


def accepts(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex(("127.0.0.1", port)) == 0
