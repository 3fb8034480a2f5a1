"""Are hundreds of nodes trained together as each would be alone, and does one that fails stay alone with it?"""

import datetime as dt
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.line import Line
from factory_assets.declarations.stream import Stream
from factory_assets.models import estimators
from factory_assets.models.estimators import gradient_boosting
from factory_assets.training import subtrees
from factory_assets.training.dataset import TrainingRows, past_stretches
from factory_assets.training.fit.fitting import Failed, NotTrained, rows_within
from factory_assets.training.fit.pool import (
    AHEAD,
    TELL_EVERY,
    TOGETHER,
    Job,
    Pace,
    Task,
    processes,
    together,
    train_nodes,
)
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import Timeline
from tests.training.segmented import by_node
from tests.training.test_fitting import FEATURES, a_line

LEAVES = ("FR/Paris", "FR/Lyon", "FR/Lyons", "FR-2/Lyon", "DE/Berlin", "global")
NODES = ("global", "FR", "FR/Paris", "FR/Lyon", "FR/Lyons", "DE", "DE/Berlin")
START = dt.date(2026, 1, 1)
SPAN = Timeline(
    START + dt.timedelta(34), START, START + dt.timedelta(27), START + dt.timedelta(28), START + dt.timedelta(34)
)


def examples(rows: int, seed: int = 7) -> pa.Table:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=rows), rng.normal(size=rows)
    days = [START + dt.timedelta(days=int(day)) for day in np.sort(rng.integers(0, 28, rows))]
    leaves = rng.choice(LEAVES, rows, p=[0.4, 0.25, 0.15, 0.1, 0.05, 0.05])
    columns = {"ds": days, "leaf": leaves, "x": x, "z": z, "label": 3 * x * z + rng.normal(size=rows)}
    at = pa.array(days, pa.date32()).cast(pa.timestamp("us"))
    return pa.table(columns | {"observed_at": at, "example_id": np.arange(rows)})


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return examples(2400)


def a_job(line: Line, archive: Path) -> Job:
    owned = {"owner": "team:test", "description": "Events."}
    columns = {"id": "integer", "at": "timestamp", "x": "double", "z": "double", "y": "double"}
    columns |= {"country": "string", "city": "string"}
    source = {"source": {"kind": "parquet", "uri": "nowhere"}, "id": "id", "event_time": "at", "start": START}
    stream = Stream.model_validate({"name": "events", **owned, **source})
    contract = Contract.model_validate({"columns": {name: {"type": kind} for name, kind in columns.items()}})
    catalogue = Catalogue({"events": DeclaredStream(stream, contract)}, {}, {line.name: line})
    declared = catalogue.resolve(line)
    return Job(declared, "mae", SPAN, past_stretches(declared, SPAN), str(archive))


def dealt(train: pa.Table, recent: pa.Table) -> TrainingRows:
    return TrainingRows(by_node(train), by_node(recent), by_node(train.slice(0, 0)), by_node(train))


def tasks(job: Job, nodes: Sequence[str] = NODES) -> list[Task]:
    return [Task(node, job.declared.line, {}) for node in nodes]


def versions(archive: Path, rows: pa.Table, **train: object) -> Mapping[str, str | None]:
    """Node -> version, trained with these settings of `train`."""
    job = a_job(a_line(train={"window": "28d", "holdout": "7d", **train}), archive)
    found = train_nodes(job, dealt(rows, rows.slice(0, 300)), tasks(job))
    return {done.outcome.node: done.released.version if done.released else None for done in found}


@pytest.mark.parametrize("file_rows", [1, 700, 50_000])
def test_a_nodes_rows_are_those_that_a_look_through_the_whole_table_finds(
    rows: pa.Table, file_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subtrees, "FILE_ROWS", file_rows)
    for each in (rows, rows.slice(0, 0)):
        found = by_node(each)
        assert found.num_rows == each.num_rows and set(found.leaves) == set(each["leaf"].to_pylist())
        for node in (*NODES, *LEAVES, "FR/L", "FR/Lyonss", "IT", "FR-2"):
            assert found.rows(node).equals(rows_within(each, node)), node
            assert found.mapped(node).sort_by(subtrees.ORDER).equals(rows_within(each, node)), node


def test_versions_do_not_depend_on_workers_or_on_what_they_are(tmp_path: Path, rows: pa.Table) -> None:
    alone = versions(tmp_path, rows, workers=1)
    assert sum(version is not None for version in alone.values()) == 5, "Germany has too few rows"
    assert versions(tmp_path, rows, workers=2) == alone
    assert versions(tmp_path, rows, workers=1, pool="processes") == alone


def test_the_trees_of_a_model_do_not_depend_on_its_threads(rows: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.column_stack([rows[name].to_numpy() for name in FEATURES])
    made = []
    for threads in (1, 2):
        monkeypatch.setitem(gradient_boosting.FIXED, "num_threads", threads)
        params = {"num_boost_round": 20, "bagging_fraction": 0.5, "bagging_freq": 1}
        y = rows["label"].to_numpy()
        model = estimators.fit("lightgbm", x, y, task="regression", categorical=[], params=params, seed=7)
        made.append(model.parts()["model.txt"].replace(f"[num_threads: {threads}]".encode(), b""))
    assert made[0] == made[1]


def test_a_node_that_fails_is_told_and_the_others_are_trained(
    tmp_path: Path, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = estimators.train

    def train_unless_lyon(estimator: str, x: np.ndarray, y: np.ndarray, **settings: object) -> object:
        if len(y) == rows_within(rows, "FR/Lyon").num_rows:
            raise FloatingPointError("no convergence")
        return train(estimator, x, y, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(estimators, "train", train_unless_lyon)
    job = a_job(a_line(), tmp_path)
    found = train_nodes(job, dealt(rows, rows), tasks(job))
    outcomes = {done.outcome.node: (done.outcome, done.released) for done in found}
    failed, version = outcomes.pop("FR/Lyon")
    assert isinstance(failed, Failed) and failed.reason == "FloatingPointError: no convergence" and version is None
    assert all(version for outcome, version in outcomes.values() if not isinstance(outcome, NotTrained))


def test_what_every_node_would_meet_ends_the_training(tmp_path: Path, rows: pa.Table) -> None:
    full = tmp_path / "archive"
    full.write_text("a file, where a folder is needed")
    job = a_job(a_line(), full)
    with pytest.raises(OSError, match="archive"):
        list(train_nodes(job, dealt(rows, rows), tasks(job)))


def test_rows_and_models_held_at_a_time_do_not_grow_with_the_nodes(tmp_path: Path, rows: pa.Table) -> None:
    held, most = set[str](), 0

    class Counted(Subtrees):
        def rows(self, node: str) -> pa.Table:
            nonlocal most
            held.add(node)
            most = max(most, len(held))
            return super().rows(node)

    line: Line = a_line(
        train={"window": "28d", "holdout": "7d", "workers": 1}, candidates={"ridge": {"estimator": "ridge"}}
    )
    many = [f"FR/Lyon/{number}" for number in range(40)]
    job = a_job(line, tmp_path)
    for done in train_nodes(job, replace(dealt(rows, rows), train=by_node(rows, Counted)), tasks(job, many)):
        held.remove(done.outcome.node)
    assert 1 <= most <= AHEAD + 1


def test_the_pace_tells_rate_and_time_left_and_not_too_often() -> None:
    now = [0.0]
    pace = Pace(400, clock=lambda: now[0])
    told = []
    for _ in range(40):
        now[0] += 0.3 * TELL_EVERY / 3
        told.append(pace.one_more())
    assert told[9] == "10 of 400 nodes, 60 a minute, 6 min 30 s left"
    assert sum(word is not None for word in told) == 4


def test_what_comes_within_a_short_time_comes_together_and_before_the_error_after_it() -> None:
    now, found = [0.0], list[list[int]]()

    def came(*after: float) -> Iterator[int]:
        for number, seconds in enumerate(after):
            now[0] += seconds * TOGETHER
            yield number
        raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room"):
        for group in together(came(0.3, 0.3, 0.5, 5, 0.1, 0.1), clock=lambda: now[0]):
            found.append(group)
            now[0] += TOGETHER
    assert found == [[0, 1, 2], [3], [4, 5]]
    assert list(together(iter([]))) == []
    assert list(together([1, 2])) == [[1, 2]]


def test_a_ctrl_c_in_the_terminal_is_left_to_the_process_that_hands_out() -> None:
    with processes(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() is signal.SIG_IGN
