"""Attributes as JSON text: plain values, numbers exactly as they are."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from accrue.core.arithmetic import CONTEXT, Failure, Value, decimal
from accrue.core.event import MAGNITUDE_MAX

Plain = None | bool | int | Decimal | str


def plain(value: Value, attribute: str) -> Plain:
    """`value` as an attribute keeps it: a number in its one plain form, so that 2, 2.0 and 20e-1 are the same fact
    in memory and in the book. Raises `Failure` for a list, an object or a number that is too large."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if not isinstance(value, (int, Decimal)):
        raise Failure(f"the attribute {attribute!r} is no plain value")
    if not -MAGNITUDE_MAX <= value <= MAGNITUDE_MAX:
        raise Failure(f"the attribute {attribute!r} would pass the limit of {MAGNITUDE_MAX}")
    return int(value) if value == int(value) else CONTEXT.normalize(value)


def encode_plain(value: Plain) -> str:
    """`value` as JSON; a decimal becomes a number with the same digits."""
    return _encoder.encode(value).decode()


def decode_plain(text: str) -> Plain:
    """The reverse."""
    value: Plain = _decoder.decode(text)
    return value


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=decimal)
