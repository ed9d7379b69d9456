"""Streams are the same for the same seed, have the shape they promise, and are counted right the plain way."""

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from accrue.cli.bench import naive, workload
from accrue.cli.bench.ack_client import Requests, _is_whole
from accrue.cli.bench.drive import engine, pour, queryable
from accrue.cli.bench.place import _kind
from accrue.cli.bench.report import Miscounted
from accrue.clock import SystemClock

END_US = 1_700_000_000_000_000


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    one, same, other = (
        list(workload.bodies(workload.community(events=100, subjects=50, end_us=END_US, seed=seed), batch=30))
        for seed in (1, 1, 2)
    )

    assert one == same
    assert one != other
    assert [body.count(b"\n") + 1 for body in one] == [30, 30, 30, 10]


def test_ids_are_unique_and_times_lie_in_the_last_minute() -> None:
    stream = workload.community(events=500, subjects=50, end_us=END_US)

    events = [msgspec.json.decode(line) for line in b"\n".join(workload.bodies(stream, batch=100)).split(b"\n")]

    assert len({event["id"] for event in events}) == 500
    assert {event["type"] for event in events} == {
        "article.viewed",
        "comment.created",
        "reaction.added",
        "post.published",
    }
    assert all(END_US - workload.SPAN_US <= time_us < END_US for time_us in stream.time_us)
    assert events[0]["time"] == "2023-11-14T22:12:20.000Z"


def test_everybody_takes_part_when_there_are_enough_events() -> None:
    stream = workload.readers(events=1_000, subjects=300, end_us=END_US)

    taking_part = len(set(stream.actor)) + len(set(stream.object)) + len(set(stream.owner))

    assert taking_part == 300


def test_numbers_follow_the_law_of_zipf() -> None:
    drawn = Counter(workload.zipf(100_000, size=1_000, exponent=1.0, seed=7).tolist())

    assert drawn[0] / drawn[9] == pytest.approx(10, rel=0.1)
    assert max(drawn) < 1_000


async def test_a_total_that_is_wrong_by_one_is_found(tmp_path: Path) -> None:
    stream = workload.one_post(events=50, end_us=SystemClock().now_us())
    right = naive.view_totals(stream)
    wrong = naive.Expected({**right.totals, "views": {"post:00000": 51}}, 0)
    async with engine(tmp_path / "data", "views", settle_interval_s=60) as accrue:
        await queryable(accrue, await pour(accrue, workload.bodies(stream, batch=20)))

        assert await naive.check(accrue, right, events=50) == 100
        with pytest.raises(Miscounted, match="views of post:00000 is 50, not 51"):
            await naive.check(accrue, wrong, events=50)
        with pytest.raises(Miscounted, match="50 of 49 events were applied"):
            await naive.check(accrue, right, events=49)


def test_no_two_requests_carry_the_same_event() -> None:
    requests = Requests(subjects=100, end_us=END_US)

    made = [requests.next() for _ in range(workload.DETAILS // 100)]  # more than there are templates

    bodies = [request.partition(b"\r\n\r\n") for request in made]
    assert len({msgspec.json.decode(body)["id"] for _, _, body in bodies}) == len(made)
    assert all(f"Content-Length: {len(body)}".encode() in head for head, _, body in bodies)


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{", False),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n", False),
        (b"HTTP/1.1 202 Acc", False),
    ],
)
def test_an_answer_that_came_in_pieces_is_waited_for(answer: bytes, *, whole: bool) -> None:
    assert _is_whole(answer) is whole


def test_the_filesystem_is_that_of_the_deepest_mount() -> None:
    mounts = "\n".join(
        f"1 0 0:1 / {point} rw - {kind} none rw"
        for point, kind in [("/", "ext4"), ("/var", "xfs"), ("/var/l", "tmpfs")]
    )

    assert _kind(Path("/var/lib"), mounts) == "xfs"
    assert _kind(Path("/var/l/x"), mounts) == "tmpfs"
    assert _kind(Path("/srv"), mounts) == "ext4"
    assert _kind(Path("/srv"), "") == "unknown"
