"""What does a day of the monitors cost, the more nodes share the same rows; and does each row cost once?

    .venv/bin/python benchmarks/monitors_growth.py [--rows 400000] [--nodes 40 --nodes 400 --nodes 4000] [--quick]

The rows of a week are dealt evenly to so many leaves of a tree of three levels, all with a champion. Measured is the CPU time of
a day of `drift` and of one of `performance`, and of it what is not spent on a node's model: its predictions, its bins, its
verdicts, its metrics, which cost what there are of them. The peer filters the table for each node, as one would without
sorting it; of its nodes 20 are measured. All nodes share one model, which says at once what it says, and is not loaded.

Then the same days are judged in one run, and each in a run of its own: a week's window has each row in seven days.

Exits with 1 where what is beside the models grows by more than the bound from the fewest nodes to the most, or where a run of
many days costs more than half of them one by one.
"""

import contextlib
import datetime as dt
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any
from unittest import mock

import duckdb
import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

FEATURES = [f"feature_{number}" for number in range(20)]
LAST, WEEK, LEVELS, COUNTRIES = dt.date(2026, 3, 21), dt.timedelta(days=7), 3, 4
TASK = "regression"
#: By how much the cost beside the models may grow while nodes grow a hundredfold. It is not 1: to take a node's rows is a call,
#: of 0.3 ms with 22 columns, however few rows there are. A filter for each node grows sixtyfold.
BOUND = 12.0
#: What a run of many days may cost, of what they cost one by one.
TOGETHER = 0.5
console = Console()


def run(
    rows: Annotated[int, typer.Option(help="Rows of the week, and of the day of predictions.")] = 400_000,
    nodes: Annotated[list[int], typer.Option(help="Leaves; as often as sizes.")] = [40, 400, 4000],  # noqa: B006
    quick: Annotated[bool, typer.Option(help="A quarter of the rows and of the leaves.")] = False,
) -> None:
    """Measure a day of the monitors."""
    if quick:
        rows, nodes = rows // 4, [size // 4 for size in nodes]
    table = Table(title=f"{rows:,} rows, {len(FEATURES)} features, CPU seconds of a day", title_justify="left")
    for column in ("leaves", "drift", "beside models", "a filter a node", "performance", "beside metrics"):
        table.add_column(column, justify="right")
    beside: dict[str, dict[int, float]] = {"drift": {}, "performance": {}}
    for size in nodes:
        seen = examples(rows, size, WEEK.days)
        drift, beside["drift"][size] = drift_day(seen, size)
        performance, beside["performance"][size] = performance_day(seen, rows)
        told = (drift, beside["drift"][size], filtered(seen, size), performance, beside["performance"][size])
        table.add_row(f"{size:,}", *(f"{seconds:.2f}" for seconds in told))
    console.print(table)
    few, many = min(nodes), max(nodes)
    growth = {name: seconds[many] / seconds[few] for name, seconds in beside.items()}
    words = ", ".join(f"{name} x {ratio:.1f}" for name, ratio in growth.items())
    console.print(
        f"beside the models, for {many / few:g} times the leaves: {words}; bound: x {BOUND:g}", highlight=False
    )
    share = days_together()
    console.print(f"14 days in one run: {share:.2f} of one by one; bound: {TOGETHER:g}", highlight=False)
    if max(growth.values()) > BOUND or share > TOGETHER:
        raise typer.Exit(1)


def examples(rows: int, leaves: int, days: int) -> pa.Table:
    """Rows of the days up to the last one, by day, dealt evenly to the leaves."""
    rng = np.random.default_rng(0)
    names = np.array([f"C{leaf % COUNTRIES}/city{leaf}" for leaf in range(leaves)])
    back = np.sort(rng.integers(0, days, rows))[::-1]
    columns: dict[str, Any] = {name: pa.array(rng.normal(size=rows)) for name in FEATURES}
    columns["leaf"] = pa.array(names[rng.permutation(rows) % leaves])
    columns["ds"] = pa.array(np.datetime64(LAST) - back.astype("timedelta64[D]"))
    return pa.table(columns)


def champions(leaves: int) -> dict[str, str]:
    from factory_assets.identity.nodes import tree

    return {node: node for node in tree([f"C{leaf % COUNTRIES}/city{leaf}" for leaf in range(leaves)])}


def a_model(seen: pa.Table) -> Any:
    from factory_assets.measures.habits import MOST, Habit
    from factory_assets.measures.profiles import profile, profiles

    reference = seen.slice(0, 20_000)
    own = profiles(reference, FEATURES)
    own["prediction"] = profile(reference[FEATURES[0]], name="prediction")
    calm = Habit(MOST, MOST, {"values": 1.0, "nulls": 1.0, "beyond": 1.0})
    return SimpleNamespace(
        features=tuple(FEATURES),
        task=TASK,
        profiles=own,
        habits=dict.fromkeys(own, calm),
        parts={},
        predict=lambda rows: rows[FEATURES[0]].to_numpy(),
        sample=reference,
        contributions=lambda rows: None,
    )


def between(seen: pa.Table, first: dt.date, last: dt.date) -> pa.Table:
    low, high = np.searchsorted(
        seen["ds"].to_numpy(), [np.datetime64(first), np.datetime64(last + dt.timedelta(days=1))]
    )
    return seen.slice(low, high - low)


def drift_day(seen: pa.Table, leaves: int) -> tuple[float, float]:
    """CPU seconds of a day, and of them those beside the models."""
    from factory_assets.declarations.line import Monitor
    from factory_assets.monitoring.drift import days as drift_days

    model, answering = a_model(seen), champions(leaves)
    with spent_in(drift_days, "_counted", "drifts") as spent:
        began = time.process_time()
        days = drift_days.DriftDays(
            lambda first, last: between(seen, first, last), lambda _: model, Monitor(window=WEEK)
        )
        found = days.judge(LAST, answering)
        seconds = time.process_time() - began
    assert len(found) == len(answering) * (len(FEATURES) + 1), "a node was not judged: it has too few rows"
    return seconds, seconds - spent[0]


def performance_day(seen: pa.Table, rows: int) -> tuple[float, float]:
    """Likewise of a day of performance with as many rows."""
    from factory_assets.monitoring.performance import measured as performance

    rng = np.random.default_rng(1)
    shared = {"ds": pa.array([LAST] * rows), "example_id": pa.array(range(rows))}
    said = {"leaf": seen["leaf"], "version": pa.array(["v1"] * rows), "prediction": pa.array(rng.random(rows))}
    labels = {"label": pa.array(rng.random(rows)), "superseded_at": pa.nulls(rows, pa.timestamp("us"))}
    with duckdb.connect(":memory:") as con, spent_in(performance, "_measured") as spent:
        con.register("predictions", pa.table(shared | said)).register("labels", pa.table(shared | labels))
        began = time.process_time()
        performance.measure(con, TASK, "mae", {"v1": np.array([0.5])})
        seconds = time.process_time() - began
    return seconds, seconds - spent[0]


def filtered(seen: pa.Table, leaves: int) -> float:
    """CPU seconds of filtering the table for each node, of which 20 are measured."""
    from factory_assets.training.fit.fitting import rows_within

    names = list(champions(leaves))
    began = time.process_time()
    for node in names[-20:]:
        rows_within(seen, node)
    return (time.process_time() - began) / 20 * len(names)


def days_together(rows: int = 400_000, leaves: int = 40) -> float:
    """What 14 days cost in one run, of what they cost one by one. rows: of all of them, and of the days before."""
    from factory_assets.declarations.line import Monitor
    from factory_assets.monitoring.drift.days import DriftDays

    seen, answering = examples(rows, leaves, 20), champions(leaves)
    model, days = a_model(seen), [LAST - dt.timedelta(days=back) for back in range(13, -1, -1)]

    def fresh(through: dt.date = dt.date.min) -> DriftDays:
        return DriftDays(
            lambda first, last: between(seen, first, last), lambda _: model, Monitor(window=WEEK), through=through
        )

    began = time.process_time()
    one_by_one = [fresh().judge(day, answering) for day in days]
    apart = time.process_time() - began
    began, together = time.process_time(), fresh(days[-1])
    assert [together.judge(day, answering) for day in days] == one_by_one, "verdicts differ"
    return (time.process_time() - began) / apart


@contextlib.contextmanager
def spent_in(module: Any, *names: str) -> Iterator[list[float]]:
    """CPU seconds spent in functions of a module."""
    spent = [0.0]

    def timed(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return original(*args, **kwargs)
            finally:
                spent[0] += time.process_time() - began

        return call

    with contextlib.ExitStack() as patched:
        for name in names:
            patched.enter_context(mock.patch.object(module, name, timed(getattr(module, name))))
        yield spent


if __name__ == "__main__":
    typer.run(run)
