"""An alarm in the server's log when a shared log may drop records before they are settled.

What a server drops by itself is bounded at the start (log/base.py); what settling lags behind is not. Both are seen
here: by age, and by how near the first record still there has come to the checkpoint.
"""

from __future__ import annotations

import asyncio

import structlog

from accrue.clock import Clock
from accrue.errors import Unavailable
from accrue.log.base import Log, Retention
from accrue.process.worker import Worker

LOOK_S = 60.0
SHARE_MAX = 0.5
"""Of the age that the server keeps: a settlement that is later than this is told."""

logger = structlog.get_logger("accrue.process")


async def watch_retention(worker: Worker, log: Log, clock: Clock) -> None:
    """Look every minute, for ever. Where nothing is dropped there is nothing to look at.

    How late settling is, is counted from when this first saw the position it stands at: a partition where nothing came
    for days is not late when something comes.
    """
    seen, since_s = -1, 0.0
    while True:
        try:
            retention = await log.retention()
            if retention == Retention():
                await asyncio.Event().wait()
            begin, end = await log.begin(worker.partition), await log.end(worker.partition)
            settled = worker.checkpoint.position
            if settled != seen or end <= settled:
                seen, since_s = settled, clock.monotonic_s()
            late_us = round((clock.monotonic_s() - since_s) * 1_000_000)
            said = danger(retention, begin=begin, end=end, settled=settled, late_us=late_us)
            if said is not None:
                logger.error("the log may lose what is not settled", partition=worker.partition, reason=said)
        except Unavailable as error:
            logger.warning("the log does not say how far it goes back", reason=error.detail)
        await asyncio.sleep(LOOK_S)


def danger(retention: Retention, *, begin: int, end: int, settled: int, late_us: int) -> str | None:
    """What threatens records beyond the settled position, None when nothing does.

    `begin` and `end` are the first and the last position of the log, `late_us` how long there was something to settle
    and nothing was settled.
    """
    if end <= settled:
        return None
    if retention.age_s is not None and late_us > retention.age_s * 1_000_000 * SHARE_MAX:
        return (
            f"records are dropped after {retention.age_s} s, and what was accepted {late_us // 1_000_000} s ago is not "
            "settled yet: find out why settling fails, or let the log keep more"
        )
    kept, unsettled = end - begin + 1, end - settled
    if begin > 1 and unsettled > kept * SHARE_MAX:
        return (
            f"{unsettled:,} of the {kept:,} positions that the log still has are not settled yet: find out why "
            "settling fails, or let the log keep more"
        )
    return None
