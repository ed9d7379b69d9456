"""Running one command inside the test's process."""

from __future__ import annotations

from pathlib import Path

import pytest

from accrue.cli.main import main
from unit.cli.running import Cli, Ran

PROGRAMS = Path(__file__).resolve().parents[3] / "examples" / "programs"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """The command line, in an empty folder, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("ACCRUE_DATA_DIR", "ACCRUE_PROGRAM", "ACCRUE_HOST", "ACCRUE_PORT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def programs() -> Path:
    return PROGRAMS
