"""Are expressions recognised that differ only in how they are written, and no others?"""

import pytest

from factory_assets.declarations.shapes import shape

DERIVED = {"gross": "net * 1.2", "first_hand": "replaces is null", "dear": "gross > 100"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("amount", "( (amount) )"),
        ("a AND b and c", "c and (b and a)"),
        ("a + b * c", "c * b + a"),
        ("CASE WHEN a THEN 1 END", "case when (a) then 1 end"),
        ("first_hand", "replaces IS NULL"),
        ("dear", "(net * 1.2) > 100"),
    ],
)
def test_ways_to_write_one_expression_have_one_shape(one: str, other: str) -> None:
    assert shape(one, DERIVED) == shape(other, DERIVED)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(a + b) * c", "a + b * c"),
        ("a - b", "b - a"),
        ("a / (b / c)", "a / b / c"),
        ("a and (b or c)", "(a and b) or c"),
        ("city = '1'", "city = 1"),
        ("flag = true", "flag = false"),
        ("a is null", "a is not null"),
        ("cast(a as double)", "cast(a as bigint)"),
        ("hour(a)", "day(a)"),
        ("a in (1, 2)", "a in (1, 3)"),
        ("first_hand", "replaces"),
    ],
)
def test_expressions_of_another_meaning_have_another_shape(one: str, other: str) -> None:
    assert shape(one, DERIVED) != shape(other, DERIVED)
