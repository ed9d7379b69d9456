"""The OpenAPI 3.1 document: what the framework knows of its routes, with what it cannot know put in.

That is the hot route, which stands in front of it; the bodies, which our handlers read themselves, so that they are
refused in our words; and the problems. The parameters that are documented here are the ones a route accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.types import Dependencies

from accrue.web.problems import ProblemDocument

Document = dict[str, Any]
"""JSON, as the framework and msgspec make it."""

ABOUT = """Send events, read what the rules made of them.

Every error is a problem document (RFC 9457, `application/problem+json`): its `type` is `urn:accrue:problem:` and one \
of malformed, not-found, wrong-method, conflict, gone, too-large, wrong-media-type, rejected, unavailable, full; its \
`field` names the part of the request that is meant. After a 503 or 507 with Retry-After send the same request again: \
an event id counts once."""

READ_PROBLEMS = (404, 422, 503)
BODY_PROBLEMS = (400, 404, 413, 415, 422, 503, 507)
REF = "#/components/schemas/{name}"

Accepted = Mapping[tuple[str, str], frozenset[str]]
"""(path, method) -> the names of its query parameters."""


def document(
    handlers: Sequence[HTTPRouteHandler],
    dependencies: Dependencies,
    *,
    operations: Mapping[str, Document],
    types: Sequence[type],
    version: str,
) -> Document:
    """The whole document. `operations` are path items of our own, which may refer to the schemas of `types`."""
    described = Litestar(
        [*handlers],
        dependencies=dependencies,
        openapi_config=OpenAPIConfig(title="Accrue", version=version, description=ABOUT, use_handler_docstrings=True),
        logging_config=None,
    )
    found: Document = msgspec.json.decode(msgspec.json.encode(described.openapi_schema.to_schema()))
    bodies = {handler.opt["body"] for handler in handlers if "body" in handler.opt}
    _, schemas = msgspec.json.schema_components([ProblemDocument, *types, *(bodies - {str})], ref_template=REF)
    components = found.setdefault("components", {})
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **schemas}.items()))
    problem = {"schema": {"$ref": REF.format(name="ProblemDocument")}}
    components["responses"] = {
        "Problem": {"description": "A problem document.", "content": {"application/problem+json": problem}}
    }
    for handler in handlers:  # a handler has one method and one path
        for path in handler.paths:
            for operation in found["paths"][_template(path)].values():
                _complete(operation, handler.opt.get("body"))
    found["paths"] = dict(sorted({**found["paths"], **operations}.items()))
    found["servers"] = [{"url": "."}]
    return found


def query_parameters(document: Document) -> Accepted:
    """The query parameters that each route documents."""
    return {
        (path, method.upper()): frozenset(
            parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def problems(*statuses: int) -> Document:
    """The responses of an operation that are problems."""
    return {str(status): {"$ref": "#/components/responses/Problem"} for status in (*statuses, "default")}


def _complete(operation: Document, body: type | None) -> None:
    """Put in the body and the problems; take out what is only the framework's way of writing."""
    responses = {
        status: {**said, "description": "The answer."}
        for status, said in operation["responses"].items()
        if status.startswith("2")
    }
    operation["responses"] = {**responses, **problems(*(BODY_PROBLEMS if body else READ_PROBLEMS))}
    for parameter in operation.get("parameters", ()):
        for noise in ("deprecated", "allowEmptyValue", "allowReserved"):
            parameter.pop(noise, None)
        parameter["schema"].pop("description", None)
    if body is str:
        operation["requestBody"] = {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}
    elif body is not None:
        schema = {"$ref": REF.format(name=body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}


def _template(path: str) -> str:
    return path.replace(":str}", "}")
