"""Crash points: named places where the process may be told to die at once, so that tests can show it loses nothing.

    ACCRUE_CRASH_AT="settle 7: written, before the commit" ACCRUE_CRASH_HITS=3 accrue serve ...

dies with SIGKILL when it comes to that place for the third time, and says so on standard error first. Without the
variable a point is one comparison. They stand at the steps of what is durable, never inside a loop over events.
tests/crash kills at every one of them.
"""

from __future__ import annotations

import os
import signal

from accrue.errors import Misconfigured

POINTS = (
    "start 1: directory locked",
    "create 1: log built beside its place",
    "create 2: log moved there, folder not synced",
    "start 2: log open",
    "migrate 1: before a migration",
    "migrate 2: migrated, before the commit",
    "migrate 3: migration committed",
    "start 3: book open",
    "claim 1: partition taken, before the commit",
    "claim 2: claim committed",
    "start 4: checkpoint and index loaded",
    "start 5: caught up with the log",
    "start 6: accepting",
    "accept 1: merged, before the append",
    "append 1: before the insert",
    "append 2: partition noted, before its first record",
    "append 3: inserted, before the tail has it",
    "accept 2: appended, before anybody is told",
    "accept 3: everybody told",
    "process 1: records read",
    "process 2: repeats set aside",
    "process 3: subjects loaded",
    "process 4: record folded",
    "process 5: before publishing",
    "process 5: published",
    "settle 1: before it begins",
    "settle 2: generation taken, rows not made",
    "settle 3: rows made",
    "settle 4: rows staged, before the transaction",
    "settle 5: fence raised",
    "settle 6: tables written",
    "settle 7: written, before the commit",
    "settle 8: committed",
    "settle 9: before memory is cleared",
    "settle 10: cleared, before the trim",
    "trim 1: before the mark",
    "trim 2: mark moved, nothing deleted",
    "trim 3: slice deleted",
    "settle 11: trimmed",
    "close 1: due, before it is asked for",
    "close 2: asked for",
    "close 3: standings made",
    "close 4: closed in memory",
    "stop 1: nothing runs beside the worker",
    "stop 2: accepting has ended",
    "stop 3: everything folded",
    "stop 4: settled",
    "stop 5: book closed",
)
"""Every point, in the order of a life. The numbers count inside a stage; those of `process` are the worker's steps."""

SPOOL_POINTS = (
    "spool 1: before the insert",
    "spool 2: spooled, before anybody is told",
    "forward 1: read, before the first append",
    "forward 2: appended, nothing removed",
    "forward 3: removed, before the commit",
    "forward 4: removed",
)
"""Those of a gateway whose log is out of reach, in the same way."""

_at: str | None = None
_hits_left = 0


def point(name: str) -> None:
    """Die here, if this is the point that was armed."""
    if _at is not None:
        _come_to(name)


def arm(name: str, *, hits: int = 1) -> None:
    """Die when `name` is reached for the `hits`-th time from now. Raises `Misconfigured` for an unknown name."""
    global _at, _hits_left
    if name not in POINTS + SPOOL_POINTS or hits < 1:
        raise Misconfigured(f"There is no crash point {name!r} (or {hits} is no count); see accrue/crashpoints.py.")
    _at, _hits_left = name, hits


def _come_to(name: str) -> None:
    global _hits_left
    if name != _at:
        return
    _hits_left -= 1
    if _hits_left == 0:
        os.write(2, f"crash point reached: {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


if "ACCRUE_CRASH_AT" in os.environ:
    arm(os.environ["ACCRUE_CRASH_AT"], hits=int(os.environ.get("ACCRUE_CRASH_HITS", "1")))
