"""`accrue demo` as people run it: three processes, a real socket, and nothing left afterwards."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from process.commands import PROGRAMS, WAIT_S_MAX, ran, said, started


def test_a_few_seconds_of_the_demo_are_counted_exactly_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    done = ran("demo", "--seconds", 4, "--rate", 2_000, "--port", 0, "--data-dir", data_dir, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["exactly_once"] is True
    assert document["values_compared"] > 5_000
    assert document["accepted"] > 1_000
    assert min(document["repeated"], document["crawler_views"], document["settlements"]) > 0
    assert document["row_writes"] < document["naive_row_writes"]
    assert b" sent  " in done.stderr  # a line a second, where there is no terminal

    kept = ran("query", "board", "posts", "--data-dir", data_dir, "--limit", 1, "--json")
    assert json.loads(kept.stdout)["rows"][0]["rank"] == 1


def test_ctrl_c_ends_the_traffic_and_still_checks_it() -> None:
    with started("demo", "--rate", 1_000, "--port", 0, "--json") as process:
        said(process, " sent  ")
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S_MAX) == 0


def test_a_file_is_played_twice_and_counts_once(real_data: Path) -> None:
    file, program = real_data / "community" / "events.ndjson.gz", PROGRAMS / "community.toml"
    done = ran("demo", "--events", file, "--program", program, "--rate", 0, "--port", 0)
    assert done.returncode == 0, done.stderr
    assert b"Everything counted exactly once: yes" in done.stdout
    assert b"16,596" in done.stdout
