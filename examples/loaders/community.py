"""The question-and-answer community's events, which are events already: one JSON object a line."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loaders.lines import run


def events(data: Path) -> Iterator[bytes]:
    """Every line of `community/events.ndjson.gz`."""
    with gzip.open(data / "community" / "events.ndjson.gz", "rb") as lines:
        for event in lines:
            yield event.rstrip(b"\n")


if __name__ == "__main__":
    run(events)
