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


def chosen(tenant: str | None, header: str | None) -> str:
    """The tenant that a request names: the parameter goes before the header."""
    return tenant or header or DEFAULT_TENANT
