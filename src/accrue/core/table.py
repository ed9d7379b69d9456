"""A table: one kind of state for every subject.

All state is tables of immutable values: tallies of a metric in a period, awards of a badge, a streak, an attribute.
A change replaces a value, and is marked once the whole event has succeeded; an event that fails halfway puts back
what it had replaced and leaves no mark.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from msgspec import Struct

TableKind = Literal["tally", "award", "streak", "attribute", "applied"]


class TableKey(NamedTuple):
    """Which table. `part` is the period id of a tally, the level of an award, the subject kind of an attribute.

    There is one table of applied events a tenant; its keys are event ids.
    """

    kind: TableKind
    name: str
    part: str


class Applied(Struct, frozen=True, array_like=True, gc=False):
    """What is known of an event id for the sake of retractions, until log time `until_us`.

    `state` is `applied` with the event's effects (JSON of core/retraction.py), `retracted`, `awaited` when the
    retraction came first, or `retraction` for the id of a retraction itself.
    """

    state: str
    until_us: int
    effects: str = ""


class Award(Struct, frozen=True, array_like=True, gc=False):
    """Who got it, for an event at `time_us` with this sequence number."""

    holder: str
    time_us: int
    sequence: int
    revoked: bool = False


class Table(dict[str, Any]):
    """Subject -> immutable value.

    `changed` holds what changed since the boards were last published: its value, and the sequence number of the event
    that gave it. `dirty` is the same since the last settlement began.
    """

    __slots__ = ("changed", "dirty", "key", "tenant")

    def __init__(self, tenant: str, key: TableKey) -> None:
        super().__init__()
        self.tenant = tenant
        self.key = key
        self.changed: dict[str, Change] = {}
        self.dirty: dict[str, Change] = {}

    @property
    def holds_subjects(self) -> bool:
        """Whether its keys are subjects, and not event ids."""
        return self.key.kind != "applied"

    # Tables are told apart by identity; equal content does not make them the same.
    __hash__ = object.__hash__  # type: ignore[assignment]  # a dict says None here


Change = tuple[Any, int]
"""(the value, the sequence number of the event that gave it). It does not change any more when the fold goes on."""


def put_back(table: Table, subject: str, before: Any) -> None:
    """Undo one change; `before` is None when there was no value."""
    if before is None:
        del table[subject]
    else:
        table[subject] = before
