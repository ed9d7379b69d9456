"""Exit codes, errors in one line, help."""

from __future__ import annotations

import pytest

from accrue import __version__
from accrue.cli import check
from unit.cli.running import Cli


def test_the_version_is_said(cli: Cli) -> None:
    assert cli("--version") == (0, f"accrue {__version__}\n", "")


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["gateway"],
        ["worker"],
        ["migrate"],
        ["spool", "list"],
        ["verify"],
        ["import"],
        ["check"],
        ["query", "board"],
        ["query", "user"],
        ["query", "object"],
        ["query", "tally"],
        ["query", "awards"],
    ],
)
def test_every_command_has_help_with_an_example_within_80_columns(cli: Cli, command: list[str]) -> None:
    ran = cli(*command, "--help")
    assert ran.code == 0
    assert f"    accrue {' '.join(command)}" in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80


def test_an_error_is_one_line_and_exit_code_2(cli: Cli) -> None:
    ran = cli("check", "nothing.toml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: The program nothing.toml cannot be read: No such file or directory.\n"


def test_a_wrong_option_is_exit_code_2(cli: Cli) -> None:
    assert cli("check", "--nonsense").code == 2


def test_ctrl_c_is_exit_code_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "_text", interrupted)
    assert cli("check", "program.toml").code == 130
