"""Files from outside as events. What the door says of the result is part of what is promised here."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accrue.errors import Rejected
from accrue.ingest import formats
from accrue.ingest.checked import Checked
from accrue.ingest.formats import LINE_SIZE_BYTES_MAX, Line, combined, csv, ndjson
from accrue.ingest.validate import check_ndjson

NOW_US = 1_800_000_000_000_000
MEBIBYTE = 1 << 20


def only(lines: Iterable[Line]) -> dict[str, Any]:
    """The one event that came out, which the door lets in."""
    (line,) = lines
    assert line.problem is None
    assert line.event is not None
    checked = check_ndjson(line.event, tenant="t", now_us=NOW_US)
    assert [result.detail for result in checked.results] == [None]
    event: dict[str, Any] = json.loads(line.event)
    return event


def problems(lines: Iterable[Line]) -> dict[int, str]:
    return {line.number: line.problem for line in lines if line.problem is not None}


# --- every format -----------------------------------------------------------------------------------------


def test_the_digest_names_the_bytes_of_a_file() -> None:
    content = b"x" * (3 * MEBIBYTE + 1)
    assert formats.digest(io.BytesIO(content)) == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert formats.digest(io.BytesIO(content[:-1])) != formats.digest(io.BytesIO(content))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_may_be_packed_and_begin_with_a_byte_order_mark(pack: Any) -> None:
    lines = list(ndjson.read(io.BytesIO(pack(b'\xef\xbb\xbf{"id":"a"}\r\n\n{"id":"b"}')), digest="d"))
    assert lines == [Line(1, b'{"id":"a"}'), Line(3, b'{"id":"b"}')]


def test_an_empty_file_has_no_lines() -> None:
    assert list(ndjson.read(io.BytesIO(b""), digest="d")) == []


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: packed[:12] + b"\xff" * 9 + packed[21:]])
def test_a_damaged_gzip_file_is_refused(damage: Any) -> None:
    packed = gzip.compress(b'{"id":"a"}\n' * 1000)
    with pytest.raises(Rejected, match="gzip file is damaged"):
        list(ndjson.read(io.BytesIO(damage(packed)), digest="d"))


@pytest.mark.parametrize("read", [ndjson.read, combined.read])
def test_an_endless_line_is_a_problem_and_the_reading_goes_on(read: Any) -> None:
    content = b"x" * (2 * LINE_SIZE_BYTES_MAX + 5) + b"\nnext\n"
    lines = list(read(io.BytesIO(content), digest="d"))
    assert [line.number for line in lines] == [1, 2]
    assert problems(lines)[1] == f"The line is longer than {LINE_SIZE_BYTES_MAX} bytes."


@given(st.binary(max_size=80) | st.text('[]{}":,\\\n\r\x00é x1-', max_size=80).map(str.encode))
def test_no_file_makes_anything_but_lines_or_a_refusal(content: bytes) -> None:
    for read in (ndjson.read, combined.read, csv.read):
        for file in (content, b"type,id\n" + content, b'{"type":"x",' + content, GOOD_LINE[:-5] + content):
            try:
                lines = list(read(io.BytesIO(file), digest="d"))
            except Rejected:
                continue
            for line in lines:
                assert (line.event is None) != (line.problem is None)
                assert line.event is None or b"\n" not in line.event


# --- ndjson -----------------------------------------------------------------------------------------------


def test_a_line_without_an_id_gets_one_from_the_file_and_its_number() -> None:
    lines = list(ndjson.read(io.BytesIO(b'\n{"type":"x","value":1.50}\n{"id":"own"}'), digest="d"))
    assert lines == [Line(2, b'{"id":"d:2","type":"x","value":1.50}'), Line(3, b'{"id":"own"}')]


@pytest.mark.parametrize("broken", [b"5", b'{"id":5}', b'{"type":', b'{"\xff":1}', b'{"type":"\\ud800"}'])
def test_a_broken_line_is_left_to_the_door(broken: bytes) -> None:
    assert list(ndjson.read(io.BytesIO(broken), digest="d")) == [Line(1, broken)]


# --- csv --------------------------------------------------------------------------------------------------

MATCHES = b"season,date,home,away,goals,note\n2000-01,2000-08-19,Leeds,Everton,2,\n"


def test_a_mapping_says_which_column_becomes_which_field() -> None:
    mapping = {
        "type": "'match'",
        "id": "{season}/{home}-{away}",
        "time": "date",
        "actor": "home",
        "value": "3",
        "data.goals": "goals",
        "data.season": "season",
        "data.note": "note",
    }
    assert only(csv.read(io.BytesIO(MATCHES), digest="d", mapping=mapping)) == {
        "id": "2000-01/Leeds-Everton",
        "type": "match",
        "time": "2000-08-19T00:00:00Z",
        "actor": "Leeds",
        "value": 3,
        "data": {"goals": 2, "season": "2000-01"},
    }


def test_columns_named_like_fields_need_no_mapping() -> None:
    table = b"\xef\xbb\xbftype,id,time,actor,data.n,data,other\nread,e1,2026-01-01T01:02:03Z,ada,5,x,y\n"
    assert only(csv.read(io.BytesIO(table), digest="d")) == {
        "type": "read",
        "id": "e1",
        "time": "2026-01-01T01:02:03Z",
        "actor": "ada",
        "data": {"n": 5},
    }


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("0.10000000000000000000001", "0.10000000000000000000001"),
        ("-1.50e+3", "-1.50e+3"),
        ("0", "0"),
        ("007", '"007"'),
        ("+1", '"+1"'),
        (".5", '".5"'),
        ("1 ", '"1 "'),
        ("NaN", '"NaN"'),
        ("٣", '"٣"'),
    ],
)
def test_a_number_stays_as_written_and_nothing_else_becomes_one(cell: str, written: str) -> None:
    table = f"type,id,data.n\nx,a,{cell}\n".encode()
    (line,) = csv.read(io.BytesIO(table), digest="d")
    assert line.event is not None
    assert line.event.decode() == f'{{"id":"a","type":"x","data":{{"n":{written}}}}}'


def test_only_value_and_data_hold_numbers() -> None:
    table = b"n\n5\n"
    mapping = {"type": "'x'", "actor": "n", "value": "{n}", "data.text": "{n}", "data.quoted": "'5'", "data.n": "n"}
    event = only(csv.read(io.BytesIO(table), digest="d", mapping=mapping))
    assert (event["actor"], event["value"], event["data"]) == ("5", 5, {"text": "5", "quoted": "5", "n": 5})


def test_an_empty_cell_is_an_absent_field() -> None:
    mapping = {"type": "'x'", "id": "{a}{b}", "actor": "a", "object": "{a}/{c}", "data.b": "b"}
    event = only(csv.read(io.BytesIO(b"a,b,c\n,,z\n"), digest="d", mapping=mapping))
    assert event == {"id": "d:2", "type": "x", "object": "/z"}


def test_doubled_braces_are_braces() -> None:
    event = only(csv.read(io.BytesIO(b"a\n1\n"), digest="d", mapping={"type": "{{{a}}}"}))
    assert event["type"] == "{1}"


def test_a_row_is_numbered_by_its_first_line() -> None:
    table = b'type,data.t\n\nx,"one\ntwo"\ny,three\n'
    lines = list(csv.read(io.BytesIO(table), digest="d"))
    assert [(line.number, json.loads(line.event or b"")["id"]) for line in lines] == [(3, "d:3"), (5, "d:5")]


def test_a_bad_row_is_a_problem_and_the_reading_goes_on() -> None:
    table = b'type,id\nx\nx,b,c\n"x"y,d\nx,\xff\nx,f\n'
    lines = list(csv.read(io.BytesIO(table), digest="d"))
    assert problems(lines) == {
        2: "The row has 1 cells, the header has 2.",
        3: "The row has 3 cells, the header has 2.",
        4: "The row cannot be read: ',' expected after '\"'.",
        5: "The row is not UTF-8.",
    }
    assert lines[-1] == Line(6, b'{"id":"f","type":"x"}')


@pytest.mark.parametrize(
    ("header", "mapping", "words"),
    [
        ("a", {"typ": "a"}, "no field 'typ', did you mean 'type'"),
        ("a", {"data": "a", "type": "a"}, "data.NAME"),
        ("a", {"data.": "a", "type": "a"}, "data.NAME"),
        ("a", {"actor": "a"}, "type"),
        ("home_goals", {"type": "'x'", "data.n": "home_gaols"}, "'home_gaols', which is not there, did you mean"),
        ("a", {"type": "{b}"}, "'b', which is not there"),
        ("a,a", {"type": "a"}, "there 2 times"),
        ("a", {"type": "{a"}, "brace"),
        ("a", {"type": "a}"}, "brace"),
        ("a", None, "type of the events"),
        ("", None, "no header"),
        ('"a', None, "header cannot be read"),
    ],
)
def test_a_mapping_that_names_what_is_not_there_is_refused(
    header: str, mapping: dict[str, str] | None, words: str
) -> None:
    with pytest.raises(Rejected) as raised:
        csv.read(io.BytesIO(header.encode()), digest="d", mapping=mapping)
    assert words in raised.value.detail


def test_a_mapping_is_read_from_the_command_line() -> None:
    pairs = ["type='a=b'", "time = date", "id={a}/{b}"]
    assert csv.parse_mapping(pairs) == {"type": "'a=b'", "time": "date", "id": "{a}/{b}"}


@pytest.mark.parametrize("pairs", [["type"], ["type="], ["type=a", "type=b"]])
def test_a_mapping_that_says_nothing_or_two_things_is_refused(pairs: list[str]) -> None:
    with pytest.raises(Rejected):
        csv.parse_mapping(pairs)


# --- combined ---------------------------------------------------------------------------------------------

GOOD_LINE = (
    b'10.0.0.1 - ada [17/May/2015:10:05:03 +0200] "GET /a/b?q=1#x HTTP/1.1" 200 512 '
    b'"https://from.example/" "Mozilla/5.0 (\\"quoted\\" \\\\ \\xc3\\xa9)"\n'
)


def page(request: bytes = b"GET /a HTTP/1.1", *, size: bytes = b"5", tail: bytes = b' "-" "-"') -> bytes:
    return b'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "' + request + b'" 200 ' + size + tail


def test_a_line_of_a_web_server_becomes_a_page_viewed() -> None:
    assert only(combined.read(io.BytesIO(GOOD_LINE), digest="d")) == {
        "type": "page.viewed",
        "id": "d:1",
        "time": "2015-05-17T10:05:03+02:00",
        "actor": "10.0.0.1",
        "object": "/a/b",
        "data": {
            "method": "GET",
            "status": 200,
            "bytes": 512,
            "referrer": "https://from.example/",
            "user_agent": 'Mozilla/5.0 ("quoted" \\ é)',
        },
    }


def test_what_the_log_does_not_know_is_left_out() -> None:
    for tail in (b' "-" "-"', b"", b' "" ""'):
        event = only(combined.read(io.BytesIO(page(size=b"-", tail=tail)), digest="d"))
        assert event["data"] == {"method": "GET", "status": 200}


def test_a_user_agent_may_be_cut_off_by_the_end_and_followed_by_more_fields() -> None:
    for tail in (b' "-" "Mozilla', b' "-" "Mozilla" 0.005 "10.0.0.9"'):
        event = only(combined.read(io.BytesIO(page(tail=tail)), digest="d"))
        assert event["data"]["user_agent"] == "Mozilla"


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (b"GET / HTTP/1.1", "/"),
        (b"GET ?q HTTP/1.1", "/"),
        (b"GET http://host:80/a?b HTTP/1.1", "/a"),
        (b"GET https://host HTTP/1.1", "/"),
        (b"GET /go?to=http://host/ HTTP/1.1", "/go"),
        (b"GET /go/http://host/x HTTP/1.1", "/go/http://host/x"),
        (b"OPTIONS * HTTP/1.0", "*"),
        (b"GET /a b HTTP/1.1", "/a b"),
        (b"GET /old", "/old"),
        (b"GET /caf\xc3\xa9 HTTP/1.1", "/café"),
        (b"GET /\xff\\x00\\xff HTTP/1.1", "/\ufffd\ufffd"),
    ],
)
def test_the_object_is_the_path(request_: bytes, path: str) -> None:
    assert only(combined.read(io.BytesIO(page(request_)), digest="d"))["object"] == path


def test_long_texts_are_cut_and_long_paths_stay_apart() -> None:
    def event(ending: str) -> dict[str, Any]:
        line = page(f"GET /{'p' * 300}{ending} HTTP/1.1".encode(), tail=b' "-" "' + b"u" * 5000 + b'"')
        return only(combined.read(io.BytesIO(line), digest="d"))

    assert len(event("a")["object"]) == 256
    assert event("a")["object"].startswith("/" + "p" * 222 + "~")
    assert event("a")["object"] != event("b")["object"]
    assert event("a")["data"]["user_agent"] == "u" * 1024


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        page(b"-"),
        page(b"\\x16\\x03\\x01"),
        page(b""),
        page().replace(b"May", b"Mai"),
        page().replace(b" 200 ", b" - "),
        page(size=b"9" * 5000),
        page().replace(b"[", b""),
    ],
)
def test_a_malformed_line_is_a_problem_and_the_reading_goes_on(line: bytes) -> None:
    lines = list(combined.read(io.BytesIO(line + b"\n\n" + page()), digest="d"))
    assert list(problems(lines)) == [1]
    assert lines[1].number == 3


# --- the real access log ----------------------------------------------------------------------------------


def through_the_door(lines: Iterator[Line]) -> Iterator[Checked]:
    while batch := list(islice(lines, 1000)):
        yield check_ndjson(b"\n".join(line.event or b"" for line in batch), tenant="t", now_us=NOW_US)


def test_every_line_of_a_real_access_log_becomes_an_event_with_its_crawlers_set_apart(real_data: Path) -> None:
    # Given: 10,000 requests of a real site
    path = real_data / "access_log" / "access.log.gz"
    with path.open("rb") as file:
        name = formats.digest(file)
        file.seek(0)
        # When: they are read, and checked in batches
        lines = list(combined.read(file, digest=name))
    checked = list(through_the_door(iter(lines)))
    # Then: all of them are events
    assert problems(lines) == {}
    assert len(lines) == 10_000
    assert {result.status for part in checked for result in part.results} == {"accepted"}
    # and those that call themselves by the well-known names are crawlers, browsers are not
    crawlers = 0
    for part in checked:
        assert part.batch is not None
        for index, stamp in part.batch.stamps.items():
            agent = json.loads(part.batch.body.split(b"\n")[index])["data"]["user_agent"]
            crawlers += stamp.crawler is True
            if re.search("Googlebot|bingbot|Baiduspider|YandexBot|Slurp|AhrefsBot|msnbot", agent):
                assert stamp.crawler is True, agent
            if re.fullmatch(r"Mozilla/5\.0 \((Windows|Macintosh)[^;)]*[^)]*\) Gecko/20100101 Firefox/[0-9.]+", agent):
                assert stamp.crawler is False, agent
    # The list grows with its releases: 1,956 with 1.67.0, of which a quarter fetch feeds.
    assert 1_400 <= crawlers <= 2_500
