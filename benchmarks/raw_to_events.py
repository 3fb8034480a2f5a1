"""What do reading, cleansing, quarantine, statistics and writing cost, against a bare copy of the same rows? And the verdicts?

    .venv/bin/python benchmarks/raw_to_events.py [--years 1] [DATA]

The card transactions go through `raw`, `events` and `statistics`, each in one run over the whole range. The peer is one DuckDB
COPY of the same files to Parquet, partitioned by day, run before each station. What Great Expectations' verdicts add to
`raw` is measured by itself: the same validation once more, outside of Dagster.
"""

import datetime as dt
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from raw_to_examples import DATA, FIRST, HALF_YEAR, Cost, console, costing, declare, deployed, replicate
from rich.table import Table


def run(
    data: Annotated[Path, typer.Argument(help="Folder of the raw Parquet files.")] = DATA,
    years: Annotated[float, typer.Option(help="Years of data: 0.5 as published, 1 and more by shifted copies.")] = 0.5,
) -> None:
    """Measure raw, events and statistics against one bare copy."""
    last = FIRST + dt.timedelta(days=HALF_YEAR * round(2 * years) - 1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ |= {"FACTORY_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
        for name in ("data", "declarations", "dagster"):
            (home / name).mkdir()
        rows = replicate(data, home / "data", round(2 * years))
        declare(home / "declarations", home / "data", last)
        peer, stations = measured(home, last)
    copy = statistics.median(cost.seconds for cost in peer)
    table = Table(
        title=f"{rows:,} rows, {HALF_YEAR * round(2 * years)} days, {os.cpu_count()} cores", title_justify="left"
    )
    table.add_column("")
    for heading in ("seconds", "rows/s", "x copy", "CPU s", "peak MB"):
        table.add_column(heading, justify="right")
    verdicts = stations.pop("verdicts")
    alone = sum(cost.seconds for cost in stations.values()) - verdicts.seconds
    total = Cost(
        alone, sum(cost.cpu for cost in stations.values()) - verdicts.cpu, max(c.peak for c in stations.values())
    )
    shown = {"bare copy": Cost(copy, statistics.median(c.cpu for c in peer), max(c.peak for c in peer)), **stations}
    for name, cost in {**shown, "verdicts, of raw": verdicts, "all but verdicts": total}.items():
        table.add_row(
            name, f"{cost.seconds:.1f}", f"{rows / cost.seconds:,.0f}", f"{cost.seconds / copy:.2f}", f"{cost.cpu:.1f}",
            f"{cost.peak / 1e6:,.0f}",
        )  # fmt: skip
    console.print(table)


def measured(home: Path, last: dt.date) -> tuple[list[Cost], dict[str, Cost]]:
    """The cost of each station, of the verdicts by themselves, and of the bare copy before each."""
    import dagster as dg

    from factory_assets.automation.catchup import RANGE_END, RANGE_START, execute
    from factory_assets.deployment import resources
    from factory_assets.events.verdicts import outcomes

    deployment, held = deployed("memory"), resources()
    declared = deployment.catalogue.streams["card_transactions"]
    days = [FIRST + dt.timedelta(days=offset) for offset in range((last - FIRST).days + 1)]
    peer, stations = [], {}
    for name in ("raw", "events", "statistics", "verdicts"):
        with held["engine"].connect() as con, costing() as cost:
            con.execute(
                f"""COPY (SELECT *, CAST(TX_DATETIME AS DATE) AS ds FROM read_parquet('{home}/data/*.parquet'))
                    TO '{home}/copy' (FORMAT parquet, PARTITION_BY (ds), OVERWRITE)"""
            ).fetchall()
        peer.append(cost)
        with costing() as cost:
            if name == "verdicts":
                outcomes(held["lake"], held["engine"], declared, days)
            else:
                key = dg.AssetKey(["card_transactions", name])
                execute(deployment, [key], {RANGE_START: str(FIRST), RANGE_END: str(last)})
        if deployment.failures:
            console.print("\n".join(deployment.failures), style="red", markup=False)
            sys.exit(1)
        stations[name] = cost
        console.print(f"  {name:<10} {cost.seconds:6.1f} s   copy {peer[-1].seconds:5.1f} s", highlight=False)
    return peer, stations


if __name__ == "__main__":
    typer.run(run)
