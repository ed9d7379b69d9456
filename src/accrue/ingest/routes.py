"""POST /v1/events, the hot route: a plain ASGI handler that stands in front of the framework.

1. read the body, within the limit;
2. see which form it has: one event, an array, or one a line;
3. accept it (accept.py), which returns when it is durable;
4. answer 202 with the position and a result for each event, or 422 when none of them was accepted.

Per request it makes one dictionary of the headers and the answer, nothing else of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from accrue.clock import Clock
from accrue.config import DEFAULT_TENANT
from accrue.errors import Rejected, TooLarge, Unavailable
from accrue.ingest.accept import Acceptor, Form, Receipt
from accrue.ingest.checked import EventResult
from accrue.web.address import query_of
from accrue.web.body import Receive, Scope, Send, is_json, media_type, read_body
from accrue.web.problems import Answer, Malformed, answer_of
from accrue.web.traffic import Request, Traffic

PATH = "/v1/events"
JSON = "application/json"
NDJSON = "application/x-ndjson"
PARAMETERS = ("tenant", "wait")
WAITS = ("durable", "applied")
NO_POSITION = (
    "The log is out of reach: this waits in the spool and is forwarded when the log is back. It has no position yet, "
    "so nobody can wait for it, neither with wait=applied nor with ?after=."
)

Outcomes = Callable[[Receipt], Awaitable[list[str]]]
"""Waits until what a receipt names is applied, and says what became of each accepted event."""


class EventOutcome(EventResult, omit_defaults=True, frozen=True, gc=False):
    """With `wait=applied`: `outcome` is what the rules made of an accepted event, `applied`, `repeated` (counted by an
    earlier request), `conflicting`, `failed` or `unmatched`; left out when that was not known in time."""

    outcome: str | None = None


class Accepted(Struct, frozen=True, omit_defaults=True):
    """The answer 202: what was accepted is durable and stands at `position`.

    `disk`: it survives a power cut. `confirmed`: the broker has confirmed it. `spooled`: the log is out of reach, and
    it is on the disk of this gateway until it can be forwarded; then `position` is null, and `detail` says what that
    means.
    """

    durable: str
    position: int | None
    results: Sequence[EventResult]
    detail: str | None = None


class EventsRoute:
    """Answers POST /v1/events, with the tenant in the header Accrue-Tenant or the parameter `tenant`."""

    def __init__(self, acceptor: Acceptor, outcomes: Outcomes, clock: Clock, traffic: Traffic) -> None:
        self._acceptor = acceptor
        self._outcomes = outcomes
        self._clock = clock
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, headers, body = await self._answer(scope, receive)
        except Exception as error:  # the border: whatever it is, it becomes an answer
            status, headers, body = answer_of(error, where=f"POST {PATH}")
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._traffic.answered(_ACCEPTED if status == 202 else Request("POST", PATH, status))

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        began_s = self._clock.monotonic_s()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        query = scope["query_string"]
        parameters = query_of(query, PARAMETERS) if query else {}
        wait = parameters.get("wait", "durable")
        if wait not in WAITS:
            raise Rejected(f"wait is {' or '.join(WAITS)}.", field="wait")
        # 1. read
        body = await read_body(receive, headers)
        # 2. which form
        form = _form(headers, body)
        # 3. accept
        key = headers.get(b"idempotency-key")
        try:
            receipt = await self._acceptor.events(
                parameters.get("tenant") or tenant_in(headers),
                body,
                form,
                idempotency_key=None if key is None else key.decode("latin-1"),
            )
        except TooLarge:
            raise
        except Rejected as error:
            if error.field == "$" and (not body.strip() or (form != "ndjson" and not is_json(body))):
                raise Malformed(error.detail, field="$") from None
            raise
        # 4. answer
        if receipt.durable is None:
            return _refusal(receipt, body, form)
        self._traffic.acked(self._clock.monotonic_s() - began_s)
        results: Sequence[EventResult] = receipt.results
        if wait == "applied":
            results = await self._with_outcomes(receipt)
        return _accepted(accepted_as(receipt.durable, receipt, results))

    async def _with_outcomes(self, receipt: Receipt) -> list[EventResult]:
        """The results with what the rules made of them. It is durable, so running out of time is no error."""
        try:
            outcomes = iter(await self._outcomes(receipt))
        except Unavailable:
            outcomes = iter(())
        return [
            _with_outcome(result, next(outcomes, None)) if result.status == "accepted" else result
            for result in receipt.results
        ]


def accepted_as(durable: str, receipt: Receipt, results: Sequence[EventResult]) -> Accepted:
    """The answer to what was accepted."""
    return Accepted(durable, receipt.position, results, None if receipt.position is not None else NO_POSITION)


def tenant_in(headers: Mapping[bytes, bytes]) -> str:
    """The tenant that the header names, or the default one."""
    name = headers.get(b"accrue-tenant")
    return name.decode("utf-8", "replace") if name else DEFAULT_TENANT


_ACCEPTED = Request("POST", PATH, 202)
_CONTENT_TYPE = (b"content-type", JSON.encode())
_encoder = msgspec.json.Encoder()


def _accepted(answer: Accepted) -> Answer:
    body = _encoder.encode(answer)
    return 202, [_CONTENT_TYPE, (b"content-length", b"%d" % len(body))], body


def _form(headers: Mapping[bytes, bytes], body: bytes) -> Form:
    content_type = headers.get(b"content-type")
    if content_type != _CONTENT_TYPE[1] and media_type(headers, (JSON, NDJSON)) == NDJSON:
        return "ndjson"
    if body[:1] == b"{":
        return "one"
    return "array" if body.lstrip(b" \t\r\n")[:1] == b"[" else "one"


def _refusal(receipt: Receipt, body: bytes, form: Form) -> Answer:
    """The answer when no event was accepted. For one event the problem is that event's own."""
    results = receipt.results
    if form == "array" or len(results) != 1:
        detail = "The array holds no event."
        if results:
            detail = f"None of the {len(results)} events was accepted; `results` says why."
        return answer_of(Rejected(detail, field="$"), results=results)
    (result,) = results
    detail = result.detail or "The event was rejected."
    if result.field == "$" and not is_json(body):
        return answer_of(Malformed(detail, field="$"), results=results)
    return answer_of(Rejected(detail, field=result.field), results=results)


def _with_outcome(result: EventResult, outcome: str | None) -> EventOutcome:
    known = None if outcome == "accepted" else outcome
    return EventOutcome(result.id, result.status, result.field, result.detail, result.clamped, known)
