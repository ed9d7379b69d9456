"""What the loaders share: an event as one line of JSON, and a loader as a command.

    python examples/loaders/football.py DATA | accrue import - --program examples/programs/football.toml ...

DATA is the folder that holds one folder a data set.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

Json = dict[str, object]


def line(type: str, id: str, **fields: object) -> bytes:
    """One event as JSON. Fields that are None, here and in `data`, are left out."""
    event: Json = {"type": type, "id": id}
    for name, value in fields.items():
        if isinstance(value, dict):
            value = {key: inner for key, inner in value.items() if inner is not None}
        if value is not None:
            event[name] = value
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def adjustment(id: str, time: str, *, metric: str, subject: str, amount: int, reason: str) -> bytes:
    """A correction that somebody decided, as the engine's own event for it."""
    data = {"metric": metric, "subject": subject, "amount": amount, "reason": reason}
    return line("accrue.adjust", id, time=time, data=data)


def rows(file: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, by the names in its first line. Every value stays the text it is."""
    with file.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def whole(text: str) -> int | None:
    """The whole number a cell holds, or None when it holds something else, such as a reason."""
    return int(text) if text.isdecimal() else None


def run(events: Callable[[Path], Iterator[bytes]]) -> None:
    """Write every event of a data folder to standard output, one a line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} DATA")
    try:
        for event in events(Path(sys.argv[1])):
            sys.stdout.buffer.write(event + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader has seen enough
        sys.stderr.close()
