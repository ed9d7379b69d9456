"""Who should take what is free, and who should give something up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accrue.process.sharing import Colleague, shared_out, should_give_up

WORKERS = st.lists(
    st.builds(Colleague, st.just(""), st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=1, max_size=5
).map(
    lambda all: [Colleague(f"w{at}", min(each.held, each.room), each.room, each.is_wary) for at, each in enumerate(all)]
)


def test_whoever_has_fewest_is_first_and_who_is_wary_is_last() -> None:
    a, b, c = Colleague("a", 2, 9), Colleague("b", 0, 9), Colleague("c", 0, 9, is_wary=True)

    assert shared_out([5, 6, 7, 8], [a, b, c]) == {5: "b", 6: "b", 7: "a", 8: "b"}
    assert shared_out([5, 6], [c]) == {5: "c", 6: "c"}
    assert shared_out([5, 6], [Colleague("a", 1, 2)]) == {5: "a"}


@given(st.integers(0, 20), WORKERS)
def test_everybody_comes_to_the_same_and_nobody_gets_more_than_it_has_room_for(
    free: int, workers: list[Colleague]
) -> None:
    shares = shared_out(range(free), workers)

    assert shares == shared_out(range(free), workers[::-1])
    assert len(shares) == min(free, sum(each.room - each.held for each in workers))
    given_to = list(shares.values())
    assert all(each.held + given_to.count(each.name) <= each.room for each in workers)


def test_one_is_given_up_for_a_worker_with_two_fewer_that_has_room_and_is_well() -> None:
    assert should_give_up(4, [Colleague("b", 2, 9)])
    assert not should_give_up(4, [Colleague("b", 3, 9)])
    assert not should_give_up(4, [Colleague("b", 2, 2)])
    assert not should_give_up(4, [Colleague("b", 0, 9, is_wary=True)])
    assert not should_give_up(4, [])
