"""The names in a folder, which a power cut loses too: a file made, renamed or deleted and its folder not synced since.

While the process lives, its `Ledger` notes each such change in a folder of its own, outside the data. After the cut,
`take_back` undoes those that no sync of the folder came after; file systems keep their order, so some number of the
first of them may have survived.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

LEDGER = "ledger.ndjson"

_replace, _fsync = os.replace, os.fsync


class Ledger:
    """Notes changes of names. `side` is where it keeps them, and the files that were deleted."""

    def __init__(self, side: Path) -> None:
        side.mkdir(parents=True, exist_ok=True)
        self._side = side
        self._kept = 0
        self._folders: set[str] = set()
        self._file = os.open(side / LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def created(self, path: str) -> None:
        """A file is there that was not."""
        self._note({"did": "create", "path": path})

    def delete(self, path: str) -> None:
        """Delete a file, but so that it can come back."""
        self._kept += 1
        kept = str(self._side / f"deleted-{os.getpid()}-{self._kept}")
        self._note({"did": "delete", "path": path, "kept": kept})
        _replace(path, kept)

    def synced(self, folder: str) -> None:
        """What was noted of this folder has come to stay."""
        self._note({"did": "sync", "path": os.path.join(folder, "")})

    def watch_renames(self) -> None:
        """From now on note what this process renames, and the folders it syncs, by Python's own functions."""

        def replace(source: Any, target: Any) -> None:
            self._note({"did": "rename", "path": str(target), "from": str(source), "over": os.path.exists(target)})
            _replace(source, target)

        def fsync(descriptor: int) -> None:
            _fsync(descriptor)
            synced = os.fstat(descriptor)
            for folder in self._folders:
                if os.path.samestat(os.stat(folder), synced):
                    self.synced(folder)

        os.replace, os.fsync = replace, fsync

    def _note(self, change: dict[str, Any]) -> None:
        self._folders.add(os.path.dirname(change["path"]))
        os.write(self._file, json.dumps(change).encode() + b"\n")


def take_back(side: Path, random: Random) -> int:
    """Undo what was not synced, but for some of the first changes, and forget the ledger. Returns how many went."""
    changes: list[dict[str, Any]] = []
    ledger = side / LEDGER
    for line in ledger.read_text().splitlines() if ledger.exists() else []:
        change = json.loads(line)
        folder = os.path.dirname(change["path"])
        if change["did"] == "sync":
            changes = [other for other in changes if os.path.dirname(other["path"]) != folder]
        else:
            changes.append(change)
    survived = random.randint(0, len(changes)) if random.random() < 0.5 else 0
    for change in reversed(changes[survived:]):
        path = change["path"]
        if change["did"] == "create":
            Path(path).unlink(missing_ok=True)
        elif change["did"] == "delete" and os.path.exists(change["kept"]):
            os.replace(change["kept"], path)
        elif change["did"] == "rename" and os.path.exists(path):
            if change["over"]:
                raise AssertionError(f"{path} was replaced by another file: that cannot be taken back here")
            os.replace(path, change["from"])
    ledger.unlink(missing_ok=True)
    return len(changes) - survived
