"""Strategies for the texts of expressions: from the grammar, nearly so, and damaged."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz.json_texts import mostly

PATHS = [
    "data.n",
    "data.m",
    "data.text",
    "data.tags",
    "data.deep.er",
    'data["n"]',
    "value",
    "type",
    "id",
    "actor",
    "object",
    "stamp.crawler",
    "actor.points",
    "actor.day.points",
    "actor.kind",
    "object.views",
    "actor.streak.daily",
    "owner.longest.daily",
]
WRONG = [
    "x",
    "data",
    "actor.nothing",
    "__import__",
    "data.__class__",
    "().__class__",
    "print",
    "open('x')",
    "data.n.m[0]",
]
_constants = st.one_of(
    st.sampled_from(["0", "1", "-1", "2.50", "9e999", "1e-999", "1e1000", "0x10", "1_000", "1j", "007", "9" * 300]),
    st.sampled_from(
        ["true", "false", "null", "True", "None", "''", "'ann'", '"é"', "'''x'''", "b'x'", "f'{id}'", "'\\u0000'"]
    ),
    st.integers(-(10**18), 10**18).map(str),
)
_leaves = mostly(st.one_of(st.sampled_from(PATHS), _constants), st.sampled_from(WRONG))
_binary = st.sampled_from(
    ["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in", "is", "is not"]
)
_wrong_binary = st.sampled_from(["**", "@", "<<", "&", "|", "^", ":=", "if", ",", "."])
_functions = st.sampled_from(["min", "max", "abs", "floor", "round", "len"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    some = st.lists(inner, max_size=4).map(", ".join)
    return st.one_of(
        st.builds("{} {} {}".format, inner, mostly(_binary, _wrong_binary), inner),
        st.builds("({} {} {} {} {})".format, inner, _binary, inner, _binary, inner),
        st.builds("({})".format, inner),
        st.builds(
            "{}{}".format, mostly(st.sampled_from(["-", "not "]), st.sampled_from(["+", "~", "await ", "*"])), inner
        ),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("{}({})".format, mostly(_functions, st.sampled_from(["sum", "lookup", "eval"])), some),
        st.builds("round({}, {})".format, inner, st.sampled_from(["2", "12", "13", "-1", "9" * 50, "data.n"])),
        st.builds("lookup('worth', {}, {})".format, inner, inner),
        st.builds("[{}]".format, some),
        st.builds("lambda {}: {}".format, st.sampled_from(["", "x"]), inner),
    )


grown = st.recursive(_leaves, _grown, max_leaves=24)
repeated = st.builds(
    lambda start, piece, times: start + piece * times,
    _leaves,
    st.sampled_from(
        [" + 1", " * floor(9e999)", " in [1]", " < 2", " and data.n", " or (1", ")", " if 1 else 2", "[0]", ".a"]
    ),
    st.sampled_from([2, 20, 60, 110]),
)
opened = st.builds(
    lambda opening, times, inside: opening * times + inside,
    st.sampled_from(["(", "[", "-", "not ", "len(", "min(1, ", "{", "f'{", "lookup('worth', ", "(1 if "]),
    st.sampled_from([5, 31, 33, 90, 400]),
    _leaves,
)


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A text with a few characters changed."""
    text = list(draw(grown))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 2))] = draw(st.text("()[]{}'\"\\.,:=+-*/%<>!& \n\0\ud800éx01e_", max_size=2))
    return "".join(text)


expressions = st.one_of(grown, grown, repeated, opened, changed())
