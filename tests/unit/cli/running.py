"""What a command that ran leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Ran(NamedTuple):
    """The exit code, and what was written to standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the JSON document it is."""
        return json.loads(self.out)


Cli = Callable[..., Ran]
"""`cli("query", "user", "ada")` runs a command."""
