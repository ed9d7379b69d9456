"""What is kept aside, as it is asked for and answered: failed events, conflicts, and the versions of a program."""

from __future__ import annotations

from msgspec import Struct

from accrue.book.base import ConflictRow, FailedRow, ProgramRow
from accrue.core.record import EVENTS_PER_RECORD_MAX
from accrue.errors import NotFound, Rejected
from accrue.process.base import Kept, Live
from accrue.serve.answers import iso

ROWS_MAX = 100
"""Of a page. Every row carries a whole event, as far as the book is concerned."""

REASONS_MAX = 100
SEQUENCE_MAX = 2**63 - 1


class FailedReason(Struct, frozen=True):
    """So many failed events of a type wait, for this reason."""

    type: str
    reason: str
    events: int


class FailedEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event on which a rule failed, parked without any effect. `sequence` names it: it is its place in the log,
    `position` * 2^20 + `index`. `body` is its JSON as it came, left out in lists; `time` is left out when it was not
    kept, and then the event cannot be replayed."""

    sequence: int
    position: int
    index: int
    id: str
    type: str
    reason: str
    time: str | None = None
    body: str | None = None


class FailedPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Failed events, oldest first. `waiting` and `reasons` (the most frequent ones first, 100 at most) count all there
    are, of the type asked for if one was; `cursor` leads to the next page."""

    waiting: int
    reasons: list[FailedReason]
    events: list[FailedEvent]
    cursor: str | None = None


class Conflict(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event that came with the id of an earlier one and another body. It has no effect: the first one stands.

    `sequence` is its place in the log, `position` * 2^20 + `index`. In lists both bodies are left out; `first`, the
    body that stands, also when that event is too long ago to be found."""

    sequence: int
    position: int
    index: int
    id: str
    body: str | None = None
    first: str | None = None


class ConflictPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Conflicts, oldest first. `cursor` leads to the next page."""

    conflicts: list[Conflict]
    cursor: str | None = None


class ProgramVersion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of a tenant's program, in force from its record on until the next.

    `sequence` is the place of that record's event in the log, `position` * 2^20 + its index. `source` is `file` when
    it was read from the file in the settings, `sent` when somebody sent it, `replay` when a replay put it in force.
    `text` is left out in lists, `time` when it was not kept."""

    version: int
    sequence: int
    position: int
    tzdata: str
    semantics: int
    source: str
    current: bool
    time: str | None = None
    text: str | None = None


class Programs(Struct, frozen=True):
    """Every version of a tenant's program, oldest first."""

    programs: list[ProgramVersion]


class KeptQueries:
    """Asks what is kept aside. Everything raises `NotFound` for an unknown tenant."""

    def __init__(self, kept: Kept, live: Live) -> None:
        self._kept = kept
        self._live = live

    async def failed(self, tenant: str, *, type: str = "", limit: int = 20, cursor: str | None = None) -> FailedPage:
        """A page of failed events; of one type, if that is given."""
        self._live.program(tenant)
        rows = await self._kept.failed(tenant, after=_after(cursor), rows=_limited(limit) + 1, type=type)
        reasons = {what: events for what, events in self._kept.failed_reasons(tenant).items() if type in ("", what[0])}
        counted = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        return FailedPage(
            waiting=sum(reasons.values()),
            reasons=[FailedReason(*what, events) for what, events in counted[:REASONS_MAX]],
            events=[_failed(row) for row in rows[:limit]],
            cursor=str(rows[limit - 1].sequence) if len(rows) > limit else None,
        )

    async def failed_event(self, tenant: str, written: str) -> FailedEvent:
        """One failed event, whole. `written` is its sequence number."""
        self._live.program(tenant)
        return _failed(await self._kept.failed_event(tenant, _sequence(written)), whole=True)

    async def conflicts(self, tenant: str, *, limit: int = 20, cursor: str | None = None) -> ConflictPage:
        """A page of conflicts."""
        self._live.program(tenant)
        rows = await self._kept.conflicts(tenant, after=_after(cursor), rows=_limited(limit) + 1)
        return ConflictPage(
            conflicts=[_conflict(row) for row in rows[:limit]],
            cursor=str(rows[limit - 1].sequence) if len(rows) > limit else None,
        )

    async def conflict(self, tenant: str, written: str) -> Conflict:
        """One conflict, with both bodies. `written` is its sequence number."""
        self._live.program(tenant)
        row = await self._kept.conflict(tenant, _sequence(written))
        return _conflict(row, body=row.body, first=await self._kept.first_body(row))

    async def programs(self, tenant: str) -> Programs:
        """Every version of the program."""
        self._live.program(tenant)
        rows = await self._kept.programs(tenant)
        return Programs([_program(row, current=row is rows[-1]) for row in rows])

    async def program(self, tenant: str, written: str) -> ProgramVersion:
        """One version, with its text."""
        self._live.program(tenant)
        rows = await self._kept.programs(tenant)
        for row in rows:
            if str(row.version) == written:
                return _program(row, current=row is rows[-1], text=row.text)
        detail = f"There is no version {written!r} of the program; there are 1 to {rows[-1].version}."
        raise NotFound(detail, field="version")


def _failed(row: FailedRow, *, whole: bool = False) -> FailedEvent:
    position, index = divmod(row.sequence, EVENTS_PER_RECORD_MAX)
    return FailedEvent(
        sequence=row.sequence,
        position=position,
        index=index,
        id=row.event_id,
        type=row.type,
        reason=row.reason,
        time=iso(row.time_us) if row.time_us >= 0 else None,
        body=row.body if whole else None,
    )


def _conflict(row: ConflictRow, *, body: str | None = None, first: str | None = None) -> Conflict:
    position, index = divmod(row.sequence, EVENTS_PER_RECORD_MAX)
    return Conflict(sequence=row.sequence, position=position, index=index, id=row.event_id, body=body, first=first)


def _program(row: ProgramRow, *, current: bool, text: str | None = None) -> ProgramVersion:
    return ProgramVersion(
        version=row.version,
        sequence=row.sequence,
        position=row.sequence // EVENTS_PER_RECORD_MAX,
        tzdata=row.tzdata,
        semantics=row.semantics,
        source=row.source,
        current=current,
        time=iso(row.time_us) if row.time_us else None,
        text=text,
    )


def _limited(limit: int) -> int:
    if not 1 <= limit <= ROWS_MAX:
        raise Rejected(f"limit is from 1 to {ROWS_MAX}, not {limit}.", field="limit")
    return limit


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not _is_sequence(cursor):
        raise Rejected("This is no cursor of a page.", field="cursor")
    return int(cursor)


def _sequence(written: str) -> int:
    if not _is_sequence(written):
        raise NotFound(f"{written!r} is no sequence number: a whole number, as lists show it.", field="sequence")
    return int(written)


def _is_sequence(written: str) -> bool:
    return (
        written.isascii()
        and written.isdigit()
        and len(written) <= len(str(SEQUENCE_MAX))
        and (0 < int(written) <= SEQUENCE_MAX)
    )
