"""What does a long range of days cost from raw files to examples, against one bare query for the same features?

    .venv/bin/python benchmarks/raw_to_examples.py [--years 1] [--events memory] [DATA]

The six months of card transactions (183 days, 1.75 million rows; a year is the same data again, shifted by 183 days) go
through the contract's checks, quarantine, point-in-time windows and three Delta tables, each asset in one run over the
whole range on Dagster's default storage. The measure beside it is one DuckDB query that computes the 14 features from
the same files and writes one Parquet file: it is run before every station, so that both meet the same busy machine.
"""

import datetime as dt
import os
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import duckdb
import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from factory_assets.governor.executor import Deployment

REPOSITORY = Path(__file__).parents[1]
EXAMPLE = REPOSITORY / "examples" / "card_fraud"
DATA = REPOSITORY.parent / "shared" / "data" / "card_transactions" / "raw"
FIRST, HALF_YEAR = dt.date(2018, 4, 1), 183
STATIONS = (("card_transactions", "raw"), ("card_transactions", "events"), ("card_fraud", "examples"))
#: Seconds between two looks at the memory of this process.
LOOK = 0.02
console = Console()


@dataclass
class Cost:
    """Wall-clock and CPU seconds, and the most memory that the process held meanwhile, in bytes."""

    seconds: float = 0.0
    cpu: float = 0.0
    peak: int = 0


@contextmanager
def costing() -> Iterator[Cost]:
    cost, done = Cost(), threading.Event()

    def watch() -> None:
        while not done.wait(LOOK):
            cost.peak = max(cost.peak, resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds, cost.cpu = time.perf_counter() - began, time.process_time() - cpu
        done.set()
        watcher.join()


def resident() -> int:
    """Memory of this process in bytes."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    # macOS keeps only the highest value so far, in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def replicate(source: Path, into: Path, halves: int) -> int:
    """Write the data `halves` times, each copy half a year later than the one before and with ids of its own."""
    with duckdb.connect(":memory:") as con:
        files = f"read_parquet('{source}/*.parquet')"
        rows, ids = con.execute(f"SELECT count(*), max(TRANSACTION_ID) + 1 FROM {files}").fetchall()[0]
        for copy in range(halves):
            days = copy * HALF_YEAR
            con.execute(
                f"""COPY (SELECT * REPLACE (TRANSACTION_ID + {copy * ids} AS TRANSACTION_ID,
                                            TX_DATETIME::TIMESTAMP + INTERVAL {days} DAY AS TX_DATETIME,
                                            TX_TIME_SECONDS + {days * 86400} AS TX_TIME_SECONDS,
                                            TX_TIME_DAYS + {days} AS TX_TIME_DAYS)
                          FROM {files}) TO '{into}/half-{copy}.parquet' (FORMAT parquet)"""
            ).fetchall()
    return int(rows) * halves


def bare(files: str, out: Path, by_day: bool = False) -> str:
    """The 14 features in one query, written as they are published: one file in no order, or sorted files by day."""
    customer = "PARTITION BY CUSTOMER_ID ORDER BY TX_DATETIME"
    terminal = "PARTITION BY TERMINAL_ID ORDER BY TX_DATETIME"
    chosen, windows = [], []
    for days in (1, 7, 30):
        length = f"to_microseconds({days * 86_400_000_000 - 1})"
        delayed = f"to_microseconds({(days + 7) * 86_400_000_000 - 1})"
        windows += [
            f"c{days} AS ({customer} RANGE BETWEEN {length} PRECEDING AND CURRENT ROW EXCLUDE TIES)",
            f"t{days} AS ({terminal} RANGE BETWEEN {delayed} PRECEDING AND INTERVAL 7 DAY PRECEDING)",
        ]
        chosen += [
            f"count(*) OVER c{days} AS customer_count_{days}, avg(TX_AMOUNT) OVER c{days} AS customer_amount_{days}",
            f"count(*) OVER t{days} AS terminal_count_{days}, "
            f"coalesce(avg(TX_FRAUD) OVER t{days}, 0) AS terminal_risk_{days}",
        ]
    order = "ORDER BY TX_DATETIME, TRANSACTION_ID" if by_day else ""
    options = "FORMAT parquet" + (", PARTITION_BY (ds), OVERWRITE" if by_day else "")
    return f"""COPY (SELECT TX_DATETIME::DATE AS ds, TRANSACTION_ID, TX_DATETIME, CUSTOMER_ID, TERMINAL_ID, TX_AMOUNT, TX_FRAUD,
                            isodow(TX_DATETIME) >= 6 AS weekend, hour(TX_DATETIME) <= 6 AS night, {", ".join(chosen)}
                     FROM (SELECT * REPLACE (TX_DATETIME::TIMESTAMP AS TX_DATETIME) FROM read_parquet('{files}'))
                     WINDOW {", ".join(windows)} {order}) TO '{out}' ({options})"""


def declare(folder: Path, data: Path, last: dt.date) -> None:
    """The example's declarations, over these files and up to this day."""
    text = (EXAMPLE / "defs.yaml").read_text()
    (folder / "defs.yaml").write_text(text.replace("end: 2018-09-30", f"end: {last}"))
    (folder / "contract.yaml").write_text((EXAMPLE / "contract.yaml").read_text())
    os.environ |= {"FACTORY_DEFS": str(folder), "CARD_TRANSACTIONS": str(data)}


def deployed(events: str) -> "Deployment":
    import dagster as dg

    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.definitions import defs
    from factory_assets.deployment import declarations, prepare_home, stores
    from factory_assets.governor.executor import Deployment

    # Imported once a process: the contract's checks would otherwise pay for it as if it were a cost of rows.
    import great_expectations  # noqa: F401  # isort: skip

    prepare_home()
    held = stores()
    instance = dg.DagsterInstance.ephemeral() if events == "memory" else dg.DagsterInstance.get()
    return Deployment(load(declarations(), render), defs(), instance, held["lake"], held["ledger"], held["archive"])


def differing(deployment: "Deployment", out: Path) -> int:
    """Rows of the line's examples that are not those of the bare query."""
    with duckdb.connect(":memory:") as con:
        deployment.lake.view(con, "examples", "card_fraud/examples")
        return compared(con, out)


def compared(con: duckdb.DuckDBPyConnection, out: Path) -> int:
    """Rows of the view `examples` whose 14 features are not the bare query's, or that only one of the two has."""
    pairs = [("is_weekend", "weekend"), ("is_night", "night")]
    for days in (1, 7, 30):
        pairs += [
            (f"customer_spending.tx_count_{days}d", f"customer_count_{days}"),
            (f"customer_spending.amount_{days}d", f"customer_amount_{days}"),
            (f"terminal_risk.tx_count_{days}d", f"terminal_count_{days}"),
            (f"terminal_risk.risk_{days}d", f"terminal_risk_{days}"),
        ]
    # Sums of doubles in two orders of addition may differ in the last bits.
    wrong = " OR ".join(
        f'NOT coalesce(abs("{ours}"::DOUBLE - {theirs}::DOUBLE) < 1e-9, false)' for ours, theirs in pairs
    )
    query = f"""SELECT count(*) FROM examples FULL JOIN read_parquet('{out}') AS bare
                ON example_id = TRANSACTION_ID WHERE {wrong}"""
    return int(con.execute(query).fetchall()[0][0])


def show(title: str, rows: int, peer: list[Cost], stations: dict[str, Cost]) -> None:
    median = statistics.median(cost.seconds for cost in peer)
    median_cpu = statistics.median(cost.cpu for cost in peer)
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("seconds", "rows/s", "x bare", "CPU s", "x bare CPU", "peak MB"):
        table.add_column(heading, justify="right")

    def add(name: str, seconds: float, cpu: float, peak: int) -> None:
        table.add_row(
            name, f"{seconds:.1f}", f"{rows / seconds:,.0f}", f"{seconds / median:.2f}",
            f"{cpu:.1f}", f"{cpu / median_cpu:.2f}", f"{peak / 1e6:,.0f}",
        )  # fmt: skip

    add(f"bare query, median of {len(peer)}", median, median_cpu, max(cost.peak for cost in peer))
    table.add_section()
    for name, cost in stations.items():
        add(name, cost.seconds, cost.cpu, cost.peak)
    table.add_section()
    total = Cost(*(sum(getattr(cost, part) for cost in stations.values()) for part in ("seconds", "cpu")))
    add("raw → examples", total.seconds, total.cpu, max(cost.peak for cost in stations.values()))
    console.print(table)


def run(
    data: Annotated[Path, typer.Argument(help="Folder of the raw Parquet files.")] = DATA,
    years: Annotated[float, typer.Option(help="Years of data: 0.5 as published, 1 and more by shifted copies.")] = 0.5,
    events: Annotated[Literal["sqlite", "memory"], typer.Option(help="Where Dagster keeps its events.")] = "sqlite",
) -> None:
    """Measure raw → events → examples against one bare query."""
    halves = round(2 * years)
    if halves < 1 or not list(data.glob("*.parquet")):
        console.print(f"[red]nothing to do: {data} must hold Parquet files, --years must be 0.5 or more; found {years}")
        raise typer.Exit(1)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="raw-to-examples-") as folder:
        home = Path(folder)
        os.environ |= {"FACTORY_HOME": str(home / "home"), "DAGSTER_HOME": str(home / "home" / "dagster")}
        for name in ("data", "declarations"):
            (home / name).mkdir()
        last = FIRST + dt.timedelta(days=HALF_YEAR * halves - 1)
        with console.status("preparing") as status:
            rows = replicate(data, home / "data", halves)
            declare(home / "declarations", home / "data", last)
            deployment = deployed(events)
            peer, stations = measured(deployment, home, last, lambda what: status.update(what))
            status.update("comparing every feature of every row")
            wrong = differing(deployment, home / "bare.parquet")
        title = f"{rows:,} rows, {HALF_YEAR * halves} days, {os.cpu_count()} cores, events in {events}"
        show(title, rows, peer, stations)
        console.print(f"rows that differ between the two: {wrong}", highlight=False)
        sys.exit(bool(wrong))


def measured(
    deployment: "Deployment", home: Path, last: dt.date, tell: Callable[[str], None]
) -> tuple[list[Cost], dict[str, Cost]]:
    """The cost of each station, and of the bare query as often."""
    import dagster as dg

    from factory_assets.deployment import stores
    from factory_assets.governor.executor import execute
    from factory_assets.governor.runs import RANGE_END, RANGE_START

    peer, stations = [], {}
    for key in STATIONS:
        tell("one bare query")
        with stores()["engine"].connect(str(home)) as con, costing() as cost:
            con.execute(bare(f"{home}/data/*.parquet", home / "bare.parquet")).fetchall()
        peer.append(cost)
        name = key[-1]
        tell(name)
        with costing() as cost:
            deployment.failures += execute(
                deployment, [dg.AssetKey(key)], {RANGE_START: str(FIRST), RANGE_END: str(last)}
            )
        if deployment.failures:
            console.print("\n".join(deployment.failures), style="red", markup=False)
            raise typer.Exit(1)
        stations[name] = cost
        console.print(f"  {name:<10} {cost.seconds:6.1f} s   bare {peer[-1].seconds:5.1f} s", highlight=False)
    return peer, stations


if __name__ == "__main__":
    typer.run(run)
