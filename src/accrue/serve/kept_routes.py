"""Reading over HTTP what is kept aside: failed events, conflicts, and the versions of a program.

These answers are those of now: what was accepted and is not folded yet is not in them.
"""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from accrue.serve.kept import Conflict, ConflictPage, FailedEvent, FailedPage, KeptQueries, Programs, ProgramVersion
from accrue.web.parameters import Tenant, TenantHeader, chosen

Limit = Annotated[int, QueryParameter(description="Rows, 1 to 100.")]
Cursor = Annotated[str | None, QueryParameter(description="From the page before.")]
Sequence = Annotated[str, PathParameter(description="A sequence number, as the list shows it.")]


@get("/v1/failed", operation_id="getFailed", summary="Failed events", tags=["admin"])
async def failed(
    kept: NamedDependency[KeptQueries],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
    type: Annotated[str, QueryParameter(description="Only events of this type.")] = "",
    limit: Limit = 20,
    cursor: Cursor = None,
) -> FailedPage:
    """The events on which a rule failed, oldest first, and how many failed for what."""
    return await kept.failed(chosen(tenant, tenant_header), type=type, limit=limit, cursor=cursor)


@get("/v1/failed/{sequence:str}", operation_id="getFailedEvent", summary="A failed event", tags=["admin"])
async def failed_event(
    sequence: Sequence,
    kept: NamedDependency[KeptQueries],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
) -> FailedEvent:
    """The whole event as it came, and the reason. 404 once it was replayed or dropped."""
    return await kept.failed_event(chosen(tenant, tenant_header), sequence)


@get("/v1/conflicts", operation_id="getConflicts", summary="Conflicts", tags=["admin"])
async def conflicts(
    kept: NamedDependency[KeptQueries],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> ConflictPage:
    """The events that came with the id of an earlier one and another body, oldest first."""
    return await kept.conflicts(chosen(tenant, tenant_header), limit=limit, cursor=cursor)


@get("/v1/conflicts/{sequence:str}", operation_id="getConflict", summary="A conflict", tags=["admin"])
async def conflict(
    sequence: Sequence,
    kept: NamedDependency[KeptQueries],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
) -> Conflict:
    """Both events as they came. The first one is looked up in the log and the archive, which may take a second."""
    return await kept.conflict(chosen(tenant, tenant_header), sequence)


@get("/v1/programs", operation_id="getPrograms", summary="The versions of the program", tags=["admin"])
async def programs(
    kept: NamedDependency[KeptQueries], tenant: Tenant = None, tenant_header: TenantHeader = None
) -> Programs:
    """Every version the tenant ever lived by, with the place in the log from which on it counts."""
    return await kept.programs(chosen(tenant, tenant_header))


@get("/v1/programs/{version:str}", operation_id="getProgramVersion", summary="One version", tags=["admin"])
async def program(
    version: Annotated[str, PathParameter(description="Its number, from 1.")],
    kept: NamedDependency[KeptQueries],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
) -> ProgramVersion:
    """One version of the program, with its text. To go back to it, PUT the text."""
    return await kept.program(chosen(tenant, tenant_header), version)


TYPES = (FailedPage, FailedEvent, ConflictPage, Conflict, Programs, ProgramVersion)
"""What the handlers answer, to be described with its docstrings."""

HANDLERS = [failed, failed_event, conflicts, conflict, programs, program]
