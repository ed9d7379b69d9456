"""The project as the house rules see it: its files, its parsed modules, its pages."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Module(NamedTuple):
    """One Python file of the package: `name` is its path below src/accrue."""

    name: str
    text: str
    tree: ast.Module

    def place(self, node: ast.AST) -> str:
        """Where a finding is, as an editor understands it."""
        return f"src/accrue/{self.name}:{getattr(node, 'lineno', 1)}"


@cache
def files() -> tuple[str, ...]:
    """Every file that is or would be committed, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of the project's files")
    return tuple(sorted(name for name in set(listed.stdout.splitlines()) if (ROOT / name).is_file()))


@cache
def texts() -> dict[str, str]:
    """The content of every file that is text."""
    found = {}
    for name in files():
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package."""
    start = "src/accrue/"
    return tuple(
        Module(name.removeprefix(start), text, ast.parse(text, name))
        for name, text in texts().items()
        if name.startswith(start) and name.endswith(".py")
    )


@cache
def pages() -> dict[str, str]:
    """The pages a person reads: the Markdown files."""
    return {name: text for name, text in texts().items() if name.endswith(".md")}


def uses(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Every name that a module uses, spelled out through its imports: `from time import time_ns` is `time.time_ns`."""
    known: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names if alias.asname}
            known |= {alias.name.split(".")[0]: alias.name.split(".")[0] for alias in node.names if not alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name):
            yield node, known.get(node.id, node.id)
        elif isinstance(node, ast.Attribute):
            yield node, _spelled(node, known)


def _spelled(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_spelled(node.value, known)}.{node.attr}"
    return known.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def report(rule: str, findings: list[str]) -> None:
    """Fail with the rule and what to do about it on top, one finding a line below."""
    if findings:
        pytest.fail("\n".join([rule, *(f"  {finding}" for finding in findings)]), pytrace=False)
