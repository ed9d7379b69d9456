"""What differs between two programs: by name for people to judge, and line by line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from difflib import unified_diff
from typing import Any, Literal

from msgspec import Struct

from accrue.core.reader.sections import SECTIONS

Change = Literal["added", "removed", "changed"]
SINGULAR = {"rules": "rule", "metrics": "metric", "boards": "board", "badges": "badge", "caps": "cap"}
SINGULAR |= {"streaks": "streak", "lookups": "lookup", "ranges": "range", "tenant": "setting", "retract": "retraction"}


class Difference(Struct, frozen=True):
    """One named part that is in only one of the two, or not the same in both."""

    change: Change
    what: str
    name: str


class Differences(Struct, frozen=True):
    """`summary` is in the order of the sections, and tells when only the order of the rules has changed. `text` is a
    unified diff, empty when the texts are the same."""

    summary: list[Difference]
    text: str


def compare(old: str, new: str, *, old_name: str = "old", new_name: str = "new") -> Differences:
    """From the text of one program to that of another. Both must have been read without a problem."""
    before, after = _parts(old), _parts(new)
    names = list(dict.fromkeys([*before, *after]))
    names.sort(key=lambda part: _place(part[0]))  # stable: inside a section as they are written
    summary = [
        Difference(change, what, name)
        for what, name in names
        if (change := _change(before.get((what, name)), after.get((what, name))))
    ]
    if _order(before, after) != _order(after, before):
        summary.append(Difference("changed", "order", "of the rules"))
    lines = unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), fromfile=old_name, tofile=new_name
    )
    text = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return Differences(summary, text)


Parts = dict[tuple[str, str], Any]
"""(what it is, its name) -> what it says."""


def _parts(text: str) -> Parts:
    return dict(_named(tomllib.loads(text, parse_float=Decimal)))


def _named(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    for section, content in document.items():
        what = SINGULAR.get(section, section)
        if isinstance(content, dict):
            yield from (((what, name), value) for name, value in content.items())
        else:
            yield from (((what, name), value) for name, value in _rules(content))


def _rules(rules: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """A rule without a name goes by what it listens to, and by its number where that is not enough."""
    seen: dict[str, int] = {}
    for rule in rules:
        on = rule.get("on", "")
        name = rule.get("name") or "on " + (on if isinstance(on, str) else ", ".join(on))
        seen[name] = number = seen.get(name, 0) + 1
        yield (name if number == 1 else f"{name} ({number})"), rule


def _place(what: str) -> int:
    order = [SINGULAR.get(section, section) for section in SECTIONS]
    return order.index(what) if what in order else len(order)


def _order(parts: Parts, others: Parts) -> list[tuple[str, str]]:
    """The rules that both have, in the order of the first."""
    return [part for part in parts if part[0] == "rule" and part in others]


def _change(before: Any, after: Any) -> Change | None:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    return None if before == after else "changed"
