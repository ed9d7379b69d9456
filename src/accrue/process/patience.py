"""Waiting for the book: what is under way in the middle of a record cannot be given up, so it is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from accrue.errors import Unavailable

RETRY_S = 0.5

Answer = TypeVar("Answer")
logger = structlog.get_logger("accrue.process")


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until there is an answer. Only `Unavailable` is waited out; everything else is raised."""
    while True:
        try:
            return await ask()
        except Unavailable as error:
            logger.warning("the book is out of reach; the fold waits", reason=error.detail)
            await asyncio.sleep(RETRY_S)
