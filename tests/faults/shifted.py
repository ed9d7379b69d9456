"""`accrue` with a clock that is ahead: `python -m faults.shifted SECONDS gateway ...`."""

from __future__ import annotations

import sys
import time

from accrue import clock


def main() -> int:
    """Everything as ever but for the wall clock, before anything has asked for it."""
    ahead_ns = int(sys.argv[1]) * 1_000_000_000

    def now_us(self: clock.SystemClock) -> int:
        return (time.time_ns() + ahead_ns) // 1_000

    clock.SystemClock.now_us = now_us
    from accrue.cli import main as command

    return command.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
