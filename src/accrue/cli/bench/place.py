"""Where a bench keeps its data: a directory of its own on a real disk, gone afterwards, its filesystem named.

A sync of a file in memory costs nothing, so a figure without the kind of filesystem says little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from accrue.errors import Misconfigured

MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@contextmanager
def directory(parent: Path | None) -> Iterator[Path]:
    """A new directory inside `parent`, by default the system's directory for temporary files. Gone afterwards."""
    try:
        place = TemporaryDirectory(prefix="accrue-bench-", dir=parent)
    except OSError as error:
        raise Misconfigured(f"--dir {parent} cannot be used: {error.strerror}.") from error
    with place as path:
        yield Path(path)


def filesystem(path: Path) -> str:
    """The kind of filesystem, for example `ext4`; `unknown` where the system does not say."""
    try:
        mounts = MOUNTS.read_text()
    except OSError:
        return "unknown"
    return _kind(path.resolve(), mounts)


def _kind(path: Path, mounts: str) -> str:
    """The last of the deepest mount points that hold the path (see proc(5): later ones cover earlier ones)."""
    deepest, found = -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].replace("\\040", " "))
        if len(point.parts) >= deepest and path.is_relative_to(point):
            deepest, found = len(point.parts), after.split(" ")[0]
    return found
