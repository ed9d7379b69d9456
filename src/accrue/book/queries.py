"""SQL by name, from the files beside this module.

A file holds statements, each under a line `-- name: <name>`; what stands before the first name explains the file.
"""

from __future__ import annotations

import re
from importlib.resources import files

NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(file: str) -> dict[str, str]:
    """The statements of `sql/<file>` by their names, without comments."""
    text = files("accrue.book").joinpath("sql", file).read_text("utf-8")
    _, *parts = NAME.split(text)
    return {name: _without_comments(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _without_comments(statement: str) -> str:
    return "\n".join(line for line in statement.splitlines() if line and not line.lstrip().startswith("--"))
