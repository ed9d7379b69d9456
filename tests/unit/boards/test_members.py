"""Slots: who has one, who gets one, and when it is given away."""

from __future__ import annotations

import math

import pytest

from accrue.boards.members import Members
from accrue.core.ranking import Row
from accrue.errors import Rejected


def rows(*subjects: str) -> list[Row]:
    return [Row(subject, (number,), number) for number, subject in enumerate(subjects)]


def test_of_two_rows_for_one_new_subject_the_later_stands() -> None:
    members = Members(width=1)

    members.put([Row("ada", (1,), 1), Row("bob", (5,), 2), Row("ada", (2,), 3)])

    columns = members.copy()
    assert len(members) == 2
    assert columns.scores.tolist() == [[2, 5]]
    assert columns.reached.tolist() == [3, 2]


def test_numbers_survive_growing() -> None:
    members = Members(width=2)
    for number in range(1_000):
        members.put([Row(f"user:{number}", (number, -number), number)])

    columns = members.copy()

    assert columns.scores.tolist() == [list(range(1_000)), [-number for number in range(1_000)]]
    assert columns.live.all()


def test_a_copy_does_not_change_with_the_members() -> None:
    members = Members(width=1)
    members.put([Row("ada", (1,), 1)])
    columns = members.copy()

    members.put([Row("ada", (9,), 9)])
    members.remove(["ada"], epoch=0)

    assert (columns.scores.tolist(), columns.reached.tolist(), columns.live.tolist()) == ([[1]], [1], [True])


def test_a_member_that_comes_back_gets_its_slot_again() -> None:
    members = Members(width=1)
    members.put(rows("ada", "bob"))
    slot = members.slot("ada")

    members.remove(["ada"], epoch=1)
    assert members.slot("ada") == slot
    members.put(rows("cy", "ada"))

    assert members.slot("ada") == slot
    assert members.slot("cy") == 2


def test_a_slot_is_given_away_only_when_no_snapshot_mentions_it() -> None:
    members = Members(width=1)
    members.put(rows("ada", "bob"))
    members.remove(["ada"], epoch=4)

    members.reclaim(oldest_epoch=4)
    members.put(rows("cy"))
    assert members.slot("cy") == 2

    members.reclaim(oldest_epoch=5)
    members.put(rows("dee"))
    assert members.slot("dee") == 0
    assert members.names == ["dee", "bob", "cy"]
    assert members.slot("ada") is None


def test_coming_and_going_does_not_use_more_slots() -> None:
    members = Members(width=1)
    for number in range(100):
        members.put(rows(f"user:{number}"))
        members.remove([f"user:{number}"], epoch=number)
        members.reclaim(oldest_epoch=math.inf)

    assert len(members.names) == 1
    assert (len(members), members.departed) == (0, 0)


@pytest.mark.parametrize("width", [1, 2])
def test_rows_with_a_wrong_number_of_scores_change_nothing(width: int) -> None:
    members = Members(width=width)

    for scores in ((), (1,) * (width + 1)):
        with pytest.raises(Rejected):
            members.put([Row("ada", (1,) * width, 1), Row("bob", scores, 1)])
        with pytest.raises(Rejected):
            members.put([Row("bob", scores, 1)])

    assert len(members) == 0
