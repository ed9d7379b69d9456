"""Reading all there is of something over HTTP, one JSON object a line: every tally of a metric, every award.

The answer is sent as it is read, so it may be of any size. One that breaks off ends without its last chunk, which a
client must not take for the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, TypeVar

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import PathParameter
from litestar.response import Stream

from accrue.serve.answers import Tally
from accrue.serve.routes import Period, Reading, Reads

NDJSON = "application/x-ndjson"

Item = TypeVar("Item")


@get(
    "/v1/tallies/{metric:str}",
    operation_id="getTallies",
    summary="Every tally of a metric",
    tags=["profiles"],
    media_type=NDJSON,
)
async def tallies(
    metric: Annotated[str, PathParameter(description="The name of a metric of the program.")],
    reading: NamedDependency[Reading],
    reads: NamedDependency[Reads],
    period: Period = "all",
) -> Stream:
    """What everybody has of a metric in one period: a tally a line (NDJSON), in no order. Who is not in it has the
    metric's initial value."""
    tenant, at_us = reading.tenant, reading.at_us
    named = await reads.queries.tally(tenant, metric, "", period=period, at_us=at_us)
    rows = reads.queries.tallies(tenant, metric, period=period, at_us=at_us)
    return await _lines(
        [Tally(metric=metric, subject=subject, period=named.period, value=value) for subject, value in some]
        async for some in rows
    )


@get("/v1/awards", operation_id="getAwards", summary="Every award", tags=["profiles"], media_type=NDJSON)
async def awards(reading: NamedDependency[Reading], reads: NamedDependency[Reads]) -> Stream:
    """Every badge that is held: one a line (NDJSON), those not settled yet last. `at` changes nothing here."""
    return await _lines(reads.queries.awards(reading.tenant))


HANDLERS = [tallies, awards]


async def _lines(batches: AsyncIterator[list[Item]]) -> Stream:
    """The answer. The first batch is read here, so that what can be refused is a problem document."""
    first: list[Item] = await anext(batches, [])

    async def body() -> AsyncIterator[bytes]:
        yield _encoder.encode_lines(first)
        async for some in batches:
            yield _encoder.encode_lines(some)

    return Stream(body(), media_type=NDJSON)


_encoder = msgspec.json.Encoder()
