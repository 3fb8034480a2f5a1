"""Does a line's sensor start a training when it is due, and does it always say why?"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from factory_assets.automation.due import LastTraining, due
from factory_assets.automation.sensors import RANGE_END, RANGE_START, REASON, TRIGGER, retrain_sensor
from factory_assets.declarations.catalogue import DeclaredLine, load
from factory_assets.training.assets import AS_OF, contract_hash, model_asset, model_version
from factory_assets.training.timeline import first_as_of
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger
from tests.line.world import declare

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> DeclaredLine:
    catalogue = load(declare(tmp_path_factory.mktemp("declarations")))
    return catalogue.resolve(catalogue.lines["delivery_time"])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path / "lake"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(url=f"sqlite:///{tmp_path / 'ledger.db'}")


def examples_until(lake: Lake, day: dt.date, segments: Sequence[str] = ("global",)) -> None:
    rows = {"ds": pa.array([day] * len(segments)), "example_id": range(len(segments)), "segment": list(segments)}
    lake.replace("delivery_time/examples", pa.table(rows), [day])


def tick(declared: DeclaredLine, lake: Lake, ledger: Ledger, nodes: list[str]) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("delivery_time_segments", nodes)
        context = dg.build_sensor_context(instance=instance)
        return retrain_sensor(declared)(context, lake=lake, engine=Engine(), ledger=ledger)


def test_without_examples_the_tick_says_so(declared: DeclaredLine, lake: Lake, ledger: Ledger) -> None:
    skipped = tick(declared, lake, ledger, [])
    assert isinstance(skipped, dg.SkipReason)
    assert "no examples yet" in str(skipped.skip_message)


def test_before_windows_are_covered_the_tick_names_the_first_possible_day(
    declared: DeclaredLine, lake: Lake, ledger: Ledger
) -> None:
    first = first_as_of(declared)
    examples_until(lake, first - DAY)
    skipped = tick(declared, lake, ledger, ["global"])
    assert isinstance(skipped, dg.SkipReason)
    assert str(first) in str(skipped.skip_message)


def test_a_due_training_is_one_run_over_all_nodes_with_its_reason_as_a_tag(
    declared: DeclaredLine, lake: Lake, ledger: Ledger
) -> None:
    examples_until(lake, first_as_of(declared))
    result = tick(declared, lake, ledger, ["global", "FR", "FR/Paris"])
    assert isinstance(result, dg.SensorResult) and result.run_requests is not None
    (request,) = result.run_requests
    assert request.tags[TRIGGER] == "first"
    assert "first training" in request.tags[REASON]
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("global", "FR/Paris")
    assert request.tags[AS_OF] == str(first_as_of(declared))


def test_while_segment_keys_have_no_room_the_tick_names_the_level_and_starts_nothing(
    declared: DeclaredLine, lake: Lake, ledger: Ledger
) -> None:
    examples_until(lake, first_as_of(declared), [f"FR/{number}" for number in range(2001)])
    skipped = tick(declared, lake, ledger, ["global"])
    assert isinstance(skipped, dg.SkipReason)
    assert "2001 new keys of city do not fit into segments.max_nodes 2000" in str(skipped.skip_message)


def test_after_a_training_the_tick_counts_the_new_days_and_says_how_many_are_wanted(
    declared: DeclaredLine, lake: Lake, ledger: Ledger
) -> None:
    first = first_as_of(declared)
    ledger.decide(
        Decision(
            "delivery_time", "global", first, "fallback", None, None, "too little data", decided_by="gate", evidence={}
        )
    )
    examples_until(lake, first + 3 * DAY)
    skipped = tick(declared, lake, ledger, ["global"])
    assert isinstance(skipped, dg.SkipReason)
    assert "3 new labelled days" in str(skipped.skip_message) and "14 wanted" in str(skipped.skip_message)


@pytest.mark.parametrize(("new_days", "trigger"), [(0, "none"), (13, "none"), (14, "new_data"), (30, "new_data")])
def test_new_labelled_days_start_a_training_once_there_are_enough(
    declared: DeclaredLine, new_days: int, trigger: str
) -> None:
    last = LastTraining(first_as_of(declared), contract_hash(declared))
    decision = due(declared, last.as_of + new_days * DAY, last, contract_hash(declared))
    assert (decision.trigger, decision.train) == (trigger, trigger != "none")


def test_a_changed_contract_starts_a_training_at_once(declared: DeclaredLine) -> None:
    last = LastTraining(first_as_of(declared), "another contract")
    decision = due(declared, last.as_of + DAY, last, contract_hash(declared))
    assert decision.trigger == "schema" and "contract changed" in decision.reason


def test_code_that_computes_something_else_is_no_other_contract_nor_another_configuration(
    declared: DeclaredLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever corrects a station would train every line anew, and no version could be continued or compared."""
    before = contract_hash(declared), model_version(declared)
    was = model_asset(declared).get_asset_spec().code_version
    monkeypatch.setattr("factory_assets.materialization.code_of", lambda _: "another")
    assert (contract_hash(declared), model_version(declared)) == before
    assert model_asset(declared).get_asset_spec().code_version != was


def test_a_contract_hash_changes_with_the_contract_and_not_with_its_wording(
    tmp_path: Path, declared: DeclaredLine
) -> None:
    folder = declare(tmp_path / "other")
    contract = folder / "contract.yaml"
    contract.write_text(contract.read_text().replace("Dishes ordered.", "How many dishes."))
    catalogue = load(folder)
    reworded = contract_hash(catalogue.resolve(catalogue.lines["delivery_time"]))
    contract.write_text(contract.read_text().replace("max: 100,", "max: 90,"))
    catalogue = load(folder)
    assert reworded == contract_hash(declared)
    assert contract_hash(catalogue.resolve(catalogue.lines["delivery_time"])) != reworded
