"""A process and everything that descends from it: found, stopped, killed.

A process group would not do: PostgreSQL makes each of its processes the leader of a group of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

GONE_S_MAX = 20.0
ASK_AGAIN_S = 0.005


def members(root: int) -> list[int]:
    """The living processes from `root` down, parents first; what is dead and only waits to be collected is none."""
    below: dict[int, list[int]] = {}
    alive = set()
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := _state_and_parent(int(name))) and found[0] not in "ZX":
            alive.add(int(name))
            below.setdefault(found[1], []).append(int(name))
    order = [root]
    for pid in order:
        order += below.get(pid, [])
    return [pid for pid in order if pid in alive]


def pause(root: int) -> list[int]:
    """Stop all of them where they are, and return them. Asks until there is none more: a parent may have forked."""
    paused: list[int] = []
    while new := [pid for pid in members(root) if pid not in paused]:
        _send(new, signal.SIGSTOP)
        paused += new
    return paused


def resume(root: int) -> None:
    """Let all of them go on."""
    _send(members(root), signal.SIGCONT)


def kill(root: int) -> list[int]:
    """SIGKILL to all of them; stopped first, so that none is born meanwhile. Wait with `wait_gone`."""
    doomed = pause(root)
    _send(doomed, signal.SIGKILL)
    return doomed


def wait_gone(pids: list[int]) -> None:
    """Until none of them runs any more, so that a port or a lock of theirs is free. TimeoutError after 20 s."""
    deadline_s = time.monotonic() + GONE_S_MAX
    while left := [pid for pid in pids if (found := _state_and_parent(pid)) and found[0] not in "ZX"]:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"processes {left} are still there {GONE_S_MAX:.0f} s after they were killed")
        time.sleep(ASK_AGAIN_S)


def _send(pids: list[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def _state_and_parent(pid: int) -> tuple[str, int] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]  # the name before may hold blanks and brackets
    return state, int(parent)
