"""What a replay decided: from a tenant's first event up to the replay's own record, this program and no other.

The record stands in the log (an `accrue.program` whose `source` is `replay`), so every fold from the start knows it
before it begins: see process/replay/history.py. What programs the records before it carried stays written down, and is
not obeyed.
"""

from __future__ import annotations

from msgspec import Struct

from accrue.core.program import Program

NOT_YET = (1 << 63) - 1
"""The sequence of a replay that is being tried out, or whose record is not in the log yet: all events lie before it."""


class Instead(Struct, frozen=True):
    """A tenant's program for every event before `sequence`, which is that of the replay's record.

    Periods that were closed before it keep the final standings they were given then.
    """

    program: Program
    tzdata: str
    sequence: int = NOT_YET
