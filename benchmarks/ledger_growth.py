"""Does it cost more to ask where each node stands, the more often a fleet was trained?

    .venv/bin/python benchmarks/ledger_growth.py [--nodes 4000] [--trainings 5 --trainings 50] [--postgresql]

Ledgers of so many nodes, each trained and promoted so often, are filled in bulk: a version has 4 kB of configuration, as a
real one. Asked is what sensors, the summary and the leaderboard ask; the peer reads all decisions of the line for it.
Exits with 1 where the answer costs more than twice as much after the most trainings as after the fewest.
"""

import datetime as dt
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table
from segment_training import server

sys.path.insert(0, str(Path(__file__).parents[1]))

LINE, FIRST, AT = "fleet", dt.date(2025, 1, 1), dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
CONFIGURATION = {
    "params": {},
    "contract": "c0",
    "features": [f"feature_{number:03}.of_the_last_30_days" for number in range(100)],
}
#: By how much the answer may cost more after the most trainings than after the fewest.
BOUND = 2.0
console = Console()


def run(
    nodes: Annotated[int, typer.Option(help="Nodes of the line.")] = 4000,
    trainings: Annotated[list[int], typer.Option(help="Trainings of each; as often as sizes.")] = [5, 50],  # noqa: B006
    postgresql: Annotated[bool, typer.Option(help="On PostgreSQL instead of SQLite.")] = False,
) -> None:
    """Measure what it costs to ask where each node stands."""
    os.environ["PYTHONWARNINGS"] = "ignore"
    table = Table(title=f"{nodes:,} nodes, seconds", title_justify="left")
    for column in ("versions", "standing", "champions", "all decisions", "a decision"):
        table.add_column(column, justify="right")
    asked = {}
    with tempfile.TemporaryDirectory(prefix="ledger-growth-") as folder, server(postgresql) as base:
        for times in trainings:
            ledger = filled(_url(base, Path(folder)), nodes, times)
            asked[times] = least(ledger.standing, LINE)
            champions, everything = least(ledger.champions, LINE), least(ledger.decisions, LINE, times=1)
            decision = least(decide, ledger, nodes, times=20)
            told = (asked[times], champions, everything, decision)
            table.add_row(f"{nodes * times:,}", *(f"{seconds:.3f}" for seconds in told))
            ledger.close()
    console.print(table)
    ratio = asked[max(asked)] / asked[min(asked)]
    console.print(f"standing: x {ratio:.2f} for {max(asked) / min(asked):g} times the versions; bound: {BOUND:g}")
    if ratio > BOUND:
        raise typer.Exit(1)


def _url(base: str | None, folder: Path) -> str:
    name = f"l{uuid.uuid4().hex}"
    if base is None:
        return f"sqlite:///{folder / name}"
    with sa.create_engine(base).begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    return sa.make_url(base).update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(False)


def least(ask: Callable[..., Any], *arguments: Any, times: int = 5) -> float:
    """Seconds of the fastest of several calls: what others do on the machine only adds to it."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        ask(*arguments)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def decide(ledger: Any, nodes: int) -> None:
    """One more decision on some node: it reads the node's own, and keeps where it stands."""
    from factory_resources.ledger import Decision

    number = time.perf_counter_ns()
    node, version = f"n{number % nodes}", f"0-n{number % nodes}"
    as_of = FIRST + dt.timedelta(days=3650)
    ledger.decide(Decision(LINE, node, as_of, "keep", version, version, str(number), "gate", {}))


def filled(url: str, nodes: int, trainings: int) -> Any:
    """A ledger with a line that was trained so often, and every node of which was promoted each time."""
    from factory_resources.ledger import Ledger
    from factory_resources.records.decisions import Decision, stands
    from factory_resources.records.tables import DECISIONS, STANDING, VERSIONS

    ledger = Ledger(url=url)
    shared = {
        "line": LINE, "task": "regression", "estimator": "lightgbm", "candidate": "boosted", "configuration": CONFIGURATION,
        "rows": 200, "tables": {}, "validation": {}, "importances": {}, "owner": "team:fleet", "archive_uri": "x",
        "run_id": "x", "started_at": AT, "ended_at": AT,
    }  # fmt: skip
    evidence = {"rows": 200, "challenger": {"mae": 1.5}, "champion": {"mae": 1.75}, "naive": {"mae": 4.0}}
    made: dict[str, list[Decision]] = {}
    with ledger._open().begin() as connection:
        for training in range(trainings):
            day = FIRST + dt.timedelta(days=7 * training)
            days = dict.fromkeys(("as_of", "train_from", "train_to", "holdout_from", "holdout_to"), day)
            named = [(f"n{number}", f"{training}-n{number}") for number in range(nodes)]
            versions = [shared | days | {"node": node, "version": version} for node, version in named]
            connection.execute(sa.insert(VERSIONS), versions)
            decided = [Decision(LINE, node, day, "promote", v, v, "better", "gate", evidence, AT) for node, v in named]
            connection.execute(sa.insert(DECISIONS), [vars(each) | {"sequence": training + 1} for each in decided])
            for each in decided:
                made.setdefault(each.node, []).append(each)
        connection.execute(sa.insert(STANDING), [vars(stands(of_node, "c0")) for of_node in made.values()])
    assert len(ledger.standing(LINE)) == nodes
    return ledger


if __name__ == "__main__":
    typer.run(run)
