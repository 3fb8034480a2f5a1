"""Do components see the declarations beside them, all of them, as they stand now, without reading them again each?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest

from factory_assets.components.components import deployed
from factory_assets.declarations.catalogue import Catalogue, load
from factory_assets.declarations.documents import DeclarationError
from factory_assets.definitions import defs

CONTRACT = """\
columns:
  order_id: {type: integer, description: Which order.}
  customer: {type: integer, description: Who ordered.}
  placed: {type: timestamp, description: When.}
  amount: {type: double, unit: EUR, description: How much.}
"""
DECLARED = """\
type: factory_assets.components.EventStream
attributes:
  name: NAME
  owner: team:x
  description: Orders of a shop.
  source: {kind: parquet, uri: "/data/*.parquet"}
  id: order_id
  event_time: placed
  start: 2024-01-01
---
type: factory_assets.components.FeatureView
attributes:
  name: habit_NAME
  stream: NAME
  entity: customer
  owner: team:x
  description: Habits of a customer.
  windows: [1d, 7d]
  features: {n: count(), spent: sum(amount)}
---
type: factory_assets.components.OnDemandView
attributes:
  name: ratio_NAME
  owner: team:x
  description: How a customer's habits compare.
  derive: {each: habit_NAME.spent_7d / habit_NAME.n_7d}
  units: {each: EUR}
---
type: factory_assets.components.ModelLine
attributes:
  name: amount_NAME
  owner: team:x
  description: What an order will come to.
  task: regression
  observe: {stream: NAME}
  label: {expression: amount, delay: 1d}
  features: [habit_NAME.*, ratio_NAME.*]
  train: {window: 28d, holdout: 7d}
  candidates: {linear: {estimator: ridge}}
  gate: {metric: mae, floor: 15}
  retrain: {every: 7d}
"""
STREAMS = ("orders", "parcels", "visits")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three streams, each in a folder of its own with its contract, its views and a line; what this process serves."""
    for name in STREAMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "defs.yaml").write_text(DECLARED.replace("NAME", name))
        (tmp_path / name / "contract.yaml").write_text(CONTRACT)
    monkeypatch.setenv("FACTORY_DEFS", str(tmp_path))
    return tmp_path


@pytest.fixture
def module(folder: Path) -> ModuleType:
    """What Dagster takes the folder for. Trees over one module are equal, as two loads of the demo in one process are."""
    module = ModuleType("declared_for_a_test")
    module.__path__, module.__file__ = [str(folder)], None
    return module


def columns(definitions: dg.Definitions, table: str) -> dict[str, str | None]:
    """Columns of a table with what they are, as its asset tells them."""
    (spec,) = (one for one in definitions.resolve_all_asset_specs() if one.key.to_user_string() == table)
    return {column.name: column.description for column in spec.metadata["schema"].columns}


def seen_by_components(module: ModuleType) -> Catalogue:
    """The catalogue of a new tree of components over a module's folder."""
    folder = Path(module.__path__[0])
    return deployed(dg.ComponentTree(defs_module=module, project_root=folder).load_context)


def test_a_contract_is_read_once_a_load_however_many_components_ask_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    plain = Path.read_text

    def counted(path: Path, *args: str | None, **kwargs: str | None) -> str:
        if path.name == "contract.yaml":
            reads[path.parent.name] += 1
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", counted)
    assert defs().resolve_all_asset_specs()
    assert reads == dict.fromkeys(STREAMS, 1)


def test_a_load_after_an_edit_sees_the_edit(folder: Path) -> None:
    first = defs()
    contract, declared = folder / "orders" / "contract.yaml", folder / "orders" / "defs.yaml"
    contract.write_text(CONTRACT.replace("Who ordered.", "Who pays.") + "  city: {type: string, description: Where.}\n")
    declared.write_text(declared.read_text().replace("windows: [1d, 7d]", "windows: [1d, 7d, 28d]"))
    second = defs()
    assert columns(first, "orders/events")["customer"] == "Who ordered."
    assert columns(second, "orders/events")["customer"] == "Who pays."
    assert columns(second, "orders/events")["city"] == "Where."
    assert "habit_orders.spent_28d" not in columns(first, "amount_orders/examples")
    assert "habit_orders.spent_28d" in columns(second, "amount_orders/examples")


def test_components_see_the_catalogue_that_the_folder_holds(module: ModuleType, folder: Path) -> None:
    found = seen_by_components(module)
    assert found == load(folder)
    assert [len(kind) for kind in (found.streams, found.views, found.lines, found.on_demand)] == [3, 3, 3, 3]


def test_a_tree_that_equals_one_from_before_an_edit_has_a_catalogue_of_its_own(
    module: ModuleType, folder: Path
) -> None:
    before = seen_by_components(module)
    (folder / "visits" / "contract.yaml").write_text(CONTRACT + "  city: {type: string}\n")
    after = seen_by_components(module)
    assert after == load(folder) != before


def test_a_fault_of_one_contract_is_told_with_its_line_at_every_load(folder: Path) -> None:
    contract = folder / "parcels" / "contract.yaml"
    contract.write_text(CONTRACT.replace("type: double", "type: float"))
    for _ in range(2):
        with pytest.raises(Exception, match="Error while building definitions") as error:
            defs()
        cause: BaseException | None = error.value
        while cause and not isinstance(cause, DeclarationError):
            cause = cause.__cause__
        assert str(cause).startswith(f"{contract}:5: columns.amount.type: Input should be 'integer'")
    contract.write_text(CONTRACT)
    assert defs().resolve_all_asset_specs()
