"""The page at /docs: the OpenAPI document, made readable by one self-contained file.

Written by hand because the page has to work without a network: the bundle on PyPI that ships its assets
(swagger-ui-bundle) holds a Swagger UI from before OpenAPI 3.1, and everything current loads from a CDN.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect

PATHS = ("/openapi.json", "/docs", "/")


def handlers(document: dict[str, Any]) -> list[HTTPRouteHandler]:
    """/openapi.json, /docs, and / which leads there. The document is encoded once."""
    encoded = msgspec.json.encode(document)
    page = files("accrue.web").joinpath("docs.html").read_text("utf-8")

    @get(PATHS[0], include_in_schema=False, sync_to_thread=False)
    def openapi() -> Response[bytes]:
        return Response(encoded, media_type="application/json")

    @get(PATHS[1], include_in_schema=False, sync_to_thread=False)
    def docs() -> Response[str]:
        # The page brings everything itself, so the browser may as well be told to load nothing else.
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
        return Response(page, media_type="text/html; charset=utf-8", headers={"content-security-policy": policy})

    @get(PATHS[2], include_in_schema=False, sync_to_thread=False)
    def home() -> Redirect:
        return Redirect("docs")

    return [openapi, docs, home]
