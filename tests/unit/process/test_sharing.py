"""Who should take what is free, and who should give something up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accrue.process.lookout import Free
from accrue.process.sharing import Colleague, shared_out, should_give_up

COLLEAGUES = st.builds(Colleague, st.just(""), st.integers(0, 9), st.integers(0, 9), st.booleans(), st.booleans())
WORKERS = st.lists(COLLEAGUES, min_size=1, max_size=5).map(
    lambda all: [Colleague(f"w{at}", min(w.held, w.room), w.room, w.is_wary, w.is_new) for at, w in enumerate(all)]
)


def free(*partitions: int, given_up: bool = True) -> list[Free]:
    return [Free(partition, (1, 1), given_up, False) for partition in partitions]


def test_whoever_has_fewest_is_first_and_who_is_wary_is_last() -> None:
    a, b, c = Colleague("a", 2, 9), Colleague("b", 0, 9), Colleague("c", 0, 9, is_wary=True)

    assert shared_out(free(5, 6, 7, 8), [a, b, c]) == {5: "b", 6: "b", 7: "a", 8: "b"}
    assert shared_out(free(5, 6), [c]) == {5: "c", 6: "c"}
    assert shared_out(free(5, 6), [Colleague("a", 1, 2)]) == {5: "a"}


def test_what_a_silent_worker_had_is_not_for_one_that_cannot_know_yet_that_it_is_silent() -> None:
    old, new = Colleague("old", 4, 9), Colleague("new", 0, 9, is_new=True)

    assert shared_out(free(5, 6, given_up=False), [old, new]) == {5: "old", 6: "old"}
    assert shared_out(free(5, 6), [old, new]) == {5: "new", 6: "new"}
    assert shared_out(free(5, given_up=False), [new]) == {5: "new"}


@given(st.integers(0, 20), WORKERS)
def test_everybody_comes_to_the_same_and_nobody_gets_more_than_it_has_room_for(
    many: int, workers: list[Colleague]
) -> None:
    shares = shared_out(free(*range(many)), workers)

    assert shares == shared_out(free(*range(many)), workers[::-1])
    assert len(shares) == min(many, sum(each.room - each.held for each in workers))
    given_to = list(shares.values())
    assert all(each.held + given_to.count(each.name) <= each.room for each in workers)


def test_one_is_given_up_for_a_worker_with_two_fewer_that_has_room_and_is_well() -> None:
    a = Colleague("a", 4, 9)
    assert should_give_up(a, [Colleague("b", 2, 9)])
    for other in (
        Colleague("b", 3, 9),
        Colleague("b", 2, 2),
        Colleague("b", 0, 9, is_wary=True),
        Colleague("b", 0, 9, is_new=True),
    ):
        assert not should_give_up(a, [other])
    assert not should_give_up(a, [])


def test_of_several_that_have_most_the_first_gives_one_up() -> None:
    a, b, c, d = Colleague("a", 4, 9), Colleague("b", 5, 9), Colleague("c", 5, 9), Colleague("d", 0, 9)

    givers = [me.name for me in (a, b, c, d) if should_give_up(me, [each for each in (a, b, c, d) if each is not me])]
    assert givers == ["b"]


def test_what_one_has_no_room_for_is_given_up_to_whoever_has() -> None:
    assert should_give_up(Colleague("a", 2, 1), [Colleague("b", 7, 9)])
    assert not should_give_up(Colleague("a", 2, 1), [Colleague("b", 9, 9)])
