"""What does the evaluation of a training's nodes cost, as a share of the training, and what does keeping every row cost of it?

    .venv/bin/python benchmarks/evaluation_cost.py [--segments 400] [--rows 1000000] [--quick]     # --quick: under a minute

- **Share.** So many segments of 2,000 training rows and 500 rows of the holdout, 30 features each, in countries of a hundred below a
  root, are trained twice, a week apart: at the second training each node has a challenger, a champion and a parent. Measured are the
  steps `model` and `evaluation` of the second, and of the evaluation what writing the rows takes. A row of the holdout is in the table
  once for its segment, once for its country and once for the root.
- **Memory.** Of one node with more and more rows in the holdout: what the process has of its own at the peak of the evaluation,
  without pages of files. The features alone are 240 bytes a row.

Exits with 1 where a bound does not hold.
"""

import datetime as dt
import functools
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from bounds import conclude, figures
from raw_to_examples import Cost, console, costing
from segment_training import FEATURES, HOLDOUT_DAYS, TRAIN_DAYS, deployment, own_memory

sys.path.insert(0, str(Path(__file__).parents[1]))

#: CPU seconds of the evaluation, of those of the training, at most; and of the evaluation what writing the rows takes.
SHARE, KEEPING = 0.25, 0.25
#: Bytes of memory that a further row of the holdout takes, at most: its label, its id, its day, and what each side predicts, some of
#: them twice for a moment. With its features it would be 560.
A_ROW = 300
TASKS = ("binary", "regression")


@dataclass(frozen=True)
class Turn:
    """A training of segments. keeping: CPU seconds of the evaluation that write rows; rows: of the holdout; kept: of the table."""

    model: Cost
    evaluation: Cost
    keeping: float
    nodes: int
    rows: int
    kept: int
    bytes: int


def run(
    segments: Annotated[int, typer.Option(help="Segments of the training.")] = 400,
    rows: Annotated[int, typer.Option(help="Rows of one node's holdout.")] = 1_000_000,
    quick: Annotated[
        bool, typer.Option(help="A twentieth of the segments, one task, three of four rows, two at once.")
    ] = False,
) -> None:
    """Measure what evaluations cost."""
    os.environ["PYTHONWARNINGS"] = "ignore"
    segments, tasks, most = (segments // 20, TASKS[:1], rows * 3 // 4) if quick else (segments, TASKS, rows)
    spawned = multiprocessing.get_context("spawn")
    broken: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="evaluation-cost-") as folder,
        # CPU seconds and a process's own memory are the same beside another; the share of wall time is not, and is read of the whole.
        ProcessPoolExecutor(2 if quick else 1, mp_context=spawned, max_tasks_per_child=1) as pool,
        console.status("") as status,
    ):
        homes = {size: Path(folder) / str(size) for size in (rows // 4, most)}
        made = {size: pool.submit(one_node, home, size) for size, home in homes.items()}
        trained = {task: pool.submit(training, Path(folder) / task, task, segments) for task in tasks}
        for size, each in made.items():
            status.update(f"{size:,} rows of one node are trained")
            each.result()
        measured = {size: pool.submit(evaluated, home) for size, home in homes.items()}
        status.update(f"{segments} segments are trained and evaluated: {', '.join(tasks)}")
        broken += shares(segments, {task: turn.result() for task, turn in trained.items()})
        status.update(f"{' and '.join(f'{size:,}' for size in measured)} rows of one node are evaluated")
        owned = {size: each.result() for size, each in measured.items()}
        broken += growth(owned)
    conclude(broken)


def shares(segments: int, turns: dict[str, Turn]) -> list[str]:
    """Show the trainings; the bounds that they break."""
    table = figures(
        f"{segments} segments x 2,000 rows x {FEATURES} features, 500 rows of the holdout each, CPU seconds",
        ["nodes", "model", "evaluation", "share", "wall, share", "keeping rows", "of it", "rows kept", "x holdout", "bytes a row"],
    )  # fmt: skip
    broken = []
    for task, turn in turns.items():
        share, keeping = turn.evaluation.cpu / turn.model.cpu, turn.keeping / turn.evaluation.cpu
        table.add_row(
            task, str(turn.nodes), f"{turn.model.cpu:.1f}", f"{turn.evaluation.cpu:.1f}", f"{share:.2f}",
            f"{turn.evaluation.seconds / turn.model.seconds:.2f}", f"{turn.keeping:.2f}", f"{keeping:.2f}", f"{turn.kept:,}",
            f"{turn.kept / turn.rows:.1f}", f"{turn.bytes / turn.kept:.0f}",
        )  # fmt: skip
        if share > SHARE:
            broken.append(f"{task}: the evaluation takes {share:.2f} of the training, at most {SHARE:g} is the bound")
        if keeping > KEEPING:
            broken.append(
                f"{task}: keeping rows takes {keeping:.2f} of the evaluation, at most {KEEPING:g} is the bound"
            )
    console.print(table)
    return broken


def growth(owned: dict[int, tuple[int, Cost]]) -> list[str]:
    """Show the memory of evaluations of one node; the bound, if it is broken. owned: rows -> bytes of its own, and cost."""
    few, many = min(owned), max(owned)
    a_row = (owned[many][0] - owned[few][0]) / (many - few)
    table = figures("one node: memory of the process's own at the peak", ["MB", "CPU s", "µs a row"])
    for size, (memory, cost) in owned.items():
        table.add_row(f"{size:,} rows", f"{memory / 1e6:,.0f}", f"{cost.cpu:.1f}", f"{cost.cpu / size * 1e6:.1f}")
    console.print(table)
    console.print(f"a further row takes {a_row:.0f} bytes; bound: {A_ROW}", highlight=False)
    return [f"a further row takes {a_row:.0f} bytes, at most {A_ROW} is the bound"] if a_row > A_ROW else []


def declare(home: Path, task: str, levels: list[str]) -> list[str]:
    from tests.training import segmented

    names = [f"x{number}" for number in range(FEATURES)]
    segmented.declare(
        home / "defs",
        names,
        task=task,
        segments={"levels": levels, "min_rows": 50, "max_nodes": 20_000},
        train={"window": f"{TRAIN_DAYS}d", "holdout": f"{HOLDOUT_DAYS}d"},
        candidates={"boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 100}}},
    )
    os.environ["FACTORY_DEFS"] = str(home / "defs")
    return names


def fill(line: Any, task: str, names: list[str], days: range, a_day: int) -> None:
    """So many rows a day of each segment, a day a commit."""
    from tests.training.segmented import day

    rng = np.random.default_rng(7)
    slopes = rng.normal(size=(len(names), FEATURES)) * (rng.random((len(names), FEATURES)) < 0.2)
    for offset in days:
        place = np.repeat(np.arange(len(names)), a_day)
        x = rng.normal(size=(len(place), FEATURES))
        y = (slopes[place] * x).sum(axis=1) + np.sin(3 * x[:, 0]) + rng.normal(size=len(place))
        line.give(
            [names[number] for number in place],
            [day(offset)] * len(place),
            x,
            y if task == "regression" else (y > 1) * 1.0,
        )


@contextmanager
def opened(home: Path) -> Iterator[Any]:
    """The line in a folder, on an event log of its own."""
    import dagster as dg

    from factory_assets.deployment import SETTINGS

    warnings.filterwarnings("ignore")
    home.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(home)
    (home / "dagster.yaml").write_text(SETTINGS)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield deployment(home, instance, "made", None)


def done(failed: list[str]) -> None:
    if failed:
        raise RuntimeError("; ".join(failed))


def last(weeks: int = 0) -> dt.date:
    from tests.training.segmented import day

    return day(TRAIN_DAYS + HOLDOUT_DAYS - 1 + 7 * weeks)


def training(home: Path, task: str, segments: int) -> Turn:
    """The second training of so many segments."""
    declare(home, task, ["country", "city"])
    names = [f"{number // 100:03d}/{number:05d}" for number in range(segments)]
    with opened(home) as line:
        fill(line, task, names, range(TRAIN_DAYS + HOLDOUT_DAYS + 7), 2000 // TRAIN_DAYS)
        # What releases a champion is enough: it need not have learnt the newest days to be held against a challenger.
        done(line.train(last(), stations=["model", "evaluation", "champion"]))
        with costing() as model:
            done(line.train(last(1), stations=["model"]))
        with writing() as spent, costing() as evaluation:
            done(line.train(last(1), stations=["evaluation"]))
        held = line.lake.held("score/evaluation")
        files = held.files[last(1)].values()
        rows = sum(
            line.lake.held("score/examples").rows(last(1) - dt.timedelta(days=back)) for back in range(HOLDOUT_DAYS)
        )
        return Turn(
            model, evaluation, sum(spent), len(line.nodes), rows, held.rows(last(1)), sum(size for size, _ in files)
        )


@contextmanager
def writing() -> Iterator[list[float]]:
    """CPU seconds that the process spends while a part of a day is written."""
    from factory_resources.lake import Lake

    spent, original = list[float](), Lake.replace_part

    @functools.wraps(original)
    def timed(*args: Any) -> Any:
        began = time.process_time()
        try:
            return original(*args)
        finally:
            spent.append(time.process_time() - began)

    setattr(Lake, original.__name__, timed)
    try:
        yield spent
    finally:
        setattr(Lake, original.__name__, original)


def one_node(home: Path, rows: int) -> None:
    """A root that was trained on few rows, with so many in the holdout that follows."""
    declare(home, "regression", [])
    with opened(home) as line:
        fill(line, "regression", ["global"], range(TRAIN_DAYS), 200)
        fill(line, "regression", ["global"], range(TRAIN_DAYS, TRAIN_DAYS + HOLDOUT_DAYS), rows // HOLDOUT_DAYS)
        done(line.train(last(), stations=["model"]))


def evaluated(home: Path) -> tuple[int, Cost]:
    """Bytes of the process's own at the peak of the evaluation, beyond those before it, and its cost."""
    declare(home, "regression", [])
    with opened(home) as line:
        with own_memory() as before:
            time.sleep(0.2)
        with own_memory() as own, costing() as cost:
            done(line.train(last(), stations=["evaluation"]))
        return max(own) - max(before), cost


if __name__ == "__main__":
    typer.run(run)
