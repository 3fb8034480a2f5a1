"""Is a feature that others are computed from known by its name, there, of one moment, and never computed from itself?"""

from __future__ import annotations

from pathlib import Path

import pytest

from factory_assets.declarations.catalogue import Catalogue, load
from factory_assets.declarations.changes import compare
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.readers import readers
from tests.declarations.test_catalogue import ENTITY_LINE, LINE, STREAM, VIEW, problems, written

TOWN = VIEW.replace("name: habit", "name: town").replace("entity: customer", "entity: city")
RATIO = """\
type: factory_assets.components.OnDemandView
attributes:
  name: ratio
  owner: team:x
  description: A customer against the city.
  derive:
    spent: habit.spent_7d / nullif(town.spent_7d, 0)
    more: 2 * ratio.spent + other.twice
  units: {spent: 1, more: 1}
"""
OTHER = """\
type: factory_assets.components.OnDemandView
attributes:
  name: other
  owner: team:x
  description: Twice as many.
  derive:
    twice: town.n_1d * 2
  units: {twice: orders}
"""
ASKING = LINE.replace("    - habit.*", "    - ratio.*")
DOCUMENTS = {"ratio": RATIO, "other": OTHER, "line": ASKING, "view": VIEW, "town": TOWN, "stream": STREAM}


@pytest.fixture
def known(tmp_path: Path) -> Catalogue:
    return load(written(tmp_path, DOCUMENTS))


def test_a_line_stands_on_all_that_its_features_are_computed_from(known: Catalogue) -> None:
    line = known.resolve(known.lines["returns"])
    assert line.features == ["amount", "ratio.spent", "ratio.more"]
    assert list(line.derived) == ["ratio.spent", "other.twice", "ratio.more"]
    assert (set(line.views), set(line.on_demand), line.reach_days) == ({"habit", "town"}, {"ratio", "other"}, 7)
    assert (line.types["town.n_1d"], line.types["habit.spent_7d"], line.types["ratio.more"]) == (
        "BIGINT",
        "DOUBLE",
        "DOUBLE",
    )


def test_only_what_a_feature_reads_is_computed(known: Catalogue) -> None:
    asked = known.lines["returns"].model_copy(update={"features": ["other.twice"]})
    line = known.resolve(asked)
    assert (list(line.derived), list(line.views)) == (["other.twice"], ["town"])


@pytest.mark.parametrize(
    ("document", "right", "wrong", "place", "message"),
    [
        ("ratio", "habit.spent_7d /", "habits.spent_7d /", "7: ratio: derive.spent",
         "'habits' is not a view; views here: habit, town, ratio, other"),
        ("ratio", "habit.spent_7d /", "habit.spent_9d /", "7: ratio: derive.spent",
         "'habit.spent_9d' is not a feature; features here: habit.n_1d, habit.n_7d, habit.spent_1d, habit.spent_7d"),
        ("ratio", "habit.spent_7d /", "spent_7d /", "30: returns: features.1",
         "ratio.spent reads spent_7d: 'spent_7d' is not a column; columns here: order_id, customer"),
        ("ratio", "habit.spent_7d /", "city /", "28: returns: features", "cannot be computed: Binder Error"),
        ("ratio", "2 * ratio.spent + other.twice", "case when other.twice > 1 then city end", "28: returns: features",
         "'case when other.twice > 1 then city end' is of type VARCHAR; allowed here: a number"),
        ("ratio", "habit.spent_7d /", "a.habit.spent_7d /", "7: attributes.derive.spent", "reads a.habit.spent_7d; write features"),
        ("ratio", "habit.spent_7d / nullif(town.spent_7d, 0)", "1 + 1", "7: attributes.derive.spent", "'1 + 1' reads no feature"),
        ("ratio", "2 * ratio.spent", "read_text(habit.n_1d)", "8: attributes.derive.more", "calls read_text, which is not allowed"),
        ("ratio", "2 * ratio.spent", "(select 1) + habit.n_1d", "8: attributes.derive.more", "an expression over one row may hold"),
        ("ratio", "2 * ratio.spent + other.twice", "other.twice || 'x'", "8: ratio: derive.more",
         "\"other.twice || 'x'\" is of type VARCHAR; allowed here: a number"),
        ("other", "town.n_1d * 2", "town.n_1d + ratio.more", "17: other: derive.twice",
         "is computed from itself: other.twice reads ratio.more reads other.twice; one of them must not"),
        ("other", "town.n_1d * 2", "other.twice + 1", "17: other: derive.twice",
         "is computed from itself: other.twice reads other.twice; one of them must not"),
        ("line", "    - ratio.*", "    - ratio.least", "30: returns: features.1",
         "'ratio.least' is not a feature; features here: ratio.spent, ratio.more, ratio.*"),
        ("line", "  train:", "  snapshot: [town]\n  train:", "30: returns: features.1",
         "ratio.spent reads habit, town at one moment: name all of them in snapshot, or none"),
        ("line", "  train:", "  snapshot: [ratio]\n  train:", "32: returns: snapshot",
         "'ratio' is computed on demand: name the views that it is computed from"),
    ],
)  # fmt: skip
def test_a_fault_is_found_at_its_line(
    tmp_path: Path, document: str, right: str, wrong: str, place: str, message: str
) -> None:
    assert DOCUMENTS[document].count(right) == 1
    changed = DOCUMENTS | {document: DOCUMENTS[document].replace(right, wrong)}
    found = problems(written(tmp_path, changed))
    assert any(one.startswith(f"{place}: ") and message in one for one in found), found


def test_snapshots_of_all_that_a_feature_reads_are_of_one_moment(tmp_path: Path) -> None:
    closed = ASKING.replace("  train:", "  snapshot: [town, habit]\n  train:")
    declared = load(written(tmp_path, DOCUMENTS | {"line": closed}))
    assert declared.resolve(declared.lines["returns"]).reach_days == 8


def test_a_line_that_observes_entities_asks_for_what_describes_them(tmp_path: Path) -> None:
    asking = ENTITY_LINE.replace("habit.n_7d", "ratio.spent")
    found = problems(written(tmp_path, DOCUMENTS | {"line": asking}))
    assert found == [
        "28: again: features.0: ratio.spent reads town.spent_7d: town describes 'city', the line observes 'customer'; "
        "name 'city' in observe.carry, and its latest values find the features"
    ]
    carried = asking.replace("every: 1d", "every: 1d, carry: [city]")
    assert load(written(tmp_path, DOCUMENTS | {"line": carried})).lines["again"].features == ["ratio.spent"]
    of_event = RATIO.replace("town.spent_7d", "amount").replace("ratio.spent + other.twice", "ratio.spent")
    assert problems(written(tmp_path, DOCUMENTS | {"line": asking, "ratio": of_event})) == [
        "28: again: features.0: ratio.spent reads amount: 'amount': an entity has no row of its own; use features of views"
    ]


def test_a_view_that_is_wrong_itself_is_told_once(tmp_path: Path) -> None:
    found = problems(written(tmp_path, DOCUMENTS | {"town": TOWN.replace("sum(amount)", "sum(amuont)")}))
    assert [one.partition(": ")[2].partition(":")[0] for one in found] == ["town"], found


def test_the_line_must_have_every_key(tmp_path: Path) -> None:
    visits = STREAM.replace("name: orders", "name: visits").replace("contract.yaml", "")
    visits = visits.replace("  rules:", "  contract: visits.yaml\n  rules:").replace(
        "large: amount > 100", "large: city = 'x'"
    )
    town = (
        TOWN.replace("stream: orders", "stream: visits")
        .replace("entity: city", "entity: door")
        .replace("sum(amount)", "count()")
    )
    (tmp_path / "visits.yaml").write_text(
        "columns: {order_id: {type: integer}, placed: {type: timestamp}, city: {type: string}, door: {type: integer}}"
    )
    found = problems(written(tmp_path, DOCUMENTS | {"town": town, "visits": visits}))
    assert found[0] == (
        "30: returns: features.1: ratio.spent reads town.spent_7d: town describes 'door', which orders does not have"
    )


def test_a_change_of_a_contract_touches_what_is_computed_from_the_column(known: Catalogue) -> None:
    old = known.streams["orders"].contract
    new = old.model_copy(
        update={"columns": old.columns | {"amount": old.columns["amount"].model_copy(update={"min": 1})}}
    )
    assert [change.column for change in compare(old, Contract.model_validate(new.model_dump()))] == ["amount"]
    told = [f"{one.kind} {one.name} {one.where}" for one in readers(known, "orders", old, "amount")]
    assert "view ratio derive.spent through habit.spent_7d, town.spent_7d" in told
    assert "view ratio derive.more through habit.spent_7d, town.spent_7d" in told
    assert "line returns ratio.*" in told
    assert not any(one.startswith("view other") for one in told)


def test_a_line_beside_a_view_that_is_wrong_is_read_all_the_same(tmp_path: Path) -> None:
    circle = DOCUMENTS | {"other": OTHER.replace("town.n_1d * 2", "ratio.more")}
    with pytest.raises(DeclarationError) as raised:
        load(written(tmp_path, circle))
    assert {problem.where for problem in raised.value.problems} == {"ratio: derive.more", "other: derive.twice"}
