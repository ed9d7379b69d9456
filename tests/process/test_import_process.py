"""`accrue import` as a process that is stopped in the middle."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from process.commands import PROGRAMS, WAIT_S_MAX, ran, said, started

EVENTS = 16_596


def everything(data_dir: Path) -> list[tuple[object, ...]]:
    """Every tally, the engine's own ones too, and every award, without the places in the log they came from."""
    with closing(sqlite3.connect(data_dir / "book.db")) as book:
        return [
            *book.execute("SELECT metric, period, subject, value FROM tallies ORDER BY 1, 2, 3"),
            *book.execute("SELECT badge, level, subject, holder, time_us FROM awards ORDER BY 1, 2, 3"),
        ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_an_import_that_was_stopped_goes_on_and_counts_every_event_once(
    tmp_path: Path, real_data: Path, number: signal.Signals, code: int
) -> None:
    asked = [
        "import",
        real_data / "community" / "events.ndjson.gz",
        "--program",
        PROGRAMS / "community.toml",
        "--data-dir",
    ]
    with started(*asked, tmp_path / "stopped", "--batch", "20") as process:
        said(process, "20%")
        process.send_signal(number)
        assert process.wait(WAIT_S_MAX) == code

    second = ran(*asked, tmp_path / "stopped", "--json")
    assert second.returncode == 0, second.stderr
    document = json.loads(second.stdout)
    assert 0 < document["resumed_after_line"] < EVENTS
    assert document["resumed_after_line"] % 20 == 0
    assert document["repeated"] == document["resumed_after_line"]
    assert document["accepted"] == EVENTS - document["resumed_after_line"]
    assert document["events"] == EVENTS

    third = json.loads(ran(*asked, tmp_path / "stopped", "--json").stdout)
    assert (third["accepted"], third["repeated"]) == (0, EVENTS)
    assert ran(*asked, tmp_path / "whole").returncode == 0
    assert everything(tmp_path / "stopped") == everything(tmp_path / "whole")
    assert len(everything(tmp_path / "whole")) > 5_000
