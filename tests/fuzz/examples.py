"""How many examples a fuzz test tries: a few and always the same ones in `make test`, many new ones in `make fuzz N=`.

`ACCRUE_FUZZ` multiplies the number of examples and lets them be chosen at random. A failure prints what reproduces it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

TIMES = int(os.environ.get("ACCRUE_FUZZ", "0"))


def tried(count: int) -> settings:
    """`count` examples, or `ACCRUE_FUZZ` times as many."""
    return settings(
        max_examples=count * max(TIMES, 1),
        derandomize=not TIMES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=bool(TIMES),
    )
