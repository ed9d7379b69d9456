"""What one event costs each process of a deployment: processor time, which neighbours on the machine do not change.

    python benchmarks/units.py --log URL --book URL --boards URL --server postgres=PID --server redis=PID ...

Runs `accrue bench pipeline` on servers that are there already, and reads from /proc what the gateway, the worker and
each server named (with all its child processes) used meanwhile. The bench checks every total. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

LOOK_S = 0.1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """A process and all below it, as of now."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        if (fields := _fields(stat)) is not None:
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def used_s(pids: Sequence[int]) -> float:
    """Processor time of these, and of children of theirs that have ended."""
    ticks = 0
    for pid in pids:
        fields = _fields(Path(f"/proc/{pid}/stat"))
        if fields is not None:
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


def _fields(stat: Path) -> list[str] | None:
    """From the state on; the name before it may hold anything."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _role(pid: int) -> str | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    return next((role for role in ("gateway", "worker") if role in words[:5]), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Processor time of one event in each process.")
    for name in ("--log", "--book", "--boards"):
        parser.add_argument(name, required=True, metavar="URL")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=PID")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--batch", type=int, default=1_000)
    options = parser.parse_args(arguments)
    servers = {name: int(pid) for name, _, pid in (server.partition("=") for server in options.server)}
    before = {name: used_s(tree(pid)) for name, pid in servers.items()}
    command = [sys.executable, "-m", "accrue.cli.main", "bench", "pipeline", "--json", "--seconds", "0"]
    command += ["--events", str(options.events), "--batch", str(options.batch)]
    command += ["--log", options.log, "--book", options.book, "--boards", options.boards]
    roles: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            for pid in tree(process.pid):
                if role := _role(pid):
                    roles[role] = used_s([pid])
            time.sleep(LOOK_S)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        return process.returncode
    spent = {**roles, **{name: used_s(tree(pid)) - before[name] for name, pid in servers.items()}}
    per_event_us = {name: round(1e6 * seconds / options.events, 2) for name, seconds in spent.items()}
    document = {"us_of_processor_an_event": per_event_us, "pipeline": json.loads(said)}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
