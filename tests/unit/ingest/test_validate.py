"""The door: what may enter the log, and what everybody else is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accrue.core.event import BODY_SIZE_BYTES_MAX, Event, Stamp
from accrue.errors import Rejected, TooLarge
from accrue.ingest.checked import (
    AHEAD_US_MAX,
    EPOCH,
    EVENTS_PER_REQUEST_MAX,
    MICROSECOND,
    Checked,
    Terms,
)
from accrue.ingest.each import check_each, with_id
from accrue.ingest.validate import check_array, check_ndjson, check_one

NOW_US = 1_800_000_000_000_000
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"


def one(body: bytes | str, key: str | None = None, allowed: frozenset[str] = frozenset()) -> Checked:
    body = body.encode() if isinstance(body, str) else body
    return check_one(body, tenant="t", now_us=NOW_US, idempotency_key=key, allowed_system=allowed)


def array(body: bytes, key: str | None = None) -> Checked:
    return check_array(body, tenant="t", now_us=NOW_US, idempotency_key=key)


def ndjson(body: bytes, key: str | None = None) -> Checked:
    return check_ndjson(body, tenant="t", now_us=NOW_US, idempotency_key=key)


def refusal(body: bytes | str) -> tuple[str | None, str]:
    """Field and sentence of the one event in `body`, which must be rejected."""
    checked = one(body)
    assert checked.batch is None
    (result,) = checked.results
    assert result.status == "rejected"
    assert result.detail is not None
    assert result.detail.endswith((".", "'?"))
    return result.field, result.detail


def statuses(checked: Checked) -> list[str]:
    return [result.status for result in checked.results]


def lines(checked: Checked) -> list[bytes]:
    assert checked.batch is not None
    stored = checked.batch.body.split(b"\n")
    assert len(stored) == len(checked.batch.times_us)
    return stored


# --- good requests ----------------------------------------------------------------------------------------


def test_an_event_is_stored_as_it_came() -> None:
    body = b'{"id":"e1","type":"read","value":1.50,"data":{"n":0.10000000000000000000001}}'
    checked = one(body)
    assert lines(checked) == [body]
    assert checked.batch is not None
    assert checked.batch.tenant == "t"
    assert statuses(checked) == ["accepted"]
    assert checked.results[0].id == "e1"


def test_an_answer_leaves_out_what_is_not_so() -> None:
    assert msgspec.json.encode(one('{"id":"e1","type":"read"}').results[0]) == b'{"id":"e1","status":"accepted"}'


def test_null_stands_for_an_absent_optional_field() -> None:
    nothing = '"actor":null,"object":null,"owner":null,"time":null,"value":null,"data":null'
    assert statuses(one(f'{{"id":"a","type":"x",{nothing}}}')) == ["accepted"]


def test_a_pretty_printed_event_is_stored_on_one_line() -> None:
    checked = one('{\r\n  "id": "a",\n  "type": "x"\n}')
    assert lines(checked) == [b'{    "id": "a",   "type": "x" }']


def test_an_array_is_stored_one_event_a_line() -> None:
    checked = array(b' [ {"id":"a","type":"x"} , {"id":"b",\n"type":"x"} ] ')
    assert lines(checked) == [b'{"id":"a","type":"x"}', b'{"id":"b", "type":"x"}']


def test_an_empty_array_is_nothing_to_do() -> None:
    assert array(b"[]") == Checked(None, [])


@pytest.mark.parametrize("break_", [b"\n", b"\r\n", b"\n\n", b"\r\n \t\r\n"])
def test_empty_lines_and_line_ends_of_any_kind_are_skipped(break_: bytes) -> None:
    checked = ndjson(break_ + b'{"id":"a","type":"x"}' + break_ + b'{"id":"b","type":"x"}' + break_)
    assert lines(checked) == [b'{"id":"a","type":"x"}', b'{"id":"b","type":"x"}']
    assert statuses(checked) == ["accepted", "accepted"]


def test_a_line_has_one_event_even_when_the_counts_agree() -> None:
    checked = ndjson(b'{"id":"a","type":"x"}{"id":"b",\n"type":"x"}')
    assert statuses(checked) == ["rejected", "rejected"]
    checked = ndjson(b'{"id":"a","type":"x"}{"id":"b","type":"x"}')
    assert statuses(checked) == ["rejected"]


def test_a_carriage_return_inside_a_line_becomes_a_space() -> None:
    assert lines(ndjson(b'{"id":"a",\r"type":"x"}')) == [b'{"id":"a", "type":"x"}']


# --- one bad event does not cost the others ----------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        b'{"id":"bad","type":5}',
        b'{"id":"bad","type":"\xff"}',
        b'{"id":"bad","type":"\\ud800"}',
        b'{"id":"bad","type":"\\u0000"}',
        b'{"id":"bad","type":"x","value":NaN}',
        b"5",
    ],
)
def test_only_the_bad_event_of_a_batch_is_rejected(bad: bytes) -> None:
    good = [b'{"id":"a","type":"x"}', b'{"id":"b","type":"x"}']
    for checked in (
        ndjson(b"\n".join([good[0], bad, good[1]])),
        array(b"[" + b", ".join([good[0], bad, good[1]]) + b"]"),
    ):
        assert statuses(checked) == ["accepted", "rejected", "accepted"]
        assert lines(checked) == good


def test_a_rejected_event_is_answered_with_its_id_when_that_can_be_read() -> None:
    checked = ndjson(b'{"id":"a","type":5}\n{"id":"b"\n{"id":7,"type":"x"}')
    assert [result.id for result in checked.results] == ["a", None, None]


def test_stamps_follow_their_events_past_rejected_ones() -> None:
    agent = json.dumps(GOOGLEBOT)
    checked = ndjson(
        f'{{"id":"a"}}\n{{"id":"b","type":"x"}}\n{{"id":"c","type":"x","data":{{"user_agent":{agent}}}}}'.encode()
    )
    assert checked.batch is not None
    assert checked.batch.stamps == {1: Stamp(crawler=True)}


# --- faults and their words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ('{"id":"a","typ":"x"}', "$.typ", "did you mean 'type'"),
        ('{"id":"a"}', "$.type", "needs a type"),
        ('{"id":"a","type":""}', "$.type", "length >= 1"),
        ('{"id":"","type":"x"}', "$.id", "length >= 1"),
        ('{"id":"a","type":"x","actor":""}', "$.actor", "length >= 1"),
        ('{"id":"a","type":"' + "x" * 65 + '"}', "$.type", "length <= 64"),
        ('{"id":"' + "x" * 129 + '","type":"x"}', "$.id", "length <= 128"),
        ('{"id":"a","type":"x","owner":"' + "x" * 257 + '"}', "$.owner", "length <= 256"),
        ('{"id":"a","type":5}', "$.type", "got int"),
        ('{"id":"a","type":"x","value":true}', "$.value", "got bool"),
        ('{"id":"a","type":"x","value":9007199254740992}', "$.value", "2^53-1"),
        ('{"id":"a","type":"x","value":-1e400}', "$.value", "2^53-1"),
        ('{"id":"a","type":"x","value":NaN}', "$", "NaN"),
        ('{"id":"a","type":"x","data":{"a":-Infinity}}', "$", "NaN"),
        ('{"id":"a","type":"x","data":{"b":1,"seconds":9007199254740992}}', "$.data.seconds", "2^53-1"),
        ('{"id":"a","type":"x","data":{"tags":[1,{"a b":1e99}]}}', "$.data.tags[1]['a b']", "2^53-1"),
        ('{"id":"a","type":"x","data":{"a":{"b":{"c":{"d":{}}}}}}', "$.data.a.b.c.d", "4 deep"),
        ('{"id":"a","type":"x","data":{"a":1e400,"a":1}}', "$.data", "2^53-1"),
        ('{"id":"a","type":"x","data":{"a":[0,1e400],"a":[1e400]}}', "$.data.a[1]", "2^53-1"),
        ('{"id":"a","type":"x","data":[]}', "$.data", "got array"),
        ('{"id":"a","type":"x","data":{"t":"a\nb"}}', "$", "malformed"),
        ('{"id":"a","type":"x","data":{"t":"\\ud83d"}}', "$", "surrogate"),
        ('{"id":"a","type":"x","data":{"t":"\\udc00"}}', "$", "surrogate"),
        ('{"id":"a","type":"x","data":{"\\u0000":1}}', "$", "U+0000"),
        (b'{"id":"a","type":"x","data":{"t":"\xed\xa0\x80"}}', "$", "UTF-8"),
        (b'{"id":"a","type":"\x00"}', "$", "malformed"),
        (b'\xef\xbb\xbf{"id":"a","type":"x"}', "$", "byte order mark"),
        ('{"id":"a","type":"x"} {}', "$", "trailing"),
        ('{"id":"a","type":"x"', "$", "truncated"),
        ("[]", "$", "this is: array"),
        ("null", "$", "this is: null"),
        ("[" * 100_000, "$", "at most"),
        ('{"id":"a","type":"x","data":{"a":' + "[" * 10_000, "$.data", "4 deep"),
    ],
)
def test_every_fault_is_named(body: str | bytes, field: str, words: str) -> None:
    assert refusal(body)[0] == field
    assert words in refusal(body)[1]


def test_a_name_sent_by_a_client_is_cut_before_it_is_repeated() -> None:
    name = "n" * 10_000
    field, detail = refusal(f'{{"id":"a","type":"x","{name}":1}}')
    assert field is not None
    assert len(field) < 100
    assert len(detail) < 200


def test_an_escaped_backslash_before_u0000_is_not_the_character() -> None:
    assert statuses(one(r'{"id":"a","type":"x","data":{"t":"\\u0000"}}')) == ["accepted"]
    assert refusal(r'{"id":"a","type":"x","data":{"t":"\\\u0000"}}')[0] == "$"


def test_data_has_a_limit_of_its_own() -> None:
    def event(data_size: int, padding: int = 0) -> bytes:
        data = '{"t":"' + "x" * (data_size - 8) + '"}'
        return f'{{"id":"a","type":"x","data":{data}{" " * padding}}}'.encode()

    assert statuses(one(event(16 * 1024))) == ["accepted"]
    assert refusal(event(16 * 1024 + 1)) == ("$.data", "data has at most 16384 bytes, here 16385.")
    assert refusal(event(100, padding=40_000))[0] == "$"
    good = b'{"id":"b","type":"x"}'
    assert statuses(ndjson(b"\n".join([good, event(16 * 1024 + 1)]))) == ["accepted", "rejected"]


# --- faults of a whole request ----------------------------------------------------------------------------


@pytest.mark.parametrize("check", [one, array, ndjson])
@pytest.mark.parametrize("body", [b"", b"  \r\n\t "])
def test_an_empty_body_is_refused(check, body: bytes) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Rejected, match="empty"):
        check(body)


@pytest.mark.parametrize("check", [one, array, ndjson])
def test_a_body_past_its_limit_is_refused(check) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TooLarge, match=str(BODY_SIZE_BYTES_MAX)):
        check(b" " * (BODY_SIZE_BYTES_MAX + 1))


def test_a_request_has_at_most_a_thousand_events() -> None:
    events = [b'{"id":"%d","type":"x"}' % index for index in range(EVENTS_PER_REQUEST_MAX + 1)]
    for check, request in ((ndjson, b"\n".join), (array, lambda parts: b"[" + b",".join(parts) + b"]")):
        assert len(check(request(events[:-1])).results) == EVENTS_PER_REQUEST_MAX
        with pytest.raises(TooLarge, match="1001"):
            check(request(events))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"id":"a","type":"x"}', "not a JSON array"),
        (b"[" * 100_000, "nested"),
        (b'[{"a":"\\ud800"},' + b"[" * 100_000, "."),
        (b'[{"id":"a","type":"x"}] x', "trailing"),
        (b'[{"id":"a","type":"\\ud800"}] x', "."),
        (b'[{"id":"a","type":"\\ud800"};{"id":"b","type":"x"}]', "."),
        (b'[{"id":"a","type":"x"}', "truncated"),
        (b'[{"id":"a","type":"x"},]', "."),
        (b'\xef\xbb\xbf[{"id":"a","type":"x"}]', "byte order mark"),
    ],
)
def test_an_array_whose_elements_cannot_be_told_apart_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(Rejected) as raised:
        array(body)
    assert words in raised.value.detail


# --- ids --------------------------------------------------------------------------------------------------


def test_an_event_without_an_id_is_rejected() -> None:
    assert refusal('{"type":"x"}')[0] == "$.id"
    assert refusal('{"type":"x","id":null}')[0] == "$.id"


def test_an_idempotency_key_gives_an_id_as_the_first_member() -> None:
    checked = ndjson(b'{"type":"x","value":1.50}\n\n{"id":"own","type":"x"}\n{ "type" : "x" , "id" : null }', key="k")
    assert [result.id for result in checked.results] == ["k:0", "own", "k:2"]
    assert lines(checked) == [
        b'{"id":"k:0","type":"x","value":1.50}',
        b'{"id":"own","type":"x"}',
        b'{"id":"k:2","type":"x"}',
    ]


@pytest.mark.parametrize("key", ["", "k" * 125, "a\nb", "\udc80", "\0"])
def test_an_unusable_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(Rejected, match="Idempotency-Key"):
        one(b'{"type":"x"}', key=key)


def test_what_was_checked_is_what_a_later_decode_reads_when_a_name_stands_twice() -> None:
    checked = one('{"id":"first","id":"last","type":"a","type":"x","data":{"n":1,"n":2}}')
    assert checked.results[0].id == "last"
    read = msgspec.json.decode(lines(checked)[0], type=Event)
    assert (read.id, read.type, read.data) == ("last", "x", {"n": 2})


def test_a_repeated_event_of_one_request_is_stored_once() -> None:
    checked = ndjson(b'{"id":"a","type":"x"}\n{"id":"b","type":"x"}\n {"id":"a","type":"x"}')
    assert statuses(checked) == ["accepted", "accepted", "repeated"]
    assert len(lines(checked)) == 2


def test_two_events_of_one_request_cannot_share_an_id() -> None:
    checked = array(b'[{"id":"a","type":"x"},{"id":"a","type":"y"}]')
    assert statuses(checked) == ["accepted", "rejected"]
    assert checked.results[1].field == "$.id"
    assert lines(checked) == [b'{"id":"a","type":"x"}']


def test_an_id_is_free_again_when_its_first_event_was_rejected() -> None:
    checked = ndjson(b'{"id":"a","type":5}\n{"id":"a","type":"x"}')
    assert statuses(checked) == ["rejected", "accepted"]


# --- time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "time_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-21T07:00:00.123456+02:00", 1_795_237_200_123_456),
        ("2026-11-21T05:00:00.123456Z", 1_795_237_200_123_456),
    ],
)
def test_times_become_microseconds(time: str, time_us: int) -> None:
    for newline in ("", "\n"):  # both ways through the door
        checked = one(f'{{"id":"a",{newline}"type":"x","time":"{time}"}}')
        assert checked.batch is not None
        assert checked.batch.times_us == [time_us]


@given(st.integers(min_value=0, max_value=NOW_US))
def test_every_microsecond_is_exact(time_us: int) -> None:
    time = (EPOCH + timedelta(microseconds=time_us)).isoformat()
    checked = one(f'{{"id":"a","type":"x","time":"{time}"}}')
    assert checked.batch is not None
    assert checked.batch.times_us == [time_us]


def test_an_event_without_a_time_gets_the_time_it_was_received() -> None:
    checked = one('{"id":"a","type":"x"}')
    assert checked.batch is not None
    assert checked.batch.times_us == [NOW_US]
    assert checked.results[0].clamped is False


def test_a_time_too_far_ahead_is_clamped_and_says_so() -> None:
    limit = datetime.fromtimestamp((NOW_US + AHEAD_US_MAX) / 1e6, UTC)
    for indent in (None, 1):  # both ways through the door
        checked = one(json.dumps({"id": "a", "type": "x", "time": limit.isoformat()}, indent=indent))
        assert checked.batch is not None
        assert (checked.batch.times_us, checked.batch.stamps) == ([NOW_US + AHEAD_US_MAX], {})

    checked = one(json.dumps({"id": "a", "type": "x", "time": (limit + MICROSECOND).isoformat()}))
    assert checked.batch is not None
    assert (checked.batch.times_us, checked.batch.stamps) == ([NOW_US], {0: Stamp(clamped=True)})
    assert checked.results[0].clamped is True


@pytest.mark.parametrize(
    "time",
    ["1969-12-31T23:59:59.999999Z", "2200-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"],
)
def test_a_time_before_1970_or_after_2199_is_rejected(time: str) -> None:
    assert refusal(f'{{"id":"a","type":"x","time":"{time}"}}') == ("$.time", "A time lies from 1970 up to 2199.")


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ('"2026-01-01T00:00:00"', "add Z"),
        ('"2026-01-01"', "RFC 3339"),
        ('"2026-02-30T00:00:00Z"', "RFC 3339"),
        ("1577836800", "RFC 3339"),
        ('""', "RFC 3339"),
    ],
)
def test_a_time_that_is_not_a_moment_is_rejected(time: str, words: str) -> None:
    field, detail = refusal(f'{{"id":"a","type":"x","time":{time}}}')
    assert field == "$.time"
    assert words in detail


# --- the engine's own types -------------------------------------------------------------------------------

ADJUSTMENT = {"metric": "points", "subject": "ada", "amount": -9, "reason": "deducted"}
ADJUST_ALLOWED = frozenset({"accrue.adjust"})


def adjust(data: object) -> Checked:
    return one(json.dumps({"id": "a", "type": "accrue.adjust", "data": data}), allowed=ADJUST_ALLOWED)


def test_the_engines_own_types_are_rejected_unless_allowed() -> None:
    body = json.dumps({"id": "a", "type": "accrue.adjust", "data": ADJUSTMENT})
    assert refusal(body)[0] == "$.type"
    assert statuses(one(body, allowed=ADJUST_ALLOWED)) == ["accepted"]
    assert statuses(one('{"id":"a","type":"accrue.close"}', allowed=ADJUST_ALLOWED)) == ["rejected"]
    assert statuses(one('{"id":"a","type":"accrued"}')) == ["accepted"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "9"}, "$.data.amount"),
        ({"amount": True}, "$.data.amount"),
        ({"reason": ""}, "$.data.reason"),
        ({"subject": None}, "$.data.subject"),
        ({"metric": 5}, "$.data.metric"),
    ],
)
def test_an_adjustment_says_what_and_why(change: dict[str, object], field: str) -> None:
    assert statuses(adjust(ADJUSTMENT)) == ["accepted"]
    assert adjust({**ADJUSTMENT, **change}).results[0].field == field


def test_an_adjustment_without_a_reason_or_without_data_is_rejected() -> None:
    data = {name: value for name, value in ADJUSTMENT.items() if name != "reason"}
    assert adjust(data).results[0].field == "$.data.reason"
    assert adjust(None).results[0].field == "$.data"


# --- crawlers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["user_agent", "user\\u005fagent"])
@pytest.mark.parametrize(("agent", "crawler"), [(GOOGLEBOT, True), (FIREFOX, False)])
@pytest.mark.parametrize("newline", ["", "\n"])
def test_the_user_agent_is_judged_once_and_stamped(name: str, agent: str, crawler: bool, newline: str) -> None:
    checked = one(f'{{"id":"a",{newline}"type":"x","data":{{"{name}":"{agent}"}}}}')
    assert checked.batch is not None
    assert checked.batch.stamps == {0: Stamp(crawler=crawler)}


def test_a_user_agent_that_is_not_a_text_is_not_judged() -> None:
    checked = one('{"id":"a","type":"x","data":{"user_agent":["Googlebot"]}}')
    assert checked.batch is not None
    assert checked.batch.stamps == {}


# --- both ways through the door agree, and nothing gets past them ------------------------------------------

texts = st.text(max_size=8)
events = st.fixed_dictionaries(
    {"type": st.sampled_from(["x", "read", "accrue.x", ""])},
    optional={
        "id": st.sampled_from(["a", "b", "c", "d", ""]) | st.none(),
        "actor": texts,
        "time": st.sampled_from(
            ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "2100-01-01T00:00:00Z", "1950-01-01T00:00:00Z", "now", 5]
        ),
        "value": st.integers(min_value=-(2**54), max_value=2**54) | st.floats() | texts,
        "data": st.dictionaries(st.sampled_from(["user_agent", "n"]), texts | st.lists(st.integers())),
        "extra": st.none(),
    },
)


@given(st.lists(events, min_size=1, max_size=5), st.none() | st.just("k"))
def test_the_quick_way_and_the_careful_way_agree(sent: list[dict[str, object]], key: str | None) -> None:
    parts = [json.dumps(event).encode() for event in sent]
    careful = check_each(parts, Terms("t", NOW_US, key, frozenset()))
    assert ndjson(b"\n".join(parts), key) == careful
    assert array(b"[" + b",".join(parts) + b"]", key) == careful


@given(st.binary(max_size=60) | st.text('{}[]":,\\ud8def\n\r019eNa ', max_size=60).map(str.encode))
def test_no_bytes_make_anything_but_an_answer(body: bytes) -> None:
    for check in (one, array, ndjson):
        try:
            checked = check(body)
        except Rejected:
            continue
        assert checked.batch is None or len(checked.results) >= len(lines(checked))


def test_giving_an_id_replaces_the_one_that_is_there() -> None:
    assert with_id(b'{ "type":"x", "id":"old", "value":1.0 }', "new") == b'{"id":"new","type":"x","value":1.0}'


@pytest.mark.parametrize("id", ["accrue.close:2026-11-21", "accrue.imported:x:1"])
def test_an_id_of_the_engines_own_is_refused(id: str) -> None:
    """Else whoever sends it first could keep a period from being closed."""
    body = b'{"id": "%s", "type": "a"}\n{"id": "fine", "type": "a"}' % id.encode()

    checked = check_ndjson(body, tenant="t", now_us=0)

    assert [(result.status, result.field) for result in checked.results] == [("rejected", "$.id"), ("accepted", None)]
