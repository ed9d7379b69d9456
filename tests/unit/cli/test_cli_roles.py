"""What a gateway or a worker is refused for before it has reached any server, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from accrue.cli.main import main
from accrue.connect.url import redacted

SHARED = (
    "--log",
    "postgresql://127.0.0.1:1/x",
    "--book",
    "postgresql://127.0.0.1:1/x",
    "--boards",
    "redis://127.0.0.1:1",
)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gateway"], "give --log URL, --book URL, --boards URL"),
        (["worker", *SHARED[:4]], "give --boards URL"),
        (["gateway", *SHARED, "--log", "amqp://x"], "Nothing here keeps the log at amqp://"),
        (["worker", *SHARED, "--host", "0.0.0.0"], "unprotected = true"),
        (["serve", "--port", "0", "--log", SHARED[1]], "so the book has to be, too"),
        (["serve", "--port", "0", "--book", "mysql://root:secret@x/y"], "Nothing here keeps the book at mysql://"),
        (["serve", "--port", "0", "--boards", "memcached://x"], "Nothing here keeps the boards at memcached://"),
        (["gateway", *SHARED, "--port", "0"], "127.0.0.1:1"),
        (["gateway", *SHARED, "--partitions", "0"], ""),
    ],
)
def test_a_process_that_cannot_be_one_of_several_says_what_to_do(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "program.toml"
    program.write_text("[metrics.points]\n")
    options = ["--program", str(program)] if arguments[0] == "serve" else []
    assert main([*arguments, *options]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "secret" not in said


@pytest.mark.parametrize("variable", ["ACCRUE_LOG", "ACCRUE_BOOK", "ACCRUE_BOARDS"])
def test_the_environment_says_where_the_engines_are(
    variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "redis://127.0.0.1:1")
    assert main(["worker"]) == 2
    assert f"--{variable.removeprefix('ACCRUE_').lower()} URL" not in capsys.readouterr().err


def test_a_password_is_never_shown() -> None:
    assert redacted("redis://me:secret@host:6379/0?name=x") == "redis://me:***@host:6379/0?name=x"
    assert redacted("redis://host:6379/0") == "redis://host:6379/0"
