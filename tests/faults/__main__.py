"""The matrix over and over, with more load than in the tests, and its table: `make faults MINUTES=10`.

Ends with 1 at the first case in which something is wrong, and leaves what all processes said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from faults.cases import cases, long_cases
from faults.engines import BOARDS, LOGS, Engines, served
from faults.matrix import LARGE, SMALL, Row
from faults.stage import Stage


def main() -> int:
    """The command behind `make faults`."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="begin rounds for so long; one is whole in any case")
    parser.add_argument("--rounds", type=int, default=1_000, help="no more than so many")
    parser.add_argument("--case", action="append", help="only those whose name begins so")
    parser.add_argument("--log", choices=LOGS, default="RabbitMQ", help="where the log stands")
    parser.add_argument("--boards", choices=BOARDS, default="Redis", help="where the boards stand")
    parser.add_argument("--closes", action="store_true", help="an hour and a day end in the middle of every fault")
    parser.add_argument("--small", action="store_true", help="with the load of `make test`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write every row to this file")
    asked = parser.parse_args()
    engines = Engines(log=asked.log, boards=asked.boards)
    known = {**cases(engines), **long_cases(engines)}
    names = [name for name in known if not asked.case or name.startswith(tuple(asked.case))]
    rows: list[Row] = []
    folder = Path(tempfile.mkdtemp(prefix="accrue-faults-"))
    until_s = time.monotonic() + asked.minutes * 60
    with served(engines) as servers:
        for round_number in range(asked.rounds):
            if round_number and time.monotonic() > until_s:
                break
            place = folder / str(round_number)
            with Stage(servers, place, closes=asked.closes) as stage:
                for number, name in enumerate(names, start=asked.seed + round_number * len(known)):
                    try:
                        row = stage.play(name, SMALL if asked.small else LARGE, seed=number)
                    except AssertionError as error:
                        print(f"FAILED {error}\nWhat the processes said is in {place}")
                        return 1
                    rows.append(row)
                    print(line(row), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    print(table(rows))
    shutil.rmtree(folder)
    return 0


def line(row: Row) -> str:
    """A case in one line."""
    taken = f", taken over in {row.taken_over_s:.1f} s" if row.taken_over_s is not None else ""
    taken += f", {row.closed} periods closed" if row.closed else ""
    return (
        f"{row.case}: {row.sent:,} events sent, {row.acked:,} acked, {row.counted:,} counted, {row.repeats:,} repeats, "
        f"{row.conflicts:,} conflicts; requests: {row.spooled_requests:,} spooled, {row.unanswered_requests:,} "
        f"unanswered; {row.stale_reads:,} stale reads{taken}, recovered in {row.recovered_s:.1f} s"
    )


def table(rows: list[Row]) -> str:
    """All rounds of a case in one line of Markdown; times from the shortest to the longest."""
    by_case: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_case[row.case].append(row)
    counted = {name: name for name in ("sent", "acked", "counted", "repeats", "conflicts")}
    counted["spooled"] = "spooled_requests"
    if any(row.closed for row in rows):
        counted["periods closed"] = "closed"
    heads = ["fault", "rounds", *counted, "taken over in", "recovered in"]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for case, some in by_case.items():
        sums = [f"{sum(getattr(row, name) for row in some):,}" for name in counted.values()]
        taken_s = [row.taken_over_s for row in some if row.taken_over_s is not None]
        cells = [case, str(len(some)), *sums, _span(taken_s), _span([row.recovered_s for row in some])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _span(times_s: list[float]) -> str:
    if not times_s:
        return ""
    shortest, longest = f"{min(times_s):.1f}", f"{max(times_s):.1f}"
    return f"{shortest} s" if shortest == longest else f"{shortest} to {longest} s"


if __name__ == "__main__":
    sys.exit(main())
