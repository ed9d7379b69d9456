"""Whether a user agent is that of a crawler that says so, by the maintained list `crawler-user-agents`.

The list grows with every release of that package, so the verdict is found once, at ingest, and stamped on the
event: replaying the log never asks the list again.
"""

from __future__ import annotations

from functools import lru_cache

from crawleruseragents import is_crawler as is_listed  # type: ignore[import-untyped]  # it has no types

USER_AGENT_CHARACTERS_MAX = 512
"""What is read of a user agent, because looking takes longer the more there is. Real ones have 100 to 300."""

AGENTS_REMEMBERED_MAX = 8_192
"""The most recently seen agents, at most some 16 MiB. Traffic repeats them, so nearly all are found here."""


def is_crawler(user_agent: str) -> bool:
    """Whether the list knows it. A look at the whole list takes about 75 us, a remembered one 0.1 us."""
    return _verdict(user_agent[:USER_AGENT_CHARACTERS_MAX])


@lru_cache(maxsize=AGENTS_REMEMBERED_MAX)
def _verdict(user_agent: str) -> bool:
    return bool(is_listed(user_agent))
