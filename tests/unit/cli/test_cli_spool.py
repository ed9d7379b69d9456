"""Looking at what a spool has parked, with the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accrue.cli.main import main
from accrue.ingest.spool import Spool, SpoolLimits, ToPark
from unit.ingest.unsteady import LOG, record

NOW_US = 1_700_000_000_000_000


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    spool = await Spool.open(tmp_path / "spool.db", log_identity=LOG, limits=SpoolLimits())
    for number in (1, 2):
        await spool.add(0, record(number, time_us=NOW_US))
    await spool.remove(0, up_to=2, park=[ToPark(1, "too old"), ToPark(2, "too old")], now_us=NOW_US)
    await spool.close()
    return tmp_path


def test_what_is_parked_is_listed_shown_and_discarded(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--data-dir", str(data_dir)]
    assert main(["spool", "list", "--json", *place]) == 0
    listed = json.loads(capsys.readouterr().out)["parked"]
    assert [(row["number"], row["reason"]) for row in listed] == [(1, "too old"), (2, "too old")]
    assert main(["spool", "list", *place]) == 0
    assert capsys.readouterr().out.count("too old") == 2

    assert main(["spool", "show", "1", *place]) == 0
    shown = capsys.readouterr().out
    assert [json.loads(line) for line in shown.splitlines()]
    assert main(["spool", "discard", "1", *place]) == 0
    capsys.readouterr()
    assert main(["spool", "show", "1", *place]) == 2
    assert "no parked record 1" in capsys.readouterr().err
    assert main(["spool", "discard", "1", "2", *place]) == 1
    assert "1 of 2 discarded" in capsys.readouterr().out


def test_without_a_spool_nothing_is_parked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool", "list", "--data-dir", str(tmp_path)]) == 0
    assert "Nothing is parked." in capsys.readouterr().out
    assert main(["spool", "show", "1", "--data-dir", str(tmp_path)]) == 2
