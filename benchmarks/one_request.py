"""What does the feature vector of one request cost, and is it the row that the batch has?

    .venv/bin/python benchmarks/one_request.py [DATA]

The card transactions of half a year, 15 features in two views. The last day's transactions are asked for one by one, from
a history held in memory, and compared to the day's `examples`, value for value. Beside it, as a measure: the batch's query.
"""

import datetime as dt
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer
from raw_to_examples import DATA, FIRST, HALF_YEAR, console, declare, deployed, replicate, resident

REQUESTS, QUERIES = 5_000, 20


def run(data: Annotated[Path, typer.Argument(help="Folder of the raw Parquet files.")] = DATA) -> None:
    """Ask for the features of single transactions."""
    warnings.filterwarnings("ignore")
    day = FIRST + dt.timedelta(days=HALF_YEAR - 1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ |= {"FACTORY_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
        for name in ("data", "declarations", "dagster"):
            (home / name).mkdir()
        replicate(data, home / "data", 1)
        declare(home / "declarations", home / "data", day)
        sys.exit(asked(day))


def asked(day: dt.date) -> int:
    """Measure, and return how many features differ from the batch."""
    from factory_assets.deployment import stores
    from factory_assets.events import stations
    from factory_assets.features.examples import rows as examples
    from factory_assets.features.online import Online
    from factory_assets.features.point_in_time.tables import loader

    deployment, held = deployed("memory"), stores()
    lake, engine = held["lake"], held["engine"]
    declared = deployment.catalogue.resolve(deployment.catalogue.lines["card_fraud"])
    days = [FIRST + dt.timedelta(days=offset) for offset in range(HALF_YEAR)]
    stations.deliver(lake, engine, declared.observed, days, day + dt.timedelta(days=1))
    stations.admit(lake, engine, declared.observed, days)
    with engine.connect() as con:
        load = loader(lake, con)
        batch = con.sql(examples.build(con, declared, [day], load)).to_arrow_table().to_pylist()
        before, began = resident(), time.perf_counter()
        online = Online(con, declared, day, load)
        read, memory = time.perf_counter() - began, resident() - before
        load("today", f"{declared.observed.stream.name}/events", day, day)
        events = con.sql("SELECT * FROM today").to_arrow_table().to_pylist()
        by_id = {event[declared.observed.stream.id]: event for event in events}
        # An entity's running sums are made when it is first asked for; afterwards its history is warm.
        cold, warm, differing = list[float](), list[float](), 0
        for row in batch[:REQUESTS]:
            event = by_id[row["example_id"]]
            for times in (cold, warm):
                start = time.perf_counter()
                found = online.features(event)
                times.append(time.perf_counter() - start)
            differing += sum(found[name] != row[name] for name in declared.features)
        queries = []
        for row in batch[:QUERIES]:
            start = time.perf_counter()
            con.sql(examples.build(con, declared, [day], load)).filter(f"example_id = {row['example_id']}").fetchall()
            queries.append(time.perf_counter() - start)
    micro = 1e6
    console.print(
        f"{len(declared.features)} features, {len(cold):,} requests; history read in {read:.1f} s, {memory / 1e6:,.0f} MB"
    )
    for name, times in (("first request of an entity", cold), ("again", warm)):
        ranked = sorted(times)
        console.print(
            f"{name:<28} median {statistics.median(times) * micro:7.0f} µs   99 % {ranked[len(ranked) * 99 // 100] * micro:7.0f} µs",
            highlight=False,
        )
    console.print(f"the batch's query            median {statistics.median(queries) * micro:7.0f} µs", highlight=False)
    console.print(f"values that differ from the batch: {differing}", highlight=False)
    return int(differing > 0)


if __name__ == "__main__":
    typer.run(run)
