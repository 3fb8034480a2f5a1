"""What does joining daily snapshots of features to observations cost, against Feast's join of the same tables?

    .venv/bin/python benchmarks/point_in_time_join.py [--rows 20000 --rows 200000] [--feast-venv FOLDER]

5,000 entities have six features at the close of each of 146 days, 19 days in 20; observations are at random moments.
Each gets the values of the previous day's close, or none. Ours is a declared line whose view is listed in `snapshot`:
two Delta tables by day are read, a third is written with a content hash a day. Feast (DuckDB offline store, an
environment of its own) and bare queries read the same rows from two Parquet files and write a third; a snapshot
is known from the next midnight on. A view of Feast's has a time to live: a day is our rule, a year lets older snapshots
answer. All take turns, each in a process of its own, and every value is compared.
"""

import datetime as dt
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from features_at_scale import median
from raw_to_examples import Cost, console, costing
from rich.table import Table

#: What is installed beside Feast, for benchmarks/feast_join.py to measure itself as we do.
FEAST = ("feast[duckdb]==0.67.0", "typer")
FIRST, DAYS, ENTITIES = dt.date(2026, 1, 1), 146, 5_000
#: Of an entity's days, how many have a snapshot; of the entities observed, how many never have one.
PRESENT, UNKNOWN = 0.95, 0.01
AGGREGATES = ("mean", "max")
WINDOWS = ("1d", "7d", "28d")
FEATURES = tuple(f"{aggregate}_{window}" for aggregate in AGGREGATES for window in WINDOWS)
#: Days that a snapshot of Feast's lives: one, as ours do, and as good as ever.
LIVES = {"Feast, ttl a day": 1, "Feast, ttl a year": 365}
#: Bytes that Feast holds: an observation together with an earlier snapshot that still lives, the observation itself,
#: and its environment. Measured as 2.3 GB for 200,000 rows of 73 earlier snapshots, 0.7 GB for 20,000; 0.5 GB with one.
PAIR, ROW, ENVIRONMENT = 125, 700, 0.4e9
#: One query: the latest snapshot before a moment as an engine finds it, and as ours, by the day itself.
BARE = {
    "bare ASOF join": "ASOF LEFT JOIN {snapshots} ON o.customer_id = f.customer_id AND o.event_timestamp >= f.known_at",
    "bare join by day": """LEFT JOIN {snapshots} ON o.customer_id = f.customer_id
                           AND f.known_at = date_trunc('day', o.event_timestamp)""",
}
SEED = 7

STREAM = """
type: factory_assets.components.EventStream
attributes:
  name: payments
  owner: team:payments
  description: Payments, one row each.
  source: {{kind: parquet, uri: "{folder}/*.parquet"}}
  id: payment_id
  event_time: paid_at
  start: {first}
  end: {last}
---
type: factory_assets.components.FeatureView
attributes:
  name: habit
  stream: payments
  entity: customer_id
  owner: team:payments
  description: What a customer pays.
  windows: [{windows}]
  features: {{mean: mean(amount), max: max(amount)}}
---
type: factory_assets.components.ModelLine
attributes:
  name: paid
  owner: team:payments
  description: Whether a payment is large, asked when it happens.
  task: binary
  observe: {{stream: payments}}
  label: {{expression: amount > 100, delay: 1d}}
  features: [habit.*]
  snapshot: [habit]
  train: {{window: 28d, holdout: 7d}}
  candidates:
    logistic: {{estimator: logistic_regression}}
"""
CONTRACT = """
version: 1
columns:
  payment_id: {type: integer}
  customer_id: {type: integer}
  paid_at: {type: timestamp}
  amount: {type: double, unit: EUR}
"""


@dataclass
class Difference:
    """Rows of which a value differs from ours; those where the previous day has no snapshot; empty values of both."""

    rows: int
    without_snapshot: int
    empty: int
    empty_ours: int

    def __str__(self) -> str:
        empty = f"empty values {self.empty:,}, ours {self.empty_ours:,}"
        if not self.rows:
            return f"every value of every row is ours; {empty}"
        reason = f"of these {self.without_snapshot:,} have no snapshot of the previous day, and an older one answers"
        return f"{self.rows:,} rows differ, {reason}; {empty}"


def run(
    rows: Annotated[list[int], typer.Option(help="Observations; as often as sizes.")] = [20_000, 200_000],  # noqa: B006
    feast_venv: Annotated[Path | None, typer.Option(help="Feast's environment; made there if it is absent.")] = None,
    repeat: Annotated[int, typer.Option(help="How often each is measured; the median counts.")] = 3,
    memory: Annotated[float, typer.Option(help="GB that Feast may need; 0: three quarters of what is available.")] = 0,
) -> None:
    """Measure our join of snapshots, Feast's and a bare one."""
    most = memory * 1e9 or 0.75 * available()
    os.environ["PYTHONWARNINGS"] = "ignore"
    wrong = False
    with tempfile.TemporaryDirectory(prefix="point-in-time-join-") as folder:
        with console.status("Feast's environment"):
            interpreter = environment(feast_venv or Path(folder) / "venv")
        for size in rows:
            home = Path(folder) / str(size)
            with console.status(f"{size:,} rows") as status:
                snapshots = simulate(home, size)
                costs, missing = measured(home, size, interpreter, repeat, most, lambda what: status.update(what))
                status.update("comparing every value of every row")
                differences = {name: differing(home, name) for name in costs if name != "ours"}
            title = f"{size:,} rows, {snapshots:,} snapshots of {len(FEATURES)} features, {os.cpu_count()} cores"
            show(title, size, costs, missing)
            for name, difference in differences.items():
                console.print(f"  {name}: {difference}", highlight=False)
                # With a longer life, an older snapshot answers where the day before has none. That is no fault.
                excused = difference.without_snapshot if name == "Feast, ttl a year" else 0
                wrong |= difference.rows > excused
    sys.exit(wrong)


def environment(folder: Path) -> Path:
    """The interpreter of an environment with Feast, which cannot live in ours: it caps pandas."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([interpreter, "-c", "import feast, typer"], capture_output=True).returncode:
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *FEAST], check=True)
    return interpreter


def available() -> float:
    """Bytes of memory that are free to take."""
    status = Path("/proc/meminfo")
    if status.exists():
        return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if "MemAvailable" in line)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2


def needed(rows: int, life: int) -> float:
    """Bytes that Feast's join of so many rows is expected to hold."""
    return ENVIRONMENT + rows * (ROW + PAIR * min(life, DAYS / 2))


def simulate(home: Path, rows: int) -> int:
    """Write declarations, both tables of the lake, and the same rows as Parquet for the others; returns snapshots."""
    from factory_resources.lake import Lake

    (home / "declarations").mkdir(parents=True)
    last = FIRST + dt.timedelta(days=DAYS - 1)
    text = STREAM.format(folder=home, first=FIRST, last=last, windows=", ".join(WINDOWS))
    (home / "declarations" / "defs.yaml").write_text(text)
    (home / "declarations" / "contract.yaml").write_text(CONTRACT)
    lake, days = Lake(root=str(home / "lake")), [FIRST + dt.timedelta(days=day) for day in range(DAYS)]

    chance = np.random.default_rng(SEED)
    day, customer = np.divmod(np.arange(DAYS * ENTITIES), ENTITIES)
    present = chance.random(len(day)) < PRESENT
    day, customer = day[present], customer[present]
    values = {name: chance.lognormal(3, 1, len(day)) for name in FEATURES}
    ds = np.datetime64(FIRST) + day
    lake.replace("features/habit", pa.table({"customer_id": customer, **values, "ds": ds}), days)
    known = pa.array((ds + 1).astype("datetime64[us]"), pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"customer_id": customer, "known_at": known, **values}), home / "snapshots.parquet")

    moment = np.datetime64(FIRST, "us") + np.sort(chance.integers(0, DAYS * 86_400_000_000, rows))
    who = chance.integers(0, round(ENTITIES * (1 + UNKNOWN)), rows)
    events = {"payment_id": np.arange(rows), "customer_id": who, "amount": chance.lognormal(3, 1, rows)}
    times = {"event_time": moment, "known_at": moment, "ds": moment.astype("datetime64[D]")}
    lake.replace("payments/events", pa.table(events | times), days)
    asked = {"payment_id": events["payment_id"], "customer_id": who}
    at = pa.array(moment, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(asked | {"event_timestamp": at}), home / "observations.parquet")
    return len(day)


def measured(
    home: Path, rows: int, interpreter: Path, repeat: int, most: float, tell: Callable[[str], None]
) -> tuple[dict[str, Cost], dict[str, str]]:
    """The median cost of each that was run, and why the others were not."""
    found: dict[str, list[Cost]] = {name: [] for name in (*BARE, "ours")}
    missing = {}
    for name, life in LIVES.items():
        if (needs := needed(rows, life)) <= most:
            found[name] = []
        else:
            missing[name] = f"not run: needs {needs / 1e9:.0f} GB"
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1) as pool:
        for turn in range(repeat):
            for name, costs in found.items():
                tell(f"{rows:,} rows, {name}, {turn + 1} of {repeat}")
                if name in LIVES:
                    costs.append(feast(home, interpreter, name))
                else:
                    work = (ours, home, turn) if name == "ours" else (bare, home, name)
                    costs.append(pool.submit(*work).result())
    return {name: median(costs) for name, costs in found.items()}, missing


def written(home: Path, name: str) -> Path:
    return home / f"{name.replace(' ', '-')}.parquet"


def ours(home: Path, turn: int) -> Cost:
    """Examples of all days, built and written as the asset does, into a lake's table of its own each turn."""
    from factory_assets.declarations.catalogue import load
    from factory_assets.features.assets import Output, replace_computed
    from factory_assets.features.examples import rows as examples
    from factory_assets.features.point_in_time.tables import loader
    from factory_resources.engine import Engine
    from factory_resources.lake import Lake

    catalogue = load(home / "declarations")
    declared = catalogue.resolve(catalogue.lines["paid"])
    lake, days = Lake(root=str(home / "lake")), [FIRST + dt.timedelta(days=day) for day in range(DAYS)]
    with costing() as cost, Engine().connect() as con:
        query = examples.build(con, declared, days, loader(lake, con))
        replace_computed(Output(lake, con, f"paid/examples_{turn}", ["observed_at", "example_id"]), query, days)
    return cost


def bare(home: Path, join: str) -> Cost:
    """One query from the Parquet files to another; a value is a snapshot's that is less than a day old."""
    from factory_resources.engine import Engine

    fresh = "o.event_timestamp < f.known_at + INTERVAL 1 DAY"
    chosen = ", ".join(f"CASE WHEN {fresh} THEN f.{name} END AS {name}" for name in FEATURES)
    with costing() as cost, Engine().connect() as con:
        con.execute(
            f"""COPY (SELECT o.*, {chosen} FROM read_parquet('{home}/observations.parquet') o
                      {BARE[join].format(snapshots=f"read_parquet('{home}/snapshots.parquet') f")})
                TO '{written(home, join)}' (FORMAT parquet)"""
        ).fetchall()
    return cost


def feast(home: Path, interpreter: Path, name: str) -> Cost:
    script = Path(__file__).with_name("feast_join.py")
    arguments = [str(home), str(LIVES[name]), str(written(home, name)), *FEATURES]
    environ = os.environ | {"FEAST_USAGE": "False"}
    done = subprocess.run([interpreter, script, *arguments], capture_output=True, text=True, env=environ)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def differing(home: Path, name: str) -> Difference:
    """Compare an outcome with ours, row by row and value by value, bit for bit."""
    from factory_resources.lake import Lake

    with duckdb.connect(":memory:") as con:
        con.execute("SET TimeZone = 'UTC'")
        lake = Lake(root=str(home / "lake"))
        lake.view(con, "ours", "paid/examples_0")
        lake.view(con, "habit", "features/habit")
        pairs = [(f'ours."habit.{feature}"', f"other.{feature}") for feature in FEATURES]
        wrong = " OR ".join(f"{mine} IS DISTINCT FROM {theirs}" for mine, theirs in pairs)
        empty, empty_ours = (
            " + ".join(f"count(*) FILTER ({sides[side]} IS NULL)" for sides in pairs) for side in (1, 0)
        )
        # A row that only one of the two has, or that one has twice, finds no partner of its own here.
        con.execute(
            f"""CREATE TEMP VIEW other AS SELECT *, row_number() OVER (PARTITION BY payment_id) AS again
                FROM read_parquet('{written(home, name)}')"""
        )
        joined = "ours FULL JOIN other ON example_id = payment_id AND again = 1"
        missed = "example_id IS NULL OR payment_id IS NULL"
        closed = "habit.customer_id = other.customer_id AND habit.ds = event_timestamp::DATE - 1"
        query = f"""SELECT count(*) FILTER ({wrong} OR {missed}),
                           count(*) FILTER (({wrong}) AND NOT ({missed}) AND habit.ds IS NULL), {empty}, {empty_ours}
                    FROM {joined} LEFT JOIN habit ON {closed}"""
        return Difference(*con.execute(query).fetchall()[0])


def show(title: str, rows: int, costs: dict[str, Cost], missing: dict[str, str]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("seconds", "rows/s", "x ASOF", "x ours", "CPU s", "peak MB"):
        table.add_column(heading, justify="right")
    asof, own = costs["bare ASOF join"].seconds, costs["ours"].seconds
    for name, cost in costs.items():
        table.add_row(
            name, f"{cost.seconds:.2f}", f"{rows / cost.seconds:,.0f}", f"{cost.seconds / asof:.1f}",
            f"{cost.seconds / own:.1f}", f"{cost.cpu:.1f}", f"{cost.peak / 1e6:,.0f}",
        )  # fmt: skip
    for name, reason in missing.items():
        table.add_row(name, reason)
    console.print(table)


if __name__ == "__main__":
    typer.run(run)
