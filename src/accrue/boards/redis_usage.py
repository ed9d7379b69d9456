"""What the boards of a tenant take in Redis: counted, and weighed by samples."""

from __future__ import annotations

from accrue.boards.base import Usage
from accrue.boards.redis_layout import board_key, keys, tag
from accrue.connect.redis import RedisClient

WEIGHED_BOARDS_MAX = 32
"""So many of the largest boards are weighed; the others are taken to weigh as much a member."""
SAMPLES = 20


async def usage_of(client: RedisClient, name: str, tenant: str) -> Usage:
    """Two round trips. Redis looks at `SAMPLES` members of each board that is weighed."""
    fields = await client.one("HKEYS", f"{tag(name, tenant)}:boards")
    places = [keys(name, board_key(tenant, field)) for field in fields]
    members = await client.many([("ZCARD", place.order) for place in places])
    largest = sorted(zip(members, places, strict=True), reverse=True)[:WEIGHED_BOARDS_MAX]
    weighed = [board for _, place in largest for board in (place.order, place.rows)]
    sizes = await client.many([("MEMORY", "USAGE", board, "SAMPLES", SAMPLES) for board in weighed])
    size_bytes = sum(size or 0 for size in sizes)
    counted = sum(count for count, _ in largest)
    return Usage(len(places), sum(members), size_bytes * sum(members) // counted if counted else size_bytes)
