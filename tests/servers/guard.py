"""Ends what a test run left behind. A process of its own, that outlives the run by a moment.

It is told on standard input, a line each: `+PID` a server that runs, `-PID` one that has ended, `/PATH` a directory to
remove. The other end of that pipe is held by the test run alone, so when it closes the run is gone, however it ended.
PR_SET_PDEATHSIG would not do: it watches the thread that started the server, and knows nothing of its children.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from servers import tree


def main() -> None:
    """Listen until the run is gone, then clear up."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    running: dict[int, None] = {}
    directories: dict[str, None] = {}
    for line in map(str.rstrip, sys.stdin):
        if line.startswith("+"):
            running[int(line)] = None
        elif line.startswith("-"):
            running.pop(-int(line), None)
        else:
            directories[line] = None
    for pid in running:
        tree.wait_gone(tree.kill(pid))
    for directory in directories:
        if Path(directory).exists():
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
