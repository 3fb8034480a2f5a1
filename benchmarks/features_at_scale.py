"""What do point-in-time features cost as days add up, against one bare query for the same features? Is it linear?

    .venv/bin/python benchmarks/features_at_scale.py [--halves 1 --halves 2] [--memory 1GB] [DATA]

The events of half a year of card transactions (183 days, 1.75 million rows), and of as many shifted copies of it as are
asked for, are made once. Measured are their examples: 15 features by `examples.build`, written as a Delta table by day
with a content hash a day, as many days together as memory holds. The peer is one DuckDB query that computes the same
features from the source's files and writes one Parquet file, in no order; and once more, writing sorted files by day as
ours are. All have the same limit of memory, take turns, and run in a process of their own.
"""

import datetime as dt
import functools
import itertools
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from raw_to_examples import DATA, FIRST, HALF_YEAR, Cost, bare, console, costing, declare, replicate
from rich.table import Table

LINE = "card_fraud"


@dataclass
class Scale:
    """The costs of one amount of data, each turn's; ours computes its days in so many stretches."""

    halves: int
    rows: int
    peer: list[Cost]
    by_day: list[Cost]
    ours: list[Cost]
    stretches: int = 0


def run(
    data: Annotated[Path, typer.Argument(help="Folder of the raw Parquet files.")] = DATA,
    halves: Annotated[list[int], typer.Option(help="Half years of data; as often as sizes.")] = [1, 2],  # noqa: B006
    memory: Annotated[str, typer.Option(help="Memory of a query before it spills.")] = "1GB",
    repeat: Annotated[int, typer.Option(help="How often each is measured; the median counts.")] = 3,
) -> None:
    """Measure examples of more and more days against one bare query."""
    warnings.filterwarnings("ignore")
    if min(halves) < 1 or not list(data.glob("*.parquet")):
        console.print(f"[red]nothing to do: {data} must hold Parquet files, --halves must be 1 or more; found {halves}")
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory(prefix="features-at-scale-") as folder:
        home = Path(folder)
        os.environ |= {"FACTORY_HOME": str(home), "FACTORY_MEMORY": memory, "PYTHONWARNINGS": "ignore"}
        for name in ("data", "declarations"):
            (home / name).mkdir()
        with console.status("raw and events, once") as status:
            rows = replicate(data, home / "data", max(halves)) // max(halves)
            declare(home / "declarations", home / "data", days_of(max(halves))[-1])
            events(days_of(max(halves)))
            spawned = multiprocessing.get_context("spawn")
            # A process each: what one leaves in memory is not to be taken for the next one's.
            with ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1) as pool:
                scales = []
                for size in sorted(set(halves)):
                    scale = Scale(size, rows * size, [], [], [])
                    for turn in range(repeat):
                        status.update(f"{size} x half a year, {turn + 1} of {repeat}")
                        scale.by_day.append(pool.submit(peer, home, size, True).result())
                        scale.peer.append(pool.submit(peer, home, size, False).result())
                        cost, scale.stretches = pool.submit(ours, size, turn).result()
                        scale.ours.append(cost)
                    scales.append(scale)
            status.update("comparing every feature of every row")
            wrong = differing(home, max(halves))
        show(scales, memory)
        console.print(f"rows that differ between the two: {wrong}", highlight=False)
        sys.exit(bool(wrong))


def days_of(halves: int) -> list[dt.date]:
    return [FIRST + dt.timedelta(days=day) for day in range(HALF_YEAR * halves)]


def files(home: Path, halves: int) -> str:
    """The source's files of so many half years, as a pattern."""
    folder = home / f"data-{halves}"
    folder.mkdir(exist_ok=True)
    for half in range(halves):
        name = f"half-{half}.parquet"
        if not (folder / name).exists():
            (folder / name).symlink_to(home / "data" / name)
    return f"{folder}/*.parquet"


def events(days: list[dt.date]) -> None:
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations, stores
    from factory_assets.events import stations

    held, declared = stores(), load(declarations(), render).streams["card_transactions"]
    stations.deliver(held["lake"], held["engine"], declared, days, days[-1] + dt.timedelta(days=1))
    blocked = stations.admit(held["lake"], held["engine"], declared, days).blocked
    if blocked:
        raise RuntimeError(f"days that the contract blocks: {blocked}")


def peer(home: Path, halves: int, by_day: bool) -> Cost:
    from factory_assets.deployment import stores

    with costing() as cost, stores()["engine"].connect(str(home)) as con:
        con.execute(bare(files(home, halves), home / ("bare" if by_day else "bare.parquet"), by_day)).fetchall()
    return cost


def ours(halves: int, turn: int) -> tuple[Cost, int]:
    """Examples of all days, built and written as the asset does, each turn into a table of its own; the stretches."""
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import declarations, stores
    from factory_assets.features.assets import Output, computed
    from factory_assets.features.examples import rows as examples
    from factory_assets.features.point_in_time.tables import loader

    catalogue, held = load(declarations(), render), stores()
    declared, lake, days = catalogue.resolve(catalogue.lines[LINE]), held["lake"], days_of(halves)
    with costing() as cost, held["engine"].connect() as con:
        stretches = examples.in_stretches(con, lake, declared, days)
        build = functools.partial(examples.build, con, declared, load=loader(lake, con))
        written = list(
            computed(Output(lake, con, table(halves, turn), ["observed_at", "example_id"]), build, stretches)
        )
    return cost, len(written)


def table(halves: int, turn: int) -> str:
    return f"{LINE}/examples_{halves}_{turn}"


def differing(home: Path, halves: int) -> int:
    """Rows with another feature than the bare query's, of the largest amount of data."""
    from raw_to_examples import compared

    from factory_assets.deployment import stores

    held = stores()
    with held["engine"].connect(str(home)) as con:
        held["lake"].view(con, "examples", table(halves, 0))
        return compared(con, home / "bare.parquet")


def median(costs: list[Cost]) -> Cost:
    """Of each part by itself; the peak is the highest."""
    seconds, cpu = (statistics.median(getattr(cost, part) for cost in costs) for part in ("seconds", "cpu"))
    return Cost(seconds, cpu, max(cost.peak for cost in costs))


def show(scales: list[Scale], memory: str) -> None:
    shown = Table(
        title=f"15 features, {os.cpu_count()} cores, {memory} a query, median of {len(scales[0].ours)}",
        title_justify="left",
    )
    shown.add_column("")
    for heading in ("seconds", "rows/s", "x bare", "CPU s", "x bare CPU", "peak MB"):
        shown.add_column(heading, justify="right")
    for scale in scales:
        shown.add_section()
        bare, ours = median(scale.peer), median(scale.ours)
        for name, cost in (
            ("bare query", bare),
            ("bare query, sorted files by day", median(scale.by_day)),
            (f"ours, in stretches: {scale.stretches}", ours),
        ):
            shown.add_row(
                f"{scale.rows:,} rows, {HALF_YEAR * scale.halves} days: {name}", f"{cost.seconds:.1f}",
                f"{scale.rows / cost.seconds:,.0f}", f"{cost.seconds / bare.seconds:.2f}", f"{cost.cpu:.1f}",
                f"{cost.cpu / bare.cpu:.2f}", f"{cost.peak / 1e6:,.0f}",
            )  # fmt: skip
    console.print(shown)
    for smaller, larger in itertools.pairwise(scales):
        times, grown = larger.rows / smaller.rows, []
        for name, before, after in (("bare query", smaller.peer, larger.peer), ("ours", smaller.ours, larger.ours)):
            growth = median(after).cpu / median(before).cpu
            grown.append(f"{name} {growth:.2f} times the CPU seconds, rows^{math.log(growth) / math.log(times):.2f}")
        # Of a busy machine's two clocks this is the one that others slow less.
        console.print(f"{times:.3g} times the rows: {'; '.join(grown)}", highlight=False)


if __name__ == "__main__":
    typer.run(run)
