"""Does each node get the parameters of the search that it should, and is none made that is not due?"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.training.search.tuned import Tuned, Tuning
from factory_resources.records.trials import Trials
from tests.features.lines import OF_EVENTS, declared_line
from tests.training.segmented import by_node

DAY = dt.timedelta(days=1)
TODAY = dt.date(2026, 2, 10)
LEAVES = {"num_leaves": {"int": [2, 40]}}


def declared(**searching: Any) -> DeclaredLine:
    search = {"space": LEAVES, "trials": 3, "every": "7d"} | searching
    return declared_line(
        **OF_EVENTS
        | {
            "task": "regression",
            "features": ["amount"],
            "segments": {"levels": ["country", "city"], "min_rows": 200},
            "train": {"window": "28d", "holdout": "7d"},
            "candidates": {
                "linear": {"estimator": "ridge"},
                "boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 5}, "search": search},
            },
        }
    )


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    rng = np.random.default_rng(3)
    n = 1500
    amount = rng.normal(size=n)
    days = [TODAY - 30 * DAY + int(day) * DAY for day in np.sort(rng.integers(0, 28, n))]
    node = rng.choice(["FR/Paris", "FR/Lyon", "DE/Berlin"], n, p=[0.5, 0.05, 0.45])
    columns = {"ds": days, "leaf": node, "amount": amount, "label": np.sin(3 * amount) + rng.normal(size=n)}
    at = pa.array(days, pa.date32()).cast(pa.timestamp("us"))
    return pa.table(columns | {"observed_at": at, "example_id": np.arange(n)})


@pytest.fixture
def book(tmp_path: Path) -> Trials:
    return Trials(url=f"sqlite:///{tmp_path}/ledger.db")


def tune(
    line: DeclaredLine, book: Trials, rows: pa.Table, nodes: list[str], as_of: dt.date = TODAY, run: str = "r"
) -> tuple[Tuned, list[str]]:
    said: list[str] = []
    return Tuning(line, book, by_node(rows), nodes, "mae", as_of, run, said.append).tune(), said


def params(tuned: Tuned, node: str) -> dict[str, Any]:
    return tuned.of(node).candidates["boosted"].params


def test_one_search_at_global_serves_all_nodes_and_only_candidates_that_search(book: Trials, rows: pa.Table) -> None:
    tuned, said = tune(declared(), book, rows, ["global", "FR", "FR/Lyon"])
    assert len(book.trials("question")) == 4 and {trial.node for trial in book.trials("question")} == {"global"}
    found = tuned.source("FR/Lyon", "boosted")
    assert found and found.now and found.record()["trial"] == found.best.number
    assert params(tuned, "global") == params(tuned, "FR/Lyon") == found.best.params
    assert tuned.of("FR").candidates["boosted"].search is None
    assert tuned.of("FR").candidates["linear"].params == {} and tuned.source("FR", "linear") is None
    assert len(said) == 1 and found.why in said[0]


def test_a_training_soon_after_takes_what_was_found_and_a_later_one_searches_anew(book: Trials, rows: pa.Table) -> None:
    first, _ = tune(declared(), book, rows, ["global"])
    soon, said = tune(declared(), book, rows.slice(50), ["global"], TODAY + 6 * DAY)
    assert params(soon, "global") == params(first, "global") and not said
    source = soon.source("global", "boosted")
    assert source and not source.now and source.key.as_of == TODAY
    _, said = tune(declared(), book, rows.slice(50), ["global"], TODAY + 7 * DAY)
    assert said and len(book.trials("question")) == 8
    past, _ = tune(declared(), book, rows, ["global"], TODAY + DAY)
    source = past.source("global", "boosted")
    assert source and source.key.as_of == TODAY, "what was found later was not known on that day"


def test_a_node_alone_takes_the_latest_of_its_ancestors_however_old(book: Trials, rows: pa.Table) -> None:
    first, _ = tune(declared(), book, rows, ["global"])
    alone, said = tune(declared(), book, rows, ["FR/Paris"], TODAY + 100 * DAY)
    assert params(alone, "FR/Paris") == params(first, "global") and not said


def test_a_node_alone_without_any_search_before_gets_one(book: Trials, rows: pa.Table) -> None:
    alone, said = tune(declared(), book, rows, ["FR/Paris"])
    assert said and {trial.node for trial in book.trials("question")} == {"global"}
    source = alone.source("FR/Paris", "boosted")
    assert source and source.key.node == "global"


def test_every_node_may_search_and_one_with_too_few_rows_takes_its_parents(book: Trials, rows: pa.Table) -> None:
    tuned, said = tune(declared(nodes="all"), book, rows, ["global", "FR", "FR/Paris", "FR/Lyon"])
    assert {trial.node for trial in book.trials("question")} == {"global", "FR", "FR/Paris"}
    source = tuned.source("FR/Lyon", "boosted")
    assert source and source.key.node == "FR" and params(tuned, "FR/Lyon") == params(tuned, "FR")
    assert len(said) == 3


@pytest.mark.parametrize(
    "changed", [{"space": {"num_leaves": {"int": [2, 41]}}}, {"folds": 2}, {"trials": 5}, {"nodes": "all"}]
)
def test_a_changed_search_is_made_at_once_and_more_trials_go_on_from_those_made(
    book: Trials, rows: pa.Table, changed: dict[str, Any]
) -> None:
    tune(declared(), book, rows, ["global"])
    _, said = tune(declared(**changed), book, rows, ["global"])
    assert len(said) == 1
    assert len(book.trials("question")) == (6 if "trials" in changed else 8)


def test_fewer_trials_are_taken_from_those_made(book: Trials, rows: pa.Table) -> None:
    tune(declared(), book, rows, ["global"])
    fewer, said = tune(declared(trials=2), book, rows, ["global"])
    source = fewer.source("global", "boosted")
    assert not said and source and len(source.outcomes) == 3


def test_a_killed_search_is_ended_by_the_next_run_and_not_taken_for_a_search(book: Trials, rows: pa.Table) -> None:
    clean, _ = tune(declared(), book, rows, ["global"])
    killed = Trials(url=book.url.replace("ledger.db", "killed.db"))
    for trial in book.trials("question")[:2]:
        killed.record(replace(trial, id=None))
    again, _ = tune(declared(), killed, rows, ["global"], run="again")
    assert params(again, "global") == params(clean, "global")
    assert [trial.run_id for trial in killed.trials("question")] == ["r", "r", "again", "again"]


def test_a_line_without_a_search_stays_as_it_is(book: Trials, rows: pa.Table) -> None:
    line = declared()
    plain = line.line.candidates["boosted"].model_copy(update={"search": None})
    line = replace(line, line=Line.model_validate(line.line.model_copy(update={"candidates": {"boosted": plain}})))
    tuned, said = tune(line, book, rows, ["global"])
    assert tuned.of("global") is line.line and not said and not book.trials("question")


def test_a_parameter_that_the_estimator_does_not_know_stops_the_training_before_any_trial(
    book: Trials, rows: pa.Table
) -> None:
    with pytest.raises(ValueError, match=r"question: candidates.boosted.search.space.leafs: .* no parameter leafs"):
        tune(declared(space={"leafs": {"int": [2, 3]}}), book, rows, ["global"])
    assert not book.trials("question")
