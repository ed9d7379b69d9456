"""`accrue` with a clock that is set from outside, while it runs: `python -m faults.shifted FILE gateway ...`."""

from __future__ import annotations

import mmap
import sys
import time
from pathlib import Path

from accrue import clock


class ShiftedClock:
    """A wall clock ahead of the machine's by what the file at `path` says, in microseconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._ahead_us = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")

    def now_us(self) -> int:
        """Since 1970."""
        return time.time_ns() // 1_000 + self._ahead_us[0]

    def set(self, now_us: int) -> None:
        """Go on from there, in every process."""
        self._ahead_us[0] = now_us - time.time_ns() // 1_000

    def move(self, by_s: int) -> None:
        """Go on from so much later."""
        self._ahead_us[0] += by_s * 1_000_000


def main() -> int:
    """Everything as ever but for the wall clock, before anything has asked for it."""
    shifted = ShiftedClock(Path(sys.argv[1]))

    def now_us(self: clock.SystemClock) -> int:
        return shifted.now_us()

    clock.SystemClock.now_us = now_us
    from accrue.cli import main as command

    return command.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
