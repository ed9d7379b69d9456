"""The two bounds of kept snapshots, and who goes first."""

from __future__ import annotations

import numpy as np

from accrue.boards.kept import Kept
from accrue.boards.members import Members
from accrue.boards.snapshot import Snapshot, taken
from accrue.core.ranking import Order, Row


def snapshot(epoch: int) -> Snapshot:
    members = Members(width=1)
    members.put([Row("ada", (1,), 1)])
    return taken(members.copy(), Order((True,), "first"), names=members.names, epoch=epoch, as_of_us=0, position=0)


SIZE_BYTES = snapshot(0).size_bytes


def epochs(kept: Kept, board: int, last: int = 9) -> list[int]:
    """The epochs kept, without using them."""
    found: list[int] = []
    while (epoch := kept.oldest(board)) is not None and len(found) < last:
        found.append(epoch)
        kept._release(board, epoch)
    return found


def test_a_board_keeps_its_last_few() -> None:
    kept = Kept(snapshots_max=2, size_bytes_max=100 * SIZE_BYTES)
    for epoch in (1, 2, 3):
        kept.put(7, snapshot(epoch))
    kept.put(8, snapshot(4))

    assert epochs(kept, 7) == [2, 3]
    assert epochs(kept, 8) == [4]


def test_the_one_that_is_paged_through_stays() -> None:
    kept = Kept(snapshots_max=2, size_bytes_max=100 * SIZE_BYTES)
    kept.put(7, snapshot(1))
    kept.put(7, snapshot(2))

    assert kept.get(7, 1) is not None
    kept.put(7, snapshot(3))

    assert epochs(kept, 7) == [1, 3]


def test_all_boards_together_stay_within_the_size() -> None:
    kept = Kept(snapshots_max=9, size_bytes_max=2 * SIZE_BYTES)
    for epoch, board in ((1, 7), (2, 8), (3, 7)):
        kept.put(board, snapshot(epoch))

    assert epochs(kept, 7) == [3]
    assert epochs(kept, 8) == [2]


def test_the_board_that_is_paged_through_stays() -> None:
    kept = Kept(snapshots_max=9, size_bytes_max=2 * SIZE_BYTES)
    kept.put(7, snapshot(1))
    kept.put(8, snapshot(2))

    assert kept.get(7, 1) is not None
    kept.put(9, snapshot(3))

    assert (epochs(kept, 7), epochs(kept, 8), epochs(kept, 9)) == ([1], [], [3])


def test_one_that_is_too_large_does_not_push_out_the_others() -> None:
    kept = Kept(snapshots_max=9, size_bytes_max=2 * SIZE_BYTES)
    kept.put(7, snapshot(1))
    members = Members(width=1)
    members.put([Row(f"user:{number}", (1,), number) for number in range(1_000)])
    large = taken(members.copy(), Order((True,), "first"), names=members.names, epoch=2, as_of_us=0, position=0)

    kept.put(7, large)

    assert epochs(kept, 7) == [1]


def test_a_forgotten_board_gives_its_room_back() -> None:
    kept = Kept(snapshots_max=9, size_bytes_max=2 * SIZE_BYTES)
    kept.put(7, snapshot(1))
    kept.put(7, snapshot(2))

    kept.forget(7)
    kept.put(8, snapshot(3))
    kept.put(8, snapshot(4))

    assert kept.get(7, 1) is None
    assert kept.oldest(7) is None
    assert epochs(kept, 8) == [3, 4]


def test_a_snapshot_holds_arrays_of_integers_only() -> None:
    one = snapshot(1)

    assert {one.slots.dtype, one.place_of.dtype, one.runs.dtype} == {np.dtype(np.int32)}
    assert one.scores.dtype == np.int64
