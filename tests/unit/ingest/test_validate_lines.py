"""Where events end: few lines are searched, many looked at as an array, and both say the same."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from accrue.ingest import validate
from accrue.ingest.checked import Checked
from accrue.ingest.validate import FEW_LINES_SIZE_BYTES_MAX, check_ndjson

WHOLE = [b'{"id":"%d","type":"x"}', b'{"id":"%d","type":"}"}', b"{}"]
PARTS = [b'{"id":"%d",', b'"type":"x"}', b"\n", b"\n", b" ", b"\r"]
PIECES = st.sampled_from(WHOLE + PARTS)


def ndjson(body: bytes) -> Checked:
    return check_ndjson(body, tenant="t", now_us=1_800_000_000_000_000)


@given(st.lists(PIECES, min_size=1, max_size=12))
def test_few_lines_and_many_are_told_apart_alike(pieces: list[bytes]) -> None:
    body = b"{}" + b"".join(piece % at if b"%d" in piece else piece for at, piece in enumerate(pieces))
    with patch.object(validate, "FEW_LINES_SIZE_BYTES_MAX", 0):
        as_array = ndjson(body)
    assert ndjson(body) == as_array


def test_a_line_break_inside_an_event_is_seen_among_few_lines_and_among_many() -> None:
    broken = b'{"id":"a","type":"x"}{"id":"b",\n"type":"x"}'
    many = b"".join(b'\n{"id":"%d","type":"x"}' % number for number in range(FEW_LINES_SIZE_BYTES_MAX // 16))
    assert [result.status for result in ndjson(broken).results] == ["rejected"] * 2
    assert [result.status for result in ndjson(broken + many).results].count("rejected") == 2
