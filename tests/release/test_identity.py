"""Is a model that would come out the same left unmade, and one that would not made?"""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from factory_assets.training.made import content
from tests.release.trained import LINE, NODES, TRAINED, train
from tests.stations import Station, day


@pytest.fixture
def station(trained_line: Station) -> Station:
    return trained_line


def told(station: Station, node: str) -> dict[str, Any]:
    chosen = dg.AssetRecordsFilter(asset_key=dg.AssetKey([LINE, "model"]), asset_partitions=[node])
    event = station.instance.fetch_materializations(chosen, limit=1).records[0].asset_materialization
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def examples(station: Station) -> pa.Table:
    return station.lake.read(f"{LINE}/examples")


@pytest.mark.slow
def test_only_what_changed_is_trained_again(station: Station) -> None:
    ledger, lake, as_of = station.deployment.ledger, station.lake, TRAINED[-1]
    train(station, as_of)
    before = ledger.versions(LINE)
    newest = {one.node: one for one in ledger.versions(LINE, as_of=as_of)}
    rows = examples(station)
    # The same rows the other way round, in another version of the table: nothing to learn.
    lake.replace(
        f"{LINE}/examples", rows.take(pa.array(range(rows.num_rows - 1, -1, -1))), lake.days(f"{LINE}/examples")
    )
    train(station, as_of)
    assert ledger.versions(LINE) == before
    for node in NODES:
        assert told(station, node)["version"] == newest[node].version
        assert told(station, node)["status"] == f"made before from the same, by run {newest[node].run_id}"

    # One value of one order in Paris, inside the training window: Lyon has learnt nothing.
    inside = pc.and_(pc.equal(rows["leaf"], "Paris"), pc.equal(rows["ds"], pa.scalar(newest["Paris"].train_to)))
    place = pc.index(inside, True).as_py()
    amounts = rows["amount"].to_pylist()
    amounts[place] += 0.01
    changed = rows.set_column(rows.column_names.index("amount"), "amount", pa.array(amounts, rows["amount"].type))
    lake.replace(f"{LINE}/examples", changed, lake.days(f"{LINE}/examples"))
    train(station, as_of)
    trained = [one.node for one in ledger.versions(LINE)[len(before) :]]
    assert sorted(trained) == ["Paris", "global"]
    assert "made before" in told(station, "Lyon")["status"] and told(station, "Paris")["status"] == "trained"


@pytest.mark.slow
def test_a_version_whose_archive_is_gone_is_trained_again(station: Station) -> None:
    import shutil

    # The rows may have changed since it was trained first, and then it would not come out as it was.
    train(station, TRAINED[1], ["Lyon"])
    one = station.deployment.ledger.versions(LINE, "Lyon", TRAINED[1])[-1]
    assert told(station, "Lyon")["version"] == one.version
    shutil.rmtree(Path(one.archive_uri))
    train(station, TRAINED[1], ["Lyon"])
    assert told(station, "Lyon")["version"] == one.version and told(station, "Lyon")["status"] == "trained"
    assert (Path(one.archive_uri) / "manifest.json").exists()


@pytest.mark.slow
def test_after_an_upgrade_a_day_that_was_trained_is_trained_once_more_to_the_same_id(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(station, TRAINED[1], ["Lyon"])
    before = told(station, "Lyon")["version"]
    monkeypatch.setattr("factory_assets.training.made.code_of", lambda _: "another")
    train(station, TRAINED[1], ["Lyon"])
    assert told(station, "Lyon")["version"] == before and told(station, "Lyon")["status"] == "trained"


def test_content_is_that_of_the_values_in_their_order_and_not_of_how_they_lie() -> None:
    table = pa.table({"x": [1, None, 3], "s": ["a", None, "b"], "ds": [day(0), day(1), day(2)], "other": [1, 2, 3]})
    names = ["x", "s", "ds"]
    reference = content(table, names)
    apart = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    encoded = table.set_column(1, "s", table["s"].dictionary_encode())
    wider = table.set_column(0, "x", table["x"].cast(pa.float64()))
    for same in (apart, encoded, wider, table.drop(["other"]), pa.concat_tables([table, table]).slice(3)):
        assert content(same, names) == reference
    others = [
        table.set_column(0, "x", pa.array([1, None, 3.0000000001])),
        table.set_column(0, "x", pa.array([1, 0, 3])),
        table.set_column(1, "s", pa.array(["a", "", "b"])),
        table.set_column(1, "s", pa.array(["a", "b", None])),
        table.take(pa.array([1, 0, 2])),
        table.slice(0, 2),
        table.rename_columns(["s", "x", "ds", "other"]),
    ]
    assert len({reference, *(content(other, names) for other in others)}) == 8
