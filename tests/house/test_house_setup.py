"""House rules about what a fresh machine installs: everything pinned, hashed, and from nowhere in particular."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from house.tree import ROOT, files, report

LOCK = "requirements.lock"
PINNED = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[\w.!+]+)(?: ; .+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def test_the_lock_names_no_place_to_download_from() -> None:
    placed = re.compile(r"://|@|^ *-(?!-hash=)|--(?!hash=)")
    lines = _lock().splitlines()
    report(f"{LOCK} says what, never from where:", [line for line in lines if placed.search(line)])


def test_every_package_in_the_lock_is_pinned_and_hashed() -> None:
    findings, name, hashes = [], "", 1
    for line in [*(line for line in _lock().splitlines() if line.strip() and not line.lstrip().startswith("#")), "end"]:
        if HASH.match(line):
            hashes += 1
            continue
        if not hashes:
            findings.append(f"{name} has no hash")
        if line != "end" and not PINNED.match(line):
            findings.append(f"{line} is not pinned")
        name, hashes = line, 0
    report(f"{LOCK} is written by `make lock`, not by hand:", findings)


def test_every_dependency_of_the_project_is_in_the_lock_as_it_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
    ]
    locked = {
        canonicalize_name(found["name"]): found["version"]
        for line in _lock().splitlines()
        if (found := PINNED.match(line))
    }
    assert asked
    assert locked
    findings = []
    for text in asked:
        requirement = Requirement(text)
        version = locked.get(canonicalize_name(requirement.name))
        if version is None:
            findings.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version):
            findings.append(f"{text}, but the lock has {version}")
    report(f"{LOCK} is not what pyproject.toml asks for; run `make lock`:", findings)


def test_what_a_newcomer_looks_for_is_there() -> None:
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "src/accrue/py.typed"}
    report("These files belong to the project:", sorted(wanted - set(files())))


def _lock() -> str:
    return (ROOT / LOCK).read_text(encoding="utf-8")
