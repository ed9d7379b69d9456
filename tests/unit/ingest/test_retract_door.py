"""The door: who may say `ref`, and what a retraction has to say."""

from __future__ import annotations

import msgspec
import pytest

from accrue.core.event import ID_CHARACTERS_MAX, RETRACT
from accrue.ingest.accept import ADMIN_TYPES
from accrue.ingest.validate import check_array, check_ndjson, check_one

NOW_US = 1_774_569_600_000_000


def answer(event: dict[str, object], allowed: frozenset[str] = ADMIN_TYPES) -> tuple[str, str | None]:
    """Status and field; the same whichever form it comes in."""
    body = msgspec.json.encode(event)
    found = set()
    for check, sent in ((check_one, body), (check_ndjson, body), (check_array, b"[" + body + b"]")):
        checked = check(sent, tenant="t", now_us=NOW_US, allowed_system=allowed)
        (result,) = checked.results
        assert (checked.batch is not None) == (result.status == "accepted")
        found.add((result.status, result.field))
    assert len(found) == 1
    return found.pop()


def test_a_retraction_names_the_event_it_takes_back() -> None:
    assert answer({"id": "r", "type": RETRACT, "ref": "c7"}) == ("accepted", None)
    assert answer({"id": "r", "type": RETRACT, "ref": "c7", "data": {"why": "spam"}}) == ("accepted", None)
    assert answer({"id": "r", "type": RETRACT}) == ("rejected", "$.ref")


@pytest.mark.parametrize("ref", [None, "", 7, "x" * (ID_CHARACTERS_MAX + 1), ["c7"]])
def test_what_it_names_is_an_id(ref: object) -> None:
    assert answer({"id": "r", "type": RETRACT, "ref": ref}) == ("rejected", "$.ref")


def test_other_events_have_no_ref() -> None:
    assert answer({"id": "1", "type": "liked", "ref": "c7"}) == ("rejected", "$.ref")


@pytest.mark.parametrize("data", [{"ref": "home"}, {"kind": "ref"}, {"from": {"ref": "c7"}}])
def test_the_word_in_data_means_nothing(data: dict[str, object]) -> None:
    event = {"type": "clicked", "data": data}
    assert answer({"id": "1", **event}) == ("accepted", None)
    unnamed = check_one(msgspec.json.encode(event), tenant="t", now_us=NOW_US, idempotency_key="key")
    assert [result.status for result in unnamed.results] == ["accepted"]
    beside = check_ndjson(b"[]\n" + msgspec.json.encode({"id": "1", **event}), tenant="t", now_us=NOW_US)
    assert [result.status for result in beside.results] == ["rejected", "accepted"]


def test_it_needs_whoever_may_correct_balances() -> None:
    assert answer({"id": "r", "type": RETRACT, "ref": "c7"}, frozenset()) == ("rejected", "$.type")


def test_the_line_is_stored_as_it_came() -> None:
    line = b'{"ref":"c7", "id":"r","type":"accrue.retract"}'
    batch = check_one(line, tenant="t", now_us=NOW_US, allowed_system=ADMIN_TYPES).batch
    assert batch is not None
    assert batch.body == line
