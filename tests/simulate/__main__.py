"""Run seeds and say how they went: `python -m simulate --seeds 5000`, or `python -m simulate --seed 1234` for one.

Ends with 1 when a seed failed; the first line of a failure is the command that runs that seed again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import track
from structlog.testing import capture_logs

from simulate.scenario import Report, run

FAILURES_MAX = 10


def command(seed: int) -> str:
    """What runs a seed again."""
    return f"make simulate SEED={seed}"


def run_seed(seed: int) -> Report:
    """Run one seed in a folder of its own, without the engine's own log."""
    with tempfile.TemporaryDirectory(prefix="accrue-simulate-") as folder, capture_logs():
        return run(seed, Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one, and show where it fails")
    parser.add_argument("--seeds", type=int, default=500, help="run so many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    asked = parser.parse_args()
    console = Console(stderr=True)
    seeds = [asked.seed] if asked.seed is not None else range(asked.first, asked.first + asked.seeds)
    failed: list[int] = []
    reports: list[Report] = []
    for seed in track(seeds, "simulating", console=console, disable=len(seeds) == 1):
        try:
            reports.append(run_seed(seed))
        except Exception as error:
            failed.append(seed)
            console.print(f"[red]seed {seed} failed[/]: {command(seed)}", highlight=False)
            console.print(
                traceback.format_exc() if len(seeds) == 1 else f"{type(error).__name__}: {error}", markup=False
            )
            if len(failed) == FAILURES_MAX:
                break
    _summary(reports, failed)
    return 1 if failed else 0


def _summary(reports: list[Report], failed: list[int]) -> None:
    struck = sum((report.struck for report in reports), Counter[str]())
    outcomes = sum((report.outcomes for report in reports), Counter[str]())
    print(
        f"{len(reports) + len(failed)} seeds, {len(failed)} failed{': ' if failed else ''}{', '.join(map(str, failed))}"
    )
    print(f"{sum(report.events for report in reports):,} events:", _counted(outcomes))
    print(f"{sum(report.starts for report in reports):,} starts of the engine; faults:", _counted(struck))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
