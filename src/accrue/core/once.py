"""The key of a `once` rule: 128 bits of the rule's name and whatever it is once for.

The parts are joined by U+0000, which no event may contain, so ("a", "bc") and ("ab", "c") differ; a missing part
is U+0001.
"""

from __future__ import annotations

from decimal import Decimal

from xxhash import xxh3_128_digest

from accrue.core.arithmetic import CONTEXT, Failure, Value

SEED = 0x6F6E6365  # "once": apart from the keys of event ids


def once_prefix(tenant: str, rule: str) -> str:
    """What all keys of one rule begin with."""
    return f"{tenant}\0{rule}\0"


def once_key(prefix: str, *parts: Value) -> bytes:
    """16 bytes, stable for ever. `parts` are subjects, period ids and fields of data."""
    try:
        text = "\0".join(parts)  # type: ignore[arg-type]  # nearly always all are text, and this finds out fastest
    except TypeError:
        text = "\0".join([_text(part) for part in parts])
    return xxh3_128_digest((prefix + text).encode(), SEED)


def _text(part: Value) -> str:
    if type(part) is str:
        return part
    if part is None:
        return "\1"
    if isinstance(part, Decimal):  # 1, 1.0 and 1e0 are the same number
        part = int(part) if part == part.to_integral_value(context=CONTEXT) else CONTEXT.normalize(part)
    if isinstance(part, (bool, int, Decimal)):
        return f"\1{part}"
    raise Failure("once needs a text, a number or true and false, not a list or an object")
