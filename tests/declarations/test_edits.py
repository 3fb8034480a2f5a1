"""Does a change of a contract leave every line alone that it is not about?"""

from __future__ import annotations

import string

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_assets.declarations.edits import EditError, edited, flow, merged

TEXT = """\
# Who reads this: payments.
version: 3                 # raised with every change
tolerance: 0.02
columns:
  id: {type: integer, description: "Id, of the order."}   # never reused
  # Where it was cooked.
  city: {type: string, allowed: [Paris,
                                 Lyon], description: City.}
  amount:
    type: double           # euro
    min: 0
    allowed:
    - 1
    - 2
    description: Price.
# end
"""


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ({"version": 4}, "version: 3  ", "version: 4  "),
        ({"columns": {"id": {"min": 0}}}, "type: integer, desc", "type: integer, min: 0, desc"),
        ({"columns": {"city": {"allowed": ["Paris", "NO"]}}}, "[Paris,\n" + " " * 33 + "Lyon]", "[Paris, 'NO']"),
        ({"columns": {"amount": {"min": -5.5}}}, "min: 0\n", "min: -5.5\n"),
        ({"columns": {"amount": {"min": None}}}, "    min: 0\n", ""),
        ({"columns": {"city": {"allowed": None}}}, "allowed: [Paris,\n" + " " * 33 + "Lyon], ", ""),
        ({"columns": {"city": {"description": None}}}, ", description: City.", ""),
        ({"columns": {"amount": {"allowed": [3]}}}, "allowed:\n    - 1\n    - 2\n", "allowed: [3]\n"),
        ({"columns": {"new": {"type": "date"}}}, "Price.\n", "Price.\n  new: {type: date}\n"),
        ({"volume": {"min": 10}}, "every change\n", "every change\nvolume: {min: 10}\n"),
        ({"columns": {"id": {"presence": {"min_fraction": 0.5}}}}, "er, d", "er, presence: {min_fraction: 0.5}, d"),
    ],
)
def test_only_the_place_of_the_change_is_written_anew(change: dict[str, object], before: str, after: str) -> None:
    assert before in TEXT
    assert edited(TEXT, change) == TEXT.replace(before, after, 1)


def test_a_text_without_a_version_gets_one_on_top_and_one_without_last_newline_stays_so() -> None:
    assert edited("columns:\n  a: {}", {"version": 2, "columns": {"a": {"min": 1}, "b": {"type": "date"}}}) == (
        "version: 2\ncolumns:\n  a: {min: 1}\n  b: {type: date}"
    )


def test_a_place_that_means_several_is_refused() -> None:
    text = "columns:\n  a: &shared {type: integer}\n  b: *shared\n"
    with pytest.raises(EditError, match="by hand"):
        edited(text, {"columns": {"a": {"min": 0}}})


words = st.text(string.ascii_letters + string.digits + " :,'\"#{}[]-%é\n\x07", max_size=8)
leaves = words | st.integers(-9, 9) | st.booleans() | st.floats(-10, 10) | st.lists(words, max_size=3)
names = st.sampled_from(["a", "b", "description", "no", "é"])
mappings = st.dictionaries(names, st.dictionaries(names, leaves, max_size=4) | leaves, min_size=1, max_size=4)
changes = st.dictionaries(
    names, st.dictionaries(names, leaves | st.none(), min_size=1, max_size=3) | leaves | st.none(), max_size=3
)


@settings(deadline=None)
@given(mappings, changes, st.sampled_from([None, False]))
def test_any_change_of_any_text_means_what_it_says_or_is_refused(
    value: dict[str, object], change: dict[str, object], style: bool | None
) -> None:
    text = yaml.safe_dump(value, default_flow_style=style, allow_unicode=True)
    try:
        assert yaml.safe_load(edited(text, change)) == merged(value, change)
    except EditError:
        clash = [key for key in change if isinstance(change[key], dict) and not isinstance(value.get(key, {}), dict)]
        emptied = any(inner is None for inner in [*change.values(), *_inner(change)])
        assert clash or emptied


def _inner(change: dict[str, object]) -> list[object]:
    return [leaf for inner in change.values() if isinstance(inner, dict) for leaf in inner.values()]


@settings(deadline=None)
@given(leaves)
def test_a_value_on_one_line_reads_back_as_it_was(value: object) -> None:
    assert "\n" not in flow(value)
    assert yaml.safe_load(f"{{a: {flow(value)}}}")["a"] == value
