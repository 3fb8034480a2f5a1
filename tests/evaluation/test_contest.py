"""By which rows does a contest tell skill from luck? By days, by whoever comes again, and by stretches where labels overlap."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.gate import Look
from factory_assets.measures.certainty import certainty, grouped, stretches
from tests.features.lines import OF_ENTITIES, OF_EVENTS, declared_line

DAYS, CUSTOMERS = 35, 40
ONE_LOOK = Look(0.95)


def rows(luck: str) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Rows of customers who come every day, and two predictions that differ by days, or by customers."""
    rng = np.random.default_rng(4)
    day, customer = np.repeat(np.arange(DAYS), CUSTOMERS), np.tile(np.arange(CUSTOMERS), DAYS)
    y = (rng.random(len(day)) < 0.3).astype(float)
    by = {"days": day, "customers": customer}[luck]
    first, second = (np.clip(0.3 + 0.3 * (y - 0.3) + rng.normal(0, 0.2, 40)[by], 0.01, 0.99) for _ in "ab")
    ds = pa.array([dt.date(2026, 3, 1) + dt.timedelta(days=int(each)) for each in day])
    about = {
        "example_id": [f"{place:04d}" for place in range(len(y))],
        "observed_at": ds.cast(pa.timestamp("us")),
        "leaf": ["global"] * len(y),
    }
    return pa.table({"label": y, "ds": ds, "who": customer, "shop": customer % 7} | about), first, second


def met(first: np.ndarray, second: np.ndarray, table: pa.Table, **more: Any) -> float:
    """How sure a line is of a challenger that predicts the first beside a champion that predicts the second."""

    def model(values: np.ndarray) -> Any:
        naive, since = lambda rows, task: np.full(rows, 0.3), dt.date(2026, 3, 1)
        return SimpleNamespace(predict=lambda rows, task: values, naive=naive, unlearnt_from=since)

    models = {"new": model(first), "old": model(second)}
    contestants = Contestants(
        {"global": "old"}, {"global": Challenger("new", ONE_LOOK)}, models.__getitem__, lambda _: None
    )
    (found,) = walk(declared_line(**more), "log_loss", ["global"], contestants, lambda _: table)
    return found.certainty["challenger"]


def asked(within: str) -> dict[str, Any]:
    """Customers, each asked every day whether they come within so many."""
    return OF_ENTITIES | {"label": {"event": "visits", "within": within}}


@pytest.mark.parametrize("luck", ["days", "customers"])
@pytest.mark.parametrize(
    ("more", "clusters", "length"),
    [
        (OF_EVENTS, None, 1),
        (OF_EVENTS | {"gate": {"cluster": "shop"}}, "shop", 1),
        (asked("7d"), "who", 7),
        (asked("7d") | {"gate": {"cluster": "shop"}}, "shop", 7),
        (asked("30d"), "who", 8),
    ],
    ids=["days", "shops", "customers", "shops of customers", "customers of a month"],
)
def test_the_least_sure_of_stretches_and_clusters_counts(
    luck: str, more: dict[str, Any], clusters: str | None, length: int
) -> None:
    """length: of the stretches in days: a quarter of the 35 where labels overlap over more."""
    table, first, second = rows(luck)
    groupings = [stretches(table["ds"].to_numpy(), length)]
    groupings += [grouped(table[clusters])] if clusters else []
    y = table["label"].to_numpy()
    sure = [certainty("binary", "log_loss", y, first, second, [groups]) for groups in groupings]
    assert len(set(sure)) == len(groupings)
    assert met(first, second, table, **more) == min(each for each in sure if each is not None)
