"""Has every feature a unit, from where its values come or from its view?"""

from __future__ import annotations

from pathlib import Path

import pytest

from factory_assets.declarations import units
from factory_assets.declarations.catalogue import load
from tests.declarations.test_catalogue import CONTRACT, LINE, STREAM, VIEW, problems, written
from tests.declarations.test_on_demand import DOCUMENTS, OTHER

EVERY = VIEW.replace(
    "    n: count()\n    spent: sum(amount)\n",
    """\
    n: count() where large
    spent: mean(amount)
    most: max(amount)
    cities: distinct(city)
    usual: top(city)
    back: mean(returned)
    backs: sum(returned)
    newest: last(returned)
    since: time_since_last()
    double: sum(amount * 2)
    late: max(hour)
  derive: {share: n_1d / n_7d}
  flag: new
  units: {double: half EUR, late: h, share: 1, most: price}
""",
)


def test_a_unit_is_that_of_the_column_or_of_the_aggregate_or_given(tmp_path: Path) -> None:
    known = load(written(tmp_path, {"stream": STREAM, "view": EVERY}))
    found = units.of_view(known.views["habit"], known.streams["orders"])
    assert list(found) == known.views["habit"].names
    assert {name.removesuffix("_7d"): unit for name, unit in found.items() if not name.endswith("_1d")} == {
        "n": "orders", "spent": "EUR", "most": "price", "cities": "values", "usual": "text", "back": "share",
        "backs": "orders", "newest": "true or false", "since": "s", "double": "half EUR", "late": "h", "share": "1", "new": "0 or 1",
    }  # fmt: skip


def test_the_features_of_a_line_have_the_units_of_what_they_are_made_of(tmp_path: Path) -> None:
    known = load(written(tmp_path, DOCUMENTS))
    line = known.resolve(
        known.lines["returns"].model_copy(update={"features": ["amount", "city", "habit.*", "ratio.spent"]})
    )
    assert units.of_line(line) == {
        "amount": "EUR", "city": "text", "habit.n_1d": "orders", "habit.n_7d": "orders", "habit.spent_1d": "EUR",
        "habit.spent_7d": "EUR", "ratio.spent": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "right", "wrong", "told"),
    [
        ("view", "double: half EUR, ", "",
         "features.double: nobody says what 'sum(amount * 2)' is measured in; write units: {double: ...}"),
        ("view", "share: 1, ", "", "derive.share: nobody says what 'n_1d / n_7d' is measured in; write units: {share: ...}"),
        ("view", "late: h", "lates: h",
         "habit: units.lates: 'lates' is not a feature; features here: n, spent, most, cities"),
        ("view", "late: h", "late: ''", "attributes.units.late: "),
    ],
)  # fmt: skip
def test_a_feature_without_a_unit_is_refused_at_its_line(
    tmp_path: Path, document: str, right: str, wrong: str, told: str
) -> None:
    documents = {"stream": STREAM, "view": EVERY}
    found = problems(written(tmp_path, documents | {document: documents[document].replace(right, wrong)}))
    assert any(told in one for one in found), found


def test_where_the_contract_could_say_it_that_is_told(tmp_path: Path) -> None:
    found = problems(written(tmp_path, {"stream": STREAM, "view": VIEW}, CONTRACT.replace(", unit: EUR", "")))
    assert len(found) == 1
    assert "write units: {spent: ...}, or column amount of the contract a unit" in found[0]


def test_a_feature_computed_on_demand_says_its_own(tmp_path: Path) -> None:
    found = problems(written(tmp_path, DOCUMENTS | {"other": OTHER.replace("{twice: orders}", "{}"), "line": LINE}))
    assert [one.partition(": ")[2] for one in found] == [
        "other: derive.twice: nobody says what 'town.n_1d * 2' is measured in; write units: {twice: ...}"
    ]
