"""Strategies for the texts of programs: the examples of the repository, changed a little."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from house.tree import ROOT

FENCE = re.compile(r"^```toml\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [path.read_text() for path in sorted((ROOT / "examples" / "programs").glob("*.toml"))]
EXAMPLES += FENCE.findall((ROOT / "docs" / "reference" / "program.md").read_text())

VALUES = [
    "1",
    "0",
    "-1",
    "9007199254740991",
    "9007199254740992",
    "1" + "0" * 30,
    "0." + "1" * 30,
    "1e308",
    "nan",
    "-inf",
    "true",
    '""',
    '"x"',
    '"actor"',
    '"data.a.b"',
    '"data."',
    '"\\u0000"',
    '"é\\n🏆"',
    '"points"',
    "[]",
    '["actor", "day"]',
    "[1, [2]]",
    "{}",
    "{ a = 1 }",
    "[{}]",
    "2026-11-21",
    "2026-11-21T05:00:00Z",
    '"null < 5 and points > 1"',
    '"points * points * points"',
    '"' + "x" * 2_000 + '"',
]
LINES = [
    "[metrics.points]",
    "[metrics.points]\nscale = 9\ninitial = 9007199254740991",
    "[metrics.day]",
    "[metrics.class]",
    "[metrics]",
    "metrics = 1",
    "[[metrics]]",
    "[[rules]]",
    "[rules]",
    '[[rules]]\non = "x"\ngive = [{ to = "actor", metric = "points", amount = "-value * value" }]',
    '[[rules]]\non = "x"\nset = [{ on = "actor", attribute = "kind", value = "actor.kind + 1" }]',
    "[badges.b]",
    '[badges."\\u0001"]\nwhen = "points > 1"',
    "[boards.b]\norder = ['points asc', 'points desc']",
    "[streaks.s]\non = 'x'\nevery = 'event'",
    "[ranges.season]\none = { from = 1970-01-01, to = 2200-01-01 }",
    "[lookups.class]\na = 1",
    "[caps.c]\nmetric = 'points'\nlimit = 0",
    "]",
    "=",
]
_word = re.compile(r"[A-Za-z_]+")
_value = re.compile(r"(?<== )(?:\"[^\"\n]*\"|[-\d.]+|true|false|\[[^\]\n]*\])")


@st.composite
def programs(draw: st.DrawFn) -> str:
    """An example with one to six changes."""
    text = draw(st.sampled_from(EXAMPLES))
    for _ in range(draw(st.integers(1, 6))):
        text = draw(_changes[draw(st.sampled_from(sorted(_changes)))](text))
    return text


@st.composite
def _other_value(draw: st.DrawFn, text: str) -> str:
    places = list(_value.finditer(text))
    if not places:
        return text
    place = draw(st.sampled_from(places))
    new = draw(st.one_of(st.sampled_from(VALUES), st.sampled_from([each.group() for each in places])))
    return text[: place.start()] + new + text[place.end() :]


@st.composite
def _other_word(draw: st.DrawFn, text: str) -> str:
    places = list(_word.finditer(text))
    if not places:
        return text
    place, other = draw(st.sampled_from(places)), draw(st.sampled_from(places))
    return text[: place.start()] + other.group() + text[place.end() :]


@st.composite
def _other_lines(draw: st.DrawFn, text: str) -> str:
    lines = text.splitlines()
    at, end = sorted((draw(st.integers(0, len(lines))), draw(st.integers(0, len(lines)))))
    end = min(end, at + 8)
    how = draw(st.sampled_from(["out", "twice", "elsewhere", "new"]))
    some, rest = lines[at:end], lines[:at] + lines[end:]
    match how:
        case "out":
            return "\n".join(rest)
        case "twice":
            return "\n".join(lines[:end] + some + lines[end:])
        case "elsewhere":
            to = draw(st.integers(0, len(rest)))
            return "\n".join(rest[:to] + some + rest[to:])
    return "\n".join([*lines[:at], draw(st.sampled_from(LINES)), *lines[at:]])


@st.composite
def _other_characters(draw: st.DrawFn, text: str) -> str:
    at = draw(st.integers(0, len(text)))
    return (
        text[:at] + draw(st.text("[]{}\"'=.,#\n\0\ufeff\ud800é 0_", max_size=3)) + text[at + draw(st.integers(0, 3)) :]
    )


_changes = {
    "value": _other_value,
    "word": _other_word,
    "lines": _other_lines,
    "characters": _other_characters,
}
