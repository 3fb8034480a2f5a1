"""Is a tree of models worth it? Carrier → origin → route against one model for all, and against routes alone, on a later quarter.

    NYCFLIGHTS=... FACTORY_HOME=... .venv/bin/python examples/flight_delays/hierarchy.py

The examples and labels are those that `factory run examples/flight_delays` made in FACTORY_HOME. Trained once, as of the
end of September, on a tree that begins with the carrier; scored is every flight from October to December. The models,
the ledger and the tables of this training are kept nowhere.
"""

import datetime as dt
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from factory_assets.governor.executor import Deployment
    from factory_assets.models.archived import ReleasedModel

LINE = "arrival_delay"
AS_OF, LATER = dt.date(2013, 9, 30), (dt.date(2013, 10, 3), dt.date(2013, 12, 31))
#: What is declared otherwise than in defs.yaml: the tree, how little a node may have, and longer windows for it.
TREE = {
    "segments: {levels: [origin, carrier, dest], min_rows: 5000}": "segments: {levels: [carrier, origin, dest], min_rows: 200}",
    "train: {window: 70d, holdout: 7d}": "train: {window: 150d, holdout: 28d}",
}


def declare(folder: Path) -> None:
    source = Path(__file__).parent
    text = (source / "defs.yaml").read_text()
    for found, other in TREE.items():
        assert found in text, found
        text = text.replace(found, other, 1)
    (folder / "defs.yaml").write_text(text)
    (folder / "contract.yaml").write_text((source / "contract.yaml").read_text())
    os.environ["FACTORY_DEFS"] = str(folder)


def train(folder: Path, instance: "DagsterInstance") -> "Deployment":
    """One training of the whole tree on tables of its own: the same rows, with their place in this tree."""
    import dagster as dg
    import duckdb

    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.deployment import stores
    from factory_assets.features.examples.rows import keys_seen
    from factory_assets.governor.executor import Deployment, execute
    from factory_assets.governor.runs import training_assets, training_tags
    from factory_assets.identity.nodes import leaf_key
    from factory_assets.identity.partitions import add_nodes
    from factory_assets.loading import load_declarations
    from factory_resources.archive_folder import ArchiveFolder
    from factory_resources.lake import Lake
    from factory_resources.ledger import Ledger

    held, lake = stores(), Lake(root=str(folder / "lake"))
    archive, ledger = ArchiveFolder(root=str(folder / "archive")), Ledger(url=f"sqlite:///{folder / 'ledger.db'}")
    catalogue = load(folder, render)
    declared = catalogue.resolve(catalogue.lines[LINE])
    with duckdb.connect(":memory:") as con:
        for name in ("examples", "labels"):
            held["lake"].view(con, name, f"{LINE}/{name}")
        placed = f"SELECT * REPLACE ({leaf_key(declared.line.segments.levels)} AS leaf) FROM examples"
        for name, query in (("examples", placed), ("labels", "SELECT * FROM labels")):
            rows = con.sql(f"{query} ORDER BY ds").to_arrow_table()
            lake.replace(f"{LINE}/{name}", rows, sorted(set(rows["ds"].to_pylist())))
        add_nodes(instance, declared, list(keys_seen(con, lake, LINE, last=AS_OF)))
    own = dg.Definitions(resources=held | {"lake": lake, "archive": archive, "ledger": ledger})
    deployed = Deployment(catalogue, dg.Definitions.merge(load_declarations(), own), instance, lake, ledger, archive)
    nodes = list(instance.get_dynamic_partitions(f"{LINE}_segments"))
    deployed.failures += execute(
        deployed,
        training_assets(LINE),
        training_tags(declared.line.name, nodes, str(AS_OF), "hierarchy", "a comparison"),
    )
    if deployed.failures:
        raise RuntimeError("; ".join(deployed.failures))
    return deployed


def models(deployed: "Deployment", folder: Path, versions: dict[str, str]) -> "dict[str, ReleasedModel]":
    from factory_assets.models.archived import load_all
    from factory_resources.archive_folder import ArchiveFolder

    return load_all(ArchiveFolder(root=str(folder / "archive")), LINE, versions)


def compare(deployed: "Deployment", folder: Path) -> Table:
    """Mean absolute error of the later quarter by who answers."""
    import duckdb

    from factory_assets.evaluation.incumbents import as_judged
    from factory_assets.identity.nodes import ROOT, path_of
    from factory_assets.scoring.predictions import predict
    from factory_assets.training.dataset import DaysAsKnown, close_of, labelled_by_node

    champions = {node: str(held.champion) for node, held in deployed.ledger.champions(LINE).items()}
    # Refits have learnt more days than the others that are compared here.
    champions = as_judged(deployed.ledger, LINE, champions)
    trained = {version.node: version.version for version in deployed.ledger.versions(LINE, as_of=AS_OF)}
    routes = {node: version for node, version in trained.items() if len(path_of(node)) == 3}
    with duckdb.connect(":memory:") as con:
        days = DaysAsKnown(*LATER, close_of(dt.date(2014, 1, 31)))
        later, _ = labelled_by_node(con, deployed.lake, LINE, days)
    rows = later.rows(ROOT)
    y = dict(zip(rows["example_id"].to_pylist(), rows["label"].to_numpy(), strict=True))
    everyone = {
        "global alone": {ROOT: trained[ROOT]},
        "routes alone, global where a route has no model": {ROOT: trained[ROOT], **routes},
        "every node that could be trained, without the gate": trained,
        "the hierarchy": champions,
    }
    nodes = deployed.instance.get_dynamic_partitions(f"{LINE}_segments")
    table = Table(
        title=f"{rows.num_rows:,} flights, {LATER[0]} to {LATER[1]}; of {len(nodes)} nodes {len(trained)} were trained"
    )
    for column in ("who answers", "models", "rows by a segment's own", "mean absolute error, minutes"):
        table.add_column(column, justify="left" if column == "who answers" else "right")
    for name, versions in everyone.items():
        said = predict(rows, models(deployed, folder, versions), "regression")
        errors = np.abs(said["prediction"].to_numpy() - np.array([y[each] for each in said["example_id"].to_pylist()]))
        own = np.mean(np.array(said["node"].to_pylist()) != ROOT)
        table.add_row(name, str(len(versions)), f"{own:.0%}", f"{errors.mean():.3f}")
    constant = np.abs(np.fromiter(y.values(), float) - np.median(np.fromiter(y.values(), float))).mean()
    table.add_row("the best constant, in hindsight", "-", "-", f"{constant:.3f}")
    shipped: dict[int, int] = {}
    for node in champions:
        shipped[len(path_of(node))] = shipped.get(len(path_of(node)), 0) + 1
    words = ("global", "carriers", "airports of a carrier", "routes")
    table.caption = "ship: " + ", ".join(f"{shipped.get(depth, 0)} {word}" for depth, word in enumerate(words))
    return table


def main() -> int:
    import dagster as dg

    from factory_assets.declarations.documents import DeclarationError

    warnings.filterwarnings("ignore")
    console = Console()
    with tempfile.TemporaryDirectory() as name, dg.DagsterInstance.ephemeral() as instance:
        folder = Path(name)
        declare(folder)
        try:
            with console.status("training the tree"):
                deployed = train(folder, instance)
        except (DeclarationError, LookupError) as error:
            console.print(str(error), style="red", soft_wrap=True, markup=False)
            return 1
        console.print(compare(deployed, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
