"""How unevenly tenants load partitions and workers: a simulation, because nobody can choose where a tenant falls.

    python benchmarks/skew.py
    python benchmarks/skew.py --tenants 10000 --zipf 0.8 --seeds 50 --json

Tenants have a Zipf-like share of the events: the one of rank r weighs r ** -zipf. Each lives in the partition that its
name hashes to (core/placement.py), and the partitions are dealt to the workers as workers take them: evenly, whatever
is in them. Each seed draws other names. Printed are the loads of the busiest partition and the busiest worker against
the mean, the middle and the worst of the seeds, and how large a share of all events the largest tenant has: a tenant
is never split, so no number of partitions makes the busiest one smaller than that.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from accrue.core.placement import partition_of

PARTITIONS = (8, 16, 32, 64, 128, 256, 512, 1024)


class Skew(NamedTuple):
    """Loads against the mean of their kind: 1.0 is even. `largest` is the largest tenant's share of all events."""

    partitions: int
    workers: int
    partition_middle: float
    partition_worst: float
    worker_middle: float
    worker_worst: float
    largest: float


def weights(tenants: int, zipf: float) -> list[float]:
    """The shares of the tenants, the largest first; they add up to 1."""
    raw = [rank**-zipf for rank in range(1, tenants + 1)]
    total = sum(raw)
    return [weight / total for weight in raw]


def loads(shares: Sequence[float], partitions: int, seed: int) -> list[float]:
    """What each partition gets of all events, when the tenants have the names of this seed."""
    drawn = random.Random(seed)
    found = [0.0] * partitions
    for share in shares:
        found[partition_of(f"tenant-{drawn.getrandbits(64):016x}", partitions)] += share
    return found


def by_worker(found: Sequence[float], workers: int, seed: int) -> list[float]:
    """What each worker gets when they take the partitions in any order, as many each."""
    order = list(range(len(found)))
    random.Random(seed).shuffle(order)
    return [sum(found[partition] for partition in order[worker::workers]) for worker in range(workers)]


def simulate(shares: Sequence[float], partitions: int, workers: int, seeds: int) -> Skew:
    """The middle and the worst of so many drawings."""
    busiest_partitions, busiest_workers = [], []
    for seed in range(seeds):
        found = loads(shares, partitions, seed)
        busiest_partitions.append(max(found) * partitions)
        busiest_workers.append(max(by_worker(found, workers, seed)) * workers)
    return Skew(
        partitions,
        workers,
        median(busiest_partitions),
        max(busiest_partitions),
        median(busiest_workers),
        max(busiest_workers),
        shares[0],
    )


def table(found: Sequence[Skew]) -> str:
    """As it stands in docs/internals/scale.md."""
    lines = [
        "| partitions | workers | busiest partition / mean | worst | busiest worker / mean | worst |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {skew.partitions} | {skew.workers} | {skew.partition_middle:.2f} | {skew.partition_worst:.2f} | "
        f"{skew.worker_middle:.2f} | {skew.worker_worst:.2f} |"
        for skew in found
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Simulate how unevenly tenants load partitions and workers.")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--zipf", type=float, default=0.8, help="0: all alike; 1: the classic law")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--partitions", type=int, nargs="+", default=[n for n in PARTITIONS if n >= 16])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if min(options.partitions) < options.workers or min(options.tenants, options.workers, options.seeds) < 1:
        parser.error("there are at least as many partitions as workers, and one of everything")
    shares = weights(options.tenants, options.zipf)
    found = [simulate(shares, partitions, options.workers, options.seeds) for partitions in options.partitions]
    if options.json:
        sys.stdout.write(json.dumps([skew._asdict() for skew in found], indent=2) + "\n")
    else:
        sys.stdout.write(f"{table(found)}\n\nThe largest tenant has {shares[0]:.2%} of all events.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
