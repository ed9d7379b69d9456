"""One program of a server, with everything it starts; the guard knows of it before it runs."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

from servers import tree

TESTS = Path(__file__).resolve().parents[1]
STOP_S_MAX = 30.0
GUARD_S_MAX = 30.0

ANNOUNCED = 'echo "+$$" >&0 && exec "$@" < /dev/null'
"""A shell that tells the guard its process id and then becomes the program, so that no moment is unguarded."""


class Process:
    """A program that runs from its construction on. `user` is who it runs as, a number for user and group."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        with log.open("ab") as out:
            self._started = subprocess.Popen(
                ["sh", "-c", ANNOUNCED, "sh", *command],
                stdin=_guard(),
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # an interrupt at the terminal is for the tests
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self.pid = self._started.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._started.poll()

    def pause(self) -> None:
        """SIGSTOP to all of it."""
        tree.pause(self.pid)

    def resume(self) -> None:
        """SIGCONT to all of it."""
        tree.resume(self.pid)

    def kill(self) -> None:
        """SIGKILL to all of it; returns when nothing of it is left."""
        doomed = tree.kill(self.pid) if self.exit_code is None else []
        self._ended(doomed)

    def stop(self, signum: signal.Signals) -> None:
        """Ask it to end and wait; what is still there after 30 s is killed, and that is a TimeoutError."""
        below = tree.members(self.pid)
        self._started.send_signal(signum)
        try:
            self._started.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise TimeoutError(f"it had not ended {STOP_S_MAX:.0f} s after {signum.name}") from error
        self._ended(below)

    def _ended(self, pids: list[int]) -> None:
        self._started.wait(STOP_S_MAX)
        tree.wait_gone(pids)
        _tell(f"-{self.pid}")


def remove_with_the_run(directory: Path) -> None:
    """Have a directory removed when the run has ended, if it is still there."""
    _tell(str(directory))


def _tell(line: str) -> None:
    pipe = _guard()
    pipe.write(f"{line}\n".encode())
    pipe.flush()


@cache
def _guard() -> IO[bytes]:
    """The pipe to the guard of this run, which is started with the first server."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "servers.guard"],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        start_new_session=True,
    )
    pipe = guard.stdin
    assert pipe is not None

    def end() -> None:
        pipe.close()
        guard.wait(GUARD_S_MAX)

    atexit.register(end)
    return pipe
