"""Where things stand in a TOML text: the line of a table or of a key in it, so that an error can name it.

The standard parser gives no positions. This reads only headers and `key =` at the start of a line, which is all an
error message needs; what it does not find is reported at the nearest header above it.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)\s*=""")


class SourceLines:
    """`line("rules", 2, "when")` is the line of `when =` in the third `[[rules]]`, counted from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str | int, ...], int] = {}
        counts: dict[tuple[str | int, ...], int] = {}
        prefix: tuple[str | int, ...] = ()
        for number, line in enumerate(text.splitlines(), start=1):
            header = _HEADER.match(line)
            if header:
                prefix = _names(header[2])
                if header[1] == "[[":
                    index = counts.get(prefix, 0)
                    counts[prefix] = index + 1
                    prefix = (*prefix, index)
                self._lines.setdefault(prefix, number)
                continue
            key = _KEY.match(line)
            if key:
                self._lines.setdefault((*prefix, *_names(key[1])), number)

    def line(self, *path: str | int) -> int:
        """The line of the longest part of `path` that is known, 1 when nothing is."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return 1


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.\s]+", dotted))
