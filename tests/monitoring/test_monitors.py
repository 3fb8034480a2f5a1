"""Does one table tell what every monitor says of a day, and the same for a range as for each day by itself?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Monitor
from factory_assets.identity.nodes import tree
from factory_assets.monitoring.charts.counts import SCHEMA as COUNTS
from factory_assets.monitoring.charts.counts import counts, series
from factory_assets.monitoring.checks import NEWS, SHOWN, _control_of_day
from factory_assets.monitoring.drift.table import SCHEMA as DRIFT
from factory_assets.monitoring.episodes import lasting
from factory_assets.monitoring.estimates.windows import SCHEMA as ESTIMATES
from factory_assets.monitoring.monitors import BEHIND, CONCERNS, MEANING, SCHEMA, Known, looks, monitors
from factory_assets.monitoring.performance.released import Release
from tests.release.trained import LATE, LINE, MORE, TRAINED, a_trained_line
from tests.stations import CONTRACT, Station, day

WATCHED = ("parents", "performance", "drift", "estimates", "counts", "monitors")
DAY = dt.timedelta(days=1)
ON = dt.date(2026, 3, 30)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> DeclaredLine:
    contract = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    more = MORE.replace("  windows: [1d, 2d]\n", "  windows: [1d, 2d]\n  flag: is_new\n")
    station = Station(tmp_path_factory.mktemp("declared"), LATE, more, contract)
    return station.catalogue.resolve(station.catalogue.lines[LINE])


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def tables(declared: DeclaredLine, seed: int) -> dict[str, pa.Table]:
    """A line's tables of two days: some rows known late, some without values, some of other nodes' answers."""
    rng, rows = np.random.default_rng(seed), 300
    on = np.array([day(0), day(1)])[rng.integers(0, 2, rows)]
    known = [
        dt.datetime.combine(each, dt.time(12)) + DAY * int(late)
        for each, late in zip(on, rng.random(rows) < 0.2, strict=True)
    ]
    at = [
        dt.datetime.combine(each, dt.time()) + DAY * float(share)
        for each, share in zip(on, rng.random(rows), strict=True)
    ]
    leaf = np.array(["Paris", "Lyon", "global"])[rng.integers(0, 3, rows)]
    node = np.where(rng.random(rows) < 0.7, leaf, "global")
    ids, ds = pa.array(range(rows)), pa.array(on, pa.date32())
    features = {name: pa.array(rng.random(rows), mask=rng.random(rows) < 0.1) for name in declared.features}
    features["habit.is_new"] = pa.array(rng.integers(0, 2, rows))
    times = {"event_time": pa.array(at, pa.timestamp("us")), "known_at": pa.array(known, pa.timestamp("us"))}
    events = pa.table({"order_id": ids, **times, "ds": ds})
    answered = rng.random(rows) < 0.9
    predictions = pa.table({"example_id": ids, "node": node, "ds": ds}).filter(pa.array(answered))
    return {
        "orders/events": events,
        "orders/quarantine": pa.table({"ds": pa.array([day(1)] * 7, pa.date32())}),
        f"{LINE}/examples": pa.table({"example_id": ids, "leaf": leaf, **features, "ds": ds}),
        f"{LINE}/predictions": predictions,
    }


def naive(declared: DeclaredLine, of: Mapping[str, pa.Table]) -> list[Row]:
    """The naive way: row by row."""
    found: dict[tuple[dt.date, str, str, str], list[int]] = {}

    def add(on: dt.date, node: str, monitor: str, column: str, one: bool) -> None:
        entry = found.setdefault((on, node, monitor, column), [0, 0])
        entry[0], entry[1] = entry[0] + one, entry[1] + 1

    known = {each["order_id"]: each["known_at"].date() <= each["ds"] for each in of["orders/events"].to_pylist()}
    answered = {each["example_id"]: each["node"] for each in of[f"{LINE}/predictions"].to_pylist()}
    newest: dict[dt.date, tuple[int, int]] = {}
    for each in of["orders/events"].to_pylist():
        if known[each["order_id"]]:
            closed = dt.datetime.combine(each["ds"] + DAY, dt.time())
            age, rows_known = newest.get(each["ds"], (24 * 60, 0))
            newest[each["ds"]] = min(age, (closed - each["event_time"]) // dt.timedelta(minutes=1)), rows_known + 1
    for on, value in newest.items():
        found[on, "global", "freshness", "orders"] = [*value]
    for each in of["orders/events"].to_pylist():
        add(each["ds"], "global", "rows", "orders", known[each["order_id"]])
        add(each["ds"], "global", "quarantined", "orders", False)
    for each in of["orders/quarantine"].to_pylist():
        add(each["ds"], "global", "rows", "orders", False)
        add(each["ds"], "global", "quarantined", "orders", True)
    for each in of[f"{LINE}/examples"].to_pylist():
        for node in tree([each["leaf"]]):
            on, number = each["ds"], each["example_id"]
            add(on, node, "rows", "examples", known[number])
            if number in answered:
                add(on, node, "fallback", "examples", answered[number] != each["leaf"])
            add(on, node, "cold", "habit.is_new", each["habit.is_new"] == 1)
            for name in declared.features:
                add(on, node, "nulls", name, each[name] is None)
    rows = [dict(zip(COUNTS.names, (*key[1:], *value, key[0]), strict=True)) for key, value in found.items()]
    return [row for row in rows if row["monitor"] in ("rows", "fallback", "freshness") or row["count"]]


@pytest.mark.parametrize("without_predictions", [False, True])
def test_counts_are_those_of_a_walk_over_every_row(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, without_predictions: bool
) -> None:
    of = tables(declared, 1)
    for name, table in of.items():
        con.register(name.replace("/", "_"), table)
    if without_predictions:
        of[f"{LINE}/predictions"] = of[f"{LINE}/predictions"].slice(0, 0)

    def view(table: str) -> str | None:
        return None if without_predictions and table.endswith("predictions") else table.replace("/", "_")

    found = counts(con, declared, view).to_pylist()
    key = lambda row: tuple(map(str, row.values()))  # noqa: E731
    expected = naive(declared, of)
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert {row["monitor"] for row in expected} >= {"rows", "quarantined", "cold", "nulls"}


def counted(days: int, seed: int = 1, **more: Mapping[int, tuple[int, int]]) -> pa.Table:
    """Counts of a line's two nodes and its stream. more: monitor -> days before the newest -> count and of how many."""
    rng, rows = np.random.default_rng(seed), []
    for back in range(days):
        on = ON - back * DAY
        for node, column, mean in (("global", "examples", 1000), ("FR", "examples", 40), ("global", "orders", 1200)):
            many = int(rng.poisson(mean))
            rows.append({"node": node, "monitor": "rows", "column": column, "count": many, "of": many, "ds": on})
    for monitor, of_days in more.items():
        column = (
            "orders" if monitor in ("quarantined", "freshness") else "examples" if monitor == "fallback" else "amount"
        )
        for back, (many, of) in of_days.items():
            on = ON - back * DAY
            rows.append({"node": "global", "monitor": monitor, "column": column, "count": many, "of": of, "ds": on})
    return pa.Table.from_pylist(rows, schema=COUNTS)


def told(
    table: pa.Table,
    drift: list[Row] | None = None,
    performance: Mapping[dt.date, list[Row]] | None = None,
    estimates: list[Row] | None = None,
    floor: float | None = None,
    releases: Mapping[str, Release] | None = None,
    **off: Any,
) -> dict[tuple[str, str, str], Row]:
    """What the monitors say of the day, by node, monitor and column."""
    seen = series(table, ON - BEHIND * DAY, ON, off).until(ON, BEHIND + 1)
    known = Known(
        ON, "mae", 1, Monitor(),
        drift=pa.Table.from_pylist([dict.fromkeys(DRIFT.names) | row for row in drift or []], schema=DRIFT),
        estimates=pa.Table.from_pylist(estimates or [], schema=ESTIMATES),
        performance=performance or {}, series=seen, looks=looks(seen, 3, 0), floor=floor,
        releases=releases or {},
    )  # fmt: skip
    rows = monitors("guess", known)
    assert rows.schema == SCHEMA
    return {(row["node"], row["monitor"], row["column"]): row for row in rows.to_pylist()}


def test_an_estimate_is_judged_when_its_labels_are_in_and_shown_before() -> None:
    usual = {"metric": "mae", "estimate": 2.0, "limit": 3.0, "rows": 90, "reason": "2, between 1.5 and 2.5"}
    came = {"final": {"final": 2.2}, "concept": {"final": 3.5}, "partial": {"partial": 2.1}, "estimated": {}}
    rows = [usual | more | {"node": verdict, "verdict": verdict} for verdict, more in came.items()]
    rows += [usual | {"node": "final", "metric": "rmse", "verdict": "final"}]
    rows += [usual | {"node": "none", "limit": None, "verdict": "final"}]
    found = {key[0]: row for key, row in told(counted(20), estimates=rows).items() if key[1] == "estimates"}
    assert {node: (row["verdict"], row["value"], row["n"]) for node, row in found.items()} == {
        "final": ("stable", 2.2, 90), "concept": ("alarm", 3.5, 90), "partial": ("no verdict", 2.1, 90),
        "estimated": ("no verdict", 2.0, 90), "none": ("no verdict", 2.0, 90),
    }  # fmt: skip
    reasons = {node: row["reason"] for node, row in found.items()}
    assert reasons.pop("concept") == "3.5 came, estimated 2, between 1.5 and 2.5"
    assert set(reasons.values()) == {"2, between 1.5 and 2.5"}


def test_every_column_of_the_table_is_explained() -> None:
    assert set(MEANING) | {"ds"} == set(SCHEMA.names)


def test_rows_and_shares_of_a_calm_day_are_stable_and_say_what_would_have_shown() -> None:
    found = told(counted(57, nulls={back: (20 + back % 5, 1000) for back in range(57)}))
    assert set(found) == {
        ("global", "rows", "examples"), ("FR", "rows", "examples"), ("global", "rows", "orders"),
        ("global", "nulls", "amount"), ("global", "drift", "*"), ("FR", "drift", "*"),
    }  # fmt: skip
    row = found["global", "rows", "examples"]
    assert row["verdict"] == "stable" and 0.1 < row["visible"] < 0.3 and row["n"] == row["value"]
    assert row["reason"].endswith(f"; {row['visible']:.0%} of them missing would have shown")
    nulls = found["global", "nulls", "amount"]
    assert nulls["verdict"] == "stable" and 0 < nulls["visible"] < 0.05 and nulls["value"] < nulls["limit"]


def test_a_node_that_has_no_row_today_is_an_alarm_and_so_is_a_day_without_any() -> None:
    table = counted(57)
    of_today = np.array([row["ds"] == ON for row in table.to_pylist()])
    of_node = np.array([row["node"] == "FR" for row in table.to_pylist()])
    dead = told(table.filter(pa.array(~(of_today & of_node))))["FR", "rows", "examples"]
    assert (dead["verdict"], dead["value"], dead["n"]) == ("alarm", 0.0, 0) and dead["reason"].startswith(
        "0 rows; usual"
    )
    nothing = told(table.filter(pa.array(~of_today)))
    assert {row["verdict"] for key, row in nothing.items() if key[1] == "rows"} == {"alarm"}
    # Where the contract expects nothing, nothing is judged.
    quiet = told(table.filter(pa.array(~of_today)), orders={ON}, examples={ON})
    assert not [key for key in quiet if key[1] == "rows"]


def test_days_before_a_node_had_its_first_row_are_no_past_of_it() -> None:
    table = counted(57)
    late = np.array([row["node"] == "FR" and row["ds"] < ON - 5 * DAY for row in table.to_pylist()])
    row = told(table.filter(pa.array(~late)))["FR", "rows", "examples"]
    assert row["verdict"] == "no verdict" and row["reason"] == "5 days in control to hold it against; a verdict takes 8"


def test_days_before_anybody_answered_are_no_past_of_who_answers() -> None:
    for days, verdict in ((3, "no verdict"), (57, "alarm")):
        answered = {back: (0 if back else 900, 1000) for back in range(days)}
        assert told(counted(57, fallback=answered))["global", "fallback", "examples"]["verdict"] == verdict


@pytest.mark.parametrize("monitor", ["quarantined", "nulls"])
def test_a_share_that_was_never_above_nothing_is_judged_on_its_first_day(monitor: str) -> None:
    column = {"quarantined": "orders", "nulls": "amount"}[monitor]
    found = told(counted(57, **{monitor: {0: (100, 1000)}}))["global", monitor, column]
    assert found["verdict"] == "alarm" and found["value"] > 0.05 and found["reason"].endswith("by 56 days")
    assert told(counted(57, **{monitor: {0: (1, 1000)}}))["global", monitor, column]["verdict"] == "stable"


def aged(today: int, of: int = 1000, days: int = 57) -> pa.Table:
    """Counts of a stream whose newest rows are 2 to 6 minutes old at the close of a day, and so many today."""
    return counted(days, freshness={back: (2 + back % 5, 1000) if back else (today, of) for back in range(days)})


def test_a_feed_that_stops_before_the_close_is_an_alarm_though_it_has_its_rows() -> None:
    calm, late = (told(aged(minutes))["global", "freshness", "orders"] for minutes in (6, 200))
    assert calm["verdict"] == "stable" and calm["value"] == 6 and calm["n"] == 1000 and 5 < calm["visible"] < 60
    seen = f"{round(calm['visible'])} minutes more would have shown"
    assert calm["reason"].startswith(
        "the newest row known at the close is 6 minutes old; usual are 4 minutes, the limit is "
    )
    assert calm["reason"].endswith(f"by 56 days; {seen}")
    assert late["verdict"] == "alarm" and late["value"] == 200 and late["limit"] == calm["limit"] < 60
    assert told(aged(round(calm["value"] + calm["visible"])))["global", "freshness", "orders"]["verdict"] == "alarm"
    # Fresher than usual is nothing amiss.
    assert told(aged(0))["global", "freshness", "orders"]["verdict"] == "stable"


def test_a_day_without_a_row_at_its_close_has_no_newest_one_and_is_told_by_its_rows() -> None:
    assert ("global", "freshness", "orders") not in told(aged(0, 0))
    assert ("global", "freshness", "orders") not in told(aged(200), orders={ON})
    assert told(aged(3, days=5))["global", "freshness", "orders"]["verdict"] == "no verdict"


def test_what_a_day_says_depends_on_the_days_up_to_it_alone() -> None:
    table = counted(57, nulls={0: (30, 1000)})
    later = table.set_column(5, "ds", pa.array([row["ds"] + DAY for row in table.to_pylist()], pa.date32()))
    both = pa.concat_tables([table, later.slice(0, 3)])
    first = ON - BEHIND * DAY
    alone = series(table, first, ON, {}).until(ON, BEHIND + 1)
    ahead = series(both, first, ON + DAY, {}).until(ON, BEHIND + 1)
    assert alone.keys == ahead.keys and np.array_equal(alone.counts, ahead.counts, equal_nan=True)


def drifted(node: str, verdict: str, column: str = "amount") -> Row:
    row = {"node": node, "column": column, "statistic": 0.3, "limit": 0.2, "rows": 7000, "verdict": verdict}
    return row | {"visible_change": 0.14 if verdict == "stable" else None, "reason": "PSI .3", "ds": ON}


def test_drift_is_told_in_the_words_of_the_table() -> None:
    found = told(
        counted(57), [drifted("global", "stable"), drifted("global", "drifted", "age"), drifted("FR", "no verdict")]
    )
    verdicts = {key[::2]: row["verdict"] for key, row in found.items() if key[1] == "drift" and key[2] != "*"}
    assert verdicts == {
        ("global", "amount"): "stable",
        ("global", "age"): "alarm",
        ("FR", "amount"): "no verdict",
    }
    row = found["global", "drift", "amount"]
    assert (row["line"], row["value"], row["limit"], row["n"], row["visible"]) == ("guess", 0.3, 0.2, 7000, 0.14)


def test_a_node_without_a_verdict_of_drift_names_the_node_above_that_watches_it() -> None:
    table = counted(57)
    city = [{"node": "FR/Lyon", "monitor": "rows", "column": "examples", "count": 3, "of": 3, "ds": ON}]
    table = pa.concat_tables([table, pa.Table.from_pylist(city, schema=COUNTS)])
    watched = told(table, [drifted("global", "stable"), drifted("FR", "no verdict")])["FR/Lyon", "drift", "*"]
    assert watched["verdict"] == "watched by global" and watched["n"] == 3
    assert watched["reason"] == "3 rows in 7 days, fewer than the 100 that a verdict takes"
    nearer = told(table, [drifted("global", "stable"), drifted("FR", "stable")])["FR/Lyon", "drift", "*"]
    assert nearer["verdict"] == "watched by FR"
    own = told(table, [drifted("global", "stable")])["FR", "drift", "*"]
    assert (own["verdict"], own["reason"]) == ("watched by global", "it has no champion of its own")
    assert told(table)["FR/Lyon", "drift", "*"]["verdict"] == "no verdict"


def test_a_node_whose_labels_alone_have_a_verdict_is_watched_by_the_node_above_all_the_same() -> None:
    table = counted(57)
    city = [{"node": "FR/Lyon", "monitor": "rows", "column": "examples", "count": 3, "of": 3, "ds": ON}]
    table = pa.concat_tables([table, pa.Table.from_pylist(city, schema=COUNTS)])
    found = told(table, [drifted("global", "stable"), drifted("FR/Lyon", "drifted", "label")])
    assert found["FR/Lyon", "drift", "*"]["verdict"] == "watched by global"
    assert found["FR/Lyon", "drift", "label"]["verdict"] == "alarm"


def measured(values: list[float | None], node: str = "FR") -> dict[dt.date, list[Row]]:
    """Rows of the performance table on days up to the newest, beside a naive guess of 10."""
    return {
        ON - back * DAY: [{"node": node, "ds": ON - back * DAY, "labelled": 40, "mae": value, "naive_mae": 10.0}]
        for back, value in enumerate(reversed(values))
    }


def test_performance_is_told_with_the_naive_guess_as_its_limit() -> None:
    calm = list(np.random.default_rng(1).normal(7.0, 0.5, 20))
    verdicts = {
        "stable": measured([*calm, 7.2]), "alarm": measured([*calm, 14.0]), "no verdict": measured([*calm[:3], 14.0])
    }  # fmt: skip
    for verdict, performance in verdicts.items():
        row = told(counted(57), performance=performance)["FR", "performance", "mae"]
        assert (row["verdict"], row["limit"], row["n"]) == (verdict, 10.0, 40), row
    unknown = told(counted(57), performance=measured([*calm, None]))["FR", "performance", "mae"]
    assert (unknown["verdict"], unknown["value"], unknown["reason"]) == ("no verdict", None, "not measurable yet")


def test_a_node_that_answers_is_told_beside_its_parent_and_no_other_is() -> None:
    calm = list(np.random.default_rng(1).normal(7.0, 0.5, 20))
    for verdict, values in {"stable": [*calm, 7.2], "alarm": [*calm, 14.0]}.items():
        rows = measured([*values])
        for on, (of_day,) in list(rows.items()):
            above = of_day | {"parent_mae": 10.0, "naive_mae": 30.0}
            rows[on] = [above, of_day | {"node": "global", "parent_mae": None}]
        found = told(counted(57), performance=rows)
        row = found["FR", "parent", "mae"]
        assert (row["verdict"], row["limit"], row["n"]) == (verdict, 10.0, 40), row
        assert ("global", "parent", "mae") not in found and found["FR", "performance", "mae"]["verdict"] == "stable"
        assert ("than its parent by" in row["reason"]) == (verdict == "alarm")
    rows[ON] = [row | {"mae": None, "parent_mae": None} for row in rows[ON]]
    row = told(counted(57), performance=rows)["FR", "parent", "mae"]
    assert (row["verdict"], row["reason"]) == ("no verdict", "not measurable yet")


def test_the_floor_is_told_of_the_mean_of_the_days_where_one_is_declared() -> None:
    days = {
        "stable": list(np.random.default_rng(1).normal(7.0, 0.5, 20)),
        "alarm": list(np.random.default_rng(1).normal(9.5, 0.5, 20)), "no verdict": [9.5, 9.6],
    }  # fmt: skip
    for verdict, values in days.items():
        row = told(counted(57), performance=measured([*values]), floor=9.0)["FR", "floor", "mae"]
        assert (row["verdict"], row["limit"], row["n"]) == (verdict, 9.0, 40 * len(values)), row
        assert row["value"] == pytest.approx(np.mean(values)) and (row["visible"] is None) == (verdict != "stable")
        assert f"mae {row['value']:.4g} on average of {len(values)} days, the floor is 9" in row["reason"]
    assert ("FR", "floor", "mae") not in told(counted(57), performance=measured([9.5] * 9))


def test_the_gain_since_a_release_is_told_beside_that_of_its_holdout_without_a_verdict() -> None:
    values = list(np.random.default_rng(1).normal(7.0, 0.5, 40))
    for back, days in ((6, 7), (39, 28)):
        release = {"FR": Release(ON - back * DAY, 4.5), "DE": Release(ON, 1.0)}
        found = told(counted(57), performance=measured([*values]), releases=release)
        row = found["FR", "release", "mae"]
        assert row["value"] == pytest.approx(10 - np.mean(values[-days:]))
        assert (row["limit"], row["verdict"], row["n"]) == (4.5, "no verdict", 40 * days)
        assert f"on average of {days} days since {ON - back * DAY}, by 4.5 on the holdout" in row["reason"]
        assert ("DE", "release", "mae") not in found, "not a day of it is measured"


def look(node: str, on: dt.date, verdict: str = "alarm") -> Row:
    told = {"monitor": "nulls", "column": "amount", "n": 900, "reason": "12%; usual are 1%"}
    return {"node": node, "verdict": verdict, "ds": on} | told


def alarms(rows: list[Row]) -> list[Row]:
    """Those of the day."""
    found = lasting(rows, ("node", "monitor", "column"), "alarm", "stable")
    return [{**row, "since": since} for row, since in found if row["ds"] == ON]


def test_a_check_names_node_column_size_and_since_when() -> None:
    rows = [look("FR", on) for on in (ON - 4 * DAY, ON - 2 * DAY, ON - DAY, ON)]
    found = _control_of_day(ON, alarms([*rows, look("FR", ON - 3 * DAY, "stable")]), 9, 2)
    assert not found.passed and found.message == (
        "nulls of amount of FR since 2026-03-28: 12%; usual are 1%; no verdict on 2 series"
    )
    assert {name: value.value for name, value in found.metadata.items()} == {"alarms": 1, "stable": 6, "no verdict": 2}
    without_a_look = _control_of_day(ON, alarms(rows), 9, 2)
    assert without_a_look.message is not None and "of FR since 2026-03-26: " in without_a_look.message
    many = _control_of_day(ON, alarms([look(f"n{at}", ON) for at in range(SHOWN + 2)]), 20, 0)
    assert many.message is not None and many.message.endswith("; and 2 more")
    calm = _control_of_day(ON, [], 5, 1)
    assert calm.passed and calm.message == "nothing out of control of 4 series; no verdict on 1 series"


@pytest.fixture(scope="module")
def trained_line(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return a_trained_line(tmp_path_factory.mktemp("factory"))


def made(station: Station, run_days: list[tuple[dt.date, dt.date | None]]) -> tuple[pa.Table, pa.Table]:
    """Counts and monitors of the days after each is made in runs of these days."""
    for start, end in run_days:
        for asset in ("predictions", *WATCHED):
            run = station.run(start, end, [f"{LINE}/{asset}"])
            assert run.success, (asset, run.message)
    keys = [(name, "ascending") for name in ("ds", "node", "monitor", "column")]
    found = [station.lake.read(f"{LINE}/{name}", day(0), day(13)).sort_by(keys) for name in ("counts", "monitors")]
    return found[0], found[1]


@pytest.mark.slow
def test_a_range_gives_the_rows_that_each_day_gives_and_checks_tell_of_each_day(trained_line: Station) -> None:
    first, last = TRAINED[0] + DAY, day(13)
    before = trained_line.run(day(0), TRAINED[0], [f"{LINE}/counts"])
    assert before.success, before.message
    on = [first + DAY * number for number in range((last - first).days + 1)]
    together = made(trained_line, [(first, last)])
    versions = [trained_line.versions(f"{LINE}/{name}") for name in WATCHED]
    assert made(trained_line, [(each, None) for each in on]) == together
    assert [trained_line.versions(f"{LINE}/{name}") for name in WATCHED] == versions
    rows = {(row["node"], row["monitor"], row["ds"]): row for row in together[1].to_pylist()}
    assert {monitor for _, monitor, _ in rows} >= {"drift", "performance", "parent", "estimates", "rows"}
    measured_of = trained_line.lake.read(f"{LINE}/performance", first, last).to_pylist()
    beside = {row["node"] for row in measured_of if row["parent_average_precision"] is not None}
    assert beside == {"Paris", "Lyon"} == {node for node, monitor, _ in rows if monitor == "parent"}
    asked = trained_line.lake.read(f"{LINE}/parents", first, last).to_pylist()
    assert len(asked) == trained_line.lake.read(f"{LINE}/predictions", first, last).num_rows
    assert {row["node"] for row in asked} == {"global"}
    for each in on:
        assert trained_line.check_of(f"{LINE}/performance", "better_than_parent", each).passed
    # Ten days before the first champion, and those since, are a past.
    assert rows["global", "rows", last]["verdict"] == "stable"
    on_holdout = trained_line.deployment.ledger.evaluations(LINE)
    champion = trained_line.deployment.ledger.champions(LINE, before=day(12))["Paris"].champion
    measured_then = next(each for each in on_holdout if (each.node, each.version) == ("Paris", champion))
    gain = measured_then.challenger["average_precision"] - measured_then.naive["average_precision"]
    assert rows["Paris", "release", day(12)]["limit"] == pytest.approx(gain)
    assert ("global", "release", day(12)) not in rows, "Paris and Lyon answer for themselves"
    for name in CONCERNS:
        found = trained_line.check_of(f"{LINE}/monitors", name, last)
        assert found.passed and found.description is not None and "series" in found.description
    for each in on:
        news, of_day = (
            trained_line.check_of(f"{LINE}/monitors", NEWS, each),
            [row for row in rows.values() if row["ds"] == each],
        )
        assert news.passed == (not any(row["verdict"] == "alarm" for row in of_day)), news.description
