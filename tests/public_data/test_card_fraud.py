"""Does the card fraud line reproduce the Fraud Detection Handbook: its features row by row, its split, its results?

Everything comes from the line's own stations, run over a range of days: raw -> events -> examples, labels, training.
"""

import datetime as dt
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "card_fraud"
DATA = REPOSITORY.parent / "shared" / "data" / "card_transactions"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DATA.exists(),
        reason="the handbook's transactions are not beside the repository (../shared/data/card_transactions)",
    ),
]

#: The published features begin on 1 July, and the windows of a day look back on 37 days.
HISTORY_FROM, FROM, TO = dt.date(2018, 5, 25), dt.date(2018, 7, 1), dt.date(2018, 8, 31)
COUNTS = {
    f"{view}.tx_count_{days}d": f"{entity}_NB_TX_{days}DAY_WINDOW"
    for view, entity in (("customer_spending", "CUSTOMER_ID"), ("terminal_risk", "TERMINAL_ID"))
    for days in (1, 7, 30)
}
MEANS = {
    f"{feature}_{days}d": f"{published}_{days}DAY_WINDOW"
    for feature, published in (
        ("customer_spending.amount", "CUSTOMER_ID_AVG_AMOUNT"),
        ("terminal_risk.risk", "TERMINAL_ID_RISK"),
    )
    for days in (1, 7, 30)
}
#: The published means are rolling sums, and carry the rounding of all additions before them.
ROUNDING = 1e-10
FLAGS = {"is_weekend": "TX_DURING_WEEKEND", "is_night": "TX_DURING_NIGHT"}


def published_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("card_fraud_published", EXAMPLE / "published.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


published = published_module()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The line's tables for July and August, each made by its asset in one run over the range."""
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        environment.setenv("FACTORY_HOME", str(tmp_path_factory.mktemp("factory")))
        environment.setenv("FACTORY_DEFS", str(EXAMPLE))
        environment.setenv("CARD_TRANSACTIONS", str(DATA / "raw"))
        from factory_assets.governor.executor import execute
        from factory_assets.governor.runs import RANGE_END, RANGE_START

        deployment = published.deployment(instance)
        for keys, first in (
            ([["card_transactions", "raw"], ["card_transactions", "events"]], HISTORY_FROM),
            ([["card_fraud", "examples"], ["card_fraud", "labels"]], FROM),
        ):
            deployment.failures += execute(
                deployment, [dg.AssetKey(key) for key in keys], {RANGE_START: str(first), RANGE_END: str(TO)}
            )
        assert deployment.failures == []
        yield deployment


@pytest.fixture(scope="module")
def compared(deployed: Any) -> pd.DataFrame:
    """Our examples beside the published features of the same transactions."""
    features = [*COUNTS, *MEANS, *FLAGS]
    ours = deployed.lake.read("card_fraud/examples", FROM, TO, ["example_id", "CUSTOMER_ID", "observed_at", *features])
    theirs = pd.concat([pd.read_parquet(file) for file in sorted(DATA.glob("published_features_*.parquet"))])
    compared = ours.to_pandas().merge(theirs, left_on="example_id", right_on="TRANSACTION_ID", validate="1:1")
    assert len(compared) == ours.num_rows == len(theirs) == 593_487
    return compared


def differing(compared: pd.DataFrame, features: dict[str, str], tolerance: float = 0.0) -> np.ndarray:
    """Rows in which any of the features is not as published, shape (n,)."""
    differs = np.zeros(len(compared), dtype=bool)
    for name, as_published in features.items():
        gap = compared[name].to_numpy(np.float64) - compared[as_published].to_numpy(np.float64)
        differs |= ~(np.abs(gap) <= tolerance)
    return differs


def ties(compared: pd.DataFrame) -> np.ndarray:
    """Transactions at the same second as another one of the same customer, shape (n,)."""
    return compared.duplicated(["CUSTOMER_ID", "observed_at"], keep=False).to_numpy()


def test_all_14_features_equal_the_published_ones_except_in_tie_rows(compared: pd.DataFrame) -> None:
    assert len(COUNTS) + len(MEANS) + len(FLAGS) == 14
    differs = differing(compared, COUNTS | FLAGS) | differing(compared, MEANS, ROUNDING)
    assert not (differs & ~ties(compared)).any()
    # The published file counts one of two simultaneous transactions into the other; we count neither. Of the 29 pairs
    # in the whole data, six lie in these months.
    assert ties(compared).sum() == 2 * 6
    assert differs.sum() == 6
    assert compared[differs].groupby(["CUSTOMER_ID", "observed_at"]).size().tolist() == [1] * 6


def test_there_are_29_pairs_of_simultaneous_transactions_in_the_six_months() -> None:
    raw = pd.concat(
        [pd.read_parquet(file, columns=["CUSTOMER_ID", "TX_DATETIME"]) for file in (DATA / "raw").iterdir()]
    )
    simultaneous = raw.groupby(["CUSTOMER_ID", "TX_DATETIME"]).size()
    assert simultaneous[simultaneous > 1].tolist() == [2] * 29


def test_terminals_have_no_tie_rows_since_a_delay_puts_both_of_two_simultaneous_events_into_the_past(
    compared: pd.DataFrame,
) -> None:
    of_terminals = {ours: theirs for ours, theirs in (COUNTS | MEANS).items() if ours.startswith("terminal_risk.")}
    assert not differing(compared, of_terminals, ROUNDING).any()


@pytest.fixture(scope="module")
def split(deployed: Any) -> Any:
    return published.published_split(deployed)


def test_the_published_split_has_exactly_the_published_rows_and_frauds(split: Any) -> None:
    assert (split.train.num_rows, split.train["label"].to_numpy().sum()) == (67_240, 598)
    assert (split.test.num_rows, split.test["label"].to_numpy().sum()) == (58_264, 385)


def test_our_logistic_regression_comes_within_3_thousandths_of_the_published_one(deployed: Any, split: Any) -> None:
    roc_auc, average_precision, _ = published.measure(split.test, published.logistic_regression(deployed, split))
    assert roc_auc == pytest.approx(0.871, abs=0.003)
    assert average_precision == pytest.approx(0.606, abs=0.003)


def test_the_lines_champion_matches_the_best_published_model(deployed: Any, split: Any) -> None:
    model = published.champion(deployed)
    assert model.manifest["days"]["train_from"] == "2018-07-04"
    assert model.manifest["days"]["train_to"] == "2018-07-31"
    assert "TX_FRAUD_SCENARIO" not in model.features and len(model.features) == 15
    roc_auc, average_precision, cards = published.measure(split.test, model.predict(split.test))
    assert roc_auc >= 0.87
    assert average_precision >= 0.66
    assert cards >= 0.287
