"""`accrue check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.cli.running import Cli

WRONG = """[metrcs]
[metrics.a]
[[rules]]
on = "x"
when = "actr != owner"
give = { to = "actor", metric = "b" }
"""


def test_every_problem_is_said_with_its_file_and_line(cli: Cli) -> None:
    Path("wrong.toml").write_text(WRONG)
    ran = cli("check", "wrong.toml")
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "wrong.toml:1: there is no section 'metrcs' here, did you mean 'metrics'?",
        "wrong.toml:5: 'actr' is not known, did you mean 'actor'?",
        "wrong.toml:6: there is no metric 'b'",
    ]
    assert ran.err == "error: wrong.toml has 3 problems\n"


def test_problems_are_one_json_document_when_asked_for(cli: Cli) -> None:
    Path("wrong.toml").write_text(WRONG)
    ran = cli("check", "wrong.toml", "--json")
    assert ran.code == 1
    assert [problem["line"] for problem in ran.document["problems"]] == [1, 5, 6]


def test_what_is_not_toml_or_not_text_is_said(cli: Cli) -> None:
    Path("a.toml").write_text("metrics = [")
    assert cli("check", "a.toml").out.startswith("a.toml:1: not TOML")
    Path("b.toml").write_bytes(b"\xff\xfe\x00")
    assert cli("check", "b.toml") == (2, "", "error: The program b.toml is not UTF-8.\n")


@pytest.mark.parametrize("name", ["community", "football", "formula1", "weblog", "writers"])
def test_the_examples_have_no_problems_and_fit_80_columns(cli: Cli, programs: Path, name: str) -> None:
    ran = cli("check", programs / f"{name}.toml")
    assert ran.code == 0
    assert "no problems" in ran.out
    assert max(len(line) for line in ran.out.splitlines()[1:]) <= 80


def test_each_rule_says_whether_it_is_order_free_and_why_not(cli: Cli, programs: Path) -> None:
    document = cli("check", programs / "writers.toml", "--json").document
    rules = {rule["name"]: rule for rule in document["rules"]}
    assert rules["a view"]["order_free"]
    assert rules["a reader counts once a post and day"]["reasons"] == [
        "once: the first event counts, later ones do not"
    ]
    assert document["problems"] == []
    text = cli("check", programs / "writers.toml").out
    assert "order-free     a view  article.viewed" in text
    assert "follows order  a reader counts once a post and day" in text


def test_the_function_of_a_type_is_shown(cli: Cli, programs: Path) -> None:
    ran = cli("check", programs / "writers.toml", "--code", "comment.created")
    assert ran.code == 0
    assert ran.out.startswith("def bind(")
    compile(ran.out, "shown", "exec")


def test_a_type_that_nothing_listens_to_is_an_error_that_names_the_nearest(cli: Cli, programs: Path) -> None:
    ran = cli("check", programs / "writers.toml", "--code", "comment.creatd")
    assert ran.code == 2
    assert "did you mean 'comment.created'?" in ran.err


def test_what_can_be_taken_back_is_said(cli: Cli) -> None:
    rules = '[metrics.a]\n[[rules]]\non = "x"\ngive = { to = "actor", metric = "a" }\n'
    Path("a.toml").write_text(rules + '[retract]\ntypes = ["x"]\ndays = 7\n')
    assert "Can be taken back\n  x  (for 7 days)\n" in cli("check", "a.toml").out
    assert cli("check", "a.toml", "--json").document["retractable"] == ["x"]
    Path("b.toml").write_text(rules)
    assert "taken back" not in cli("check", "b.toml").out
