"""The framework, with our words around it: every fault it finds becomes a problem document of ours."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.types import Dependencies

from accrue.core.event import BODY_SIZE_BYTES_MAX
from accrue.errors import AccrueError, NotFound, Rejected
from accrue.web.address import decoded, query_of
from accrue.web.body import App
from accrue.web.faults import sentence
from accrue.web.openapi import Accepted
from accrue.web.problems import Malformed, WrongMethod, answer_of

AnyRequest = Request[Any, Any, Any]


def framework(handlers: Sequence[HTTPRouteHandler], dependencies: Dependencies, accepted: Accepted) -> App:
    """The application for everything but the hot route. It is handed paths as they were sent (see address.py);
    `accepted` names the query parameters of each route, all others are refused."""

    async def before(request: AnyRequest) -> None:
        scope = request.scope
        known = accepted.get((scope["path_template"], scope["method"]), frozenset())
        query_of(scope["query_string"], known)
        # Replaced, not changed: the framework keeps parsed paths in a cache.
        scope["path_params"] = {name: decoded(part, name) for name, part in scope["path_params"].items()}

    return Litestar(  # type: ignore[return-value]  # it has a type for each message, we have one for all
        [*handlers],
        dependencies=dependencies,
        before_request=before,
        exception_handlers={AccrueError: _problem, HTTPException: _problem, Exception: _problem},
        request_max_body_size=BODY_SIZE_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


def _problem(request: AnyRequest, error: Exception) -> Response[bytes]:
    if isinstance(error, HTTPException):
        error = _in_our_words(request, error)
    status, headers, body = answer_of(error, where=f"{request.method} {request.scope['path']}")
    names = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    media_type = names.pop("content-type")
    names.pop("content-length")
    return Response(body, status_code=status, media_type=media_type, headers=names)


def _type_of(request: AnyRequest, name: str) -> object:
    """The type of a parameter of the route; None where it is one that routes share, or has another name here."""
    parameter = request.route_handler.parsed_fn_signature.parameters.get(name)
    return None if parameter is None else parameter.annotation


def _in_our_words(request: AnyRequest, error: HTTPException) -> Exception:
    """What the framework found wrong, in the error tree. What it found wrong with itself stays as it is."""
    if isinstance(error, ValidationException):
        faults = error.extra if isinstance(error.extra, list) else []
        for fault in faults:
            if isinstance(fault, dict):
                name = str(fault.get("key", ""))
                said = str(fault.get("message", ""))
                known = sentence(said, name, _type_of(request, name))
                return Rejected(known or f"{name}: {said}.".replace("`", ""), field=name)
        return Rejected(error.detail)
    if isinstance(error, NotFoundException):
        path = request.scope["path"][:200]
        routes = [route.path for route in request.app.routes]
        near = get_close_matches(path, routes, n=1)
        return NotFound(f"There is no {path}.", field="path", nearest=near[0].replace(":str}", "}") if near else None)
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("allow", "")
        return WrongMethod(f"{request.method} is not possible here; {allowed} is.", allowed=allowed)
    if 400 <= error.status_code < 500:
        return Malformed(error.detail)
    return error
