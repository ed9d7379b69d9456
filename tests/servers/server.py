"""What every private server can do: start, stop, be killed and paused, and start again where it was."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from servers.process import Process, remove_with_the_run

START_S_MAX = 90.0
ASK_AGAIN_S = 0.02
LOG_LINES = 40


class Server(ABC):
    """A server of one test run. `start` it, `close` it; in between it may be killed and started as often as wanted.

    What is kept over a kill is what the server itself promises; directory and ports stay the same until `close`.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"accrue-{self.name}-"))
        self.log = self.directory / "server.log"
        self._processes: list[Process] = []
        self._prepared = False
        remove_with_the_run(self.directory)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, as `accrue --log`, `--book` or `--boards` take it."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what it needs in its directory; called once, before it is first launched."""

    @abstractmethod
    def launch(self) -> list[Process]:
        """Start its programs, those that the others need first."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does what it is for: a request is answered, not only a connection accepted."""

    @property
    def running(self) -> bool:
        """Whether it was started and has neither been killed nor stopped; also while it is paused."""
        return bool(self._processes)

    def start(self) -> None:
        """Start it and wait until it answers. RuntimeError with the end of its log when it does not within 90 s."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        if not self._prepared:
            self.prepare()
            self._prepared = True
        self._processes = self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until it answers; for what a test did to it behind its back. RuntimeError as for `start`."""
        deadline_s = time.monotonic() + START_S_MAX
        while not self.answers():
            ended = [process.exit_code for process in self._processes if process.exit_code is not None]
            if ended or time.monotonic() > deadline_s:
                self._end()
                why = f"ended with {ended[0]}" if ended else f"did not answer within {START_S_MAX:.0f} s"
                raise RuntimeError(f"{self.name} {why}. Its log ends with:\n{self.log_end()}")
            time.sleep(ASK_AGAIN_S)

    def kill(self) -> None:
        """SIGKILL to all its processes; returns when they are gone. What was not on its way to disk is lost."""
        self._end()

    def stop(self) -> None:
        """End it in order. Its data stay, so that it can be started again."""
        for process in reversed(self._processes):
            process.stop(self.stop_signal)
        self._processes = []

    def restart(self) -> None:
        """`stop` and `start`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP to all its processes: connections stay open and nothing is answered."""
        for process in self._processes:
            process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        for process in self._processes:
            process.resume()

    def close(self) -> None:
        """End it, at once, and remove everything it had."""
        self._end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_end(self) -> str:
        """The last lines of what it said."""
        said = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(said.splitlines()[-LOG_LINES:])

    def _end(self) -> None:
        for process in reversed(self._processes):
            process.kill()
        self._processes = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
