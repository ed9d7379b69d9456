"""Many campaigns at once, as many as it takes for so many kills: `make crash N=5000`, or `make crash SEED=17`.

The campaigns run in processes that import everything once and start no thread, so that each life is only a fork.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from accrue.crashpoints import POINTS
from crash.campaign import Ended

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])

OnEnd = Callable[[int, list[Ended]], None]


class Tally:
    """What came of some campaigns."""

    def __init__(self, ends: list[Ended]) -> None:
        self.ends = ends
        self.killed_at = Counter(end.killed_at for end in ends if end.killed_at)
        self.kills = self.killed_at.total()
        self.faults = [
            f"campaign {end.seed}, life {end.number} ({end.killed_at or 'ended in order'}): {fault}\n"
            f"  again: make crash SEED={end.seed}"
            for end in ends
            for fault in end.faults
        ]
        self.points_missed = [point for point in POINTS if point not in self.killed_at]


def crash(
    kills: int,
    *,
    first_seed: int = 0,
    jobs: int | None = None,
    synchronous: str | None = None,
    on_end: OnEnd = lambda *_: None,
) -> Tally:
    """Run campaigns from `first_seed` on until there were so many kills, or something was wrong."""
    jobs = jobs or os.cpu_count() or 1
    ends: list[Ended] = []
    given = 0

    def one_after_the_other() -> None:
        nonlocal given
        with _worker(synchronous) as ask:
            while sum(1 for end in ends if end.killed_at) < kills and not any(end.faults for end in ends):
                seed, given = first_seed + given, given + 1
                came = ask(seed)
                ends.extend(came)
                on_end(sum(1 for end in ends if end.killed_at), came)

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(one_after_the_other) for _ in range(jobs)]:
            done.result()
    return Tally(ends)


@contextmanager
def _worker(synchronous: str | None) -> Iterator[Callable[[int], list[Ended]]]:
    """A process that runs campaigns, one at a time, asked by seed."""
    with subprocess.Popen(
        [sys.executable, "-m", "crash.campaign", *([synchronous] if synchronous else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ear, mouth = process.stdin, process.stdout

        def ask(seed: int) -> list[Ended]:
            ear.write(f"{seed}\n")
            ear.flush()
            answer = mouth.readline()
            if not answer:
                raise AssertionError(f"campaign {seed} ended without an answer: make crash SEED={seed}")
            return msgspec.json.decode(answer, type=list[Ended])

        try:
            yield ask
        finally:
            ear.close()


def main() -> int:
    """The command behind `make crash`."""
    parser = argparse.ArgumentParser(prog="make crash", description="Kill the engine and see that nothing is lost.")
    parser.add_argument("--kills", type=int, default=1_000, metavar="N", help="how many kills")
    parser.add_argument("--seed", type=int, help="only this campaign")
    asked = parser.parse_args()
    one = asked.seed is not None

    def show(kills: int, came: list[Ended]) -> None:
        if one:
            for end in came:
                sys.stdout.write(
                    f"life {end.number}: {end.killed_at or 'left in order'}; {end.acked} of {end.begun} acked\n"
                )
        else:
            sys.stdout.write(f"\r{kills:,} kills of {asked.kills:,}, last campaign {came[0].seed}")
        sys.stdout.flush()

    tally = crash(1 if one else asked.kills, first_seed=asked.seed or 0, jobs=1 if one else None, on_end=show)
    if not one:
        sys.stdout.write("\n")
        for point in [*POINTS, *sorted(set(tally.killed_at) - set(POINTS))]:
            sys.stdout.write(f"{tally.killed_at[point]:7,}  {point}\n")
    lost = sum(end.unsynced_lost for end in tally.ends)
    sys.stdout.write(
        f"{tally.kills:,} kills in {len(tally.ends):,} lives, in {lost:,} of which what was not synced was lost\n"
    )
    for fault in tally.faults:
        sys.stdout.write(fault + "\n")
    sys.stdout.write("Nothing was lost and nothing counted twice.\n" if not tally.faults else "FAILED\n")
    return bool(tally.faults)


if __name__ == "__main__":
    sys.exit(main())
