"""What msgspec finds wrong with a value, said to whoever sent it: what the value may be, instead of type names."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args, get_origin

import msgspec

WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false", "array": "a list"}

_OTHER_TYPE = re.compile(r"Expected `(\w+)(?: \| null)?`, got `\w+`")


def sentence(fault: str, name: str, annotation: object = None) -> str | None:
    """`style is ordinal, competition or dense, not 'weird'.`, or `after is a whole number.`; None when it is neither.

    `annotation` is the type that the value must have, where it is known.
    """
    found = _OTHER_TYPE.fullmatch(fault)
    if found is not None and found[1] in WORDS:
        return f"{name} is {WORDS[found[1]]}."
    choices = [str(choice) for choice in get_args(annotation)] if get_origin(annotation) is Literal else []
    if choices and fault.startswith("Invalid enum value "):
        *most, last = choices
        given = fault.removeprefix("Invalid enum value ")
        listed = f"{', '.join(most)} or {last}" if most else last
        return f"{name} is {listed}, not {given}."
    return None


def type_of(shape: Any, name: str) -> object:
    """The type of a field of a struct; None when there is no such field."""
    fields = msgspec.structs.fields(shape) if isinstance(shape, type) and issubclass(shape, msgspec.Struct) else ()
    return next((field.type for field in fields if field.encode_name == name), None)
