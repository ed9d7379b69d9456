"""The pieces of the repeat index: hashing, the filter, and runs as they are stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accrue.errors import Corrupt
from accrue.process.repeats import fingerprints, key, keys
from accrue.process.repeats.filter import FALSE_POSITIVES_MAX, Filter, Probe, probe, probe_one
from accrue.process.repeats.run import Part, Run, decode, merge, sort

PART = Part(3_600, 2, 7_200)


def words(numbers: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(numbers, dtype=np.uint64)


def run(entries: list[tuple[int, int]], last_us: int = 5_000) -> Run:
    high, low = words([entry[0] for entry in entries]), words([entry[1] for entry in entries])
    return sort(PART, last_us, high, low, np.arange(len(entries), dtype=np.uint32))


def some_keys(count: int, seed: int) -> Probe:
    chance = np.random.default_rng(seed)
    return probe(chance.integers(0, 2**64, count, dtype=np.uint64), chance.integers(0, 2**64, count, dtype=np.uint64))


def test_the_hashes_are_the_ones_the_book_holds() -> None:
    # Written out: if one of these ever changes, every stored run is worthless.
    assert key("community", "c7").hex() == "7d04b09105c73b1e5012923492644e6e"
    assert fingerprints([b'{"id":"c7"}', b""]) == [3011854402, 953390274]


def test_a_tenant_and_an_id_cannot_be_shifted_into_each_other() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("a:", "b"), ("a", ":b"), ("1:a", "b"), ("ä", "b")]
    assert len({key(tenant, id) for tenant, id in pairs}) == len(pairs)


@given(st.text(max_size=5), st.lists(st.text(max_size=5)))
def test_the_list_form_gives_the_same_keys(tenant: str, ids: list[str]) -> None:
    ids = [id.encode(errors="replace").decode() for id in ids]
    tenant = tenant.encode(errors="replace").decode()
    assert keys(tenant, ids) == [key(tenant, id) for id in ids]


def test_a_filter_never_denies_what_was_added() -> None:
    held, added = Filter(5_000), some_keys(5_000, seed=1)
    held.add(added)
    assert held.maybe(added).tolist() == list(range(5_000))
    pairs = zip(added.high.tolist(), added.low.tolist(), strict=True)
    assert all(held.maybe_one(*probe_one(high, low), low) for high, low in pairs)


def test_a_full_filter_says_look_as_rarely_as_promised_and_to_one_key_as_to_many() -> None:
    held, absent = Filter(100_000), some_keys(100_000, seed=2)
    held.add(some_keys(100_000, seed=1))
    maybe = held.maybe(absent).tolist()
    assert 0 < len(maybe) < 100_000 * FALSE_POSITIVES_MAX
    pairs = list(zip(absent.high.tolist(), absent.low.tolist(), strict=True))
    assert [index for index in range(100_000) if held.maybe_one(*probe_one(*pairs[index]), pairs[index][1])] == maybe


@given(st.sets(st.tuples(st.integers(0, 3) | st.just(2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1, max_size=20))
def test_a_run_finds_its_entries_and_no_others_however_many_share_a_half(entries: set[tuple[int, int]]) -> None:
    given_order = sorted(entries, key=lambda entry: (entry[1], entry[0]))
    held = decode(run(given_order).data)
    asked = given_order + [(high, low ^ 1) for high, low in given_order if (high, low ^ 1) not in entries] + [(9, 9)]
    which, found = held.find(words([entry[0] for entry in asked]), words([entry[1] for entry in asked]))
    assert dict(zip(which.tolist(), found.tolist(), strict=True)) == {n: n for n in range(len(entries))}
    one_by_one = [held.find_one(high, low) for high, low in asked]
    assert one_by_one == [n if n < len(entries) else None for n in range(len(asked))]


def test_a_merged_run_holds_all_entries_in_order() -> None:
    merged = merge([run([(5, 1), (2, 9)]), run([(2, 3), (8, 8)], last_us=6_000)])
    assert merged.high.tolist() == [2, 2, 5, 8]
    assert merged.low.tolist() == [3, 9, 1, 8]
    assert merged.fingerprints.tolist() == [0, 1, 0, 1]
    assert (merged.part, merged.last_us) == (PART, 6_000)


def test_the_stored_form_is_20_bytes_an_entry_and_comes_back_whole() -> None:
    stored = run([(5, 1), (2, 9), (7, 7)])
    again = decode(stored.data)
    assert len(stored.data) == 48 + 3 * 20
    assert (again.part, again.last_us, again.entries) == (PART, 5_000, 3)
    assert again.data == stored.data


def test_the_stored_form_is_what_the_book_holds() -> None:
    header, high, low, prints = (
        "4152554e010000000200000002000000100e000000000000201c0000000000008813000000000000a61ef6a200607c71",
        "02000000000000000500000000000000",
        "09000000000000000100000000000000",
        "0100000000000000",
    )
    assert run([(5, 1), (2, 9)]).data.hex() == header + high + low + prints


@pytest.mark.parametrize("at", range(108))
def test_one_damaged_byte_anywhere_is_found(at: int) -> None:
    data = bytearray(run([(5, 1), (2, 9), (7, 7)]).data)
    data[at] ^= 1
    with pytest.raises(Corrupt):
        decode(bytes(data))


@pytest.mark.parametrize("length", [0, 3, 47, 48, 107, 109])
def test_a_cut_or_lengthened_run_is_refused(length: int) -> None:
    data = run([(5, 1), (2, 9), (7, 7)]).data + b"\0"
    with pytest.raises(Corrupt):
        decode(data[:length])


def test_a_newer_format_is_named() -> None:
    data = run([(5, 1)]).data
    with pytest.raises(Corrupt, match="format 2; this version reads format 1"):
        decode(data[:4] + b"\2" + data[5:])


@pytest.mark.parametrize("order", [[1, 0], [0, 0]])
def test_a_run_out_of_order_is_refused_though_its_checksum_is_right(
    order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a writer that does not sort
    monkeypatch.setattr("accrue.process.repeats.run.np.lexsort", lambda _: np.array(order))
    data = run([(2, 1), (2, 9)]).data
    with pytest.raises(Corrupt, match="out of order"):
        decode(data)
