"""Keys and fingerprints: what the repeat index remembers instead of ids and bodies.

Both are stored in the book, so neither may ever change without a new format of the runs. A key is

    xxh3_128(<characters in tenant> ":" <tenant> ":" <id>)      in UTF-8, seed 0, canonical byte order

The length in front makes it unambiguous: ("a", "bc") and ("ab", "c") are hashed from different text, also when
a tenant or an id holds a colon. A fingerprint is the low 32 bits of xxh3_64 of the body as it came.
"""

from __future__ import annotations

from collections.abc import Iterable

from xxhash import xxh3_64_intdigest, xxh3_128_digest

KEY_SIZE_BYTES = 16


def key(tenant: str, id: str) -> bytes:
    """The 16 bytes that stand for one id of one tenant."""
    return xxh3_128_digest(_prefix(tenant) + id.encode())


def keys(tenant: str, ids: Iterable[str]) -> list[bytes]:
    """`key` of each id, in order."""
    prefix = _prefix(tenant)
    return [xxh3_128_digest(prefix + id.encode()) for id in ids]


def fingerprints(bodies: Iterable[bytes]) -> list[int]:
    """32 bits of each raw body, in order: equal bodies are equal, others differ but once in 2^32."""
    return [xxh3_64_intdigest(body) & 0xFFFFFFFF for body in bodies]


def _prefix(tenant: str) -> bytes:
    return f"{len(tenant)}:{tenant}:".encode()
