"""House rules about files: their names, their size, what they must say and what must never be in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from house.tree import ROOT, Module, files, modules, report, texts

FILE_LINES_MAX = 400
SUITE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
FILE_SIZE_BYTES_MAX = 256 * 1024

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "node.py:running": "the life of one process of several, numbered and in order, as the one in wiring.py",
    "wiring.py:running": "the life of a deployment, numbered and in order; apart, the order could not be seen",
}

EMPTY_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "stuff"}
PROMISES = re.compile(r"\b(?:{}|{})\b".format("TO" + "DO", "FIX" + "ME"))
MACHINE_PATH = re.compile(r"(?<![\w.~*/])/(?:work|root|home|tmp|opt|mnt|srv|Users|private)/[\w.]")
URL = re.compile(r"https?://[^\s\"'`<>()\[\]{}|\\,]+")

HOSTS = {
    "127.0.0.1": "this machine",
    "localhost": "this machine",
    "www.apache.org": "the licence",
    "keepachangelog.com": "the form of the changelog",
    "www.sqlite.org": "where the file format is described",
    "www.google.com": "what a crawler says of itself, in tests",
}
INVENTED = re.compile(r"(?:^|\.)(?:example|test|invalid|example\.(?:com|org|net))$")
"""Hosts that belong to nobody, for tests and examples."""

IGNORE = re.compile(r"#\s*(?:type:\s*ignore|noqa|pragma)\b.*")
REASONED = re.compile(r"# (?:type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*)\s+(?:#|-) *\w.*")


def test_every_module_says_what_it_is_for() -> None:
    report(
        "Start the file with a docstring: what it is, and why it is apart:",
        [module.place(module.tree) for module in modules() if not ast.get_docstring(module.tree)],
    )


def test_what_is_public_says_what_it_promises() -> None:
    report(
        "Public classes and functions start with one line of what they promise:",
        [f"{module.place(node)} {node.name}" for module in modules() for node in _public(module)],
    )


def test_no_file_outgrows_one_idea() -> None:
    findings = []
    for name, text in texts().items():
        if not name.endswith((".py", ".sql")):
            continue
        lines, allowed = text.count("\n"), SUITE_LINES_MAX if name.startswith("tests/") else FILE_LINES_MAX
        if lines > allowed and name not in LONG_FILES:
            findings.append(f"{name} has {lines} lines of {allowed}")
        elif lines <= allowed and name in LONG_FILES:
            findings.append(f"{name} is short enough now: take it off the list LONG_FILES")
    report("Split the file by idea, or list it in LONG_FILES with the reason why it is one:", findings)


def test_every_function_fits_on_a_screen() -> None:
    findings = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = _code_lines(node)
                if lines > FUNCTION_LINES_MAX and f"{module.name}:{node.name}" not in LONG_FUNCTIONS:
                    findings.append(f"{module.place(node)} {node.name} has {lines} lines of {FUNCTION_LINES_MAX}")
    report("Decide in one function and compute in others, or list it in LONG_FUNCTIONS with its reason:", findings)


def test_no_file_or_folder_has_an_empty_name() -> None:
    findings = [name for name in files() if EMPTY_WORDS & set(re.split(r"[/_.\-]", name.lower()))]
    report("Name it after what it does; a thing without a better name is not one idea yet:", findings)


def test_nothing_is_left_to_do_later() -> None:
    report("Do it now, or file an issue; the code says only what is so:", _lines(PROMISES))


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    report("Use a path relative to the project, or a temporary folder of the test:", _lines(MACHINE_PATH))


def test_every_address_is_one_we_mean() -> None:
    """No package index, mirror or stranger's server gets in by copy and paste."""
    findings = []
    for name, text in texts().items():
        for found in URL.finditer(text):
            host = urlsplit(found[0]).hostname or ""
            if "." not in host.strip(".") or host in HOSTS or INVENTED.search(host):
                continue
            findings.append(f"{name}:{text.count(chr(10), 0, found.start()) + 1} {host}")
    report("Add the host to HOSTS with its reason, or use example.com:", findings)


def test_no_data_set_is_copied_in() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in files()}
    findings = [f"{name} has {size} bytes" for name, size in sizes.items() if size > FILE_SIZE_BYTES_MAX]
    report("The real data stays outside the project (tests find it with the fixture `real_data`):", findings)


def test_every_ignored_warning_has_its_reason_on_the_line() -> None:
    findings = []
    for module in modules():
        for number, line in enumerate(module.text.splitlines(), 1):
            found = IGNORE.search(line)
            if found and not REASONED.fullmatch(found[0]):
                findings.append(f"src/accrue/{module.name}:{number} {found[0]}")
    report("Write `# type: ignore[code]  # why`, or `# noqa: CODE - why`:", findings)


def _public(module: Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """What lacks a docstring: public things at the top of a module, and the methods of contracts."""
    for node in module.tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Protocol" for base in node.bases):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not ast.get_docstring(method):
                    yield method


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring: what has to be understood at once."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function):
        said = function.body[0]
        lines -= (said.end_lineno or 0) - said.lineno + 1
    return lines


def _lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number} {found[0]}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := pattern.search(line))
    ]
