"""The other ways in over HTTP: a score for a board, and a new program for a tenant.

Both become events in the log like any other; these handlers only read the request and say so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from decimal import Context, Decimal
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from msgspec import Struct

from accrue import ids
from accrue.core.event import MAGNITUDE_MAX, Id, Subject
from accrue.errors import Rejected, Unavailable
from accrue.ingest.accept import Acceptor, Receipt, ScoreMode
from accrue.ingest.checked import (
    IDEMPOTENCY_KEY_CHARACTERS_MAX,
    EventResult,
)
from accrue.ingest.routes import Accepted, EventOutcome, Outcomes, accepted_as
from accrue.ingest.times import us_of
from accrue.process.base import Live
from accrue.web.body import media_type, read_body, read_json
from accrue.web.parameters import Tenant, TenantHeader, chosen
from accrue.web.problems import Malformed

FRACTION_DIGITS_MAX = 18
TENANT_CHARACTERS_MAX = 64
PROGRAM_TYPES = ("text/plain", "application/toml")

AnyRequest = Request[Any, Any, Any]


class Submissions(Struct, frozen=True, kw_only=True):
    """What these handlers need of the engine. `use_program(tenant, text)` says whether anything changed."""

    acceptor: Acceptor
    live: Live
    outcomes: Outcomes
    use_program: Callable[[str, str], Awaitable[bool]]


class Score(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A score for a board: `set` it, keep the `best` of it and the one before, or `add` it.

    `value` is a number, or its decimal text ("12.50"). With an `id` of your own (or an Idempotency-Key) the same
    submission sent again counts once.
    """

    subject: Subject
    value: int | Decimal
    mode: ScoreMode = "best"
    id: Id | None = None
    time: datetime | None = None


class ProgramInForce(Struct, frozen=True):
    """`changed` is False when the tenant lived by this very text already."""

    tenant: str
    changed: bool


_score_decoder = msgspec.json.Decoder(Score)

IdempotencyKey = Annotated[
    str | None, HeaderParameter(name="Idempotency-Key", description="Stands in for an id; the same key counts once.")
]
Wait = Annotated[
    str, QueryParameter(name="wait", description="`durable` answers at once, `applied` when the rules have seen it.")
]


@post(
    "/v1/boards/{board:str}/scores",
    status_code=202,
    operation_id="submitScore",
    summary="Submit a score",
    tags=["events"],
    opt={"body": Score},
)
async def submit_score(
    board: Annotated[str, PathParameter(description="The name of a board of the program.")],
    request: AnyRequest,
    submissions: NamedDependency[Submissions],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
    key: IdempotencyKey = None,
    wait: Wait = "durable",
) -> Accepted:
    """Set a member's score, keep the better one, or add to it. It goes through the log like any event."""
    if wait not in ("durable", "applied"):
        raise Rejected("wait is durable or applied.", field="wait")
    if key is not None and (not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX or not key.isprintable()):
        detail = f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} printable characters."
        raise Rejected(detail, field="Idempotency-Key")
    score = await read_json(request.receive, dict(request.scope["headers"]), _score_decoder)
    receipt = await submissions.acceptor.score(
        chosen(tenant, tenant_header),
        board,
        id=score.id or (f"{key}:0" if key else ids.event_id()),
        subject=score.subject,
        value=_exact(score.value),
        mode=score.mode,
        time_us=None if score.time is None else us_of(score.time, field="$.time"),
    )
    assert receipt.durable is not None  # a system event is accepted or raises
    return accepted_as(receipt.durable, receipt, await _results(submissions, receipt, wait))


@put(
    "/v1/admin/program",
    operation_id="putProgram",
    summary="Load a program",
    tags=["admin"],
    opt={"body": str},
)
async def put_program(
    request: AnyRequest,
    submissions: NamedDependency[Submissions],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
) -> ProgramInForce:
    """Let a tenant live by this rules file (TOML) from here on. One with errors is refused as a whole: the answer
    names every problem with its line, and the running one stays. A tenant begins with its first program."""
    headers = dict(request.scope["headers"])
    media_type(headers, PROGRAM_TYPES)
    body = await read_body(request.receive, headers)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"The program is not UTF-8, at byte {error.start}.", field="$") from None
    if not text.strip():
        raise Malformed("The program is empty.", field="$")
    name = chosen(tenant, tenant_header)
    if len(name) > TENANT_CHARACTERS_MAX or not name.isprintable():
        raise Rejected(f"A tenant's name has 1 to {TENANT_CHARACTERS_MAX} printable characters.", field="tenant")
    return ProgramInForce(name, await submissions.use_program(name, text))


@get(
    "/v1/admin/program",
    operation_id="getProgram",
    summary="The program in force",
    tags=["admin"],
    media_type="text/plain",
)
async def get_program(
    submissions: NamedDependency[Submissions], tenant: Tenant = None, tenant_header: TenantHeader = None
) -> Response[str]:
    """The text of the rules file that the tenant lives by, as it was loaded."""
    text = submissions.live.program(chosen(tenant, tenant_header)).text
    return Response(text, media_type="text/plain")


_FINEST = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)
_PLENTY = Context(prec=len(str(MAGNITUDE_MAX)) + FRACTION_DIGITS_MAX)

HANDLERS = [submit_score, put_program, get_program]


async def _results(submissions: Submissions, receipt: Receipt, wait: str) -> list[EventResult]:
    if wait != "applied" or receipt.position is None:
        return receipt.results
    with suppress(Unavailable):  # it is durable, so running out of time is no error
        (outcome,) = await submissions.outcomes(receipt)
        return [EventOutcome(result.id, result.status, outcome=outcome) for result in receipt.results]
    return receipt.results


def _exact(value: int | Decimal) -> int | Decimal:
    """The value, when it is one that a tally could hold. Raises `Rejected`."""
    if isinstance(value, Decimal) and not value.is_finite():
        raise Rejected("A score is a finite number.", field="$.value")
    if not -MAGNITUDE_MAX <= value <= MAGNITUDE_MAX:
        raise Rejected(f"Numbers lie within +-(2^53-1), {MAGNITUDE_MAX}.", field="$.value")
    if isinstance(value, Decimal) and value.quantize(_FINEST, context=_PLENTY) != value:
        raise Rejected(f"A score has at most {FRACTION_DIGITS_MAX} digits after the point.", field="$.value")
    return value
