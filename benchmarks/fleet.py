"""What does it cost to say how every node stands, and to show it, the more nodes there are?

    .venv/bin/python benchmarks/fleet.py [--nodes 40 --nodes 400 --nodes 4000] [--quick] [--chromium PATH]

A line with so many nodes, each trained and promoted five times, and 60 days of `monitors`, in which a tenth of the nodes has an
alarm that lasts for six weeks. Ledger and tables are real, and filled in bulk. Each size is asked in a process of its own: CPU
seconds of `stands_of`, which `factory status` and the page ask, and of drawing the page; the memory that both take beside what
is imported; the bytes of the page. What the plan beside them costs is in `plan_growth.py`. With a browser also the seconds until
the page is laid out, its first rows with it, and the memory of the process that shows it.

Ends with exit code 1 where the most nodes cost more than in proportion, or more than the bounds.
"""

import contextlib
import datetime as dt
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
import typer
from bounds import conclude
from ledger_growth import filled as ledger_of
from plan_growth import FLEET, Shape, alone, declare
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "docs")]

FEATURES, DAYS, TRAININGS = 20, 60, 5
LAST = dt.date(2026, 3, 21)
#: Of a series of a node: drift of its features, and what else is looked at.
OTHERS = ("performance", "floor", "estimates", "rows", "cold")
#: Days for which an alarm lasts, of every tenth node.
LASTS = 42
#: CPU seconds for 4,000 nodes, and MB beside what is imported.
SECONDS, MEMORY = 3.0, 400
#: Bytes of the page a node, and seconds until a browser shows the first rows.
BYTES, SHOWN = 1800, 2.0
#: By how much a node may cost more among the most nodes than among the fewest; less than so many CPU seconds are noise.
BOUND, NOISE = 1.5, 0.3
console = Console()


@dataclass(frozen=True)
class Asked:
    """CPU seconds of the stands and of the page; MB; bytes of the page; of a browser seconds, and MB where one was asked."""

    stands: float
    page: float
    memory: float
    size: int
    shown: float | None = None
    browser: float | None = None


def run(
    nodes: Annotated[list[int], typer.Option(help="Nodes; as often as sizes.")] = [40, 400, 4000],  # noqa: B006
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the nodes.")] = False,
    chromium: Annotated[
        str | None, typer.Option(help="A browser that shows the page; one on the PATH if absent.")
    ] = None,
) -> None:
    """Measure how a fleet is shown."""
    sizes = [size // 4 for size in nodes] if quick else nodes
    browser = chromium or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    table = Table(title=f"{FEATURES + len(OTHERS)} series a node, {DAYS} days", title_justify="left")
    for column in ("nodes", "stands, CPU s", "page, CPU s", "MB", "bytes", "browser, s", "its MB"):
        table.add_column(column, justify="right")
    found: dict[int, Asked] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
            alone(filled, Path(folder), size)
            each = found[size] = alone(asked, Path(folder), browser)
        numbers = [f"{each.stands:.2f}", f"{each.page:.2f}", f"{each.memory:.0f}", f"{each.size:,}"]
        shown = [f"{each.shown:.2f}", f"{each.browser:.0f}"] if each.shown and each.browser else ["-", "-"]
        table.add_row(f"{size:,}", *numbers, *shown)
    console.print(table)
    conclude(beyond_bounds(found))


def filled(home: Path, nodes: int) -> None:
    """Declarations, ledger and tables of a line with so many nodes."""
    from factory_resources.lake import Lake
    from factory_resources.records.tables import EVALUATIONS

    declare(home, Shape(streams=1, views=1, lines=1, days=1))
    ledger = ledger_of(f"sqlite:///{home / 'ledger.db'}", nodes, TRAININGS)
    holdout = dict.fromkeys(("as_of", "holdout_from", "holdout_to"), LAST)
    metrics = {"rows": 200, "challenger": {"mae": 1.5}, "incumbent": {"mae": 1.75}, "naive": {"mae": 4.0}}
    with ledger._open().begin() as connection:
        rows = [
            holdout | metrics | {"line": FLEET, "node": each.node, "version": each.champion, "incumbent_version": None}
            for each in ledger.standing(FLEET).values()
        ]
        connection.execute(sa.insert(EVALUATIONS), rows)
    lake = Lake(str(home / "lake"))
    of_day = looks(nodes)
    for back in reversed(range(DAYS)):
        day = LAST - dt.timedelta(days=back)
        lake.replace(f"{FLEET}/monitors", of_day(day), [day])
    days = [LAST - dt.timedelta(days=back) for back in reversed(range(10))]
    lake.replace(f"{FLEET}/performance", pa.concat_tables([measured(nodes, day) for day in days]), days)


def looks(nodes: int) -> Callable[[dt.date], pa.Table]:
    """Monitors of a day; but for verdicts, days are alike."""
    from factory_assets.monitoring.monitors import SCHEMA

    names = [f"n{number}" for number in range(nodes)]
    series = [("drift", f"feature_{number}") for number in range(FEATURES)] + [(name, "mae") for name in OTHERS]
    number = nodes * len(series)
    alarms = np.zeros((nodes, len(series)), bool)
    alarms[::10, :3] = True
    shared: dict[str, Any] = {
        "line": [FLEET] * number,
        "node": np.repeat(np.array(names, object), len(series)),
        "monitor": [monitor for monitor, _ in series] * nodes,
        "column": [column for _, column in series] * nodes,
        "value": np.random.default_rng(0).random(number),
        "limit": np.full(number, 0.5),
        "n": np.full(number, 200),
        "visible": np.full(number, 0.1),
        "reason": [f"{number:,} rows; PSI 0.2 where 0.1 is the limit, by 56 days" for number in range(number)],
    }
    same = {name: pa.array(values, SCHEMA.field(name).type) for name, values in shared.items()}
    verdicts = [pa.array(np.where(alarms.ravel() & lasts, "alarm", "stable").astype(object)) for lasts in (False, True)]

    def of_day(day: dt.date) -> pa.Table:
        own = {"verdict": verdicts[(LAST - day).days < LASTS], "ds": pa.repeat(pa.scalar(day, pa.date32()), number)}
        return pa.table({field.name: (same | own)[field.name] for field in SCHEMA}, schema=SCHEMA)

    return of_day


def measured(nodes: int, day: dt.date) -> pa.Table:
    """A day of performance."""
    names = [f"n{number}" for number in range(nodes)]
    columns = {"node": names, "predicted": [200] * nodes, "labelled": [180] * nodes}
    metrics = {name: [value] * nodes for name, value in (("mae", 1.5), ("naive_mae", 4.0), ("parent_mae", 1.6))}
    return pa.table(columns | metrics | {"ds": pa.array([day] * nodes, pa.date32())})


def asked(home: Path, browser: str | None) -> Asked:
    """What the stands of the line in the folder cost, and their page."""
    os.environ["FACTORY_DEFS"] = str(home / "defs")
    from factory_assets.declarations.catalogue import load
    from factory_assets.pages.fleet_page import fleet_page
    from factory_assets.pages.lines import stands_of
    from factory_resources import clock
    from factory_resources.lake import Lake
    from factory_resources.ledger import Ledger
    from factory_resources.records.issues import Issues

    catalogue = load(home / "defs")
    declared = [catalogue.resolve(each) for each in catalogue.lines.values()]
    lake, ledger = Lake(str(home / "lake")), Ledger(f"sqlite:///{home / 'ledger.db'}")
    lake.days(f"{FLEET}/monitors")
    fleet_page([], [], clock.now())
    before, began = memory(), time.process_time()
    lines, nodes = stands_of(declared, {}, lake, ledger, Issues(ledger.url))
    stands, began = time.process_time() - began, time.process_time()
    page = fleet_page(lines, nodes, clock.now())
    drawing = time.process_time() - began
    assert sum(each.health == "alarm" for each in nodes) == -(-(len(nodes) - 1) // 10)
    shown = in_browser(browser, home / "fleet.html", page) if browser else (None, None)
    return Asked(stands, drawing, memory() - before, len(page.encode()), *shown)


def memory() -> float:
    """The most MB that this process ever took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_browser(chromium: str, file: Path, page: str) -> tuple[float, float]:
    """Seconds until the page is laid out, its first rows with it, and MB of the process that shows it."""
    import pictures

    file.write_text(page)
    with pictures.page(chromium) as browser:
        browser.ask("Page.navigate", url=file.as_uri())
        pictures.waited(
            lambda: browser.value("performance.timing.loadEventEnd > 0 && location.protocol == 'file:'"), "the page"
        )
        seconds = browser.value("(performance.timing.loadEventEnd - performance.timing.navigationStart) / 1000")
        assert browser.value("document.querySelectorAll('#nodes tbody tr').length") > 0
        return seconds, showing()


def showing() -> float:
    """MB of the processes, of those that this one started, in which a browser shows pages, with the libraries that they share."""
    parent_of, kilobytes = dict[int, int](), dict[int, int]()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # a process may end while it is looked at
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            parent_of[int(folder.name)] = int(status["PPid"])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                kilobytes[int(folder.name)] = int(status["VmRSS"].split()[0])

    def is_ours(process: int) -> bool:
        return process == os.getpid() or (process in parent_of and is_ours(parent_of[process]))

    return sum(size for process, size in kilobytes.items() if is_ours(process)) / 1024


def beyond_bounds(found: dict[int, Asked]) -> list[str]:
    """The bounds that do not hold, each in a sentence."""
    few, many = min(found), max(found)
    share, most, broken = many / 4000, found[many], list[str]()
    seconds = most.stands + most.page
    for what, value, allowed, unit in (
        ("the stands and their page", seconds, max(SECONDS * share, 1.0), "CPU seconds"),
        ("they", most.memory, MEMORY, "MB"),
        ("a node of the page", most.size / many, BYTES, "bytes"),
        ("the page in a browser", most.shown or 0, SHOWN, "seconds"),
    ):
        if value > allowed:
            broken.append(f"{what}: {value:.2f} {unit}; allowed: {allowed:.2f}")
    proportional = many / few * (found[few].stands + found[few].page)
    if seconds > max(BOUND * proportional, proportional + NOISE):
        broken.append(
            f"{many:,} nodes cost {seconds:.2f} CPU seconds, {few:,} {proportional * few / many:.2f}: more than in proportion"
        )
    return broken


if __name__ == "__main__":
    typer.run(run)
