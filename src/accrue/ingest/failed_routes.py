"""Replaying and dropping failed events over HTTP. What it means is told in failed.py."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency

from accrue.ingest.failed import FailedEvents, FailedOutcomes, Repairs
from accrue.web.body import read_json
from accrue.web.parameters import Tenant, TenantHeader, chosen

AnyRequest = Request[Any, Any, Any]

_decoder = msgspec.json.Decoder(FailedEvents)


@post(
    "/v1/failed/replay",
    status_code=200,
    operation_id="replayFailed",
    summary="Replay failed events",
    tags=["admin"],
    opt={"body": FailedEvents},
)
async def replay_failed(
    request: AnyRequest,
    repairs: NamedDependency[Repairs],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
) -> FailedOutcomes:
    """Decide failed events again, under the program of now and at their own time. Those that fail again stay, with the
    new reason; for the others it is as if they had come now. When one of them is unknown nothing is replayed."""
    asked = await read_json(request.receive, dict(request.scope["headers"]), _decoder)
    return await repairs.act(chosen(tenant, tenant_header), "replay", asked.sequences)


@post(
    "/v1/failed/drop",
    status_code=200,
    operation_id="dropFailed",
    summary="Drop failed events",
    tags=["admin"],
    opt={"body": FailedEvents},
)
async def drop_failed(
    request: AnyRequest,
    repairs: NamedDependency[Repairs],
    tenant: Tenant = None,
    tenant_header: TenantHeader = None,
) -> FailedOutcomes:
    """Give failed events up: they never have an effect. They stay in the archive, and their ids stay used."""
    asked = await read_json(request.receive, dict(request.scope["headers"]), _decoder)
    return await repairs.act(chosen(tenant, tenant_header), "drop", asked.sequences)


TYPES = (FailedOutcomes,)
"""What the handlers answer, to be described with its docstrings."""

HANDLERS = [replay_failed, drop_failed]
