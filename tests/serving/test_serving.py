"""Does a served view reach its store by itself, whatever the store is, and does a run say what it wrote?"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.serving import PostgresServing, Serving
from factory_assets.declarations.view import View
from factory_assets.features.assets import view_asset
from factory_assets.governor.executor import catch_up
from factory_assets.identity.versions import examples_version
from factory_assets.serving.stores import store_of
from tests.features.lines import OF_EVENTS, VIEWS, declared_line
from tests.serving.conftest import SECRET
from tests.serving.test_stores import tampered
from tests.stations import Run, Station, day, row

pytestmark = pytest.mark.slow

VIEW = """
---
type: factory_assets.components.FeatureView
attributes:
  name: habit
  stream: orders
  entity: channel
  owner: team:growth
  description: How often a customer orders, and for how much.
  windows: [1d, 2d]
  features: {n: count(), spent: sum(amount)}
  serve: %s
"""
KEY = dg.AssetKey(["serving", "habit"])
DAYS = [day(offset) for offset in range(3)]


@pytest.fixture
def station(tmp_path: Path, serve: Serving, monkeypatch: pytest.MonkeyPatch) -> Station:
    """Three days of orders by two customers, the second of whom has stopped; nothing is materialised."""
    monkeypatch.setenv("SERVING_URL", serve.url)
    place = "schema: features" if isinstance(serve, PostgresServing) else "prefix: features"
    made = Station(tmp_path, more=VIEW % f"{{kind: {serve.kind}, url: '{{{{ env.SERVING_URL }}}}', {place}}}")
    file = tmp_path / "defs" / "defs.yaml"
    file.write_text(file.read_text().replace("end: 2024-05-31", f"end: {DAYS[-1]}"))
    made.load()
    for number_of_day, on in enumerate(DAYS):
        orders = [row(10 * number_of_day + number, on, channel="app") for number in range(3)]
        made.deliver(on, orders + ([row(10 * number_of_day + 5, on, channel="shop")] if number_of_day == 0 else []))
    return made


def caught_up(station: Station, until: dt.date = DAYS[-1]) -> dict[str, int]:
    """What `factory run` did: asset -> days."""
    station.deployment.failures.clear()
    done = Counter[str]()
    for step in catch_up(station.deployment, until, lambda *_: None):
        done[step.asset] += step.days
    return done


def metadata(station: Station) -> dict[str, Any]:
    event = station.instance.get_latest_materialization_event(KEY)
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def evaluation(station: Station) -> dg.AssetCheckEvaluation:
    check = dg.AssetCheckKey(KEY, "equal")
    record = station.instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
    assert record.event is not None and record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


@pytest.mark.slow
def test_catching_up_exports_the_newest_day_once_and_again_when_it_changes(station, serve):
    assert caught_up(station)["serving/habit"] == 1 and not station.deployment.failures
    told = metadata(station)
    assert {name: told[name] for name in ("dagster/row_count", "rows_written", "rows_changed", "rows_removed")} == {
        "dagster/row_count": 1, "rows_written": 1, "rows_changed": 1, "rows_removed": 0,
    }  # fmt: skip
    assert told["as_of"] == dt.datetime(2024, 3, 4, tzinfo=dt.UTC).timestamp()
    assert told["table_version"] == station.lake.version("features/habit")
    # A hash of our own of the rows: it outlives releases of DuckDB.
    assert told["content_hash"] == "1-6978313171a0c4bc"
    assert told["seconds"] > 0 and told["rows_per_second"] > 0
    with store_of(serve) as store:
        assert store.read("habit", ["app", "shop"])["app"]["n_2d"] == 6
    assert evaluation(station).passed and evaluation(station).metadata["compared"].value == 1
    assert caught_up(station)["serving/habit"] == 0
    station.deliver(DAYS[2], [row(90 + number, DAYS[2], channel="app") for number in range(5)])
    assert caught_up(station)["serving/habit"] == 1
    with store_of(serve) as store:
        assert store.read("habit", ["app"])["app"]["n_2d"] == 8


#: What differs between stores is tried in `test_stores`: here both where minutes count.
ONE = pytest.mark.parametrize("serve", ["postgres", pytest.param("redis", marks=pytest.mark.slow)], indirect=True)


@ONE
def test_a_view_by_several_keys_is_exported_and_compared(station, serve):
    file = station.folder / "defs" / "defs.yaml"
    file.write_text(file.read_text().replace("entity: channel", "entity: [channel, city]"))
    station.load()
    caught_up(station)
    assert not station.deployment.failures
    with store_of(serve) as store:
        assert {
            keys: row["n_2d"] for keys, row in store.read("habit", [("app", "Paris"), ("app", "Lyon")]).items()
        } == {("app", "Paris"): 6}
    assert evaluation(station).passed and evaluation(station).metadata["compared"].value == 1


@ONE
def test_a_day_of_the_past_that_is_made_again_does_not_reach_the_store(station, serve):
    caught_up(station, DAYS[1])
    with store_of(serve) as store:
        assert store.read("habit", ["shop"])["shop"]["n_2d"] == 1
    caught_up(station)
    assert station.run(DAYS[0], assets=("features/habit", "serving/habit")).success
    with store_of(serve) as store:
        assert set(store.read("habit", ["app", "shop"])) == {"app"}
        assert store.watermark("habit").as_of == dt.datetime(2024, 3, 4, tzinfo=dt.UTC)


@ONE
def test_a_run_of_a_day_or_of_a_range_exports_once_without_a_partition(station):
    caught_up(station, DAYS[0])
    for last in (None, DAYS[2]):
        run = station.run(DAYS[1], last, assets=("raw", "events", "features/habit", "serving/habit"))
        assert run.success, run.message
        assert [each for each in run.materialised if each[0] == "serving/habit"] == [("serving/habit", None)]


def test_a_wrong_value_fails_the_check_and_the_next_catching_up_repairs_it(station, serve):
    caught_up(station)
    with tampered(serve) as store:
        if isinstance(serve, PostgresServing):
            store.execute("UPDATE features.habit SET spent_2d = spent_2d + 1")
        else:
            store.hset("features:habit:app", "spent_2d", "1.5")
    assert not check(station).success
    found = evaluation(station)
    assert not found.passed and found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description == "1 of 1 entities differ" and found.metadata["differing"].value == 1
    assert "channel 'app': spent_2d is" in found.metadata["examples"].value
    assert caught_up(station)["serving/habit"] == 1 and not station.deployment.failures
    assert evaluation(station).passed


def check(station: Station) -> Run:
    """The check alone."""
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(KEY, "equal"))
    job = dg.define_asset_job("checks", selection)
    definitions = dg.Definitions.merge(station.deployment.definitions, dg.Definitions(jobs=[job]))
    resolved = definitions.resolve_job_def("checks")
    return Run(resolved.execute_in_process(instance=station.instance, raise_on_error=False))


@ONE
def test_a_store_that_is_gone_fails_the_run_by_name_and_the_lines_go_on(station, serve, monkeypatch):
    caught_up(station)
    gone = "postgresql://ana:{}@127.0.0.1:1/x" if serve.kind == "postgres" else "redis://ana:{}@127.0.0.1:1/0"
    monkeypatch.setenv("SERVING_URL", gone.format(SECRET))
    station.load()
    assert caught_up(station)["serving/habit"] == 0, "another store is another export, and nothing came of it"
    (failure,) = station.deployment.failures
    assert failure.startswith("serving/habit: ") and "ana:***@127.0.0.1:1" in failure
    run = station.instance.get_run_records(limit=1)[0].dagster_run.run_id
    logged = station.instance.all_logs(run)
    assert logged and SECRET not in "".join(map(str, logged))


def test_that_a_view_is_served_computes_nothing_again():
    served = VIEWS[1].model_copy(update={"serve": PostgresServing(kind="postgres", url="postgresql://h/x")})
    line = declared_line(**OF_EVENTS)
    with_it = replace(line, views=line.views | {served.name: served})
    assert examples_version(line) == examples_version(with_it)
    versions = {
        next(
            iter(view_asset(view, line.observed, [{"feature": "x", "definition": "count()", "unit": "orders"}]).specs)
        ).code_version
        for view in (VIEWS[1], served)
    }
    assert len(versions) == 1 and None not in versions


def test_the_edge_to_the_days_of_the_view_leads_to_the_newest(station):
    graph = station.deployment.definitions.resolve_asset_graph()
    spec, parent = station.deployment.specs[KEY], graph.get(dg.AssetKey(["features", "habit"])).partitions_def
    (edge,) = spec.deps
    mapped = edge.partition_mapping.get_upstream_mapped_partitions_result_for_partitions(None, None, parent)
    assert list(mapped.partitions_subset.get_partition_keys()) == [str(DAYS[-1])]
    dg.Definitions.validate_loadable(station.deployment.definitions)


@pytest.mark.parametrize(
    ("serve", "told"),
    [
        ({"kind": "postgres", "url": f"mysql://ana:{SECRET}@host/shop"}, "must begin with postgresql://"),
        ({"kind": "postgres", "url": f"postgresql://ana:a@{SECRET}@host/shop"}, "more than one @"),
        ({"kind": "postgres", "url": f"postgresql://ana:{SECRET}@host/shop", "schema": "a b"}, "match pattern"),
        ({"kind": "redis", "url": f"reddis://:my {SECRET}@host/0"}, "must begin with redis://"),
        ({"kind": "redis", "url": f"redis://:a@{SECRET}@host/0"}, "more than one @"),
        ({"kind": "redis", "url": f"redis://:a/{SECRET}@host/0"}, "is no URL|must end in the number"),
        ({"kind": "redis", "url": f"redis://:{SECRET}@host/shop"}, "must end in the number of a database"),
        ({"kind": "redis", "url": f"redis://:{SECRET}@host/0", "prefix": "a:b"}, "match pattern"),
        ({"kind": "memcached", "url": f"redis://:{SECRET}@host/0"}, "does not match any of the expected tags"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_told_without_the_password(tmp_path, serve, told):
    fields = ", ".join(f"{name}: '{value}'" for name, value in serve.items())
    with pytest.raises(DeclarationError, match=told) as raised:
        Station(tmp_path, more=VIEW % f"{{{fields}}}")
    assert SECRET not in str(raised.value)
    view = {"name": "habit", "stream": "orders", "entity": "who", "owner": "team:x", "description": "-"}
    with pytest.raises(ValidationError) as quoted:
        View.model_validate(view | {"windows": ["1d"], "features": {"n": "count()"}, "serve": serve})
    assert SECRET not in str(quoted.value)
