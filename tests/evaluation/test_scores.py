"""Is what everyone predicted of a holdout kept row by row, so that whatever the ledger has of it comes out again, bit for bit?"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import classes_of, kind_of
from factory_assets.evaluation import scores
from factory_assets.evaluation.again import otherwise
from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.gate import Look
from factory_assets.evaluation.met import Met
from factory_assets.governor.executor import execute
from factory_assets.governor.runs import training_tags
from factory_assets.identity.nodes import lineage
from factory_assets.measures.metrics import DEFAULT
from factory_assets.models.archived import load
from factory_assets.release.request import Request
from factory_assets.release.rollback import ANCESTOR, roll_back
from factory_resources import duck
from factory_resources.lake import Lake
from tests.training.segmented import LINE, Segmented, day, declare

TASKS = ("binary", "regression", "count", "quantile(0.9)", "multiclass(low, high, none)")
FIRST, SECOND = day(34), day(41)
SLICED = {"slices": {"high": {"where": "x0 > 0.5", "worse": 0.5, "rows": 5}}}
SLOPES = {"FR/Paris": 2.0, "FR/Lyon": 2.0, "DE/Bonn": -2.0}


def kept(lake: Lake, line: str, on: dt.date) -> dict[str, pa.Table]:
    """Node -> its rows as of a day."""
    with duck.opened([lake.root]) as con:
        view = scores.view(con, lake, line, on)
        return {node: scores.of_node(con, view, node) for node in scores.nodes_of(con, view)}


def guesses(task: str, rng: np.random.Generator, rows: int) -> np.ndarray:
    classes = classes_of(task)
    return rng.dirichlet(np.ones(len(classes)), rows) if classes else rng.random(rows)


def holdout(task: str, rng: np.random.Generator, rows: int) -> pa.Table:
    """Rows in no order, many of them of one moment."""
    ds = [day(int(each)) for each in rng.integers(0, 7, rows)]
    classes = classes_of(task)
    label = rng.choice(classes, rows) if classes else rng.integers(0, 2, rows)
    return pa.table(
        {
            "example_id": rng.permutation(rows),
            "observed_at": pa.array([dt.datetime.combine(on, dt.time(int(rng.integers(2)))) for on in ds]),
            "leaf": pa.array(rng.choice(["a/b", "a/c"], rows)),
            "ds": pa.array(ds, pa.date32()),
            "label": pa.array(label),
            "feature": np.arange(rows),
        }
    )


def line_of(task: str) -> Line:
    return Line(
        name="question", owner="team:x", description="-", task=task, observe={"stream": "orders"}, label={"expression": "y"},
        features=["feature"], train={"window": "7d", "holdout": "7d"}, candidates={"constant": {"estimator": "constant"}},
    )  # fmt: skip


def meetings(task: str, rows: pa.Table) -> Iterator[Met]:
    """The root has a challenger and a champion, the leaf a/b a challenger, and a/c nobody: models that say what was drawn."""
    rng = np.random.default_rng(5)
    drawn = {version: guesses(task, rng, rows.num_rows) for version in ("new", "old", "leaf")}
    guess = guesses(task, rng, 1)

    def model(version: str) -> Any:
        return SimpleNamespace(
            predict=lambda rows, task: drawn[version][rows["feature"].to_numpy()],
            naive=lambda rows, task: np.repeat(guess, rows, axis=0),
            unlearnt_from=dt.date.min,
        )

    up = {node: Challenger(version, Look(0.95)) for node, version in (("global", "new"), ("a/b", "leaf"))}
    contestants = Contestants({"global": "old"}, up, model, lambda version: None)
    declared: Any = SimpleNamespace(line=line_of(task))

    def rows_of(node: str) -> pa.Table:
        return rows if node == "global" else rows.filter(pc.equal(rows["leaf"], node))

    return walk(declared, DEFAULT[kind_of(task)], ["global", "a/b", "a/c"], contestants, rows_of)


@pytest.mark.parametrize("batch", [7, 50_000])
@pytest.mark.parametrize("rows", [0, 1, 500])
@pytest.mark.parametrize("task", TASKS)
def test_metrics_come_out_of_the_table_as_they_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, rows: int, batch: int
) -> None:
    """However many rows are predicted at a time, and whatever order the table has them in."""
    monkeypatch.setattr(scores, "BATCH", batch)
    lake, examples = Lake(str(tmp_path)), holdout(task, np.random.default_rng(3), rows)
    met = list(meetings(task, examples))
    assert [set(each.metrics) for each in met] == [
        {"challenger", "champion", "naive"}, {"challenger", "parent", "naive"}, set()
    ]  # fmt: skip
    tables = (scores.tables(each.node, task, FIRST, each.rows, each.versions, each.predictions) for each in met)
    table = pa.concat_tables([scores.schema(task).empty_table(), *chain.from_iterable(tables)])
    table = table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
    lake.replace_part("question/evaluation", table, FIRST, "node", ["global", "a/b"])
    read = kept(lake, "question", FIRST)
    assert set(read) == {each.node for each in met if len(each.y)}
    for each in met:
        if len(each.y):
            assert scores.measured(read[each.node]) == each.metrics
            np.testing.assert_array_equal(
                scores.predictions_of(read[each.node], "challenger"), each.predictions["challenger"]
            )
    assert scores.measured(table.slice(0, 0)) == {}
    assert {*scores.schema(task).names} == {*scores.meaning(task)}, "every column is explained"


def test_a_table_goes_on_when_ids_get_another_type_and_a_class_is_added_or_dropped(tmp_path: Path) -> None:
    lake, expected = Lake(str(tmp_path)), {}
    for turn, task in enumerate(("multiclass(low, high, none)", "multiclass(low, high, much)")):
        rows = holdout(task, np.random.default_rng(turn), 200)
        if turn:
            rows = rows.set_column(0, "example_id", pa.array([f"order {each}" for each in range(200)]))
        found = next(meetings(task, rows))
        (table,) = scores.tables("global", task, day(turn), found.rows, found.versions, found.predictions)
        lake.replace_part("question/evaluation", table, day(turn), "node", ["global"])
        expected[day(turn)] = found.metrics
    assert {on: scores.measured(kept(lake, "question", on)["global"]) for on in expected} == expected


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Segmented]]:
    """Deploy the line with these fields, with six weeks of rows of three cities."""
    monkeypatch.setenv("FACTORY_DEFS", str(tmp_path / "defs"))
    (tmp_path / "dagster").mkdir()
    # One in memory is locked where runs are written at the same time; and what these print is one stream, which Dagster waits for.
    silent = {
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    }
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=silent) as instance:

        def deployed(**fields: object) -> Segmented:
            declare(tmp_path / "defs", **fields)
            line, rng = Segmented(tmp_path, instance), np.random.default_rng(2)
            cities = [city for city in SLOPES for _ in range(8)] * 42
            days = [day(offset) for offset in range(42) for _ in range(24)]
            x = rng.normal(size=(len(days), 2))
            y = np.array([SLOPES[city] for city in cities]) * x[:, 0] + 2 * x[:, 1] + rng.normal(size=len(days))
            line.give(cities, days, x, (y > 0).astype(float) if fields.get("task") == "binary" else y)
            return line

        yield deployed


def recorded(line: Segmented, on: dt.date) -> int:
    """Holds what the ledger has of a day against the rows of the table; how many sides of meetings there were."""
    read, sides = kept(line.lake, LINE, on), 0
    for record in line.ledger.evaluations(LINE, as_of=on):
        rows = read[record.node]
        found = scores.measured(rows)
        of_version = {rows[f"{side}_version"][0].as_py(): side for side in scores.VERSIONS}
        assert record.challenger == found[of_version[record.version]] and record.naive == found["naive"]
        assert record.incumbent == (found[of_version[record.incumbent_version]] if record.incumbent_version else {})
        assert record.rows == rows.num_rows
        sides += 1 + bool(record.incumbent_version)
    return sides


@pytest.mark.parametrize("task", ["regression", pytest.param("binary", marks=pytest.mark.slow)])
def test_what_the_ledger_has_of_every_meeting_is_computed_from_the_rows_alone(
    deploy: Callable[..., Segmented], task: str
) -> None:
    cost = {"cost": {"unit": "EUR", "false_positive": 1, "false_negative": 3}} if task == "binary" else {}
    line = deploy(task=task, candidates={"linear": {"estimator": "linear"}}, gate=SLICED | cost)
    assert line.train(FIRST) == [] and line.train(SECOND) == []
    assert recorded(line, FIRST) >= 10
    (root,) = (
        each for each in line.ledger.evaluations(LINE, as_of=SECOND) if each.node == "global" and each.incumbent_version
    )
    assert root.challenger["rows of high"] == 45 and ("cost" in root.challenger) == bool(cost)
    metric = "mae" if task == "regression" else "average_precision"
    assert {f"{metric} of high"} <= root.challenger.keys() & root.incumbent.keys() & root.certainty.keys()
    records = {(each.node, each.version): each for each in line.ledger.evaluations(LINE, as_of=SECOND)}
    assert not [why for rows in kept(line.lake, LINE, SECOND).values() if (why := otherwise(rows, records))]
    assert recorded(line, SECOND) > recorded(line, FIRST), "there are champions by then"


@pytest.mark.slow
def test_the_rows_of_a_node_are_those_of_its_subtree_in_the_holdout_with_what_each_model_says_of_them(
    deploy: Callable[..., Segmented],
) -> None:
    line = deploy()
    assert line.train(FIRST) == [] and line.train(SECOND) == []
    examples = line.lake.read(f"{LINE}/examples", day(35), SECOND).sort_by("example_id")
    labels = line.lake.read(f"{LINE}/labels", day(35), SECOND).sort_by("example_id")
    read = kept(line.lake, LINE, SECOND)
    assert set(read) == set(line.nodes)
    for node, rows in read.items():
        own = pa.array([node in lineage(leaf) for leaf in examples["leaf"].to_pylist()])
        expected = examples.filter(own)
        rows = rows.take(pc.sort_indices(rows["example_id"].cast(pa.int64())))
        assert rows["example_id"].cast(pa.int64()).equals(expected["example_id"].cast(pa.int64()))
        for name, column in {"day": "ds", "leaf": "leaf", "observed_at": "observed_at"}.items():
            assert rows[name].to_pylist() == expected[column].to_pylist()
        assert rows["label"].to_pylist() == labels.filter(own)["label"].to_pylist()
        for side in scores.VERSIONS:
            (version,) = set(rows[f"{side}_version"].to_pylist())
            if version is None:
                assert rows[f"{side}_prediction"].null_count == rows.num_rows
            else:
                said = load(line.archive, LINE, version).predict(expected)
                np.testing.assert_array_equal(rows[f"{side}_prediction"].to_numpy(), said)
    assert not {"x0", "x1"} & set(rows.column_names), "no feature is kept twice"


@pytest.mark.slow
def test_nodes_that_are_trained_in_runs_of_their_own_or_twice_have_the_rows_of_one_run(
    deploy: Callable[..., Segmented],
) -> None:
    line = deploy()
    assert line.train(FIRST) == []
    whole = {node: rows.to_pylist() for node, rows in kept(line.lake, LINE, FIRST).items()}
    content = line.lake.replace(f"{LINE}/evaluation", line.lake.read(f"{LINE}/evaluation"), [FIRST]).days[FIRST].hash
    line.lake.replace(f"{LINE}/evaluation", line.lake.read(f"{LINE}/evaluation").slice(0, 0), [FIRST])
    nodes = line.nodes
    for chosen in ([nodes[0]], nodes[1:3], nodes[3:], [nodes[-1]], nodes):
        assert line.train(FIRST, chosen, ["evaluation"]) == []
        assert set(chosen) <= set(kept(line.lake, LINE, FIRST))
    assert {node: rows.to_pylist() for node, rows in kept(line.lake, LINE, FIRST).items()} == whole
    assert (
        line.lake.replace(f"{LINE}/evaluation", line.lake.read(f"{LINE}/evaluation"), [FIRST]).days[FIRST].hash
        == content
    )
    assert recorded(line, FIRST) >= 10


@pytest.mark.slow
def test_runs_that_evaluate_nodes_of_one_day_at_the_same_time_keep_the_rows_of_all_of_them(
    deploy: Callable[..., Segmented],
) -> None:
    line = deploy()
    assert line.train(FIRST) == []
    whole = {node: rows.to_pylist() for node, rows in kept(line.lake, LINE, FIRST).items()}
    line.lake.replace(f"{LINE}/evaluation", line.lake.read(f"{LINE}/evaluation").slice(0, 0), [FIRST])
    nodes = line.nodes
    with ThreadPoolExecutor(len(nodes)) as pool:
        failed = list(pool.map(lambda node: line.train(FIRST, [node], ["evaluation"]), nodes))
    assert failed == [[]] * len(nodes)
    assert {node: rows.to_pylist() for node, rows in kept(line.lake, LINE, FIRST).items()} == whole


@pytest.mark.slow
def test_rows_of_a_meeting_stay_where_nobody_is_left_to_be_measured_again(deploy: Callable[..., Segmented]) -> None:
    """Of a challenger that was taken back before its day is evaluated once more: the ledger keeps what it was, too."""
    line = deploy()
    assert line.train(FIRST) == []
    node, before = "DE", kept(line.lake, LINE, FIRST)
    assert node in line.champions() and node in before
    roll_back(line.ledger, line.lake, Request(LINE, node, "a test asks for it", "tester"), to=ANCESTOR)
    assert line.train(FIRST, [node, "FR"], ["evaluation"]) == []
    assert kept(line.lake, LINE, FIRST)[node].equals(before[node])
    assert recorded(line, FIRST) >= 10


def again(line: Segmented, on: dt.date) -> list[str]:
    """Ask for the rows of a day once more, of all nodes; what failed, in words."""
    nodes = line.nodes
    tags = training_tags(LINE, nodes, str(on), "lost", "a test asks for it")
    config = {"nodes": nodes, "as_of": str(on), "restore": True}
    return execute(
        line.deployment, [dg.AssetKey([LINE, "evaluation"])], tags, {"ops": {f"{LINE}__evaluation": {"config": config}}}
    )


@pytest.mark.slow
def test_rows_that_are_lost_are_made_again_as_they_were_and_nothing_is_recorded(
    deploy: Callable[..., Segmented], tmp_path: Path
) -> None:
    """Of a day whose champions were taken back since, too, and with the slices of each row."""
    line = deploy(gate=SLICED)
    assert line.train(FIRST) == [] and line.train(SECOND) == []
    for node in ("DE", "FR"):
        roll_back(line.ledger, line.lake, Request(LINE, node, "a test asks for it", "tester"), to=ANCESTOR)
    before, evaluations = {on: kept(line.lake, LINE, on) for on in (FIRST, SECOND)}, line.ledger.evaluations(LINE)
    shutil.rmtree(tmp_path / "lake" / LINE / "evaluation")
    assert again(line, SECOND) == [] and again(line, FIRST) == []
    assert {on: kept(line.lake, LINE, on) for on in before} == before
    assert line.ledger.evaluations(LINE) == evaluations


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["the table", "a file"])
def test_rows_that_come_out_otherwise_than_they_were_are_not_kept_and_told(
    deploy: Callable[..., Segmented], tmp_path: Path, lost: str
) -> None:
    """A label was corrected behind the line's back, and a model is gone."""
    line = deploy()
    assert line.train(FIRST) == []
    before, on = kept(line.lake, LINE, FIRST), day(30)
    labels, examples = (
        line.lake.read(f"{LINE}/{name}", on, on).sort_by("example_id") for name in ("labels", "examples")
    )
    in_bonn = np.array(examples["leaf"].to_pylist()) == "DE/Bonn"
    place = labels.schema.get_field_index("label")
    line.lake.replace(
        f"{LINE}/labels", labels.set_column(place, "label", pa.array(labels["label"].to_numpy() + in_bonn)), [on]
    )
    shutil.rmtree(tmp_path / "archive" / LINE / before["FR/Lyon"]["challenger_version"][0].as_py())
    if lost == "the table":
        shutil.rmtree(tmp_path / "lake" / LINE / "evaluation")
    else:
        for file in (tmp_path / "lake" / LINE / "evaluation").glob("ds=*/*.parquet"):
            file.unlink()
    (failed,) = again(line, FIRST)
    assert (
        f"rows of evaluations as of {FIRST} are lost, and not made again: global: metrics of the challenger, naive"
        in failed
    )
    assert "DE: metrics of the challenger, parent, naive come out otherwise than they were recorded" in failed
    assert "DE/Bonn: " in failed and "and 1 node more" in failed, "that is FR/Lyon"
    assert kept(line.lake, LINE, FIRST) == {node: before[node] for node in ("FR", "FR/Paris")}
    assert again(line, FIRST) == [failed], "what is there stays"
    assert kept(line.lake, LINE, FIRST).keys() == {"FR", "FR/Paris"}
