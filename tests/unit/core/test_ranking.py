"""The order and the rank styles, on tables small enough to be checked by eye."""

from __future__ import annotations

from itertools import permutations

import pytest

from accrue.core.ranking import Order, Row, Style, Ties, around, percentile, ranks_of, standings

ROWS = [
    Row("ada", (70,), 5),
    Row("bob", (90,), 9),
    Row("cy", (70,), 3),
    Row("dee", (70,), 3),
    Row("eve", (10,), 1),
]


def order(ties: Ties = "first", descending: tuple[bool, ...] = (True,)) -> Order:
    return Order(descending, ties)


@pytest.mark.parametrize(
    ("style", "ranks"),
    [("ordinal", [1, 2, 3, 4, 5]), ("competition", [1, 2, 2, 2, 5]), ("dense", [1, 2, 2, 2, 3])],
)
def test_each_style_numbers_equal_scores_in_its_way(style: Style, ranks: list[int]) -> None:
    table = standings(ROWS, order(), style)

    assert [standing.rank for standing in table] == ranks
    assert [standing.place for standing in table] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("ties", "subjects"),
    [
        ("first", ["bob", "cy", "dee", "ada", "eve"]),
        ("last", ["bob", "ada", "cy", "dee", "eve"]),
        ("id", ["bob", "ada", "cy", "dee", "eve"]),
    ],
)
def test_ties_decide_who_stands_above(ties: Ties, subjects: list[str]) -> None:
    assert [standing.subject for standing in standings(ROWS, order(ties), "ordinal")] == subjects


def test_with_ties_by_id_the_time_of_reaching_does_not_matter() -> None:
    rows = [Row("b", (1,), 1), Row("a", (1,), 2)]

    assert [standing.subject for standing in standings(rows, order("id"), "ordinal")] == ["a", "b"]
    assert [standing.subject for standing in standings(rows, order("first"), "ordinal")] == ["b", "a"]


def test_the_order_does_not_depend_on_how_the_rows_came() -> None:
    tables = [standings(rows, order(), "dense") for rows in permutations(ROWS)]

    assert all(table == tables[0] for table in tables)


def test_later_scores_decide_when_earlier_ones_are_equal_each_in_its_direction() -> None:
    rows = [Row("x", (3, 5, 2), 1), Row("y", (3, 4, 9), 1), Row("z", (3, 5, 1), 1)]

    table = standings(rows, order("first", (True, False, True)), "competition")

    assert [standing.subject for standing in table] == ["y", "x", "z"]


def test_a_rank_is_shared_only_when_all_scores_are_equal() -> None:
    rows = [Row("x", (3, 5), 1), Row("y", (3, 5), 2), Row("z", (3, 4), 3)]

    table = standings(rows, order("first", (True, True)), "dense")

    assert [standing.rank for standing in table] == [1, 1, 2]


def test_subjects_are_ordered_by_code_point_not_by_alphabet_or_utf_16() -> None:
    rows = [Row(subject, (1,), 1) for subject in ("\U0001f600", "\uffee", "é", "z", "Z", "a")]

    table = standings(rows, order(), "ordinal")

    assert [standing.subject for standing in table] == ["Z", "a", "z", "é", "\uffee", "\U0001f600"]


def test_rows_with_another_number_of_scores_than_the_order_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        standings([Row("x", (1,), 1)], order("first", (True, True)), "ordinal")


def test_an_empty_table_has_no_standings() -> None:
    assert standings([], order(), "competition") == []


def test_around_shows_neighbours_as_far_as_there_are_any() -> None:
    table = standings(ROWS, order(), "ordinal")

    assert [each.subject for each in around(table, "cy", before=1, after=1)] == ["bob", "cy", "dee"]
    assert [each.subject for each in around(table, "bob", before=3, after=1)] == ["bob", "cy"]
    assert [each.subject for each in around(table, "eve", before=0, after=9)] == ["eve"]
    assert around(table, "nobody", before=1, after=1) == []


def test_some_are_ranked_on_the_whole_table_and_among_themselves() -> None:
    asked = ["eve", "nobody", "dee", "ada", "eve"]

    found = ranks_of(ROWS, order(), "competition", asked)

    assert [(each.standing.subject, each.standing.rank, each.relative_rank) for each in found] == [
        ("dee", 2, 1),
        ("ada", 2, 1),
        ("eve", 5, 3),
    ]


def test_a_percentile_is_the_share_that_does_not_rank_better() -> None:
    shared = standings(ROWS, order(), "competition")
    single = standings(ROWS, order(), "ordinal")

    assert [percentile(shared, standing.rank) for standing in shared] == [100, 80, 80, 80, 20]
    assert [percentile(single, standing.rank) for standing in single] == [100, 80, 60, 40, 20]
