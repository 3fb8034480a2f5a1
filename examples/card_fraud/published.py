"""Does the line reach what was published on the same rows? The handbook's results and ours, side by side.

    CARD_TRANSACTIONS=... FACTORY_HOME=... .venv/bin/python examples/card_fraud/published.py

The tables are those of the line in FACTORY_HOME; what is missing there is computed first, by the same stations as in
`factory run`. The models are trained here and kept nowhere, so that a ledger in use is left as it is.

Published: Le Borgne, Siblini, Lebichot & Bontempi, Reproducible Machine Learning for Credit Card Fraud Detection, 2022.
"""

import datetime as dt
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from dagster import DagsterInstance

    from factory_assets.governor.executor import Deployment
    from factory_assets.models.archived import ReleasedModel

LINE = "card_fraud"
#: Test set results on this split with library defaults, the last one tuned on 4 weeks: AUC ROC, average precision, CP@100.
PUBLISHED = {
    "logistic regression": (0.871, 0.606, 0.291),
    "decision tree, depth 2": (0.763, 0.496, 0.241),
    "decision tree": (0.788, 0.309, 0.243),
    "random forest": (0.867, 0.658, 0.287),
    "XGBoost": (0.862, 0.639, 0.273),
    "XGBoost tuned, 4 weeks": (0.871, 0.694, 0.304),
}
TRAIN = (dt.date(2018, 7, 25), dt.date(2018, 7, 31))
TEST = (dt.date(2018, 8, 8), dt.date(2018, 8, 14))
#: The close at which the line's holdout is the published test week, and its window the 4 weeks up to the same 31 July.
AS_OF = dt.date(2018, 8, 21)


@dataclass(frozen=True)
class Split:
    """Examples with their labels, of the published training week and of the published test set."""

    train: "pa.Table"
    test: "pa.Table"


def deployment(instance: "DagsterInstance") -> "Deployment":
    """The declarations beside this file, on the resources of FACTORY_HOME. Raises DeclarationError."""
    os.environ["FACTORY_DEFS"] = str(Path(__file__).parent.absolute())
    from factory_assets.declarations.catalogue import load
    from factory_assets.declarations.templates import render
    from factory_assets.definitions import defs
    from factory_assets.deployment import declarations, stores
    from factory_assets.governor.executor import Deployment

    held = stores()
    catalogue = load(declarations(), render)
    return Deployment(catalogue, defs(), instance, held["lake"], held["ledger"], held["archive"])


def bring_up(deployed: "Deployment", begin: Callable[[str, str], None]) -> None:
    """Compute what the home lacks of the examples and labels up to AS_OF, as `factory run` would before it trains."""
    from factory_assets.governor.executor import catch_up

    for step in catch_up(deployed, AS_OF, begin):
        if step.asset == f"{LINE}/labels":
            return


def published_split(deployed: "Deployment") -> Split:
    """The handbook's split: a week to train on, a week for the labels, a week to test on.

    Left out of a test day are customers who are known by its beginning to have been defrauded since the training week
    began. Raises LookupError where the tables do not exist yet.
    """
    import duckdb

    from factory_assets.identity.nodes import ROOT
    from factory_assets.training.dataset import DaysAsKnown, close_of, labelled_by_node

    with duckdb.connect(":memory:") as con:
        rows, _ = labelled_by_node(con, deployed.lake, LINE, DaysAsKnown(TRAIN[0], TEST[1], close_of(AS_OF)))
        con.register("examples_with_labels", rows.rows(ROOT))
        delay = deployed.catalogue.lines[LINE].horizon_days
        test = con.sql(
            f"""SELECT * FROM examples_with_labels AS tx WHERE ds BETWEEN DATE '{TEST[0]}' AND DATE '{TEST[1]}' AND NOT EXISTS (
                    FROM examples_with_labels AS fraud WHERE fraud.label = 1 AND fraud.CUSTOMER_ID = tx.CUSTOMER_ID
                                         AND fraud.ds + {delay} < tx.ds)
                ORDER BY observed_at, example_id"""
        ).to_arrow_table()
        train = con.sql(
            f"SELECT * FROM examples_with_labels WHERE ds <= DATE '{TRAIN[1]}' ORDER BY observed_at, example_id"
        ).to_arrow_table()
    return Split(train, test)


def measure(test: "pa.Table", predictions: np.ndarray) -> tuple[float, float, float]:
    """AUC ROC, average precision and card precision@100 of predictions for the test set, shape (n,)."""
    from factory_assets.measures.metrics import card_precision, score

    y = test["label"].to_numpy()
    found = score("binary", y, predictions)
    cards = card_precision(test["CUSTOMER_ID"].to_numpy(), test["ds"].to_numpy(), y, predictions, k=100)
    return found["roc_auc"], found["average_precision"], cards


def logistic_regression(deployed: "Deployment", split: Split) -> np.ndarray:
    """Predictions for the test set by our estimator with its defaults, trained on the published week, 15 inputs."""
    from factory_assets.models import estimators
    from factory_assets.models.matrix import encode, learn_encoding

    line = deployed.catalogue.lines[LINE]
    encoding = learn_encoding(split.train, deployed.catalogue.resolve(line).features)
    x, y = encode(split.train, encoding), split.train["label"].to_numpy()
    model = estimators.fit("logistic_regression", x, y, task=line.task, categorical=[], params={}, seed=line.seed)
    return model.predict(encode(split.test, encoding))


def champion(deployed: "Deployment") -> "ReleasedModel":
    """The line's champion as of AS_OF: its training, evaluation and gate on its own tables, in a ledger for the occasion.

    It is the version that was judged: its refit has learnt later days than the published models.
    Raises RuntimeError where a station fails or the gate releases nothing, with the reason.
    """
    import dagster as dg

    from factory_assets.deployment import stores
    from factory_assets.governor.executor import Deployment, execute
    from factory_assets.governor.runs import training_assets, training_tags
    from factory_assets.identity.nodes import ROOT
    from factory_assets.loading import load_declarations
    from factory_assets.models.archived import load
    from factory_resources.archive_folder import ArchiveFolder
    from factory_resources.ledger import Ledger

    declared = deployed.catalogue.resolve(deployed.catalogue.lines[LINE])
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        archive, ledger = ArchiveFolder(root=f"{folder}/archive"), Ledger(url=f"sqlite:///{folder}/ledger.db")
        own = dg.Definitions(resources=stores() | {"archive": archive, "ledger": ledger})
        trainer = Deployment(
            deployed.catalogue, dg.Definitions.merge(load_declarations(), own), instance, deployed.lake, ledger, archive
        )
        instance.add_dynamic_partitions(f"{LINE}_segments", [ROOT])
        tags = training_tags(declared.line.name, [ROOT], str(AS_OF), "published", "the published split")
        stations = [key for key in training_assets(LINE) if key.path[-1] != "leaderboard"]  # that is the real ledger's
        trainer.failures += execute(trainer, stations, tags)
        held = ledger.champion(LINE, ROOT)
        if held is None:
            reasons = [decision.reason for decision in ledger.decisions(LINE)]
            raise RuntimeError(f"{LINE} has no champion as of {AS_OF}: {'; '.join(trainer.failures or reasons)}")
        return load(archive, LINE, str(held.version))


def compare(ours: dict[str, tuple[float, float, float]]) -> Table:
    """Published rows, then ours."""
    table = Table(title="Published split: 58,264 transactions of 8 to 14 August 2018", title_justify="left")
    table.add_column("model")
    for heading in ("AUC ROC", "average precision", "CP@100"):
        table.add_column(heading, justify="right")
    for name, values in PUBLISHED.items():
        table.add_row(f"published: {name}", *[f"{value:.3f}" for value in values])
    table.add_section()
    for name, values in ours.items():
        table.add_row(f"[bold]ours: {name}[/bold]", *[f"{value:.3f}" for value in values])
    return table


def main() -> int:
    warnings.filterwarnings("ignore")
    console = Console()
    import dagster as dg

    from factory_assets.declarations.documents import DeclarationError
    from factory_assets.deployment import prepare_home

    prepare_home()
    try:
        deployed = deployment(dg.DagsterInstance.get())
    except DeclarationError as error:
        console.print(str(error), style="red", soft_wrap=True, markup=False)
        return 1
    with console.status("looking at what is there") as status:
        bring_up(deployed, lambda station, what: status.update(f"{station}: {what}"))
        if deployed.failures:
            console.print("\n".join(deployed.failures), style="red", soft_wrap=True, markup=False)
            return 1
        status.update("logistic regression on the published week")
        split = published_split(deployed)
        ours = {"logistic regression": measure(split.test, logistic_regression(deployed, split))}
        status.update(f"the line as of {AS_OF}")
        model = champion(deployed)
        name = f"champion ({model.manifest['candidate']}), 4 weeks"
        ours[name] = measure(split.test, model.predict(split.test))
    for part, rows in (("train", split.train), ("test", split.test)):
        console.print(
            f"{part:<6} {rows.num_rows:>7,} rows {int(rows['label'].to_numpy().sum()):>5,} frauds", highlight=False
        )
    console.print(compare(ours))
    return 0


if __name__ == "__main__":
    sys.exit(main())
