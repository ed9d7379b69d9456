"""Which program a tenant lives by after a start: its file where that has changed, else what was sent since."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

import accrue.engine
from accrue import Accrue
from accrue.core.program import ProgramError
from accrue.serve.kept import ProgramVersion

ONE, TWO, THREE = (f"[metrics.points]\n# {word}\n" for word in ("one", "two", "three"))


class Started:
    """Starts on one data directory with one file, and says which program is in force."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def __call__(self, file: str, *, send: str | None = None) -> str:
        (self.folder / "program.toml").write_text(file)
        async with Accrue.open(data_dir=self.folder / "data", program=self.folder / "program.toml") as accrue:
            text = accrue.parts.live.program("default").text
            if send is not None:
                assert await accrue.use_program(send)
        return text

    async def versions(self) -> list[ProgramVersion]:
        async with Accrue.open(data_dir=self.folder / "data") as accrue:
            return (await accrue.kept.programs("default")).programs


@pytest.fixture
def started(tmp_path: Path) -> Started:
    return Started(tmp_path)


async def test_a_program_sent_since_stays_while_the_file_is_as_it_was(started: Started) -> None:
    await started(ONE, send=TWO)

    with capture_logs() as said:
        assert await started(ONE) == TWO
    assert [entry["version"] for entry in said if "stays" in entry["event"]] == [2]
    assert await started(ONE) == TWO
    assert [(version.source, version.current) for version in await started.versions()] == [
        ("file", False),
        ("sent", True),
    ]


async def test_a_file_that_has_changed_is_taken_up(started: Started) -> None:
    await started(ONE, send=TWO)

    assert await started(THREE) == THREE
    assert await started(ONE) == ONE  # back to what it once was is a change as well
    assert [version.source for version in await started.versions()] == ["file", "sent", "file", "file"]


async def test_a_file_that_says_what_was_sent_already_is_noted_so_that_it_does_not_undo_what_comes_later(
    started: Started,
) -> None:
    await started(ONE, send=TWO)
    assert await started(TWO, send=THREE) == TWO

    assert await started(TWO) == THREE


async def test_newer_time_zone_data_counts_from_a_new_version_of_what_is_in_force(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(ONE, send=TWO)
    for module in (accrue.engine, accrue.ingest.accept):
        monkeypatch.setattr(module, "tzdata_version", lambda: "2099a")

    assert await started(ONE) == TWO
    assert await started(ONE) == TWO
    assert [(version.tzdata == "2099a", version.source) for version in await started.versions()] == [
        (False, "file"),
        (False, "sent"),
        (True, "sent"),
    ]


async def test_a_changed_file_that_would_turn_numbers_into_others_is_refused(started: Started) -> None:
    await started(ONE)

    with pytest.raises(ProgramError, match="give the new one another name"):
        await started("[metrics.points]\nscale = 2\n")
    assert await started(ONE) == ONE


async def test_what_one_program_left_out_another_does_not_bring_back_in_another_scale(started: Started) -> None:
    """7 points would be shown as 0.07."""
    await started(ONE, send="[metrics.likes]\n")
    with pytest.raises(ProgramError, match="'points' was kept for users with 0 decimal digits"):
        await started(ONE, send="[metrics.points]\nscale = 2\n")
