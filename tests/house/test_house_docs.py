"""House rules about the pages: links lead somewhere, examples run, generated pages are what the code says.

A fenced block is checked by the first word behind its fence: `toml` with `[[rules]]` in it must be a program that is
accepted, `python` must compile. `python run` and `console run` are also run, in an empty folder that has `examples/`.
In a console block each line `$ accrue ...` must succeed, and the lines below it must be what it prints; `...` alone on
a line stands for any lines.
"""

from __future__ import annotations

import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from accrue.core.reader import read
from accrue.errors import AccrueError
from house.tree import ROOT, files, pages, report

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
OWN_PATH = re.compile(r"`((?:src|tests|docs|examples|benchmarks)/[\w./-]+)`")
MAKE = re.compile(r"`(?:\$ )?make ([a-z]+)")
RUN_SECONDS_MAX = 60


class Block(NamedTuple):
    """A fenced block: the words behind its fence and what is in it."""

    page: str
    line: int
    words: tuple[str, ...]
    body: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str, *, run: bool = False) -> list[Block]:
    """The blocks of one language in all pages; with `run` only those that are to be run."""
    return [block for block in _blocks() if block.words[:1] == (language,) and (not run or "run" in block.words[1:])]


def test_every_link_leads_somewhere() -> None:
    findings = []
    for page, text in pages().items():
        for found in LINK.finditer(FENCE.sub("", text)):
            path, _, heading = found["target"].partition("#")
            if "://" in path or path.startswith("mailto:"):
                continue
            target = os.path.normpath(Path(page).parent / path) if path else page
            if not (ROOT / target).exists():
                findings.append(f"{page}: {found['target']} is not there")
            elif heading and heading not in _headings((ROOT / target).read_text(encoding="utf-8")):
                findings.append(f"{page}: {found['target']} has no such heading")
    report("Links in the pages that lead nowhere:", findings)


def test_every_file_and_command_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    findings = [
        f"{page} names {name}"
        for page, text in pages().items()
        for name in OWN_PATH.findall(text)
        if not (ROOT / name).exists()
    ]
    findings += [
        f"{page} says make {name}"
        for page, text in pages().items()
        for name in MAKE.findall(text)
        if name not in targets
    ]
    report("Pages that name what does not exist:", findings)


def test_every_program_in_the_pages_is_accepted() -> None:
    findings = []
    for block in blocks("toml"):
        try:
            read(block.body, file=block.place) if "[[rules]]" in block.body else tomllib.loads(block.body)
        except (AccrueError, tomllib.TOMLDecodeError) as error:
            findings.append(f"{block.place}: {error}")
    report("Programs and settings in the pages that would be refused:", findings)


def test_every_piece_of_python_in_the_pages_compiles() -> None:
    findings = []
    for block in blocks("python"):
        try:
            compile(block.body, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            findings.append(f"{block.place}: {error}")
    report("Python in the pages that does not compile:", findings)


def test_every_example_that_says_run_runs(tmp_path: Path) -> None:
    findings = []
    for number, block in enumerate([*blocks("python", run=True), *blocks("console", run=True)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "examples").symlink_to(ROOT / "examples")
        if block.words[0] == "python":
            done = _run([sys.executable, "-c", block.body], folder)
            findings += [f"{block.place}: {done.stderr}"] if done.returncode else []
        else:
            findings += _differences(block, folder)
    report("Examples that do not do what the page says:", findings)


def test_the_generated_pages_are_what_the_code_says() -> None:
    generator = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    report("Generated pages are stale; run `make docs`:", generator["stale"]())


def test_every_example_program_is_accepted() -> None:
    names = [name for name in files() if name.startswith("examples/programs/") and name.endswith(".toml")]
    assert names, "there are no example programs"
    for name in names:
        read((ROOT / name).read_text(encoding="utf-8"), file=name)


def test_a_wrong_example_would_be_found(tmp_path: Path) -> None:
    wrong = Block("page.md", 1, ("console", "run"), "$ accrue no-such-command\n")
    assert _differences(wrong, tmp_path)
    assert not _same(["1", "...", "3"], ["1", "2", "4"])
    assert _same(["1", "...", "3"], ["1", "2", "2", "3"])


def _blocks() -> Iterator[Block]:
    for page, text in pages().items():
        for found in FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(page, line, tuple(found["info"].split()), found["body"])


def _headings(text: str) -> set[str]:
    """The names by which the headings of a page can be linked to."""
    titles = re.findall(r"^#+ (.+?)\s*$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _differences(block: Block, folder: Path) -> list[str]:
    """Run a console block; say what failed or printed something else."""
    findings = []
    for step in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
        command, *expected = step.rstrip("\n").split("\n")
        words = shlex.split(command)
        if words[:1] != ["accrue"]:
            findings.append(f"{block.place}: only accrue is run here, not {command}")
            continue
        done = _run([str(Path(sys.executable).with_name("accrue")), *words[1:]], folder)
        if done.returncode:
            findings.append(f"{block.place}: {command}\n{done.stdout}{done.stderr}")
        elif expected and not _same(expected, done.stdout.rstrip("\n").split("\n")):
            findings.append(f"{block.place}: {command} prints\n{done.stdout}")
    return findings


def _same(expected: list[str], printed: list[str]) -> bool:
    """Whether the lines are the same, where `...` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line.rstrip()) + r"\n" for line in expected)
    return re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in printed)) is not None


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=RUN_SECONDS_MAX
        )
    except FileNotFoundError:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("accrue is not installed beside this Python; make test does that")
