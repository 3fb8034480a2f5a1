"""A feed of labels that goes quiet while events go on: a warning of its own, on the labels."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from factory_assets.features.examples import labels
from tests.features.lines import DAYS, OF_ENTITIES, declared_line
from tests.stations import Station, day, row

DAY = dt.timedelta(days=1)
LINE = """
---
type: factory_assets.components.ModelLine
attributes:
  name: greeted
  owner: team:marketplace
  description: Does an order say hi?
  task: binary
  observe: {stream: orders}
  label: {expression: "note = 'hi'", delay: 1d, freshness: 1d}
  features: [amount]
  train: {window: 7d, holdout: 2d}
  candidates: {constant: {estimator: constant}}
"""


def fresh(station: Station) -> dg.AssetCheckEvaluation:
    """The newest verdict."""
    key = dg.AssetCheckKey(dg.AssetKey(["greeted", "labels"]), "fresh")
    (record,) = station.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None and record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


@pytest.mark.slow
def test_labels_that_stay_away_warn_though_every_event_came(tmp_path: Path) -> None:
    station = Station(tmp_path, more=LINE)
    for offset in range(6):
        note = "hi" if offset < 2 else ""
        station.deliver(day(offset), [row(10 * offset + n, day(offset), note=note) for n in range(4)])
    told = []
    for newest in range(1, 6):
        assert station.run(day(0), day(newest)).success
        assert station.run(day(0), day(newest), ["greeted/labels"]).success, "a warning stops nothing"
        found = fresh(station)
        told.append((found.passed, found.metadata["days_behind"].value, found.severity))
    warn = dg.AssetCheckSeverity.WARN
    # Labels are due a day after the order, and may stay away for one more.
    assert told == [(True, 0, warn), (True, 0, warn), (True, 1, warn), (False, 2, warn), (False, 3, warn)]
    assert fresh(station).description == f"the newest labels are of {day(1)}, due are those of {day(4)} and before"


def test_no_label_is_late_while_none_is_due_or_nothing_happened() -> None:
    declared = declared_line(**OF_ENTITIES)
    start, horizon = declared.observed.stream.start, declared.line.horizon_days * DAY
    assert labels.arrival(declared, [], []).behind == dt.timedelta(0)
    assert labels.arrival(declared, [start, start + horizon - DAY], []).behind == dt.timedelta(0)
    assert labels.arrival(declared, [start, start + horizon], []).behind == DAY
    # Days without an event have nothing to be labelled.
    quiet = [DAYS[0], DAYS[0] + 20 * DAY]
    assert labels.arrival(declared, quiet, [DAYS[0]]).behind == dt.timedelta(0)


def counted(days: int, **labelled: list[int]) -> list[tuple[dt.date, str, int, int]]:
    """Of each leaf 30 rows a day, and so many with a label."""
    return [(day(at), leaf, 30, of[at]) for leaf, of in labelled.items() for at in range(days)]


def test_a_node_whose_labels_stop_is_named_though_others_come() -> None:
    allowed = 2 * DAY
    counts = counted(10, FR=[30] * 6 + [0] * 4, DE=[30] * 10)
    assert labels.stopped(counts, day(9), allowed) == [labels.Stopped("FR", day(5), 120)]
    assert labels.stopped(counts[:8] + counts[10:18], day(7), allowed) == [], "two days are allowed"
    never = counted(10, FR=[0] * 10, DE=[30] * 10)
    assert labels.stopped(never, day(9), allowed) == [labels.Stopped("FR", None, 300)]
    of_subtree = [(ds, f"{leaf}/Lyon", *more) for ds, leaf, *more in counts]
    assert [each.node for each in labels.stopped(of_subtree, day(9), allowed)] == ["FR"], "not FR/Lyon as well"
    assert labels.stopped([], day(9), allowed) == []


def test_few_rows_that_chance_leaves_without_a_label_are_not_called_stopped() -> None:
    rare = counted(10, FR=[1] * 6 + [0] * 4, DE=[30] * 10)
    assert labels.stopped(rare, day(9), 2 * DAY) == []
    small = [(day(at), "FR", 1, int(at < 6)) for at in range(10)] + counted(10, DE=[30] * 10)
    assert labels.stopped(small, day(9), 2 * DAY) == []


@pytest.mark.slow
def test_labels_of_one_city_that_stay_away_warn(tmp_path: Path) -> None:
    station = Station(
        tmp_path, more=LINE.replace("  features: [amount]", "  features: [amount]\n  segments: {levels: [city]}")
    )
    for offset in range(8):
        orders = [
            row(100 * offset + n, day(offset), city=city, note="" if city == "Lyon" and offset > 3 else "hi")
            for n, city in enumerate(["Paris", "Lyon"] * 15)
        ]
        station.deliver(day(offset), orders)
    for newest, message in [(5, "all labels that are due have come"), (6, "Lyon: 30 rows without, since 2024-03-04")]:
        for assets in (["raw", "events"], ["greeted/examples"], ["greeted/labels"]):
            assert station.run(day(0), day(newest), assets).success
        found = fresh(station)
        assert found.passed == (newest == 5) and str(found.description).endswith(message), found.description
