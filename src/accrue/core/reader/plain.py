"""The plain TOML of a program: tables, words and texts, and the problems found in them.

Problems are collected, each with its line; what could not be read is left out of the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accrue.core.expression import nearest
from accrue.core.program import Problem
from accrue.core.source_lines import SourceLines

NAME_CHARACTERS_MAX = 64


class Plain:
    """One document, and where in it the reader stands."""

    def __init__(self, text: str, document: dict[str, Any]) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._document = document
        self._lines = SourceLines(text)
        self._at: tuple[str | int, ...] = ()

    def _table(self, section: str) -> dict[str, Any]:
        table = self._document.get(section, {})
        if not isinstance(table, dict):
            self._at = (section,)
            if not any(problem.message.startswith(f"[{section}]") for problem in self.problems):
                self._problem(f"[{section}] is a table")
            return {}
        return table

    def _list(self, section: str) -> list[Any]:
        rows = self._document.get(section, [])
        if not isinstance(rows, list):
            self._at = (section,)
            if not any(problem.message.startswith("write each") for problem in self.problems):
                self._problem("write each rule as [[rules]], with two brackets")
            return []
        return rows

    def _tables_of(self, section: str, keys: tuple[str, ...]) -> Iterable[tuple[str, dict[str, Any]]]:
        for name, table in self._table(section).items():
            self._at = (section, name)
            if not is_printable(name):
                self._problem(f"a name here is 1 to {NAME_CHARACTERS_MAX} printable characters, not {name!r}")
            if not isinstance(table, dict):
                self._problem(f"[{section}.{name}] is a table")
                continue
            self._known(table, keys, "key")
            yield name, table
            self._at = (section, name)

    def _words(
        self, table: dict[str, Any], key: str, default: list[str], known: tuple[str, ...], what: str
    ) -> list[str]:
        words = table.get(key, default)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            self._problem(f"{key} is a list of words", key)
            return default
        for word in words:
            if word not in known:
                self._problem(f"{word!r} is not a {what}{nearest(word, list(known))}", key)
        return [word for word in words if word in known] or default

    def _choice(self, table: dict[str, Any], key: str, choices: tuple[str, ...], default: str) -> str:
        word = table.get(key, default)
        if word not in choices:
            self._problem(f"{key} is one of {', '.join(choices)}, not {word!r}{nearest(str(word), list(choices))}", key)
            return default
        return str(word)

    def _text_of(self, table: dict[str, Any], key: str, default: str) -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or not value or not value.isprintable():
            self._problem(f"{key} is a text of printable characters on one line", key)
            return default
        return value

    def _known(self, table: dict[str, Any], keys: tuple[str, ...], what: str, at: str | None = None) -> None:
        for key in table:
            if key not in keys:
                hint = nearest(key, list(keys)) or f"; there are {', '.join(keys)}"
                self._problem(f"there is no {what} {key!r} here{hint}", at or key)

    def _problem(self, message: str, key: str | None = None) -> None:
        path = (*self._at, key) if key else self._at
        self.problems.append(Problem(self._lines.line(*path), message))


def dicts(table: object, key: str) -> list[dict[str, Any]]:
    """The inline tables in a list, or the one that stands there alone; what is something else is left out."""
    return [row for row in rows_of(table, key) if isinstance(row, dict)]


def rows_of(table: object, key: str) -> list[Any]:
    """What stands there as a list; one table alone counts as a list of one, as does anything that is no list."""
    rows = table.get(key, []) if isinstance(table, dict) else []
    return rows if isinstance(rows, list) else [rows]


def is_printable(name: str) -> bool:
    """Whether a name can be shown in one line."""
    return 0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()
