"""How the truth tests fold: through which engine, and how the events are delivered.

Everything that is read of a fold is in `truth.engine.Folded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from truth.engine import Folded

PROGRAMS = Path(__file__).resolve().parents[2] / "examples" / "programs"


class Delivery(NamedTuple):
    """Every batch of so many events arrives so many times."""

    copies: int
    batch: int


DELIVERIES = [Delivery(1, 1_000), Delivery(1, 7), Delivery(1, 1), Delivery(2, 1_000), Delivery(2, 7), Delivery(2, 1)]

OpenFold = Callable[[str, Delivery], Folded]
"""`(program, delivery)`: an empty fold under the program of that name in examples/programs."""

FoldAll = Callable[[str, Iterable[bytes], Delivery], Folded]
"""`(program, events, delivery)`: the same with these events folded."""


@pytest.fixture(scope="session", params=DELIVERIES, ids=lambda d: f"{d.copies}x{d.batch}")
def delivery(request: pytest.FixtureRequest) -> Delivery:
    found: Delivery = request.param
    return found


@pytest.fixture(scope="session")
def open_fold() -> Iterator[OpenFold]:
    opened: list[Folded] = []

    def open_engine(program: str, delivery: Delivery) -> Folded:
        opened.append(Folded(PROGRAMS / f"{program}.toml", copies=delivery.copies, batch=delivery.batch))
        return opened[-1]

    yield open_engine
    for folded in opened:
        folded.close()


@pytest.fixture(scope="session")
def fold_all(open_fold: OpenFold) -> FoldAll:
    def fold(program: str, events: Iterable[bytes], delivery: Delivery) -> Folded:
        folded = open_fold(program, delivery)
        folded.feed(events)
        return folded

    return fold


def assert_all_counted_once(folded: Folded, delivery: Delivery, events: int) -> None:
    """Every event took effect once, whatever the delivery; none failed, none was without a rule."""
    repeated = events * (delivery.copies - 1)
    assert folded.counts() == {"applied": events, "repeated": repeated, "failed": 0, "unmatched": 0}
