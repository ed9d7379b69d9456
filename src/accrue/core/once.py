"""The key of a `once` rule: 128 bits of the rule's name and whatever it is once for.

The parts are joined by U+0000, which no event may contain, so ("a", "bc") and ("ab", "c") differ; a missing part
is U+0001.
"""

from __future__ import annotations

from decimal import Decimal

from xxhash import xxh3_128_digest

from accrue.core.arithmetic import Failure, Value

SEED = 0x6F6E6365  # "once": apart from the keys of event ids


def once_key(*parts: Value) -> bytes:
    """16 bytes, stable for ever. Parts are the tenant, the rule's name, subjects, period ids and data fields."""
    return xxh3_128_digest("\0".join([_text(part) for part in parts]).encode(), SEED)


def _text(part: Value) -> str:
    if type(part) is str:
        return part
    if part is None:
        return "\1"
    if isinstance(part, (bool, int, Decimal)):
        return f"\1{part}"
    raise Failure("once needs a text, a number or true and false, not a list or an object")
