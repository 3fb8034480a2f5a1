"""Does each node get the model that its rows deserve, the same whatever runs beside it?"""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Line
from factory_assets.training.fit.fitting import Again, Fitted, NotTrained, fit_again, fit_node, rows_within

FEATURES = ["x", "z"]


def a_line(**changes: object) -> Line:
    fields = {
        "name": "a_line",
        "owner": "team:test",
        "description": "A line.",
        "task": "regression",
        "observe": {"stream": "events"},
        "label": {"expression": "y"},
        "features": FEATURES,
        "segments": {"levels": ["country", "city"], "min_rows": 200},
        "train": {"window": "28d", "holdout": "7d"},
        "candidates": {
            "linear": {"estimator": "ridge"},
            "boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 20}},
        },
    }
    return Line.model_validate(fields | changes)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    rng = np.random.default_rng(7)
    n = 2000
    x, z = rng.normal(size=n), rng.normal(size=n)
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=int(day)) for day in np.sort(rng.integers(0, 28, n))]
    cities = rng.choice(["FR/Paris", "FR/Lyon", "FR/Lyons", "DE/Berlin"], n, p=[0.6, 0.2, 0.15, 0.05])
    label = 3 * x + rng.normal(size=n)
    return pa.table({"ds": days, "leaf": cities, "x": x, "z": z, "label": label})


def test_rows_of_a_node_are_those_of_its_subtree_and_of_no_namesake(rows: pa.Table) -> None:
    assert rows_within(rows, "global").num_rows == rows.num_rows
    assert set(rows_within(rows, "FR")["leaf"].to_pylist()) == {"FR/Paris", "FR/Lyon", "FR/Lyons"}
    assert set(rows_within(rows, "FR/Lyon")["leaf"].to_pylist()) == {"FR/Lyon"}


def test_a_node_with_too_few_rows_is_not_trained_and_says_how_many_it_lacks(rows: pa.Table) -> None:
    outcome = fit_node(a_line(), rows_within(rows, "DE/Berlin"), FEATURES, "DE/Berlin", "mae")
    assert isinstance(outcome, NotTrained) and "200 needed" in outcome.reason


def test_a_node_with_too_few_positives_is_not_trained(rows: pa.Table) -> None:
    label = pa.array([1.0] * 30 + [0.0] * (rows.num_rows - 30))
    few = rows.set_column(rows.column_names.index("label"), "label", label)
    fields = {"task": "binary", "candidates": {"logistic": {"estimator": "logistic_regression"}}}
    for needed, expected in ((30, Fitted), (31, NotTrained)):
        line = a_line(**fields, segments={"levels": ["country"], "min_rows": 200, "min_positives": needed})
        assert isinstance(fit_node(line, few, FEATURES, "global", "average_precision"), expected)


def test_of_the_candidates_the_better_one_on_the_newest_days_is_fitted(rows: pa.Table) -> None:
    outcome = fit_node(a_line(), rows, FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted)
    assert outcome.candidate == "linear", "the data are linear"
    assert outcome.validation["linear"]["mae"] < outcome.validation["boosted"]["mae"]
    assert outcome.rows == rows.num_rows, "the winner learns from the whole window"


def test_one_class_alone_is_nothing_to_learn_from(rows: pa.Table) -> None:
    line = a_line(task="binary", candidates={"logistic": {"estimator": "logistic_regression"}})
    ones = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.ones(rows.num_rows)))
    outcome = fit_node(line, ones, FEATURES, "global", "average_precision")
    assert isinstance(outcome, NotTrained) and "nothing to tell apart" in outcome.reason


def curved(rows: pa.Table, bend: float) -> pa.Table:
    """The same rows with a label that no line follows."""
    x = rows["x"].to_numpy()
    label = 3 * x + bend * np.sign(np.sin(3 * x)) + np.random.default_rng(1).normal(size=len(x))
    return rows.set_column(rows.column_names.index("label"), "label", pa.array(label))


@pytest.mark.parametrize(("margin", "taken"), [(0.0, "boosted"), (0.05, "boosted"), (5.0, "linear")])
def test_what_cannot_be_read_must_be_better_by_the_margin(rows: pa.Table, margin: float, taken: str) -> None:
    line = a_line(train={"window": "28d", "holdout": "7d", "margin": margin})
    outcome = fit_node(line, curved(rows, 2.0), FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted)
    boosted, linear = (outcome.validation[name]["mae"] for name in ("boosted", "linear"))
    assert boosted < linear - 0.05, "trees follow the curve"
    assert outcome.candidate == taken
    assert outcome.choice.startswith(f"mae {boosted:.4g} of boosted against {linear:.4g} of linear, which can be read")
    assert f"margin of {margin:g}" in outcome.choice and ("so linear is taken" in outcome.choice) == (taken == "linear")


def test_the_better_one_of_those_that_can_be_read_needs_no_margin(rows: pa.Table) -> None:
    candidates = {"additive": {"estimator": "additive"}, "linear": {"estimator": "ridge"}}
    line = a_line(candidates=candidates, train={"window": "28d", "holdout": "7d", "margin": 5.0})
    outcome = fit_node(line, curved(rows, 2.0), FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted) and outcome.candidate == "additive"
    assert outcome.choice.endswith("of linear")


def test_each_candidate_is_reported_with_what_it_costs(rows: pa.Table) -> None:
    outcome = fit_node(a_line(), rows, FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted)
    assert {name: tried.interpretable for name, tried in outcome.tried.items()} == {"linear": True, "boosted": False}
    for tried in outcome.tried.values():
        assert tried.seconds > 0 and tried.microseconds > 0 and tried.bytes > 1000 and tried.metrics
    alone = fit_node(a_line(candidates={"linear": {"estimator": "ridge"}}), rows, FEATURES, "global", "mae")
    assert isinstance(alone, Fitted) and alone.tried["linear"].bytes > 1000 and not alone.validation
    assert alone.choice == "the only candidate"


def test_options_of_a_candidate_reach_its_model(rows: pa.Table) -> None:
    boosted = {"estimator": "lightgbm", "params": {"num_boost_round": 500, "learning_rate": 0.3}, "early_stopping": 5}
    line = a_line(candidates={"boosted": boosted | {"monotone": {"x": "decreasing"}}})
    outcome = fit_node(line, rows, FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted) and outcome.rounds is not None and outcome.rounds < 100
    assert outcome.options == {"monotone": {"x": "decreasing"}, "early_stopping": 5}
    grid = np.column_stack([np.linspace(-2, 2, 50), np.zeros(50)])
    assert np.ptp(outcome.model.predict(grid)) < 0.5, "the label rises with x, and the model must not"


def test_a_candidate_for_which_there_are_too_few_days_leaves_the_others_to_choose_from(rows: pa.Table) -> None:
    candidates = {
        "stopped": {"estimator": "lightgbm", "early_stopping": 5},
        "linear": {"estimator": "ridge"},
    }
    days = rows["ds"].to_numpy()
    two = rows.filter(pa.array((days == days.min()) | (days == days.max())))
    doubled = pa.concat_tables([two] * 4)
    outcome = fit_node(a_line(candidates=candidates), doubled, FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted) and outcome.candidate == "linear"
    assert "of 1 days the newest 1 hold" in outcome.tried["stopped"].reason
    one = doubled.filter(pa.array(doubled["ds"].to_numpy() == days.max()))
    line = a_line(candidates={"stopped": candidates["stopped"]}, segments={"min_rows": 50})
    alone = fit_node(line, one, FEATURES, "global", "mae")
    assert isinstance(alone, NotTrained) and alone.reason.startswith(
        "stopped: early_stopping and calibrate need earlier"
    )


@pytest.mark.parametrize("compared", [True, False])
def test_a_candidate_that_cannot_be_fitted_is_left_out_and_named(rows: pa.Table, compared: bool) -> None:
    """No matrix can be fitted with a penalty below nothing; a tree can."""
    refused = {"estimator": "ridge", "params": {"alpha": -1.0}}
    line = a_line(
        candidates={"linear": refused, "boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 20}}}
    )
    if not compared:
        rows = rows.set_column(0, "ds", pa.array([dt.date(2026, 1, 1)] * rows.num_rows))
    outcome = fit_node(line, rows, FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted) and outcome.candidate == "boosted"
    assert "linear was not fitted: InvalidParameterError: The 'alpha' parameter of Ridge" in outcome.choice
    assert "Traceback" in outcome.tried["linear"].traceback
    assert outcome.tried["boosted"].bytes > 1000 and bool(outcome.validation) is compared
    with pytest.raises(ValueError, match="The 'alpha' parameter"):
        fit_node(a_line(candidates={"linear": refused}), rows, FEATURES, "global", "mae")


def test_a_number_whose_square_is_beyond_a_double_ends_no_candidate(rows: pa.Table) -> None:
    """The linear one takes it for missing, and answers every row by a finite number."""
    x = rows["x"].to_pylist()
    x[5] = 1e200
    huge = rows.set_column(rows.column_names.index("x"), "x", pa.array(x))
    outcome = fit_node(a_line(), huge, FEATURES, "global", "mae")
    assert isinstance(outcome, Fitted) and not outcome.tried["linear"].traceback
    assert np.isfinite(outcome.tried["linear"].metrics["mae"])


def test_counts_and_quantiles_are_fitted_and_guessed_by_their_own_rule(rows: pa.Table) -> None:
    counted = pa.array(np.floor(np.exp(np.clip(rows["x"].to_numpy(), -3, 3))))
    counts = rows.set_column(rows.column_names.index("label"), "label", counted)
    candidates = {"additive": {"estimator": "additive"}, "boosted": {"estimator": "lightgbm"}}
    outcome = fit_node(a_line(task="count", candidates=candidates), counts, FEATURES, "global", "poisson_deviance")
    assert isinstance(outcome, Fitted) and outcome.naive == pytest.approx(np.mean(counted.to_numpy()))
    assert set(outcome.validation["additive"]) == {"poisson_deviance", "mae", "rmse"} and outcome.positives is None
    outcome = fit_node(a_line(task="quantile(0.9)", candidates=candidates), rows, FEATURES, "global", "pinball")
    assert isinstance(outcome, Fitted) and outcome.naive == pytest.approx(np.quantile(rows["label"].to_numpy(), 0.9))
    assert 0.8 < outcome.validation["additive"]["coverage"] < 0.97
    nothing = counts.set_column(counts.column_names.index("label"), "label", pa.array(np.zeros(counts.num_rows)))
    none = fit_node(a_line(task="count", candidates=candidates), nothing, FEATURES, "global", "poisson_deviance")
    assert isinstance(none, NotTrained) and "all 2000 labels are 0" in none.reason


@pytest.mark.parametrize(
    "boosted",
    [
        {"estimator": "lightgbm", "params": {"num_boost_round": 300, "learning_rate": 0.3}, "early_stopping": 5},
        {"estimator": "hist_gradient_boosting", "params": {"learning_rate": 0.3}, "early_stopping": 5},
    ],
)
def test_a_version_is_fitted_again_with_the_rounds_that_were_found_for_it(
    rows: pa.Table, boosted: dict[str, object]
) -> None:
    line, fewer = a_line(candidates={"boosted": boosted}), rows.slice(0, 1400)
    before = fit_node(line, fewer, FEATURES, "global", "mae")
    assert isinstance(before, Fitted) and before.rounds
    again = fit_again(line, rows, FEATURES, "global", Again("boosted", before.rounds))
    anew = fit_node(line, rows, FEATURES, "global", "mae")
    assert isinstance(again, Fitted) and isinstance(anew, Fitted)
    assert again.rounds == before.rounds != anew.rounds and again.rows == rows.num_rows
    twice = fit_again(line, rows, FEATURES, "global", Again("boosted", before.rounds))
    assert isinstance(twice, Fitted) and twice.model.parts() == again.model.parts()


def test_a_version_is_fitted_again_as_the_candidate_that_it_is_or_tells_why_not(rows: pa.Table) -> None:
    again = fit_again(a_line(), rows, FEATURES, "global", Again("boosted"))
    assert isinstance(again, Fitted) and again.candidate == "boosted", "though the linear one is better"
    line = a_line(task="binary", candidates={"logistic": {"estimator": "logistic_regression"}})
    ones = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.ones(rows.num_rows)))
    outcome = fit_again(line, ones, FEATURES, "global", Again("logistic"))
    assert isinstance(outcome, NotTrained) and "both classes" in outcome.reason
