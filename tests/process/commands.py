"""Commands as processes of their own, the way a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "examples" / "programs"
WAIT_S_MAX = 60
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("ACCRUE_")},
    "PYTHONPATH": str(ROOT / "src"),
    "COLUMNS": "80",
}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "accrue.cli.main", *(str(argument) for argument in arguments)]


def ran(*arguments: object, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments), input=input, capture_output=True, env=ENVIRONMENT, timeout=WAIT_S_MAX, check=False
    )


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A command that runs while the block does; whatever is left of it afterwards is killed."""
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], wanted: str) -> str:
    """Read what it says on standard error up to a line that holds `wanted`, and return that line."""
    assert process.stderr is not None
    heard: list[str] = []
    for line in process.stderr:
        heard.append(line)
        if wanted in line:
            return line
    raise AssertionError(f"it ended without saying {wanted!r}: {''.join(heard)}")
