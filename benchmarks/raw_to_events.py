"""What do reading, cleansing, quarantine, statistics and writing cost, against a bare copy of the same rows? And the verdicts?

    .venv/bin/python benchmarks/raw_to_events.py [--years 1] [--memory 1GB] [DATA]

The card transactions become raw rows, events and statistics, the whole range at once: first the work itself, then each asset
in one Dagster run, with the contract's checks. The peer is one DuckDB COPY of the same files to Parquet, partitioned by
day, run before each station. What Great Expectations' verdicts add is measured by itself, outside of Dagster; what is left
of a run are Dagster's events, which depend on days, not on rows.
"""

import datetime as dt
import multiprocessing
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from raw_to_examples import DATA, FIRST, HALF_YEAR, Cost, console, costing, declare, deployed, replicate
from rich.table import Table

STATIONS = ("raw", "events", "statistics")


def run(
    data: Annotated[Path, typer.Argument(help="Folder of the raw Parquet files.")] = DATA,
    years: Annotated[float, typer.Option(help="Years of data: 0.5 as published, 1 and more by shifted copies.")] = 0.5,
    memory: Annotated[str, typer.Option(help="Memory of a query before it spills.")] = "4GB",
) -> None:
    """Measure raw, events and statistics against one bare copy."""
    warnings.filterwarnings("ignore")
    days = [FIRST + dt.timedelta(days=offset) for offset in range(HALF_YEAR * round(2 * years))]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ |= {"FACTORY_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "FACTORY_MEMORY": memory}
        for name in ("data", "declarations", "dagster"):
            (home / name).mkdir()
        rows = replicate(data, home / "data", round(2 * years))
        declare(home / "declarations", home / "data", days[-1])
        peer, work, runs = measured(home, days)
    bare = Cost(
        statistics.median(cost.seconds for cost in peer),
        statistics.median(cost.cpu for cost in peer),
        max(cost.peak for cost in peer),
    )
    title = f"{rows:,} rows, {len(days)} days, {os.cpu_count()} cores, {memory} a query"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("seconds", "rows/s", "x copy", "CPU s", "peak MB"):
        table.add_column(heading, justify="right")

    def add(name: str, cost: Cost) -> None:
        table.add_row(
            name, f"{cost.seconds:.1f}", f"{rows / cost.seconds:,.0f}", f"{cost.seconds / bare.seconds:.2f}",
            f"{cost.cpu:.1f}", f"{cost.peak / 1e6:,.0f}",
        )  # fmt: skip

    add(f"bare copy, median of {len(peer)}", bare)
    for title, costs in (("the work", work), ("in a Dagster run", runs)):
        table.add_section()
        for name, cost in costs.items():
            add(f"{name}, {title}", cost)
        parts = [cost for name, cost in costs.items() if name in STATIONS]
        total = (sum(cost.seconds for cost in parts), sum(cost.cpu for cost in parts), max(cost.peak for cost in parts))
        add(f"raw → statistics, {title}", Cost(*total))
    console.print(table)


def measured(home: Path, days: list[dt.date]) -> tuple[list[Cost], dict[str, Cost], dict[str, Cost]]:
    """The costs of the bare copy before each station, of the work itself and the verdicts, and of runs with checks."""
    import dagster as dg

    from factory_assets.automation.catchup import RANGE_END, RANGE_START, execute

    deployment = deployed("memory")
    peer, alone, runs = [], {}, {}
    spawned = multiprocessing.get_context("spawn")
    # A process each: what one leaves in memory is not to be taken for the next one's.
    with ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1) as pool:
        for name in (*STATIONS, "verdicts"):
            peer.append(pool.submit(copy, home).result())
            alone[name] = pool.submit(work, name, days).result()
            told = f"  {name:<10} copy {peer[-1].seconds:5.1f} s   the work {alone[name].seconds:5.1f} s"
            if name in STATIONS:
                key = dg.AssetKey(["card_transactions", name])
                with costing() as runs[name]:
                    execute(deployment, [key], {RANGE_START: str(days[0]), RANGE_END: str(days[-1])})
                told += f"   in a run {runs[name].seconds:5.1f} s"
            if deployment.failures:
                console.print("\n".join(deployment.failures), style="red", markup=False)
                sys.exit(1)
            console.print(told, highlight=False)
    return peer, alone, runs


def copy(home: Path) -> Cost:
    from factory_assets.deployment import resources

    with resources()["engine"].connect() as con, costing() as cost:
        con.execute(
            f"""COPY (SELECT *, CAST(TX_DATETIME AS DATE) AS ds FROM read_parquet('{home}/data/*.parquet'))
                TO '{home}/copy' (FORMAT parquet, PARTITION_BY (ds), OVERWRITE)"""
        ).fetchall()
    return cost


def work(name: str, days: list[dt.date]) -> Cost:
    import great_expectations  # noqa: F401  # imported once a process, and no cost of rows

    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations, resources
    from factory_assets.events import stations, verdicts

    held, declared = resources(), load(declarations(), render).streams["card_transactions"]
    lake, engine = held["lake"], held["engine"]
    stages: dict[str, Callable[[], object]] = {
        "raw": lambda: stations.deliver(lake, engine, declared, days, days[-1] + dt.timedelta(days=1)),
        "events": lambda: stations.admit(lake, engine, declared, days),
        "statistics": lambda: stations.describe(lake, engine, declared, days),
        "verdicts": lambda: verdicts.outcomes(lake, engine, declared, days),
    }
    with costing() as cost:
        stages[name]()
    return cost


if __name__ == "__main__":
    typer.run(run)
