"""Importing a file: its lines become events, once, however often and in however many pieces it is imported.

    file --> reader --> chunks --> check --> [events..., accrue.imported] --> one record of the log
                                                                                   |
                     closing count <-- outcomes of the fold <----------------------+

**The promise.** Importing the same file again changes nothing, also after the repeat window, and an import that was
interrupted goes on exactly where it stopped. It rests on three things:

- every batch ends with an `accrue.imported` event that says how many lines of the file are taken with it. Both are
  one record of the log, so neither is ever there without the other;
- a batch is handed to the log only after the one before it is durable, so `lines` never runs ahead of the log. A
  batch that fails ends the import;
- the fold keeps the latest of these events for ever, under the *import key*: a digest of the file's bytes, its
  format and its column mapping. The same file read in another way gives other events, so it is another import.

Events without an id of their own get `{import key}:{line}`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Literal, NamedTuple

import msgspec
from msgspec import Struct

from accrue.clock import Clock
from accrue.core.event import BODY_SIZE_BYTES_MAX, IMPORTED
from accrue.core.imported import IMPORTS, ImportData
from accrue.core.record import Batch, joined
from accrue.errors import Conflict, Rejected, Unavailable
from accrue.ingest.accept import ADMIN_TYPES, Acceptor
from accrue.ingest.checked import EVENT_SIZE_BYTES_MAX, EVENTS_PER_REQUEST_MAX, Checked, EventResult
from accrue.ingest.formats import GZIP_BEGINS, Line, combined, csv, digest, ndjson, numbered_lines
from accrue.ingest.validate import check_ndjson
from accrue.process.base import Live
from accrue.process.outcome import APPLIED, Counts

Format = Literal["ndjson", "csv", "combined"]

BATCH_EVENTS_MAX = EVENTS_PER_REQUEST_MAX
UNCOUNTED_BATCHES_MAX = 16
"""So many batches may be durable and not folded yet; then the import waits for the fold."""

REFUSALS_SHOWN_MAX = 10
FOLD_WAIT_S = 120.0


class Source(Struct, frozen=True, kw_only=True):
    """How a file is to be read. `mapping` (event field -> column) is for CSV only; `name` is for people."""

    name: str
    format: Format
    mapping: Mapping[str, str] = {}


class Refusal(Struct, frozen=True):
    """A line that did not become an event, and why. `field` is the event's field, if it was that."""

    line: int
    reason: str
    field: str | None = None


class Summary(Struct, kw_only=True):
    """What became of a file. Every line with something on it is in exactly one of the seven counts.

    `accepted`: new, and the rules took it. `unmatched`: new and kept, but no rule listens to its type, or a retraction
    of what has not come. `repeated`: was there already, be it from an earlier import of this file. `conflicting`: its
    id was there with another body. `failed`: a rule failed on it, so it is parked. `retracted`: it was taken back
    before it came. `rejected`: not an event; `refusals` has the first few. What an earlier run of the same import
    rejected is not counted again.

    `lines` is the number of the last line read; `taken_before` of the repeated events came in with an earlier run of
    this import; `resumed_after_line` is 0 unless an earlier run had come that far.
    `imported_before_us` is when an earlier run completed the file, 0 when none had.
    """

    name: str
    key: str
    lines: int = 0
    accepted: int = 0
    unmatched: int = 0
    repeated: int = 0
    conflicting: int = 0
    failed: int = 0
    retracted: int = 0
    rejected: int = 0
    refusals: list[Refusal] = []
    taken_before: int = 0
    resumed_after_line: int = 0
    imported_before_us: int = 0

    @property
    def events(self) -> int:
        """Everything that was looked at, in this run or an earlier one."""
        came = self.accepted + self.unmatched + self.repeated + self.conflicting + self.failed + self.retracted
        return came + self.rejected


class Progress(Struct, frozen=True, kw_only=True):
    """How far this run is: `events` are those it made durable, `read_bytes` how much of the file it has read."""

    line: int
    events: int
    read_bytes: int


OnProgress = Callable[[Progress], None]
"""Called after every batch."""


class Importer:
    """Imports files for one tenant, one at a time."""

    def __init__(self, acceptor: Acceptor, live: Live, clock: Clock, *, tenant: str) -> None:
        self._acceptor = acceptor
        self._live = live
        self._clock = clock
        self._tenant = tenant

    async def run(
        self,
        file: BinaryIO,
        source: Source,
        *,
        batch_events: int = BATCH_EVENTS_MAX,
        on_progress: OnProgress = lambda progress: None,
    ) -> Summary:
        """Import a file, as `open(..., "rb")` gives it: it is read twice.

        1. name the import, and see how far it has come before;
        2. for each chunk of lines: check them, and append the good ones with the new progress;
        3. when the fold has them, count what became of them.

        Raises `NotFound` for an unknown tenant, `Rejected` for a file that cannot be read as a whole (nothing of
        it is taken then), and what the log raises; what was taken by then stays taken.
        """
        self._live.program(self._tenant)
        # 1.
        key = await asyncio.to_thread(import_key, file, source)
        before = await self.taken(key)
        summary = Summary(
            name=source.name, key=key, lines=before.lines, repeated=before.events, taken_before=before.events
        )
        if before.complete:
            summary.imported_before_us = before.time_us
            return summary
        summary.resumed_after_line = before.lines
        file.seek(0)
        waiting: deque[_Appended] = deque()
        good = before.events
        for chunk in _chunks(_lines(file, source, key), after=before.lines, events_max=batch_events):
            # 2.
            checked, refused = self._check(chunk, summary)
            summary.refusals += refused[: REFUSALS_SHOWN_MAX - len(summary.refusals)]
            summary.lines = chunk.upto
            events = len(checked.times_us) if checked else 0
            good += events
            taken = ImportData(key, source.name, chunk.upto, good, chunk.last, self._clock.now_us())
            batch = self._with_marker(checked, taken)
            accepted = await self._acceptor.batch(batch)
            if accepted.position is None:
                raise Unavailable("The log is out of reach. Import the file again to go on when it is back.")
            waiting.append(_Appended(accepted.position, accepted.first_index, events))
            # 3.
            while len(waiting) > (0 if chunk.last else UNCOUNTED_BATCHES_MAX):
                await self._count(waiting.popleft(), summary)
            on_progress(Progress(line=chunk.upto, events=good - before.events, read_bytes=file.tell()))
        return summary

    async def taken(self, key: str) -> ImportData:
        """How far the import of this key has come."""
        cells = await self._live.cells(self._tenant, key, ["all"])
        kept = cells.get(IMPORTS)
        return msgspec.json.decode(kept, type=ImportData) if isinstance(kept, str) else ImportData()

    def _check(self, chunk: _Chunk, summary: Summary) -> tuple[Batch | None, list[Refusal]]:
        """Ask the door about the lines of a chunk, and count those that stay out.

        A line with the id of another one here and something else to say goes in behind it: the fold keeps the conflict.
        """
        refused = [Refusal(line.number, line.problem) for line in chunk.lines if line.problem is not None]
        summary.rejected += len(refused)
        there = [line for line in chunk.lines if line.event is not None]
        if not there:
            return None, refused
        checked = self._door(there)
        batches = [checked.batch] if checked.batch else []
        accepted = {result.id for result in checked.results if result.status == "accepted"}
        for line, result in zip(there, checked.results, strict=True):
            if result.status == "repeated":
                summary.repeated += 1
            elif result.status == "rejected" and _is_conflict(result, accepted):
                batches += [batch for batch in (self._door([line]).batch,) if batch]
            elif result.status == "rejected":
                summary.rejected += 1
                refused.append(Refusal(line.number, result.detail or "The event was rejected.", result.field))
        return joined(batches) if batches else None, sorted(refused, key=lambda refusal: refusal.line)

    def _door(self, lines: Sequence[Line]) -> Checked:
        return check_ndjson(
            b"\n".join([line.event for line in lines if line.event is not None]),
            tenant=self._tenant,
            now_us=self._clock.now_us(),
            allowed_system=ADMIN_TYPES,
        )

    def _with_marker(self, batch: Batch | None, taken: ImportData) -> Batch:
        """The same events, and behind them how far the file is taken with them."""
        id = f"{IMPORTED}:{taken.digest}:{taken.lines}"
        marker = Batch(
            self._tenant,
            msgspec.json.encode({"id": id, "type": IMPORTED, "data": taken}),
            [taken.time_us],
            {},
        )
        return joined([batch, marker]) if batch else marker

    async def _count(self, appended: _Appended, summary: Summary) -> None:
        """Wait until a batch is folded, and add what became of its events. The last of them is our own."""
        outcomes = await self._live.outcomes(self._tenant, appended.position, timeout_s=FOLD_WAIT_S)
        if outcomes is None:
            raise Unavailable("What became of the events is no longer known. Import the file again to go on.")
        end = appended.first_index + appended.events
        if outcomes[end] != APPLIED:
            raise Conflict(f"How far the import has come was not noted: another event has an id {IMPORTED}:...")
        counts = Counts()
        counts.count(outcomes[appended.first_index : end])
        summary.accepted += counts.applied
        summary.repeated += counts.repeated
        summary.conflicting += counts.conflicting
        summary.failed += counts.failed
        summary.unmatched += counts.unmatched
        summary.retracted += counts.retracted


def import_key(file: BinaryIO, source: Source) -> str:
    """The name of an import: 32 hex characters of the file's bytes, its format and its mapping.

    Raises `Rejected` for a damaged gzip file and for a mapping where none belongs, before anything is taken.
    """
    if source.mapping and source.format != "csv":
        raise Rejected(f"A column mapping is for CSV; {source.format} has no columns.", field="map")
    file.seek(0)
    name = digest(file)
    file.seek(0)
    if file.read(len(GZIP_BEGINS)) == GZIP_BEGINS:
        file.seek(0)
        deque(numbered_lines(file), maxlen=0)  # its checksum stands at the end
    way = msgspec.json.encode([name, source.format, sorted(source.mapping.items())])
    return hashlib.blake2b(way, digest_size=16).hexdigest()


class _Appended(NamedTuple):
    """Where a batch stands in the log; `events` are the file's own."""

    position: int
    first_index: int
    events: int


class _Chunk(NamedTuple):
    """Consecutive lines of a file, up to and including the line `upto`. `last` when there are no more."""

    lines: list[Line]
    upto: int
    last: bool


def _lines(file: BinaryIO, source: Source, key: str) -> Iterator[Line]:
    match source.format:
        case "ndjson":
            return ndjson.read(file, digest=key)
        case "csv":
            return csv.read(file, digest=key, mapping=source.mapping or None)
        case "combined":
            return combined.read(file, digest=key)


def _chunks(lines: Iterator[Line], *, after: int, events_max: int) -> Iterator[_Chunk]:
    """The lines after a number in pieces that the door takes at once. There is at least one, if only an empty one.

    One line is read ahead, so that the last chunk is known as such.
    """
    some: list[Line] = []
    size_bytes = 0
    upto = after
    for line in lines:
        if line.number <= after:
            continue
        line = _within_limits(line)
        size = len(line.event or b"") + 1
        if some and (len(some) == events_max or size_bytes + size > BODY_SIZE_BYTES_MAX):
            yield _Chunk(some, upto, last=False)
            some, size_bytes = [], 0
        some.append(line)
        size_bytes += size
        upto = line.number
    yield _Chunk(some, upto, last=True)


def _within_limits(line: Line) -> Line:
    """One event past its limit would also pass that of a request; so it is refused by itself."""
    if line.event is None or len(line.event) <= EVENT_SIZE_BYTES_MAX:
        return line
    reason = f"An event has at most {EVENT_SIZE_BYTES_MAX} bytes, this one {len(line.event)}."
    return Line(line.number, None, reason)


def _is_conflict(result: EventResult, accepted: set[str | None]) -> bool:
    """Whether the event stays out because another one of the same chunk has its id."""
    return result.field == "$.id" and result.id is not None and result.id in accepted
