"""How far the import of a file has come: what an `accrue.imported` event says, and where the fold keeps it."""

from __future__ import annotations

from msgspec import Struct

from accrue.core.table import TableKey

IMPORTS = TableKey("attribute", "import", "accrue")
"""The digest of an import -> JSON text of its last `ImportData`. Kept for ever."""


class ImportData(Struct, frozen=True):
    """`lines` of the file have been taken, with this event's record; `events` of them were good. `time_us` is when."""

    digest: str = ""
    name: str = ""
    lines: int = 0
    events: int = 0
    complete: bool = False
    time_us: int = 0
