"""Archive segments: what is packed comes back, and whatever was changed is noticed."""

from hashlib import blake2b
from struct import pack as binary

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from accrue.book import archive
from accrue.book.archive import GENESIS, SegmentBuilder, check_chain, pack, unpack
from accrue.book.base import Segment
from accrue.errors import Corrupt

RECORDS = [(3, b'{"id":"a"}' * 40), (4, b""), (900, bytes(range(256)))]


def packed(records=RECORDS, *, previous=GENESIS, level=3, partition=2):
    return pack(records, partition=partition, events=7, previous=previous, level=level)


def handmade(records, *, previous=GENESIS):
    """A segment of partition 2 with 7 events, made from the words of the format's description alone."""
    content = b"".join(binary(">QI", position, len(record)) + record for position, record in records)
    first, last = records[0][0], records[-1][0]
    hashed = content + previous + binary(">qqqq", 2, first, last, 7)
    digest = blake2b(hashed, digest_size=32, person=b"accrue-segment-1").digest()
    data = b"ACRS" + binary(">BQ", 1, len(content)) + zstandard.compress(content)
    return Segment(2, first, last, 7, digest, previous, data)


def chain():
    first = packed([(1, b"one")])
    second = packed([(2, b"two"), (5, b"five")], previous=first.digest)
    return [first, second, packed([(6, b"six")], previous=second.digest)]


@given(st.dictionaries(st.integers(1, 2**43), st.binary(max_size=300), min_size=1, max_size=30))
def test_what_is_packed_comes_back(by_position):
    records = sorted(by_position.items())

    segment = packed(records)

    assert unpack(segment) == records
    assert (segment.first, segment.last, segment.events) == (records[0][0], records[-1][0], 7)


def test_records_added_one_by_one_make_the_same_segment():
    builder = SegmentBuilder(2)
    for (position, record), events in zip(RECORDS, (5, 0, 2), strict=True):
        builder.add(position, record, events=events)

    assert builder.finish(previous=GENESIS) == packed()


def test_the_digest_does_not_depend_on_how_hard_it_was_compressed():
    records = [(position, b'{"type":"article.viewed","actor":"u%d"}' % position) for position in range(1, 500)]

    quick, hard = packed(records, level=1), packed(records, level=19)

    assert quick.data != hard.data
    assert quick.digest == hard.digest
    assert unpack(quick) == unpack(hard) == records


def test_the_format_is_what_its_description_says():
    assert unpack(handmade(RECORDS)) == RECORDS
    assert handmade(RECORDS).digest == packed().digest


def test_positions_inside_a_segment_must_grow():
    with pytest.raises(Corrupt, match="do not grow"):
        unpack(handmade([(1, b""), (3, b""), (2, b""), (4, b"")]))


def test_a_previous_digest_of_another_length_is_refused():
    """Else bytes could move between the content and the digest beside it without changing the hash."""
    with pytest.raises(Corrupt, match="previous digest should be 32 bytes"):
        unpack(handmade(RECORDS, previous=bytes(33)))


def test_a_record_that_is_cut_off_is_refused():
    whole = handmade([(1, b"one")])
    for content in (binary(">QI", 1, 4) + b"one", binary(">QI", 1, 0)[:-1]):
        data = b"ACRS" + binary(">BQ", 1, len(content)) + zstandard.compress(content)
        with pytest.raises(Corrupt, match="cut off"):
            unpack(whole._replace(data=data))


def test_the_format_does_not_change_by_accident():
    """A change here makes every archive there is unreadable: raise FORMAT and keep reading the old one."""
    segment = packed([(1, b"one"), (2, b"two")])

    assert segment.data[:13] == b"ACRS\x01" + (30).to_bytes(8, "big")
    assert segment.digest.hex() == "4276a0e73e245ab3c61f1320f674f4c2d008e3bbc850ca67f6872f5e70ecf781"


def test_a_builder_holds_compressed_bytes_only():
    builder = SegmentBuilder(0)
    for position in range(1, 200):
        builder.add(position, b'{"type":"article.viewed"}' * 1_000, events=1_000)

    assert builder.content_size_bytes == 199 * (12 + 25_000)
    assert 0 < builder.size_bytes < builder.content_size_bytes / 20


def test_a_builder_says_when_it_is_full(monkeypatch):
    monkeypatch.setattr(archive, "CONTENT_SIZE_BYTES_FULL", 1_000)
    builder = SegmentBuilder(0)

    assert (builder.is_empty, builder.is_full) == (True, False)
    builder.add(1, bytes(980), events=1)
    assert (builder.is_empty, builder.is_full) == (False, False)
    builder.add(2, b"", events=1)
    assert builder.is_full


@pytest.mark.parametrize("position", [4, 5])
def test_positions_must_grow(position):
    builder = SegmentBuilder(2)
    builder.add(5, b"", events=1)

    with pytest.raises(Corrupt, match=r"Partition 2: position . follows 5"):
        builder.add(position, b"", events=1)


def test_a_segment_holds_at_least_one_record():
    with pytest.raises(ValueError, match="at least one"):
        SegmentBuilder(0).finish(previous=GENESIS)


@pytest.mark.parametrize(
    "change",
    [
        {"partition": 3},
        {"first": 2},
        {"last": 901},
        {"events": 8},
        {"events": -1},
        {"previous": bytes(31) + b"\1"},
        {"previous": bytes(31)},
        {"digest": bytes(32)},
        {"data": b""},
        {"data": packed([(3, b"other"), (900, b"")]).data},
        {"data": b"ACRS\x02" + packed().data[5:]},
        {"data": b"SQLi" + packed().data[4:]},
        {"data": packed().data[:-1]},
        {"data": packed().data[:5] + b"\xff" * 8 + packed().data[13:]},
        {"data": packed().data[:5] + bytes(8) + packed().data[13:]},
    ],
)
def test_a_changed_segment_is_refused_by_its_name(change):
    segment = packed()._replace(**change)

    with pytest.raises(Corrupt) as refused:
        unpack(segment)

    assert f"partition {segment.partition}, positions {segment.first} to {segment.last}," in str(refused.value)


@given(st.integers(0, len(packed().data) - 1), st.integers(1, 255))
def test_a_changed_byte_never_gives_other_records(offset, flip):
    data = bytearray(packed().data)
    data[offset] ^= flip

    try:
        records = unpack(packed()._replace(data=bytes(data)))
    except Corrupt:
        return
    assert records == RECORDS  # a bit that zstd does not use


def test_a_whole_chain_gives_its_last_digest():
    segments = chain()

    assert check_chain(segments) == segments[-1].digest
    assert check_chain(segments[1:], previous=segments[0].digest) == segments[-1].digest
    assert check_chain([]) == GENESIS


def test_a_segment_that_is_missing_or_moved_breaks_the_chain():
    one, two, three = chain()

    for broken in ([one, three], [two, three], [one, three, two], [one, one]):
        with pytest.raises(Corrupt, match="does not follow"):
            check_chain(broken)


def test_a_segment_that_lies_before_its_predecessor_breaks_the_chain():
    one = packed([(5, b"")])

    for overlapping in (packed([(5, b"")], previous=one.digest), packed([(6, b"")], previous=one.digest, partition=9)):
        with pytest.raises(Corrupt, match="does not lie after position 5 of 2"):
            check_chain([one, overlapping])


def test_damage_inside_a_chain_is_found():
    one, two, three = chain()

    with pytest.raises(Corrupt, match="positions 2 to 5"):
        check_chain([one, two._replace(events=1), three])
