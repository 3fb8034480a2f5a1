"""Is every trial kept as it was, on both databases, and is a search found again by those that may take what it found?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from factory_resources.records.trials import SearchKey, Trial, Trials

ONE, TWO = dt.date(2026, 3, 1), dt.date(2026, 3, 8)
FOLD = {"train_to": "2026-02-01", "validate_from": "2026-02-03", "validate_to": "2026-02-05", "rows": 10}


def a_trial(number: int = 0, **changed: Any) -> Trial:
    trial = Trial(
        line="churn",
        node="global",
        candidate="boosted",
        estimator="lightgbm",
        as_of=ONE,
        configuration="c",
        search="s",
        number=number,
        params={"num_leaves": 31, "learning_rate": 0.1 + 0.2, "boosting": "gbdt", "extra_trees": True},
        metric="mae",
        value=1 / 3,
        folds=[FOLD | {"metrics": {"mae": 1 / 3, "r2": 0.5}}, FOLD | {"metrics": {"mae": 0.5}}],
        state="complete",
        message="",
        seconds=0.25,
        run_id="run-1",
        ended_at=dt.datetime(2026, 3, 2, 1, 2, 3, 4567, tzinfo=dt.UTC),
    )
    return replace(trial, **changed)


@pytest.fixture
def book(url: str) -> Iterator[Trials]:
    opened = Trials(url=url)
    yield opened
    opened.close()


def test_a_trial_comes_back_bit_for_bit_and_cannot_be_changed(book: Trials) -> None:
    book.record(a_trial())
    book.record(a_trial(1, value=None, state="failed", message="num_leaves is 1", folds=[]))
    first, second = book.trials("churn")
    assert replace(first, id=None) == a_trial() and first.id
    assert first.metrics == {"mae": pytest.approx(5 / 12)}, "r2 was not measured on all folds"
    assert second.value is None and second.metrics == {}
    with sa.create_engine(book.url).begin() as connection, pytest.raises(sa.exc.DBAPIError, match="append-only"):
        connection.execute(sa.text("UPDATE ledger_trials SET value = 0"))


def test_of_a_number_that_was_tried_again_the_later_trial_counts(book: Trials) -> None:
    for number, run in ((0, "killed"), (1, "killed"), (1, "again"), (2, "again")):
        book.record(a_trial(number, run_id=run))
    book.record(a_trial(1, search="another"))
    found = book.of_search("churn", "boosted", SearchKey("global", ONE, "s"))
    assert [(trial.number, trial.run_id) for trial in found] == [(0, "killed"), (1, "again"), (2, "again")]


def test_searches_are_those_of_the_configuration_up_to_the_day_newest_first(book: Trials) -> None:
    for changed in (
        {},
        {"as_of": TWO, "search": "later"},
        {"node": "FR", "search": "of FR"},
        {"configuration": "other", "search": "other"},
        {"candidate": "linear"},
        {"line": "sales"},
    ):
        book.record(a_trial(**changed))
    keys = book.searches("churn", "boosted", "c", TWO)
    assert [key.search for key in keys] == ["later", "of FR", "s"]
    assert [key.search for key in book.searches("churn", "boosted", "c", ONE)] == ["of FR", "s"]


def test_a_trial_that_a_line_does_not_have_is_named(book: Trials) -> None:
    book.record(a_trial())
    (found,) = book.trials("churn")
    assert found.id and book.trial("churn", found.id) == found
    with pytest.raises(LookupError, match="'sales' has no trial"):
        book.trial("sales", found.id)
