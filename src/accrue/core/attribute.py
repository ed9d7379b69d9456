"""Attributes as JSON text: plain values, numbers exactly as they are."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from accrue.core.arithmetic import decimal

Plain = None | bool | int | Decimal | str


def encode_plain(value: Plain) -> str:
    """`value` as JSON; a decimal becomes a number with the same digits."""
    return _encoder.encode(value).decode()


def decode_plain(text: str) -> Plain:
    """The reverse."""
    value: Plain = _decoder.decode(text)
    return value


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=decimal)
