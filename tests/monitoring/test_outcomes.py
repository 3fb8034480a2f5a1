"""Is each declared outcome that of the rows, by node and version, and made again when its declaration or a label changes?"""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from factory_assets.declarations import outcomes
from factory_assets.declarations.catalogue import Catalogue, load
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream
from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.line import Line
from factory_assets.declarations.readers import readers
from factory_assets.declarations.stream import Stream
from factory_assets.governor.plan import plan_of_line
from factory_assets.identity.nodes import tree
from factory_assets.identity.versions import model_version
from factory_assets.models.archived import naive_of
from factory_assets.monitoring.performance.outcomes import by_week, courses, measure, observed, reads
from tests.release.trained import LATE, LINE, MORE, compute, order
from tests.scoring.scored import AS_OF, LAST, a_scored_line
from tests.stations import CONTRACT, Station, day

OWNED = {"owner": "team:a", "description": "x"}
CLASSES = "multiclass(red, green, blue)"
Row = dict[str, Any]


def a_line(task: str, texts: Mapping[str, str], **more: Any) -> dict[str, Any]:
    declared = {name: {"expression": text, "unit": "EUR", "better": "lower"} for name, text in texts.items()}
    return (
        {"name": "risky", "task": task, "observe": {"stream": "orders"}, "features": ["amount"]}
        | {"label": {"expression": "paid", "delay": "1d"}, "train": {"window": "28d", "holdout": "7d"}}
        | {"candidates": {"c": {"estimator": "constant"}}, "outcomes": declared}
        | OWNED
        | more
    )


def catalogue(line: dict[str, Any]) -> Catalogue:
    stream = Stream.model_validate(
        {"name": "orders", "source": {"kind": "parquet", "uri": "x"}, "id": "id", "event_time": "at"}
        | {"start": "2026-01-01"}
        | OWNED
    )
    types = {
        "id": "integer",
        "at": "timestamp",
        "amount": "double",
        "paid": "double",
        "note": "string",
        "city": "string",
    }
    contract = Contract.model_validate({"columns": {name: {"type": kind} for name, kind in types.items()}})
    return Catalogue({"orders": DeclaredStream(stream, contract)}, {}, {"risky": Line.model_validate(line)})


def declared(task: str, texts: Mapping[str, str], **more: Any) -> DeclaredLine:
    found = catalogue(a_line(task, texts, **more))
    assert found.check_line(found.lines["risky"]) == []
    return found.resolve(found.lines["risky"])


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def by_pandas(
    rows: pd.DataFrame, wanted: Mapping[str, Callable[[Row], float | None]], guess: Mapping[str, Row]
) -> list[Row]:
    """The naive way: rows with a label, filtered for each day, node and version. guess: version -> what it would have said."""
    found = []
    for on in sorted(set(rows["ds"])):
        of_day = rows[rows["ds"] == on]
        for node in tree(set(of_day["leaf"])):
            below = of_day["leaf"].map(lambda leaf, node=node: node == "global" or (leaf + "/").startswith(node + "/"))
            for name, outcome in wanted.items():
                for version in sorted(set(of_day["version"])):
                    own = of_day[below & (of_day["version"] == version)].to_dict("records")
                    values = [(outcome(row), outcome(row | guess[version])) for row in own]
                    said = [value for value, _ in values if value is not None]
                    naive = [would for value, would in values if value is not None and would is not None]
                    if said:
                        found.append(
                            {"node": node, "version": version, "outcome": name}
                            | {"rows": len(said), "sum": math.fsum(said), "mean": math.fsum(said) / len(said)}
                            | {"naive_rows": len(naive), "naive_sum": math.fsum(naive) if naive else None}
                            | {"naive_mean": math.fsum(naive) / len(naive) if naive else None, "ds": on}
                        )
    return found


def assert_same(found: list[Row], expected: list[Row]) -> None:
    key = lambda row: (row["ds"], row["node"], row["outcome"], row["version"])  # noqa: E731
    found, expected = sorted(found, key=key), sorted(expected, key=key)
    assert list(map(key, found)) == list(map(key, expected)) and found
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value == (pytest.approx(other[name], rel=1e-12) if isinstance(value, float) else other[name]), name


def random_rows(seed: int, classes: list[str] | None = None) -> pd.DataFrame:
    """Predictions of three days, with the observed event's columns; two thirds have a label."""
    rng, number = np.random.default_rng(seed), 400
    rows = pd.DataFrame(
        {
            "ds": rng.choice([dt.date(2026, 1, each) for each in (1, 2, 4)], number),
            "example_id": rng.permutation(number),
            "leaf": rng.choice(["FR/Lyon", "FR/Lyons", "FR", "global", "DE/Berlin"], number),
            "version": rng.choice(["old", "new"], number),
            "amount": rng.normal(10, 5, number).round(2),
            "note": rng.choice(["a", "b"], number),
            "labelled": rng.random(number) < 0.7,
        }
    )
    if classes is None:
        return rows.assign(prediction=rng.normal(10, 3, number), label=rng.normal(10, 5, number))
    said = rng.dirichlet(np.ones(len(classes)), number)
    rows = rows.assign(label=rng.choice(classes, number), prediction=[classes[at] for at in said.argmax(axis=1)])
    return rows.assign(**{f"p_{name}": said[:, at] for at, name in enumerate(classes)})


def put(con: duckdb.DuckDBPyConnection, rows: pd.DataFrame) -> str:
    """The rows as the tables that outcomes are measured from; a query for the observed columns."""
    con.register("every", rows)
    said = [name for name in rows.columns if name == "prediction" or name.startswith("p_")]
    con.execute(
        f"""CREATE TABLE predictions AS SELECT ds::DATE AS ds, example_id, leaf, version, {", ".join(said)} FROM every;
            CREATE TABLE labels AS SELECT ds::DATE AS ds, example_id, label, NULL::TIMESTAMP AS superseded_at FROM every
            WHERE labelled;
            CREATE TABLE events AS SELECT ds::DATE AS ds, example_id, amount, note FROM every"""
    ).fetchall()
    # A label that no longer holds counts for nothing.
    con.execute(
        "INSERT INTO labels SELECT * REPLACE (TIMESTAMP '2026-02-01' AS superseded_at) FROM labels WHERE example_id % 5 = 0"
    ).fetchall()
    return "SELECT * FROM events"


def test_outcomes_are_those_of_a_walk_over_every_row(con: duckdb.DuckDBPyConnection) -> None:
    rows = random_rows(1)
    observations = put(con, rows)
    texts = {
        "late_cost": "if(label > prediction + 2, 5, 0)",
        "lost": "if(note = 'a', abs(label - prediction) * amount / 7, null)",
        "was_close": "abs(label - prediction) < 3",
        # Neither of a negative number, nor of nothing, is there a logarithm.
        "in_logs": "ln(prediction - 9.5)",
        # A text that is no number.
        "cast": "cast(replace(note, 'a', '4') as double) * label",
    }
    wanted: dict[str, Callable[[Row], float | None]] = {
        "late_cost": lambda row: 5.0 if row["label"] > row["prediction"] + 2 else 0.0,
        "lost": lambda row: abs(row["label"] - row["prediction"]) * row["amount"] / 7 if row["note"] == "a" else None,
        "was_close": lambda row: float(abs(row["label"] - row["prediction"]) < 3),
        "cast": lambda row: 4.0 * row["label"] if row["note"] == "a" else None,
        "in_logs": lambda row: math.log(row["prediction"] - 9.5) if row["prediction"] > 9.5 else None,
    }
    naive = {"old": np.array([8.0]), "new": np.array([11.5])}
    found = measure(con, declared("regression", texts), observations, naive).to_pylist()
    guess = {version: {"prediction": float(value[0])} for version, value in naive.items()}
    assert_same(found, by_pandas(rows[rows["labelled"]], wanted, guess))
    of_logs = [row for row in found if row["outcome"] == "in_logs" and row["version"] == "old"]
    assert of_logs and not any(row["naive_rows"] for row in of_logs), "a guess of 8 has no logarithm of 8 - 9.5"


def test_of_classes_an_outcome_reads_the_likeliest_and_the_probability_of_each(con: duckdb.DuckDBPyConnection) -> None:
    rows = random_rows(2, ["red", "green", "blue"])
    observations = put(con, rows)
    # A class that was not declared yet when these rows were predicted.
    con.execute("UPDATE predictions SET p_blue = NULL WHERE version = 'old'").fetchall()
    rows.loc[rows["version"] == "old", "p_blue"] = 0.0
    texts = {"stopped": "if(prediction = label, 0, amount)", "sure": "p_red * 2 + p_blue"}
    wanted: dict[str, Callable[[Row], float | None]] = {
        "stopped": lambda row: 0.0 if row["prediction"] == row["label"] else row["amount"],
        "sure": lambda row: row["p_red"] * 2 + row["p_blue"],
    }
    naive = {"old": np.array([[0.2, 0.7, 0.1]]), "new": np.array([[0.6, 0.3, 0.1]])}
    line = declared(CLASSES, texts, label={"expression": "note", "delay": "1d"})
    found = measure(con, line, observations, naive).to_pylist()
    guess = {
        "old": {"prediction": "green", "p_red": 0.2, "p_blue": 0.1}, "new": {"prediction": "red", "p_red": 0.6, "p_blue": 0.1}
    }  # fmt: skip
    assert_same(found, by_pandas(rows[rows["labelled"]], wanted, guess))


def test_what_reads_no_column_of_the_event_reads_no_table_of_events(con: duckdb.DuckDBPyConnection) -> None:
    plain, of_event = (
        declared("regression", {"a": "label - prediction"}),
        declared("regression", {"a": "label * amount"}),
    )
    assert reads(plain) == ["risky/predictions", "risky/labels"]
    assert reads(of_event) == [*reads(plain), "orders/events"]
    put(con, random_rows(3))
    assert measure(con, plain, None, {"old": np.array([8.0]), "new": np.array([9.0])}).num_rows
    assert measure(con, plain, None, {}).num_rows == 0


def test_an_entity_has_the_columns_that_it_carries_and_no_other() -> None:
    of_entity = {
        "observe": {"stream": "orders", "entity": "city", "every": "1d", "carry": ["note"]},
        "label": {"event": "orders", "within": "7d"},
        "features": ["seen.n_7d"],
    }
    found = catalogue(a_line("binary", {"a": "if(note = 'a', label, 0)", "b": "amount * label"}, **of_entity))
    line = found.lines["risky"]
    assert outcomes.observed(found.resolve(line)).keys() == {"city", "note"}
    assert reads(found.resolve(line)) == ["risky/predictions", "risky/labels", "risky/examples"]
    messages = [message for path, message in outcomes.check(found.resolve(line))]
    assert messages == ["'amount * label' reads amount; columns here: city, label, note, prediction"]


def test_of_an_entity_the_columns_are_those_of_its_example(con: duckdb.DuckDBPyConnection) -> None:
    of_entity = {
        "observe": {"stream": "orders", "entity": "city", "every": "1d", "carry": ["note"]},
        "label": {"event": "orders", "within": "7d"},
    }
    line = catalogue(a_line("binary", {"a": "if(note = 'a', label, 0)"}, **of_entity))
    declared = line.resolve(line.lines["risky"])
    rows = random_rows(6).assign(prediction=0.5, label=lambda each: (each["amount"] > 10).astype(float))
    put(con, rows)
    asked = list[str]()

    def load(name: str, table: str, first: dt.date, last: dt.date) -> None:
        asked.append(table)
        con.execute(
            f"CREATE VIEW {name} AS SELECT * FROM events WHERE ds BETWEEN DATE '{first}' AND DATE '{last}'"
        ).fetchall()

    observations = observed(con, declared, [dt.date(2026, 1, 1), dt.date(2026, 1, 4)], load)
    naive = {"old": np.array([0.1]), "new": np.array([0.2])}
    found = measure(con, declared, observations, naive).to_pylist()
    assert asked == ["risky/examples"]
    wanted = {"a": lambda row: row["label"] if row["note"] == "a" else 0.0}
    assert_same(found, by_pandas(rows[rows["labelled"]], wanted, {version: {} for version in naive}))


def test_who_asks_for_the_readers_of_a_column_is_told_of_outcomes() -> None:
    found = catalogue(a_line("regression", {"a": "label * amount", "b": "label - prediction"}))
    stream = found.streams["orders"]
    told = {each.where for each in readers(found, "orders", stream.contract, "amount")}
    assert told == {"features: amount", "outcomes.a: amount"}


HOSTILE = {
    "(select max(amount) from orders)": "may hold columns",
    "amount); drop table labels; --": "is not an expression",
    "1; drop table labels": "must be one expression",
    "amount from read_csv('/etc/passwd')": "must be one expression",
    "length(read_text('/etc/passwd'))": "calls read_text, which is not allowed",
    "length(getenv('HOME'))": "calls getenv, which is not allowed",
    "random()": "which is not allowed",
    "epoch(now())": "which is not allowed",
    "sum(amount)": "calls sum, which is not allowed",
    "labels.label": "names a table (labels)",
    "label as cost": "must not name its result",
    "label, prediction": "must be one expression",
    "cast(amount as varchar[])": "casts to",
    "label in (select 1)": "write a list in brackets",
    "p_red": "reads p_red; columns here: ",
    "Label": "reads Label; columns here: ",
    "ds": "reads ds; columns here: ",
    "note": "is of type VARCHAR; allowed here: a number",
    "note - prediction": "cannot be computed",
    "(" * 4000 + "1" + ")" * 4000: "nested too deeply",
}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_an_expression_that_is_more_than_one_number_of_the_row_is_refused(text: str) -> None:
    found = catalogue(a_line("regression", {"fine": "label - prediction", "cost": text}))
    ((path, message),) = found.check_line(found.lines["risky"])
    assert path == ("outcomes", "cost", "expression") and HOSTILE[text] in message, message


def test_a_text_that_looks_like_sql_is_a_text(con: duckdb.DuckDBPyConnection) -> None:
    line = declared("regression", {"cost": "if(note = '''; drop table labels; --', 1, 0) + label * 0"})
    rows = random_rows(4)
    found = measure(con, line, put(con, rows), {"old": np.array([8.0]), "new": np.array([9.0])})
    assert found.num_rows and sum(row["sum"] for row in found.to_pylist()) == 0


def test_a_mistake_is_told_with_file_and_line(undated: Station) -> None:
    folder = undated.folder / "defs"
    declaration = (folder / "defs.yaml").read_text()
    wrong = declaration.replace("prediction < 0.5", "guess < 0.5")
    (folder / "defs.yaml").write_text(wrong)
    with pytest.raises(DeclarationError) as refused:
        load(folder)
    (folder / "defs.yaml").write_text(declaration)
    number = next(at for at, line in enumerate(wrong.splitlines(), 1) if "guess < 0.5" in line)
    assert str(refused.value).startswith(f"{folder / 'defs.yaml'}:{number}: greeted: outcomes.cost.expression: ")
    assert "reads guess; columns here: " in str(refused.value)


def row_of(version: str, on: int, rows: int, mean: float) -> Row:
    told = {
        "version": version,
        "rows": rows,
        "sum": mean * rows,
        "mean": mean,
        "ds": dt.date(2026, 3, 30) + on * dt.timedelta(1),
    }
    return told | {"naive_rows": rows, "naive_sum": 9.0 * rows, "naive_mean": 9.0}


def test_weeks_end_with_the_newest_day_and_weigh_days_by_their_rows() -> None:
    rows = [row_of("b", 0, 10, 4.0), row_of("b", -6, 30, 8.0), row_of("a", -7, 5, 1.0), row_of("a", -28, 5, 1.0)]
    last = dt.date(2026, 3, 30)
    assert by_week(rows, last) == [
        {"mean": 7.0, "naive": 9.0, "rows": 40, "week_to": last, "version": "b"},
        {"mean": 1.0, "naive": 9.0, "rows": 5, "week_to": last - dt.timedelta(7), "version": "a"},
    ]


def test_a_picture_shows_the_versions_that_answered_most_the_newest_first() -> None:
    rows = [row_of(f"v{at}", at, 100 - at, float(at)) for at in range(6)]
    days, series = courses(rows)
    assert list(series) == ["v2", "v1", "v0", "naive"] and len(days) == 6
    assert series["v2"] == [None, None, 2.0, None, None, None] and series["naive"] == [9.0] * 6


TOLD = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
COST = "if(label = 1 and prediction < 0.5, amount, 0) + if(channel = 'web', null, 0.25)"
OUTCOMES = f"""
  outcomes:
    cost: {{expression: "{COST}", unit: EUR, better: lower}}
    agreed: {{expression: "(prediction >= 0.5) = (label = 1)", unit: share, better: higher}}
"""
WANTED: dict[str, Callable[[Row], float | None]] = {
    "cost": lambda row: (
        (row["amount"] if row["label"] == 1 and row["prediction"] < 0.5 else 0) + 0.25
        if row["channel"] != "web"
        else None
    ),
    "agreed": lambda row: float((row["prediction"] >= 0.5) == (row["label"] == 1)),
}


@pytest.fixture(scope="module")
def undated(tmp_path_factory: pytest.TempPathFactory) -> Station:
    """Declarations, and not a day."""
    return Station(tmp_path_factory.mktemp("declared"), LATE, MORE + OUTCOMES, TOLD)


def expected(station: Station) -> list[Row]:
    """By pandas, from the tables as they are."""
    of_line = {
        name: station.lake.read(f"{LINE}/{name}", day(0), day(LAST)).to_pandas() for name in ("predictions", "labels")
    }
    events = (
        station.lake.read("orders/events", day(0), day(LAST)).to_pandas().rename(columns={"order_id": "example_id"})
    )
    labels = of_line["labels"]
    rows = of_line["predictions"].merge(labels[labels["superseded_at"].isna()][["ds", "example_id", "label"]])
    rows = rows.merge(events[["example_id", "amount", "channel"]])
    archive = station.deployment.archive
    guess = {each: {"prediction": float(naive_of(archive, LINE, each, "binary")[0])} for each in set(rows["version"])}
    return by_pandas(rows, WANTED, guess)


def made(station: Station) -> list[Row]:
    return station.lake.read(f"{LINE}/outcomes", day(0), day(LAST)).to_pylist()


def due(station: Station) -> dict[dt.date, str]:
    """Day on which somebody answered -> why the plan would make its outcomes now."""
    work = plan_of_line(station.deployment.book(until=day(LAST)), LINE).work
    of_days = {on: each.reason for each in work for on in each.days if f"{LINE}/outcomes" in each.assets}
    return {on: reason for on, reason in of_days.items() if on > day(AS_OF)}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return a_scored_line(tmp_path_factory.mktemp("factory"), OUTCOMES)


@pytest.mark.slow
def test_a_line_that_declares_a_floor_is_checked_for_it(scored: Station) -> None:
    """Declares one, and puts it back."""
    file, name, last = scored.folder / "defs" / "defs.yaml", f"{LINE}/performance", day(LAST)
    checks = {key.name for key in scored.deployment.checks[dg.AssetKey([LINE, "performance"])]}
    assert checks == {"better_than_naive", "better_than_parent"}
    declaration = file.read_text()
    file.write_text(declaration.replace("certainty: 0.5}", "certainty: 0.5, floor: 0.99}"))
    scored.load()
    run = scored.run(day(AS_OF + 1), last, [name])
    assert run.success, run.message
    measured = scored.lake.read(name, day(AS_OF + 1), last).to_pylist()
    values = [row["average_precision"] for row in measured if row["node"] == "global" and row["labelled"]]
    newest = scored.check_of(name, "above_floor", day(LAST - 1))
    assert newest.passed, "three days say nothing"
    assert newest.description == f"average_precision {np.mean(values):.4g} on average of 3 days, the floor is 0.99"
    assert scored.check_of(name, "above_floor", last).description == "not measurable yet"
    file.write_text(declaration)
    scored.load()


@pytest.mark.slow
def test_a_range_gives_what_each_day_gives_and_a_correction_of_an_event_is_answered(scored: Station) -> None:
    station = scored
    name, first, last = f"{LINE}/outcomes", day(AS_OF + 1), day(LAST)
    assert due(station) == {day(offset): "4 new" for offset in range(AS_OF + 1, LAST + 1)}
    run = station.run(first, last, [name])
    assert run.success, run.message
    by_range, versions = made(station), station.versions(name)
    assert_same(by_range, expected(station))
    assert {row["node"] for row in by_range} == {"global", "Lyon", "Paris"}
    assert len({row["version"] for row in by_range if row["node"] == "global"}) == 2, "Paris answers for itself"
    assert due(station) == {}
    for offset in range(AS_OF + 1, LAST + 1):
        assert station.run(day(offset), assets=[name]).success
    assert made(station) == by_range and station.versions(name) == versions

    newest = dg.AssetRecordsFilter(dg.AssetKey([LINE, "outcomes"]), asset_partitions=[str(last)])
    materialised = station.instance.fetch_materializations(newest, limit=1).records[0].asset_materialization
    assert materialised is not None
    told = materialised.metadata
    assert len(told["cost_weeks"].records[0].data) == 5 and told["cost_course"].value.startswith("![")

    # One order was dearer than it looked, and its note another; one was of the next day: told when both had been predicted.
    told_at, on = dt.datetime.combine(last, dt.time(9)), day(11)
    dearer, later = (
        order(random.Random(9), 1107, on, told_at),
        order(random.Random(9), 1108, on + dt.timedelta(1), told_at),
    )
    dearer |= {"amount": 49.0, "note": "ho" if label_of(station, 1107) else "hi"}
    station.deliver(last, [dearer, later | {"amount": 48.0, "channel": "app", "note": "hi"}], part="-more")
    compute(station, last)
    assert "changed: greeted/labels, orders/events" in due(station)[on] and day(AS_OF + 1) not in due(station)
    assert station.run(first, last, [name]).success
    assert made(station) != by_range
    assert_same(made(station), expected(station))


def label_of(station: Station, example: int) -> bool:
    labels = station.lake.read(f"{LINE}/labels", day(11), day(11)).to_pylist()
    return next(row["label"] == 1 for row in labels if row["example_id"] == example)


def test_another_expression_is_another_outcome_and_nothing_else(undated: Station) -> None:
    station = undated
    file = station.folder / "defs" / "defs.yaml"
    before, declaration = codes(station), file.read_text()
    file.write_text(declaration.replace("prediction < 0.5, amount", "prediction < 0.4, amount"))
    station.load()
    after = codes(station)
    assert {name for name in after if after[name] != before[name]} == {f"{LINE}/outcomes"}
    file.write_text(declaration[: declaration.index("  outcomes:")])
    station.load()
    without = codes(station)
    assert before.keys() - without.keys() == {f"{LINE}/outcomes"}
    assert all(without[name] == before[name] for name in without), (
        "who declares none has the ids that there were before"
    )
    assert "outcomes" not in station.catalogue.lines[LINE].model_dump(mode="json")
    file.write_text(declaration)
    station.load()


def codes(station: Station) -> dict[str, str | None]:
    """What each asset, and a model, is made by."""
    found = {key.to_user_string(): spec.code_version for key, spec in station.deployment.specs.items()}
    line = station.catalogue.resolve(station.catalogue.lines[LINE])
    return found | {"the id of its models' configuration": model_version(line)}
