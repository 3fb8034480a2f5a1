"""What does a drift verdict on every column cost, against Evidently's preset on the same tables? And how does it grow?

    .venv/bin/python benchmarks/drift_speed.py [--quick]

A million rows of reference and a million rows of now, of 20 columns: 14 numbers, 3 counts, 3 texts. Ours takes profiles and habits of
the reference as a training does, once, counts the rows of now into their bins, and judges. Evidently's DataDriftPreset reads both
tables for each report. Each in a process of its own; ours, whose seconds are few, is the best of three. Then rows and columns are
doubled, and a day of the same rows is judged for more and more nodes, as the monitor does. Ends with exit code 1 where a bound does
not hold.
"""

import datetime as dt
import multiprocessing
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from bounds import conclude
from monitors_growth import drift_day, examples
from raw_to_examples import Cost, console, costing
from rich.table import Table

#: Ours has to be so many times as fast as Evidently's preset.
FASTER = 30
#: Twice the rows or columns, or nodes of the same rows, may cost so many times as much.
GROWTH = 2.6
WEEKS = 8


def columns(rows: int, number: int, seed: int) -> pa.Table:
    """Columns of numbers, counts and texts, in turn as in the whole: 14 to 3 to 3."""
    rng, made = np.random.default_rng(seed), {}
    for place in range(number):
        kind = place % 20
        if kind < 14:
            made[f"number_{place}"] = pa.array(rng.lognormal(4, 1, rows), mask=rng.random(rows) < 0.02)
        elif kind < 17:
            made[f"count_{place}"] = pa.array(rng.poisson(3, rows))
        else:
            made[f"text_{place}"] = pa.array(np.array([f"level {at}" for at in range(40)])[rng.integers(0, 40, rows)])
    return pa.table(made)


def ours(rows: int, number: int) -> tuple[Cost, float]:
    """All of it; and the seconds of what is done each day, which is counting and judging."""
    from factory_assets.measures.habits import Stretches, habit
    from factory_assets.measures.profiles import profile
    from factory_assets.monitoring.drift.verdicts import drift

    before, now = columns(rows, number, 1), columns(rows, number, 2)
    first = dt.date(2026, 1, 1)
    past = Stretches(first, first + dt.timedelta(days=7 * WEEKS - 1), 7)
    places = np.sort(np.random.default_rng(3).integers(0, WEEKS, rows))
    drift(profile(before[0]), None, now[0].slice(0, 100))
    daily = 0.0
    with costing() as cost:
        for name in before.column_names:
            reference = profile(before[name], name=name)
            counts = past.counts(reference, before[name], places)
            own = habit(reference, before[name], counts, np.where(np.arange(WEEKS)[:, None] < WEEKS // 2, counts, 0))
            began = time.perf_counter()
            drift(reference, own, now[name])
            daily += time.perf_counter() - began
    return cost, daily


def evidently(rows: int, number: int) -> tuple[Cost, float]:
    warnings.filterwarnings("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    sides = [columns(rows, number, seed).to_pandas() for seed in (2, 1)]
    numbers = [name for name in sides[0].columns if not name.startswith("text")]
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=[name for name in sides[0].columns if name not in numbers]
    )
    with costing() as cost:
        Report([DataDriftPreset()]).run(*(Dataset.from_pandas(side, data_definition=definition) for side in sides))
    return cost, cost.seconds


def apart(work: Any, *arguments: Any) -> tuple[Cost, float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found: tuple[Cost, float] = pool.submit(work, *arguments).result()
    return found


def run(quick: Annotated[bool, typer.Option("--quick", help="A tenth of the rows: under a minute.")] = False) -> None:
    """Measure ours against Evidently's, and how ours grows."""
    rows, broken = 100_000 if quick else 1_000_000, list[str]()
    table = Table(title=f"{rows:,} + {rows:,} rows, 20 columns", title_justify="left")
    for heading in ("", "seconds", "each day", "CPU s", "peak MB", "x ours", "x ours' CPU", "x ours' MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    with console.status("ours"):
        costs = {"ours": min((apart(ours, rows, 20) for _ in range(3)), key=lambda found: found[0].seconds)}
    with console.status("Evidently's preset"):
        costs["Evidently's preset"] = apart(evidently, rows, 20)
    for name, (cost, each) in costs.items():
        told = (
            f"{cost.seconds:.2f}",
            f"{each:.2f}",
            f"{cost.cpu:.1f}",
            f"{cost.peak / 2**20:,.0f}",
            f"{cost.seconds / costs['ours'][0].seconds:.1f}",
            f"{cost.cpu / costs['ours'][0].cpu:.1f}",
            f"{cost.peak / costs['ours'][0].peak:.1f}",
        )
        table.add_row(name, *told)
    console.print(table)
    theirs, own = costs["Evidently's preset"][0], costs["ours"][0]
    # Neighbours on the machine lengthen a minute of seconds less than a few of them: CPU seconds have to hold as well.
    ratio = min(theirs.seconds / own.seconds, theirs.cpu / own.cpu)
    ratio_daily = costs["Evidently's preset"][1] / costs["ours"][1]
    console.print(f"and of what is done each day: {ratio_daily:.0f} times", highlight=False)
    broken += [f"Evidently takes {ratio:.0f} times as long, {FASTER} wanted"] if ratio < FASTER and not quick else []
    with console.status("growth"):
        for name, smaller, larger in (
            ("rows", (rows // 2, 20), (rows, 20)),
            ("columns", (rows // 2, 20), (rows // 2, 40)),
        ):
            costs_of = [min(apart(ours, *size)[0].cpu for _ in range(2)) for size in (smaller, larger)]
            growth = costs_of[1] / costs_of[0]
            console.print(f"twice the {name}: {growth:.2f} times the CPU", highlight=False)
            broken += [f"twice the {name} cost {growth:.2f} times as much"] if growth > GROWTH else []
        for leaves in (40, 400) if quick else (40, 400, 4000):
            seen = examples(rows, leaves, 7)
            seconds, beside = drift_day(seen, leaves)
            console.print(
                f"a day of {leaves:,} leaves, {rows:,} rows in the week: {seconds:.1f} CPU s, {beside:.1f} of them beside the models",
                highlight=False,
            )
    conclude(broken)


if __name__ == "__main__":
    typer.run(run)
