"""Which partition a tenant lives in: fixed when a deployment is created, because everything of a tenant is ordered."""

from __future__ import annotations

import xxhash


def partition_of(tenant: str, partitions: int) -> int:
    """The tenant's partition, 0 to `partitions - 1`. The same in every process and version: XXH3 of the name."""
    if partitions == 1:
        return 0
    return xxhash.xxh3_64_intdigest(tenant.encode()) % partitions
