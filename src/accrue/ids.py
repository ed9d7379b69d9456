"""The only place that makes random values. Everything below takes ids as values."""

from __future__ import annotations

import secrets
import uuid


def event_id() -> str:
    """A new event id, for callers that have none: 32 hexadecimal characters."""
    return uuid.uuid4().hex


def identity() -> str:
    """A name for a new log or a new process that no other one has."""
    return secrets.token_hex(16)
