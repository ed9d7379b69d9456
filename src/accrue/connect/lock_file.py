"""A lock on what one process may use at a time: flock on a file that says who has it.

It is the operating system's, and goes with the process, however that ends: a crash leaves nothing to clean up.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from accrue.errors import InUse, Misconfigured

HOLDER_SIZE_BYTES_MAX = 32


def take(path: Path, *, what: Path, advice: str) -> int:
    """Take the lock `path` on `what`, and return its file descriptor: closing that gives it back.

    Raises `InUse` naming the process that has it, with the advice, and `Misconfigured` when there can be no lock."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, HOLDER_SIZE_BYTES_MAX, 0).decode(errors="replace").strip() or "another process"
        os.close(handle)
        raise InUse(f"{what} is in use by process {holder}. {advice}") from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle
