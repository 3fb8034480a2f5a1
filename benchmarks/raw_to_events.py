"""What do reading, cleansing, quarantine, statistics and writing cost, against a bare copy of the same rows? And the verdicts?

    .venv/bin/python benchmarks/raw_to_events.py [--years 1] [--memory 1GB] [DATA]

The card transactions become raw rows, events and statistics, the whole range at once: first the work itself, then each asset
in one Dagster run, with the contract's checks. The peer is one DuckDB COPY of the same files to Parquet, partitioned by
day, run before each station. What Great Expectations' verdicts add is measured by itself, outside of Dagster; what is left
of a run are Dagster's events, which depend on days, not on rows.

How near to the copy the same work can come is told by the plainest DuckDB statements for it, station by station, without
Dagster, Delta or a declaration. They do less than ours: no name of a file or text that did not parse beside the row,
no correlations, no repeated row that is told from a correction, one rule a row, no bytes that are the same for all threads.
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
NUMBERS = (
    "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD", "TX_FRAUD_SCENARIO",
)  # fmt: skip


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
        for name in ("data", "declarations", "dagster", "plain"):
            (home / name).mkdir()
        rows = replicate(data, home / "data", round(2 * years))
        declare(home / "declarations", home / "data", days[-1])
        peer, plain, work, runs = measured(home, days)
    bare = Cost(
        statistics.median(cost.seconds for cost in peer),
        statistics.median(cost.cpu for cost in peer),
        max(cost.peak for cost in peer),
    )
    plain["raw → statistics"] = total(plain)
    title = f"{rows:,} rows, {len(days)} days, {os.cpu_count()} cores, {memory} a query"
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("seconds", "x copy", "CPU s", "x CPU", "x plain", "MB"):
        table.add_column(heading, justify="right")

    def add(name: str, cost: Cost, least: Cost | None = None) -> None:
        table.add_row(
            name, f"{cost.seconds:.1f}", f"{cost.seconds / bare.seconds:.2f}",
            f"{cost.cpu:.1f}", f"{cost.cpu / bare.cpu:.2f}", f"{cost.cpu / least.cpu:.2f}" if least else "",
            f"{cost.peak / 1e6:,.0f}",
        )  # fmt: skip

    add(f"bare copy, median of {len(peer)}", bare)
    for title, costs in (("plain", plain), ("the work", work), ("in a run", runs)):
        table.add_section()
        for name, cost in ({"raw → statistics": total(costs)} | costs).items():
            add(f"{name}, {title}", cost, plain.get(name) if costs is not plain else None)
    console.print(table)


def total(costs: dict[str, Cost]) -> Cost:
    """All three stations together."""
    parts = [costs[name] for name in STATIONS]
    return Cost(sum(cost.seconds for cost in parts), sum(cost.cpu for cost in parts), max(cost.peak for cost in parts))


def measured(home: Path, days: list[dt.date]) -> tuple[list[Cost], dict[str, Cost], dict[str, Cost], dict[str, Cost]]:
    """The costs of the bare copy before each station, of plain queries, of the work itself and the verdicts, and of runs."""
    import dagster as dg

    from factory_assets.governor.executor import execute
    from factory_assets.governor.runs import RANGE_END, RANGE_START

    deployment = deployed("memory")
    peer, least, alone, runs = [], {}, {}, {}
    spawned = multiprocessing.get_context("spawn")
    # A process each: what one leaves in memory is not to be taken for the next one's.
    with ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1) as pool:
        for name in (*STATIONS, "verdicts"):
            peer.append(pool.submit(copy, home).result())
            told = f"  {name:<10} copy {peer[-1].seconds:5.1f} s"
            if name in STATIONS:
                least[name] = pool.submit(plain, home, name).result()
                told += f"   plain {least[name].seconds:5.1f} s"
            alone[name] = pool.submit(work, name, days).result()
            told += f"   the work {alone[name].seconds:5.1f} s"
            if name in STATIONS:
                key = dg.AssetKey(["card_transactions", name])
                with costing() as runs[name]:
                    deployment.failures += execute(
                        deployment, [key], {RANGE_START: str(days[0]), RANGE_END: str(days[-1])}
                    )
                told += f"   in a run {runs[name].seconds:5.1f} s"
            if deployment.failures:
                console.print("\n".join(deployment.failures), style="red", markup=False)
                sys.exit(1)
            console.print(told, highlight=False)
    return peer, least, alone, runs


def copy(home: Path) -> Cost:
    from factory_assets.deployment import stores

    with stores()["engine"].connect(str(home)) as con, costing() as cost:
        con.execute(
            f"""COPY (SELECT *, CAST(TX_DATETIME AS DATE) AS ds FROM read_parquet('{home}/data/*.parquet'))
                TO '{home}/copy' (FORMAT parquet, PARTITION_BY (ds), OVERWRITE)"""
        ).fetchall()
    return cost


def plain(home: Path, name: str) -> Cost:
    """The station's work in as few and as plain statements as it takes."""
    from factory_assets.deployment import stores

    with stores()["engine"].connect(str(home)) as con, costing() as cost:
        for statement in statements(home)[name]:
            con.execute(statement).fetchall()
    return cost


def statements(home: Path) -> dict[str, list[str]]:
    """Each station reads what the one before it wrote, and leaves files by day and a hash of each day's rows."""
    columns = ", ".join(["TRANSACTION_ID", "TX_DATETIME", *NUMBERS])
    raw, events = (
        f"read_parquet('{home}/plain/{name}/*/*.parquet', hive_partitioning = true, hive_types = {{'ds': DATE}})"
        for name in ("raw", "events")
    )
    typed = ", ".join(
        f"TRY_CAST({name} AS {'DOUBLE' if name == 'TX_AMOUNT' else 'BIGINT'}) AS {name}" for name in NUMBERS
    )
    landed = f"""SELECT TRANSACTION_ID, TX_DATETIME::TIMESTAMP AS TX_DATETIME, {typed}, TX_DATETIME::DATE AS ds
                 FROM read_parquet('{home}/data/*.parquet')"""
    broken = f"""TX_AMOUNT < 0 OR TX_TIME_SECONDS < 0 OR TX_TIME_DAYS < 0 OR TX_FRAUD NOT IN (0, 1)
                 OR TX_FRAUD_SCENARIO NOT IN (0, 1, 2, 3) OR TX_DATETIME::DATE <> ds
                 OR {" OR ".join(f"{name} IS NULL" for name in columns.split(", "))}"""
    derived = """isodow(TX_DATETIME) >= 6 AS is_weekend, hour(TX_DATETIME) <= 6 AS is_night, TX_DATETIME AS event_time,
                 TX_DATETIME AS known_at"""
    accepted = f"""SELECT {columns}, {derived}, ds FROM {raw} ANTI JOIN repeated USING (TRANSACTION_ID)
                   WHERE NOT coalesce({broken}, false)"""
    # Quantiles come of the bins; no column is a text, of which the most frequent would be counted.
    sketched = []
    for name in [*NUMBERS, "is_weekend::BIGINT", "is_night::BIGINT"]:
        bin_ = (
            f"CASE WHEN {name} <> 0 THEN (sign({name}) * (ceil(ln(abs({name})) * 50) + 40000))::INTEGER ELSE {name} END"
        )
        sketched.append(
            f"""count({name}), min({name}), max({name}), avg({name}), stddev_pop({name}), histogram({bin_}),
                approx_count_distinct({name})"""
        )
    return {
        "raw": [by_day(landed, home / "plain" / "raw"), hashed(landed, f"{columns}, ds")],
        "events": [
            f"CREATE TEMP TABLE repeated AS SELECT TRANSACTION_ID FROM {raw} GROUP BY ALL HAVING count(*) > 1",
            f"COPY (SELECT * FROM {raw} WHERE {broken}) TO '{home}/plain/quarantine.parquet'",
            by_day(f"{accepted} ORDER BY ds, event_time", home / "plain" / "events"),
            hashed(accepted, f"{columns}, is_weekend, is_night, event_time, known_at, ds"),
        ],
        "statistics": [f"SELECT ds, count(*), {', '.join(sketched)} FROM {events} GROUP BY ds"],
    }


def by_day(rows: str, folder: Path) -> str:
    return f"COPY ({rows}) TO '{folder}' (FORMAT parquet, PARTITION_BY (ds), OVERWRITE)"


def hashed(rows: str, columns: str) -> str:
    halves = "sum((h >> 32)::BIGINT), sum((h & 4294967295)::BIGINT)"
    return f"SELECT ds, count(*), {halves} FROM (SELECT ds, hash({columns}) AS h FROM ({rows})) GROUP BY ds"


def work(name: str, days: list[dt.date]) -> Cost:
    import great_expectations  # noqa: F401  # imported once a process, and no cost of rows

    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations, stores
    from factory_assets.events import stations
    from factory_assets.events.contract import verdicts

    held, declared = stores(), load(declarations(), render).streams["card_transactions"]
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
