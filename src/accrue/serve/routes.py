"""Reading over HTTP: boards, profiles and tallies. Each handler asks one query and returns its answer as it is.

Every read takes `tenant`, `at` (the time whose periods are meant) and `after` (a position from a 202: wait until
reads show it), which become one `Reading` before the handler runs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from msgspec import Struct

from accrue.boards.base import Seen
from accrue.core.event import Subject
from accrue.core.period import TIME_US_MAX, TIME_US_MIN
from accrue.core.program import Program
from accrue.core.ranking import Style
from accrue.errors import Rejected
from accrue.process.base import Live
from accrue.serve.answers import BoardPage, Profile, Ranks, Tally
from accrue.serve.query import Queries
from accrue.web.body import read_json
from accrue.web.parameters import Tenant, TenantHeader, chosen

POSITION_MAX = 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reading(Struct, frozen=True):
    """What all reads have in common, once it was waited for. `at_us` None means now."""

    tenant: str
    at_us: int | None
    seen: Seen


class Reads(Struct, frozen=True, kw_only=True):
    """What the handlers ask. `wait_s_max` bounds how long a read waits for `after`."""

    queries: Queries
    live: Live
    wait_s_max: float


class Subjects(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is asked for: friends, a team, a class. At most 1,000."""

    subjects: list[Subject]


async def reading(
    reads: NamedDependency[Reads],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
    at: Annotated[
        str | None,
        QueryParameter(
            name="at",
            description="The time whose periods are meant, now if left out: a date (2026-11-21, in the tenant's zone) "
            "or an RFC 3339 time.",
        ),
    ] = None,
    after: Annotated[
        int | None,
        QueryParameter(
            name="after",
            description="A position from a 202: the answer shows everything up to it, or is a 503 (a 410 for a cursor "
            "that leads to what was before it).",
        ),
    ] = None,
) -> Reading:
    """What every read begins with. Raises `NotFound`, `Rejected` naming the parameter, and `Unavailable`."""
    name = chosen(tenant, tenant_header)
    if after is not None and not 0 <= after <= POSITION_MAX:
        raise Rejected(f"after is a position, from 0 to {POSITION_MAX}.", field="after")
    seen = await reads.queries.after(name, after, timeout_s=reads.wait_s_max)
    program = reads.live.program(name)
    return Reading(name, None if at is None else time_us(at, program), seen)


Board = Annotated[str, PathParameter(description="The name of a board of the program.")]
Id = Annotated[str, PathParameter(description="Any id, percent-encoded.")]
Period = Annotated[
    str,
    QueryParameter(
        description="A kind (`all`, `hour`, `day`, `week`, `month`, `year` or a range) or an id (`2026-W47`)."
    ),
]
Styled = Annotated[
    Style, QueryParameter(description="How equal scores rank: ordinal 1234, competition 1224, dense 1223.")
]


@get("/v1/boards/{board:str}", operation_id="getBoard", summary="A page of a board", tags=["boards"])
async def board_page(
    board: Board,
    reading: NamedDependency[Reading],
    reads: NamedDependency[Reads],
    period: Period = "all",
    limit: Annotated[int, QueryParameter(description="Rows, 1 to 1,000.")] = 10,
    offset: Annotated[int, QueryParameter(description="Rows to skip, from the top.")] = 0,
    cursor: Annotated[
        str | None,
        QueryParameter(description="From the page before: goes on in the same snapshot, so ranks do not drift."),
    ] = None,
    style: Styled = "competition",
) -> BoardPage:
    """The best of a board, from one snapshot. `cursor` in the answer leads to the next page.

    A closed period answers with its final standings (`final`), which stay, and with `corrections`: what late events
    changed since.
    """
    return await reads.queries.board(
        reading.tenant,
        board,
        period=period,
        at_us=reading.at_us,
        limit=limit,
        offset=offset,
        cursor=cursor,
        style=style,
        seen=reading.seen,
    )


@get(
    "/v1/boards/{board:str}/around/{subject:str}",
    operation_id="getBoardAround",
    summary="A member and its neighbours",
    tags=["boards"],
)
async def board_around(
    board: Board,
    subject: Id,
    reading: NamedDependency[Reading],
    reads: NamedDependency[Reads],
    period: Period = "all",
    above: Annotated[int, QueryParameter(description="Rows before the member, 0 to 100.")] = 5,
    below: Annotated[int, QueryParameter(description="Rows behind the member, 0 to 100.")] = 5,
    style: Styled = "competition",
) -> BoardPage:
    """The rows just before and behind one member, with it. 404 when it is not on the board."""
    for name, rows in (("above", above), ("below", below)):
        if not 0 <= rows <= 100:
            raise Rejected(f"{name} is from 0 to 100, not {rows}.", field=name)
    return await reads.queries.around(
        reading.tenant,
        board,
        subject,
        period=period,
        at_us=reading.at_us,
        before=above,
        after=below,
        style=style,
        seen=reading.seen,
    )


_subjects_decoder = msgspec.json.Decoder(Subjects)


@post(
    "/v1/boards/{board:str}/ranks",
    status_code=200,
    operation_id="getRanks",
    summary="Where many stand",
    tags=["boards"],
    opt={"body": Subjects},
)
async def board_ranks(
    board: Board,
    request: Request[Any, Any, Any],
    reading: NamedDependency[Reading],
    reads: NamedDependency[Reads],
    period: Period = "all",
    style: Styled = "competition",
) -> Ranks:
    """Where these stand, on the whole board and among each other, with their percentiles."""
    asked = await read_json(request.receive, dict(request.scope["headers"]), _subjects_decoder)
    return await reads.queries.ranks(
        reading.tenant, board, asked.subjects, period=period, at_us=reading.at_us, style=style, seen=reading.seen
    )


@get("/v1/users/{id:str}", operation_id="getUser", summary="All about a user", tags=["profiles"])
async def user(id: Id, reading: NamedDependency[Reading], reads: NamedDependency[Reads]) -> Profile:
    """Points, badges, streaks and attributes. A user never heard of has the initial values and nothing else."""
    return await reads.queries.profile(reading.tenant, "user", id, at_us=reading.at_us)


@get("/v1/objects/{id:str}", operation_id="getObject", summary="All about an object", tags=["profiles"])
async def object_(id: Id, reading: NamedDependency[Reading], reads: NamedDependency[Reads]) -> Profile:
    """Counters, badges, streaks and attributes of what users act on: a post, a video, a match."""
    return await reads.queries.profile(reading.tenant, "object", id, at_us=reading.at_us)


@get("/v1/tallies/{metric:str}/{subject:str}", operation_id="getTally", summary="One number", tags=["profiles"])
async def tally(
    metric: Annotated[str, PathParameter(description="The name of a metric of the program.")],
    subject: Id,
    reading: NamedDependency[Reading],
    reads: NamedDependency[Reads],
    period: Period = "all",
) -> Tally:
    """A metric of one subject in one period."""
    return await reads.queries.tally(reading.tenant, metric, subject, period=period, at_us=reading.at_us)


TYPES = (BoardPage, Ranks, Profile, Tally)
"""What the handlers answer, to be described with its docstrings."""

HANDLERS = [board_page, board_around, board_ranks, user, object_, tally]

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def time_us(written: str, program: Program) -> int:
    """A date or a time as it is written in `at`. A date is its first moment in the tenant's time zone."""
    if _DATE.fullmatch(written):
        try:
            return program.calendar.parse(written).start_us
        except Rejected as error:
            raise Rejected(error.detail, field="at") from None
    # A + that was not percent-encoded arrives as a space; where an offset stands only one of the two can be meant.
    text = f"{written[:-6]}+{written[-5:]}" if written[-6:-5] == " " else written
    try:
        time = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        time = None
    if time is None or time.tzinfo is None:
        raise Rejected("at is a date (2026-11-21) or an RFC 3339 time (2026-11-21T05:00:00Z).", field="at")
    at_us = (time - EPOCH) // timedelta(microseconds=1)
    if not TIME_US_MIN <= at_us < TIME_US_MAX:
        raise Rejected("at lies from 1970 up to 2199.", field="at")
    return at_us
