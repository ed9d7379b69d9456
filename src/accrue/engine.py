"""The library face: the whole engine inside your own process.

    async with Accrue.open("accrue.toml") as accrue:
        await accrue.track("comment.created", actor="ada", object="post-1", owner="bob", data={"text": "..."})
        page = await accrue.board("writers").top(10)

What it does is what the server does; the server is this with HTTP in front.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct

from accrue import ids, node, wiring
from accrue.boards.base import Seen
from accrue.clock import Clock, SystemClock
from accrue.config import DEFAULT_TENANT, Config, load
from accrue.core.event import RETRACT
from accrue.core.period import tzdata_version
from accrue.core.program import ProgramError
from accrue.core.ranking import Style
from accrue.core.reader import read
from accrue.errors import Misconfigured, Rejected, Unavailable
from accrue.ingest.accept import Form, ProgramSource, Receipt, ScoreMode
from accrue.ingest.failed import FailedOutcomes, Repairs
from accrue.process.outcome import NAMES
from accrue.serve.answers import BoardPage, Profile, Ranks, Tally
from accrue.serve.kept import KeptQueries

Wait = Literal["durable", "applied"]
APPLIED_WAIT_S = 30.0

_encoder = msgspec.json.Encoder(decimal_format="number")
logger = structlog.get_logger("accrue.engine")


class Tracked(Struct, frozen=True, kw_only=True):
    """What became of one event. `position` is None when it is spooled.

    `outcome` is `accepted`, or with wait="applied" what the rules made of it: applied, repeated, conflicting, failed or
    unmatched."""

    id: str
    position: int | None
    durable: str
    outcome: str = "accepted"


class Accrue:
    """An open engine, for one tenant; `tenant(name)` gives it for another."""

    def __init__(self, parts: wiring.Parts, tenant: str) -> None:
        self.parts = parts
        self.kept = KeptQueries(parts.kept, parts.live)
        self.repairs = Repairs(acceptor=parts.acceptor, live=parts.live, kept=parts.kept, outcomes=self.outcomes)
        self._tenant = tenant
        self._applied = 0  # up to where somebody waited for reads to show everything

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: Path | str | Config | None = None,
        *,
        program: Path | str | None = None,
        data_dir: Path | str | None = None,
        tenant: str = DEFAULT_TENANT,
        clock: Clock | None = None,
        works: bool = True,
        address: str = "",
    ) -> AsyncIterator[Accrue]:
        """Start the engine; on leaving, settle and stop. `program` is a file; `config` a file or settings.

        On a log that several processes share this is one of them: `works` says whether it takes partitions to work on
        (else it only accepts and reads, and the programs are left to those that do), `address` where the others reach
        its HTTP face.

        Raises `Misconfigured` and its kin for wrong settings, `ProgramError` for a wrong program and `Corrupt` for
        data that does not fit; then nothing was changed.
        """
        settings = config if isinstance(config, Config) else load(Path(config) if config else None)
        if data_dir is not None:
            settings = msgspec.structs.replace(settings, data_dir=Path(data_dir))
        if program is not None:
            settings = msgspec.structs.replace(settings, programs={**settings.programs, tenant: Path(program)})
        texts = {name: _text(file) for name, file in settings.program_files().items()}
        for name, text in texts.items():
            read(text, file=str(settings.program_files()[name]))
        async with _opened(settings, clock or SystemClock(), works=works, address=address) as parts:
            accrue = cls(parts, tenant)
            for name, text in texts.items() if works else ():
                try:
                    await accrue.tenant(name).use_file(text)
                except ProgramError as error:  # it contradicts what was counted
                    raise error.of_file(str(settings.program_files()[name])) from None
            yield accrue

    def tenant(self, name: str) -> Accrue:
        """The same engine for another tenant."""
        return Accrue(self.parts, name)

    async def use_program(self, text: str) -> bool:
        """Let the tenant live by this program from here on, unless it does. Raises `ProgramError`.

        With newer time-zone data the same text is a new program: the log says from where on it counts.
        """
        live, tenant = self.parts.live, self._tenant
        if tenant in live.tenants() and (live.program(tenant).text, live.tzdata(tenant)) == (text, tzdata_version()):
            return False
        await self._apply(text, "sent")
        return True

    async def use_file(self, text: str) -> bool:
        """Let the tenant live by the program in its file, unless the file is as it was when it was last taken up: then
        a program that was sent since stays. Raises `ProgramError`."""
        live, tenant = self.parts.live, self._tenant
        versions = await self.parts.kept.programs(tenant) if tenant in live.tenants() else []
        taken_up = [row.text for row in versions if row.source == "file"]
        if not taken_up or taken_up[-1] != text:
            await self._apply(text, "file")
            return True
        current = versions[-1]
        if current.text != text:
            logger.info(
                "the program file has not changed since it was last taken up; the program sent after it stays",
                tenant=tenant,
                version=current.version,
            )
        if current.tzdata == tzdata_version():
            return False
        await self._apply(current.text, "file" if current.source == "file" else "sent")
        return True

    async def replay_failed(self, sequences: Sequence[int]) -> FailedOutcomes:
        """Decide failed events again, under the program of now. Raises `NotFound` and `Rejected`."""
        return await self.repairs.act(self._tenant, "replay", sequences)

    async def drop_failed(self, sequences: Sequence[int]) -> FailedOutcomes:
        """Give failed events up. Raises `NotFound`."""
        return await self.repairs.act(self._tenant, "drop", sequences)

    async def track(
        self,
        type: str,
        *,
        id: str | None = None,
        actor: str | None = None,
        object: str | None = None,
        owner: str | None = None,
        time: datetime | None = None,
        value: int | Decimal | None = None,
        data: Mapping[str, Any] | None = None,
        wait: Wait = "durable",
    ) -> Tracked:
        """Send one event. Returns when it is durable, or with wait="applied" when reads show it.

        Give an `id` of your own wherever you may have to send the event again: one id counts once. Raises `Rejected`
        naming the field, or `Unavailable`.
        """
        if time is not None and time.tzinfo is None:
            raise Rejected("A time needs a time zone.", field="$.time")
        fields = {
            "id": id or ids.event_id(),
            "type": type,
            "time": time,
            "actor": actor,
            "object": object,
            "owner": owner,
            "value": value,
            "data": data,
        }
        return await self._send_one({name: field for name, field in fields.items() if field is not None}, wait)

    async def retract(self, ref: str, *, id: str | None = None, wait: Wait = "durable") -> Tracked:
        """Take back what the event `ref` was applied with; its type has to be in `[retract]` of the program.

        The outcome is `applied`, `unmatched` when no such event has come (one that still comes has no effect), and
        `failed` when it cannot be taken back. Raises as `track`.
        """
        return await self._send_one({"id": id or ids.event_id(), "type": RETRACT, "ref": ref}, wait)

    async def _send_one(self, event: Mapping[str, Any], wait: Wait) -> Tracked:
        receipt = await self.send(_encoder.encode(event), form="one")
        (result,) = receipt.results
        if result.status == "rejected":
            raise Rejected(result.detail or "The event was rejected.", field=result.field)
        outcome = "accepted"
        if wait == "applied":
            outcome = next(iter(await self.outcomes(receipt)), outcome)
        return Tracked(id=result.id or "", position=receipt.position, durable=receipt.durable or "", outcome=outcome)

    async def send(self, body: bytes, *, form: Form = "ndjson", idempotency_key: str | None = None) -> Receipt:
        """Send events in JSON, as over HTTP: one, an array, or one a line. One result for each."""
        return await self.parts.acceptor.events(self._tenant, body, form, idempotency_key=idempotency_key)

    async def send_many(self, events: Iterable[Mapping[str, Any]]) -> Receipt:
        """Send events as dictionaries."""
        return await self.send(b"\n".join(_encoder.encode(event) for event in events))

    async def outcomes(self, receipt: Receipt) -> list[str]:
        """Wait until a receipt's events are applied, and say what became of each that was accepted."""
        if receipt.position is None:
            return []
        known = await self.parts.live.outcomes(receipt.tenant, receipt.position, timeout_s=APPLIED_WAIT_S)
        self._applied = max(self._applied, receipt.position)
        first = receipt.first_index
        if known is None:
            return ["accepted"] * receipt.accepted
        return [NAMES[code] for code in known[first : first + receipt.accepted]]

    def board(self, name: str) -> BoardFace:
        """One board."""
        return BoardFace(self, name)

    async def user(self, id: str, *, at_us: int | None = None) -> Profile:
        """Points, badges, streaks and attributes of a user."""
        return await self.parts.queries.profile(self._tenant, "user", id, at_us=at_us)

    async def object(self, id: str, *, at_us: int | None = None) -> Profile:
        """Counters, badges and attributes of an object."""
        return await self.parts.queries.profile(self._tenant, "object", id, at_us=at_us)

    async def tally(self, metric: str, subject: str, *, period: str = "all", at_us: int | None = None) -> Tally:
        """One number."""
        return await self.parts.queries.tally(self._tenant, metric, subject, period=period, at_us=at_us)

    async def settle(self) -> None:
        """Settle now instead of at the next interval."""
        await self.parts.settle()

    async def _apply(self, text: str, source: ProgramSource) -> None:
        receipt = await self.parts.acceptor.program(self._tenant, text, id=ids.event_id(), source=source)
        if receipt.position is None:
            raise Unavailable("The log is out of reach. The program comes into force when the log is back.")
        await self.parts.live.applied(self._tenant, receipt.position, timeout_s=APPLIED_WAIT_S)
        await self.parts.live.knows(self._tenant, text, timeout_s=APPLIED_WAIT_S)


class BoardFace:
    """Reading a board, and submitting scores to it.

    Reads show what this engine was asked to wait for (`track(..., wait="applied")`); `top` shows everything up to the
    position `after`, too.
    """

    def __init__(self, accrue: Accrue, name: str) -> None:
        self._accrue = accrue
        self._parts = accrue.parts
        self._tenant = accrue._tenant
        self._name = name

    async def top(
        self,
        limit: int = 10,
        *,
        period: str = "all",
        at_us: int | None = None,
        offset: int = 0,
        cursor: str | None = None,
        style: Style = "competition",
        after: int | None = None,
    ) -> BoardPage:
        """The first rows, or the next ones of a `cursor`: those are of its snapshot, which is `Gone` when `after` asks
        for more."""
        return await self._parts.queries.board(
            self._tenant,
            self._name,
            period=period,
            at_us=at_us,
            limit=limit,
            offset=offset,
            cursor=cursor,
            style=style,
            seen=await self._seen(after) if cursor is None else await self._parts.queries.after(self._tenant, after),
        )

    async def around(self, subject: str, *, before: int = 5, after: int = 5, period: str = "all") -> BoardPage:
        """A member and its neighbours."""
        return await self._parts.queries.around(
            self._tenant,
            self._name,
            subject,
            before=before,
            after=after,
            period=period,
            seen=await self._seen(None),
        )

    async def ranks(self, subjects: list[str], *, period: str = "all") -> Ranks:
        """Where these stand, on the board and among each other."""
        seen = await self._seen(None)
        return await self._parts.queries.ranks(self._tenant, self._name, subjects, period=period, seen=seen)

    async def submit(
        self, subject: str, value: int | Decimal, *, mode: ScoreMode = "best", id: str | None = None
    ) -> Receipt:
        """Submit a score: set it, keep the better one, or add."""
        return await self._parts.acceptor.score(
            self._tenant,
            self._name,
            id=id or ids.event_id(),
            subject=subject,
            value=value,
            mode=mode,
            time_us=None,
        )

    async def _seen(self, after: int | None) -> Seen:
        return await self._parts.queries.after(self._tenant, max(after or 0, self._accrue._applied))


def _opened(config: Config, clock: Clock, *, works: bool, address: str) -> AbstractAsyncContextManager[wiring.Parts]:
    if config.is_alone:
        return wiring.running(config, clock)
    return node.running(config, clock, works=works, address=address)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise Misconfigured(f"The program {file} cannot be read: {reason}.") from error
