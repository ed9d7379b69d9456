"""Strategies for the JSON of events: right, nearly right and wrong, written in every way that JSON allows.

Values are made as text, not as Python objects, because what breaks readers is the writing: escapes, duplicate names,
digits, exponents, white space.
"""

from __future__ import annotations

import json
from typing import TypeVar

from hypothesis import strategies as st

NAMES = ["n", "m", "text", "tags", "who", "kind", "deep", "flag", "user_agent"]
"""Members of `data`; the program of the tests reads most of them."""

TYPES = ["a", "b", "capped", "scaled", "once", "attributes", "streak", "objects"]
SUBJECTS = ["ann", "bob", "x" * 256, "é", "🏆", "a:b", "all", "\u2028", "'; --", "a\tb", "\x7f"]
MAGNITUDE_MAX = 2**53 - 1
T = TypeVar("T")


def mostly(good: st.SearchStrategy[T], bad: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """One in ten is bad: an event is good when all of its parts are."""
    return st.integers(0, 9).flatmap(lambda chance: good if chance else bad)


_digits = st.text("0123456789", min_size=1, max_size=14)
_long_digits = st.integers(1, 3_000).map(lambda count: "7" * count)
_small_exponent = st.one_of(st.just(""), st.integers(-1_100, 2).map("e{}".format), st.just("E-99999999999"))
_good_numbers = st.one_of(
    st.integers(-3, 12).map(str),
    st.sampled_from([MAGNITUDE_MAX, -MAGNITUDE_MAX]).map(str),
    st.sampled_from(["0.5", "-0", "-0.0", "1e0", "0e99999", "1e-400", "0.1e1", "9007199254740991.0"]),
    st.builds("{}.{}{}".format, _digits.map(lambda text: str(int(text))), _digits | _long_digits, _small_exponent),
)
_bad_numbers = st.one_of(
    st.sampled_from([MAGNITUDE_MAX + 1, 2**63, -(2**64), 10**30]).map(str),
    st.sampled_from(["NaN", "-Infinity", "+1", "01", ".5", "5.", "0x1", "1_0", "- 1", "1E400", '"1"']),
    _long_digits,
)
numbers = mostly(_good_numbers, _bad_numbers)


@st.composite
def strings(draw: st.DrawFn, values: st.SearchStrategy[str] | None = None) -> str:
    """A JSON string: each character as it is, or escaped in one of the ways."""
    value = draw(_anything if values is None else values)
    if len(value) > 400:
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    written = []
    for character in value:
        way = draw(st.sampled_from("pppppuU")) if not 0xD800 <= ord(character) <= 0xDFFF else "u"
        if way == "p":
            written.append(json.dumps(character, ensure_ascii=False)[1:-1])
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
            written += [f"\\u{unit.upper() if way == 'U' else unit}" for unit in pairs]
    odd = draw(mostly(st.just(""), st.sampled_from(_ODD)))
    return '"' + "".join(written) + odd + '"'


_ODD = ["\\ud800", "\\udc00x", "\\u0000", "\\x", "\\", "\n", "\0", "\\/", "\\u12"]
_long_texts = st.builds(
    lambda piece, times: piece * times,
    st.sampled_from(["x", "é", "\\", '"', "bot ", "Mozilla/5.0 (", "1", "\ue000"]),
    st.sampled_from([50, 1_000, 5_000, 17_000]),
)
_anything = st.one_of(st.sampled_from(SUBJECTS), st.text(max_size=20), _long_texts)
_plain = st.one_of(st.sampled_from(["null", "true", "false"]), numbers, strings())


def values(depth: int = 5) -> st.SearchStrategy[str]:
    """Any JSON value, nested up to `depth`; now and then far too deep."""
    nested = st.recursive(_plain, lambda inner: st.one_of(_lists(inner), _objects(inner)), max_leaves=depth * 2)
    too_deep = st.builds(
        lambda opening, times: opening * times, st.sampled_from(["[", '{"a":', "[1,"]), st.sampled_from([6, 300, 5_000])
    )
    return mostly(st.one_of(_plain, nested), too_deep)


def _lists(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(inner, max_size=5).map(lambda items: "[" + ",".join(items) + "]")


def _objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects, names repeated now and then."""
    member = st.tuples(strings(st.sampled_from([*NAMES, "", "é", "a.b"])), inner)
    return st.lists(member, max_size=6).map(_written)


def _written(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"


_times = mostly(
    st.sampled_from(
        [
            '"2026-11-21T05:00:00Z"',
            '"2026-03-08T02:30:00-05:00"',
            '"1970-01-01T00:00:00Z"',
            '"2199-12-31T23:59:59.999999Z"',
            '"1970-01-02T00:00:00+14:00"',
            "null",
        ]
    ),
    st.sampled_from(
        [
            '"2200-01-01T00:00:00Z"',
            '"2199-12-31T23:59:59-23:59"',
            '"2026-11-21T05:00:00"',
            '"2026-02-30T00:00:00Z"',
            '"0001-01-01T00:00:00+23:59"',
            '"9999-12-31T23:59:59-23:59"',
            '"2016-12-31T23:59:60Z"',
            '"soon"',
            "1795237200",
        ]
    ),
)
_subjects = strings(mostly(st.sampled_from(SUBJECTS), st.sampled_from(["", "x" * 257, "\0", "\ud800"])))
_adjustment = st.builds(
    '{{"metric":"{}","subject":{},"amount":{},"reason":"r"}}'.format,
    st.sampled_from(["points", "exact", "views", "floored", "nothing"]),
    _subjects,
    numbers,
)
_member = st.tuples(mostly(st.sampled_from(NAMES).map('"{}"'.format), strings()), values(3))
_data = mostly(st.lists(_member, max_size=8).map(_written), values())


@st.composite
def events(draw: st.DrawFn) -> str:
    """One event, mostly a good one: its members in any order, with white space between."""
    type = draw(
        mostly(
            st.sampled_from(TYPES),
            st.sampled_from(["unknown", "accrue.adjust", "accrue.retract", "accrue.close", "", "t" * 65]),
        )
    )
    ids = mostly(st.integers(0, 1_500).map("id-{}".format), st.sampled_from(["", "accrue.x", "i" * 129, "id-1"]))
    members = [('"id"', json.dumps(draw(ids))), ('"type"', json.dumps(type))]
    if type == "accrue.adjust":
        members.append(('"data"', draw(_adjustment)))
    elif type == "accrue.retract":
        members += [('"ref"', draw(_refs)) for _ in range(draw(mostly(st.just(1), st.sampled_from([0, 2]))))]
    else:
        for name in draw(st.lists(st.sampled_from(list(_OPTIONAL)), max_size=6, unique=True)):
            members.append((name, draw(_OPTIONAL[name])))
    if draw(st.integers(0, 9)) == 0:
        members.append((draw(st.sampled_from(['"\\u0069d"', '"extra"', '"type"', '"id"'])), draw(_plain)))
    members = draw(st.permutations(members))
    space = draw(mostly(st.just(""), st.sampled_from([" ", "\n", "\r\n\t", "\u00a0"])))
    return "{" + f",{space}".join(f"{name}:{space}{value}" for name, value in members) + "}"


_refs = mostly(st.integers(0, 1_500).map('"id-{}"'.format), st.sampled_from(["null", "1", '""', '"id-1"']))
_OPTIONAL = {
    '"actor"': _subjects,
    '"object"': _subjects,
    '"owner"': _subjects,
    '"time"': _times,
    '"value"': numbers,
    '"data"': _data,
}


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """A Content-Type, and a body of one or several events that was damaged now and then."""
    form = draw(st.sampled_from(["one", "array", "lines", "lines"]))
    if form == "one":
        text = draw(events())
    else:
        some = draw(st.lists(mostly(events(), values()), max_size=8))
        separator = draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n", "\r", ","])) if form == "lines" else ","
        text = separator.join(some) if form == "lines" else "[" + ",".join(some) + "]"
    body = text.encode("utf-8", "surrogatepass")
    kind = "application/x-ndjson" if form == "lines" else "application/json"
    return kind, draw(damaged(body))


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """Mostly the body as it is; else cut off, with a byte changed, put in or taken out, or a byte order mark."""
    how = draw(mostly(st.just("no"), st.sampled_from(["cut", "changed", "put in", "taken out", "mark", "utf-16"])))
    at = draw(st.integers(0, max(len(body) - 1, 0)))
    byte = bytes([draw(st.integers(0, 255))])
    match how:
        case "cut":
            return body[:at]
        case "changed":
            return body[:at] + byte + body[at + 1 :]
        case "put in":
            return body[:at] + byte + body[at:]
        case "taken out":
            return body[:at] + body[at + 1 :]
        case "mark":
            return b"\xef\xbb\xbf" + body
        case "utf-16":
            return body.decode("utf-8", "replace").encode("utf-16")
    return body
