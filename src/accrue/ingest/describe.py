"""How POST /v1/events is documented, since the framework never sees it."""

from __future__ import annotations

from typing import Any

from accrue.core.event import BODY_SIZE_BYTES_MAX, Event
from accrue.ingest.checked import EVENTS_PER_REQUEST_MAX
from accrue.ingest.routes import JSON, NDJSON, PATH, Accepted, EventOutcome
from accrue.web.openapi import BODY_PROBLEMS, REF, problems

TYPES = (Event, Accepted, EventOutcome)

_EVENT = {"$ref": REF.format(name="Event")}
_COMMENT = {
    "id": "c7",
    "type": "comment.created",
    "time": "2026-11-21T05:00:00Z",
    "actor": "ada",
    "object": "post-1",
    "owner": "bob",
    "data": {"text": "What a fine story this is."},
}
_VIEW = {"id": "v8", "type": "article.viewed", "actor": "eve", "object": "post-1", "owner": "bob"}
_LINES = '{"id":"v8","type":"article.viewed","actor":"eve"}\n{"id":"v9","type":"article.viewed","actor":"joe"}\n'


def _parameter(name: str, place: str, said: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": False,
        "description": said,
        "schema": {"type": "string", **schema},
    }


OPERATIONS = {
    PATH: {
        "post": {
            "operationId": "sendEvents",
            "summary": "Send events",
            "tags": ["events"],
            "description": (
                "One event, an array of them, or one a line. 202 means: what was accepted is durable, and counts once "
                "however often it is sent. Bad events are refused by themselves, with the field; the good ones of the "
                "same request stay accepted. When none is accepted the answer is a problem, with `results`. "
                f"At most {EVENTS_PER_REQUEST_MAX:,} events and {BODY_SIZE_BYTES_MAX:,} bytes a request."
            ),
            "parameters": [
                _parameter("tenant", "query", "The tenant; or use the header Accrue-Tenant."),
                _parameter("Accrue-Tenant", "header", "The tenant, `default` if left out."),
                _parameter(
                    "wait",
                    "query",
                    "`applied` answers when the rules have seen the events, and adds the outcome to each result.",
                    enum=["durable", "applied"],
                    default="durable",
                ),
                _parameter(
                    "Idempotency-Key",
                    "header",
                    "Gives events without an id one that follows from this key and their place in the request.",
                ),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    JSON: {
                        "schema": {"oneOf": [_EVENT, {"type": "array", "items": _EVENT}]},
                        "examples": {
                            "one": {"summary": "One event", "value": _COMMENT},
                            "array": {"summary": "Several", "value": [_COMMENT, _VIEW]},
                        },
                    },
                    NDJSON: {
                        "schema": {"type": "string", "description": "One event a line."},
                        "examples": {"lines": {"summary": "One a line", "value": _LINES}},
                    },
                },
            },
            "responses": {
                "202": {
                    "description": "At least one event was accepted, and is durable.",
                    "content": {
                        JSON: {
                            "schema": {"$ref": REF.format(name="Accepted")},
                            "example": {
                                "durable": "disk",
                                "position": 1042,
                                "results": [
                                    {"id": "c7", "status": "accepted"},
                                    {
                                        "id": "v8",
                                        "status": "rejected",
                                        "field": "$.time",
                                        "detail": "A time lies from 1970 up to 2199.",
                                    },
                                ],
                            },
                        }
                    },
                },
                **problems(*BODY_PROBLEMS),
            },
        }
    }
}
