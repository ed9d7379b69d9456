"""The example programs: in the repository under examples/programs, in an installed package under accrue/examples."""

from __future__ import annotations

from pathlib import Path

import accrue
from accrue.errors import Misconfigured


def example_program(name: str) -> Path:
    """The file of an example program, such as `writers`. Raises `Misconfigured` when there is none."""
    package = Path(accrue.__file__).parent
    places = (package / "examples", package.parents[1] / "examples" / "programs")
    for place in places:
        if (file := place / f"{name}.toml").is_file():
            return file
    raise Misconfigured(f"The example program {name!r} is missing from this installation.")
