"""What does the page of a line cost, the more nodes the line has?

    .venv/bin/python benchmarks/pages.py [--nodes 40 --nodes 400 --nodes 4000] [--quick]

A line with so many nodes, each trained and promoted three times, with 60 days of `monitors` and `performance`, a tenth of the nodes
with an alarm, and the rows of an evaluation of every node. Ledger and tables are real, and filled in bulk. Each size is asked in a
process of its own: CPU seconds of the page, which a run pays when something that it shows has changed, and its bytes.

Ends with exit code 1 where a page is a million bytes or more, or a node costs more among the most than among the fewest.
"""

import datetime as dt
import sys
import tempfile
import time
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

sys.path.insert(0, str(Path(__file__).parents[1]))

FEATURES, DAYS, TRAININGS, ROWS = 12, 60, 3, 60
LAST = dt.date(2026, 3, 21)
#: Bytes of a page; CPU seconds of one that shows all the figures it may, beside those of a node.
BYTES, SECONDS = 1_000_000, 20.0
#: By how much a node may cost more among the most nodes than among the fewest; less than so many CPU seconds are noise.
BOUND, NOISE = 1.5, 0.5
console = Console()


@dataclass(frozen=True)
class Asked:
    """CPU seconds of a page, the first one of a process and the next; bytes; nodes with figures, and with a row."""

    first: float
    again: float
    size: int
    figures: int
    rows: int


def run(
    nodes: Annotated[list[int], typer.Option(help="Nodes; as often as sizes.")] = [40, 400, 4000],  # noqa: B006
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the nodes.")] = False,
) -> None:
    """Measure what a page costs."""
    sizes = [size // 4 for size in nodes] if quick else nodes
    table = Table(title=f"{FEATURES} series of drift a node, {DAYS} days", title_justify="left")
    for column in ("nodes", "page, CPU s", "again, CPU s", "bytes", "with figures", "with a row"):
        table.add_column(column, justify="right")
    found: dict[int, Asked] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="pages-") as folder:
            alone(filled, Path(folder), size)
            each = found[size] = alone(asked, Path(folder))
        numbers = (
            f"{size:,}",
            f"{each.first:.2f}",
            f"{each.again:.2f}",
            f"{each.size:,}",
            str(each.figures),
            str(each.rows),
        )
        table.add_row(*numbers)
    console.print(table)
    conclude(beyond_bounds(found))


def filled(home: Path, nodes: int) -> None:
    """Declarations, ledger and tables of a line with so many nodes."""
    from factory_resources.lake import Lake
    from factory_resources.records.tables import EVALUATIONS

    declare(home, Shape(streams=1, views=1, lines=1, days=1))
    ledger = ledger_of(f"sqlite:///{home / 'ledger.db'}", nodes, TRAININGS)
    champions = {each.node: each.champion for each in ledger.standing(FLEET).values()}
    holdout = dict.fromkeys(("as_of", "holdout_from", "holdout_to"), LAST)
    metrics = {
        "rows": ROWS,
        "challenger": {"mae": 1.5},
        "incumbent": {},
        "naive": {"mae": 4.0},
        "incumbent_version": None,
    }
    with ledger._open().begin() as connection:
        rows = [holdout | metrics | {"line": FLEET, "node": node, "version": each} for node, each in champions.items()]
        connection.execute(sa.insert(EVALUATIONS), rows)
    lake = Lake(str(home / "lake"))
    for back in reversed(range(DAYS)):
        day = LAST - dt.timedelta(days=back)
        lake.replace(f"{FLEET}/monitors", looks(nodes, day), [day])
        lake.replace(f"{FLEET}/performance", measured(nodes, day), [day])
    lake.replace(f"{FLEET}/evaluation", evaluated(champions), [LAST])


def names_of(nodes: int) -> list[str]:
    return [f"n{number}" for number in range(nodes)]


def looks(nodes: int, day: dt.date) -> pa.Table:
    """A day of monitors."""
    from factory_assets.monitoring.monitors import SCHEMA

    number, alarms = nodes * FEATURES, np.zeros((nodes, FEATURES), bool)
    alarms[::10, :3] = (LAST - day).days < 20
    columns: dict[str, Any] = {
        "line": [FLEET] * number,
        "node": np.repeat(np.array(names_of(nodes), object), FEATURES),
        "monitor": ["drift"] * number,
        "column": [f"feature_{place}" for place in range(FEATURES)] * nodes,
        "value": np.random.default_rng(0).random(number),
        "limit": np.full(number, 0.5),
        "n": np.full(number, 200),
        "verdict": np.where(alarms.ravel(), "alarm", "stable").astype(object),
        "visible": np.full(number, 0.1),
        "reason": [f"{place:,} rows; PSI 0.2 where 0.1 is the limit" for place in range(number)],
        "ds": [day] * number,
    }
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SCHEMA}, schema=SCHEMA)


def measured(nodes: int, day: dt.date) -> pa.Table:
    """A day of performance."""
    columns: dict[str, Any] = {"node": names_of(nodes), "predicted": [200] * nodes, "labelled": [180] * nodes}
    metrics = {
        "mae": 1.5 + 0.1 * np.random.default_rng(day.toordinal()).standard_normal(nodes),
        "naive_mae": [4.0] * nodes,
    }
    return pa.table(columns | metrics | {"ds": pa.array([day] * nodes, pa.date32())})


def evaluated(champions: dict[str, Any]) -> pa.Table:
    """What champions and the naive guess predicted of the rows of their holdout."""
    from factory_assets.evaluation.scores import schema

    wanted, rng, number = schema("regression"), np.random.default_rng(0), len(champions) * ROWS
    nodes = np.repeat(np.array([*champions], object), ROWS)
    y = rng.random(number) * 10
    columns: dict[str, Any] = {
        "node": nodes, "leaf": nodes, "task": ["regression"] * number, "label": y, "naive_prediction": np.full(number, 5.0),
        "challenger_version": np.repeat(np.array([*champions.values()], object), ROWS), "example_id": np.arange(number).astype(str),
        "challenger_prediction": y + rng.standard_normal(number), "ds": [LAST] * number,
        "day": [LAST - dt.timedelta(days=int(place % 14)) for place in range(number)],
        "observed_at": [dt.datetime.combine(LAST, dt.time())] * number,
    }  # fmt: skip
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(number, field.type)
        for field in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)


def asked(home: Path) -> Asked:
    """What a page of this line costs."""
    from factory_assets.declarations.catalogue import load
    from factory_assets.governor.work import Called
    from factory_assets.pages.details import Tables
    from factory_assets.pages.line_page import line_page
    from factory_resources.engine import Engine
    from factory_resources.lake import Lake
    from factory_resources.ledger import Ledger

    catalogue = load(home / "defs")
    declared = catalogue.resolve(catalogue.lines[FLEET])
    tables = Tables(Lake(str(home / "lake")), Engine(threads=1), Ledger(f"sqlite:///{home / 'ledger.db'}"))
    now, seconds, html = dt.datetime(2026, 3, 22, tzinfo=dt.UTC), list[float](), ""
    for _ in range(2):
        start = time.process_time()
        html = line_page(declared, tables, Called(), "current", now)
        seconds.append(time.process_time() - start)
    first, again = seconds
    return Asked(first, again, len(html.encode()), html.count('class="node"'), html.count('<td data-name="health"'))


def beyond_bounds(found: dict[int, Asked]) -> list[str]:
    """Each bound that does not hold, in a sentence."""
    broken = [
        f"{size} nodes: {each.size:,} bytes, {BYTES:,} at most" for size, each in found.items() if each.size >= BYTES
    ]
    few, many = min(found), max(found)
    grown, allowed = found[many].again, found[few].again * many / few * BOUND + NOISE
    if many > few and grown > allowed:
        broken.append(f"{many} nodes: {grown:.2f} CPU s, {allowed:.2f} at most by what {few} cost")
    if found[many].again > SECONDS:
        broken.append(f"{many} nodes: {found[many].again:.2f} CPU s, {SECONDS:.0f} at most")
    return broken


if __name__ == "__main__":
    typer.run(run)
