"""The parameters that many routes share, described once."""

from __future__ import annotations

from typing import Annotated

from litestar.params import HeaderParameter, QueryParameter

from accrue.config import DEFAULT_TENANT

Tenant = Annotated[
    str | None, QueryParameter(name="tenant", description="The tenant; or use the header Accrue-Tenant.")
]
TenantHeader = Annotated[
    str | None, HeaderParameter(name="Accrue-Tenant", description="The tenant, `default` if left out.")
]

FORWARDED = b"accrue-forwarded"
"""The header of a request that another process handed on; its value says which."""


def chosen(tenant: str | None, header: str | None) -> str:
    """The tenant that a request names: the parameter goes before the header."""
    # The framework reads headers as Latin-1; what they hold is UTF-8, as on the hot route.
    return tenant or (header or "").encode("latin-1", "replace").decode("utf-8", "replace") or DEFAULT_TENANT
