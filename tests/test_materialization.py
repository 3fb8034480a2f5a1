"""Does a day know what it holds and what it was made from, so that only what has changed counts as stale?"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from stations import Station, csv, day, row

from factory_assets.events.assets import source_state
from factory_assets.identity import code
from factory_assets.identity.code import code_of
from factory_assets.materialization import (
    INPUTS,
    input_stamps,
    newest_events,
    newest_versions,
    recorded,
    recorded_of_all,
    stale_days,
    table_versions,
)

pytestmark = pytest.mark.slow

VIEW = """
---
type: factory_assets.components.FeatureView
attributes:
  name: city_load
  stream: orders
  entity: city
  owner: team:marketplace
  description: How busy a city was.
  windows: [1d, 3d]
  features: {orders: count(), amount: sum(amount)}
"""
DAYS = [day(offset) for offset in range(8)]
STATION = ("raw", "events", "statistics", "features/city_load")
ASSETS = ("orders/raw", "orders/events", "orders/statistics", "features/city_load")


def rows(on: dt.date, count: int = 5) -> list[dict]:
    return [row(number, on, city=("Paris", "Lyon")[number % 2]) for number in range(count)]


@pytest.fixture(scope="module")
def materialised(tmp_path_factory: pytest.TempPathFactory) -> Station:
    """Eight days, materialised asset by asset in range runs."""
    station = Station(tmp_path_factory.mktemp("feed"), more=VIEW)
    for on in DAYS:
        station.deliver(on, rows(on))
    for asset in STATION:
        assert (run := station.run(DAYS[0], DAYS[-1], [asset])).success, run.message
    return station


@pytest.fixture
def station(materialised: Station) -> Iterator[Station]:
    """The same for every test: what one has changed is set right after it."""
    declarations = materialised.folder / "defs" / "defs.yaml"
    before = declarations.read_text()
    yield materialised
    declarations.write_text(before)
    materialised.load()
    for on in DAYS:
        if (file := materialised.feed / f"orders-{on}.csv").exists() and file.read_text() != csv(rows(on)):
            file.unlink()
        if not file.exists():
            materialised.deliver(on, rows(on))
    if any(stale_for_us(materialised, asset) for asset in ASSETS):
        assert (run := materialised.run(DAYS[0], DAYS[-1], STATION)).success, run.message


def stale_for_dagster(station: Station, asset: str) -> list[dt.date]:
    graph = station.deployment.definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(station.instance, graph, LoadingContextForTest(station.instance))
    key = dg.AssetKey(asset.split("/"))
    status = {on: resolver.get_status(key, str(on)) for on in DAYS}
    assert StaleStatus.MISSING not in status.values()
    return [on for on in DAYS if status[on] == StaleStatus.STALE]


def stale_for_us(station: Station, asset: str) -> list[dt.date]:
    """What `factory run` would compute again."""
    stream = station.catalogue.streams["orders"]
    state = source_state(stream, DAYS) if asset == "orders/raw" else None
    return stale_days(station.instance, station.deployment.specs[dg.AssetKey(asset.split("/"))], DAYS, state)


def in_the_lake(station: Station, asset: str) -> dict[str, str]:
    """Content hash of every day as its rows are now, by writing them once more elsewhere."""
    table = station.lake.read(asset, DAYS[0], DAYS[-1])
    written = station.lake.replace(f"copy/{asset}", table, DAYS)
    return {str(on): content.hash for on, content in written.days.items()}


def test_after_a_range_run_every_day_carries_the_hash_of_its_own_rows(station):
    for asset in ASSETS:
        assert station.versions(asset) == in_the_lake(station, asset)
        assert len(set(station.versions(asset).values())) == len(DAYS), "no two days hold the same rows"
    told = station.metadata("events", DAYS[3])
    assert told["content_hash"] == station.versions("orders/events")[str(DAYS[3])]
    assert next(iter(told)) == "in_short" and list(told)[-1] == "content_hash", "a page keeps the order"
    assert told["dagster/row_count"] == 5
    assert told["table_version"] == station.lake.version("orders/events")
    assert told["dagster/uri"] == station.lake.uri("orders/events")


def test_after_a_range_run_nothing_is_stale(station):
    for asset in ASSETS:
        assert stale_for_dagster(station, asset) == []
        assert stale_for_us(station, asset) == []


def test_a_day_computed_again_alone_has_the_same_data_version_and_makes_nothing_stale(station):
    before = {asset: station.versions(asset) for asset in ASSETS}
    for assets in (["raw"], ["events"], STATION):
        assert station.run(DAYS[2], assets=assets).success
        for asset in ASSETS:
            assert station.versions(asset) == before[asset]
            assert stale_for_dagster(station, asset) == []
            assert stale_for_us(station, asset) == []


def test_a_range_computed_again_in_one_run_of_all_assets_makes_nothing_stale(station):
    before = {asset: station.versions(asset) for asset in ASSETS}
    assert station.run(DAYS[1], DAYS[5], STATION).success
    for asset in ASSETS:
        assert station.versions(asset) == before[asset]
        assert stale_for_dagster(station, asset) == []
        assert stale_for_us(station, asset) == []


def test_the_same_bytes_delivered_again_make_nothing_stale(station):
    file = station.feed / f"orders-{DAYS[2]}.csv"
    os.utime(file, ns=(1, 1))
    assert stale_for_us(station, "orders/raw") == []
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    assert stale_for_us(station, "orders/raw") == []


def test_a_folder_that_is_copied_elsewhere_makes_nothing_stale(station, tmp_path):
    shutil.copytree(station.feed, tmp_path / "moved")
    file = station.folder / "defs" / "defs.yaml"
    file.write_text(file.read_text().replace(str(station.feed), str(tmp_path / "moved")))
    station.load()
    for asset in ASSETS:
        assert stale_for_us(station, asset) == []
        assert stale_for_dagster(station, asset) == []


def test_a_moved_start_makes_nothing_stale(station):
    file = station.folder / "defs" / "defs.yaml"
    file.write_text(file.read_text().replace("start: 2024-03-01", "start: 2024-02-01"))
    station.load()
    for asset in ASSETS:
        assert stale_for_us(station, asset) == []
        assert stale_for_dagster(station, asset) == []


def test_a_changed_day_makes_stale_what_reads_it_and_no_other_day(station):
    station.deliver(DAYS[2], rows(DAYS[2], 6))
    assert stale_for_us(station, "orders/raw") == [DAYS[2]]
    assert stale_for_us(station, "orders/events") == []
    assert station.run(DAYS[2], assets=["raw"]).success
    assert stale_for_us(station, "orders/raw") == []
    assert stale_for_us(station, "orders/events") == stale_for_dagster(station, "orders/events") == [DAYS[2]]
    assert station.run(DAYS[2], assets=["events"]).success
    assert stale_for_us(station, "orders/statistics") == stale_for_dagster(station, "orders/statistics") == [DAYS[2]]
    reached = DAYS[2:6]  # the view looks back three days from the close
    assert stale_for_us(station, "features/city_load") == stale_for_dagster(station, "features/city_load") == reached
    assert station.run(reached[0], reached[-1], ["features/city_load"]).success
    assert station.run(DAYS[2], assets=["statistics"]).success
    for asset in ASSETS:
        assert stale_for_us(station, asset) == []
        assert stale_for_dagster(station, asset) == []


def test_changed_days_apart_from_each_other_are_found_each(station):
    for offset in (0, 6):
        station.deliver(DAYS[offset], rows(DAYS[offset], 6))
        assert station.run(DAYS[offset], assets=["raw", "events"]).success
    assert stale_for_us(station, "orders/statistics") == [DAYS[0], DAYS[6]]
    assert stale_for_us(station, "features/city_load") == [*DAYS[:4], *DAYS[6:]]


def test_a_new_declaration_makes_every_day_stale(station):
    file = station.folder / "defs" / "defs.yaml"
    file.write_text(file.read_text().replace("windows: [1d, 3d]", "windows: [1d, 2d]"))
    station.load()
    assert stale_for_us(station, "orders/events") == []
    assert stale_for_us(station, "features/city_load") == DAYS
    assert stale_for_dagster(station, "features/city_load") == DAYS


#: The first and the last of them; those between where minutes count.
CODED = ["raw", *(pytest.param(table, marks=pytest.mark.slow) for table in ("events", "statistics")), "features"]


@pytest.mark.parametrize("table", CODED)
def test_code_that_computes_something_else_makes_every_day_of_its_own_table_stale(station, table, monkeypatch):
    changed = {table: "another"}
    monkeypatch.setattr(code, "code_of", lambda name: changed.get(name) or code_of(name))
    station.load()
    for asset, own in zip(ASSETS, ("raw", "events", "statistics", "features"), strict=True):
        assert stale_for_us(station, asset) == (DAYS if own == table else [])
    before = station.versions(ASSETS[1])
    assert station.run(DAYS[0], DAYS[-1], STATION).success
    assert station.versions(ASSETS[1]) == before, "the same rows: what is made of them need not be made again"
    monkeypatch.undo()
    station.load()


def test_a_blocked_day_is_not_tried_again_until_its_file_changes(station):
    (station.feed / f"orders-{DAYS[2]}.csv").unlink()
    assert stale_for_us(station, "orders/raw") == [DAYS[2]]
    for asset in ("raw", "events"):
        assert station.run(DAYS[1], DAYS[3], [asset]).success
    assert station.metadata("events", DAYS[2])["blocked"] == "no file was delivered"
    assert stale_for_us(station, "orders/raw") == stale_for_us(station, "orders/events") == []
    assert stale_for_us(station, "features/city_load") == [], "what is served is what was"
    station.deliver(DAYS[2], rows(DAYS[2]))
    assert stale_for_us(station, "orders/raw") == [DAYS[2]]


def test_a_run_that_ends_before_it_could_sign_its_days_leaves_them_stale(station):
    """Killed between Dagster's own events and ours: what the partitions carry then is no stamp of inputs."""
    key = dg.AssetKey(["orders", "events"])
    station.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=str(DAYS[4])))
    assert stale_for_us(station, "orders/events") == [DAYS[4]]
    stamps = input_stamps(station.instance, key)
    assert stamps[str(DAYS[4])] == ""
    assert set(stamps) == set(map(str, DAYS))
    assert INPUTS.startswith("factory/")


def test_of_all_assets_is_recorded_what_is_recorded_of_each(station):
    """One event without tags, one of no day, and an asset that was never made among them."""
    keys = [dg.AssetKey(asset.split("/")) for asset in (*ASSETS, "orders/never")]
    station.instance.report_runless_asset_event(dg.AssetMaterialization(keys[1], partition=str(DAYS[4])))
    station.instance.report_runless_asset_event(dg.AssetMaterialization(keys[2], partition="no day"))
    newest = {key: newest_events(station.instance, key) for key in keys}
    assert recorded_of_all(station.instance, keys) == {
        key: recorded(station.instance, key, numbers) for key, numbers in newest.items()
    }
    versions = newest_versions(station.instance, keys)
    assert set(versions) == {keys[0], keys[3]}, "the newest of the others tells none"
    for key, (number, version) in versions.items():
        assert number == max(newest[key].values())
        assert list(table_versions(station.instance, key, [number]).values()) == [version]
