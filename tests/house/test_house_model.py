"""A house rule about the simulation's model: it shares nothing with the engine, so that it can find it wrong."""

from __future__ import annotations

import ast

from house.tree import ROOT, report

MODEL = "tests/simulate/model"


def test_the_naive_model_imports_nothing_of_the_engine() -> None:
    files = sorted((ROOT / MODEL).glob("*.py"))
    assert files
    findings = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            findings += [f"{MODEL}/{file.name}:{node.lineno} {name}" for name in names if not _is_apart(name)]
    report("Write it in the model's own words; what both share can be wrong in both:", findings)


def _is_apart(name: str) -> bool:
    first, *rest = name.split(".")
    return first != "accrue" and (first != "simulate" or rest[:1] == ["model"])
