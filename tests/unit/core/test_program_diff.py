"""What differs between two programs."""

from __future__ import annotations

import pytest

from accrue.core.program_diff import Difference, compare

OLD = """[tenant]
timezone = "UTC"
[metrics.points]
[metrics.views]
[[rules]]
name = "posting"
on = "posted"
give = [{ to = "actor", metric = "points", amount = 5.50 }]
[[rules]]
on = ["viewed", "read"]
give = [{ to = "object", metric = "views" }]
[[rules]]
on = ["viewed", "read"]
give = [{ to = "actor", metric = "points" }]
[boards.best]
metric = "points"
[badges.writer]
when = "points >= 5"
"""


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", []),
        ("# a note\n[metrics.views]", "[metrics.views]", None),
        ("[metrics.views]", "[metrics.views]\n[metrics.stars]", [("added", "metric", "stars")]),
        ('[badges.writer]\nwhen = "points >= 5"\n', "", [("removed", "badge", "writer")]),
        ("points >= 5", "points >= 6", [("changed", "badge", "writer")]),
        ("amount = 5.50", "amount = 5.5", []),
        ("amount = 5.50", "amount = 5.51", [("changed", "rule", "posting")]),
        ('"UTC"', '"Europe/Paris"', [("changed", "setting", "timezone")]),
        ('give = [{ to = "object", metric = "views" }]', "give = []", [("changed", "rule", "on viewed, read")]),
        ('metric = "points" }]\n[boards', 'metric = "views" }]\n[boards', [("changed", "rule", "on viewed, read (2)")]),
    ],
)
def test_what_was_changed_is_named(before: str, after: str, expected: list[tuple[str, str, str]] | None) -> None:
    assert before in OLD or expected is None
    found = compare(OLD, OLD.replace(before, after, 1))

    assert found.summary == [Difference(*each) for each in expected or []]  # type: ignore[arg-type]  # as written


def test_the_order_of_the_rules_counts_and_is_told(  # a later one sees what an earlier one did
) -> None:
    rules = OLD[OLD.index("[[rules]]") : OLD.index("[boards")]
    first, *rest = rules.split("[[rules]]\n")[1:]
    turned = OLD.replace(rules, "".join(f"[[rules]]\n{rule}" for rule in (*rest, first)))

    assert compare(OLD, turned).summary == [Difference("changed", "order", "of the rules")]


def test_the_texts_are_compared_line_by_line() -> None:
    text = compare("[metrics.a]\n# one\n", "[metrics.a]\n# two", old_name="version 1", new_name="file").text

    assert text == (
        "--- version 1\n+++ file\n@@ -1,2 +1,2 @@\n [metrics.a]\n-# one\n+# two\n\\ No newline at end of file\n"
    )
    assert compare("[metrics.a]", "[metrics.a]").text == ""
