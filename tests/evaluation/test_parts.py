"""Is a challenger that is better on average and worse on a slice, or to a group, kept out? And do its rows alone tell so?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, mean_absolute_error

from factory_assets.declarations import parts as declared_parts
from factory_assets.declarations.candidates import check as check_candidates
from factory_assets.declarations.definitions import recipe
from factory_assets.declarations.line import Gate, Line
from factory_assets.declarations.tasks import classes_of
from factory_assets.evaluation import scores
from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.gate import Contest, Look, Ruling, rule
from factory_assets.evaluation.met import GAIN, Met, recorded
from factory_assets.evaluation.parts import Asked, Parts, belonging, costs, measured, parts_of
from factory_assets.measures.certainty import limits_of, stretches
from factory_assets.measures.compared import decided_by, metric_of
from factory_assets.training.timeline import Timeline
from factory_resources import duck
from factory_resources.lake import Lake
from tests.features.lines import OF_EVENTS, declared_line

ON = dt.date(2026, 3, 1)
SPAN = Timeline(ON, ON, ON, ON, ON)
NIGHT = {"where": "hour < 6"}
COST = {"unit": "EUR", "false_positive": 1, "false_negative": 20, "true_positive": -2}


def rows_of(rng: np.random.Generator, rows: int, y: np.ndarray | None = None) -> pa.Table:
    """Rows of a week in no order, with features, a column that goes along, and labels."""
    days = rng.integers(0, 7, rows)
    at = [dt.datetime.combine(ON + dt.timedelta(days=int(each)), dt.time(int(rng.integers(3)))) for each in days]
    return pa.table(
        {
            "example_id": rng.permutation(rows), "observed_at": pa.array(at, pa.timestamp("us")),
            "leaf": pa.array(rng.choice(["a/b", "a/c"], rows)), "ds": pa.array([each.date() for each in at], pa.date32()),
            "hour": rng.integers(0, 24, rows), "pace.n_1d": rng.normal(size=rows),
            "sex": pa.array(rng.choice(["f", "m", None], rows, p=[0.6, 0.3, 0.1]), pa.string()),
            "label": pa.array(rng.integers(0, 2, rows).astype(float) if y is None else y), "place": np.arange(rows),
        }
    )  # fmt: skip


def line_of(task: str, **gate: Any) -> Line:
    return Line(
        name="question", owner="team:x", description="-", task=task, observe={"stream": "orders"}, label={"expression": "y"},
        features=["hour"], train={"window": "7d", "holdout": "7d"}, candidates={"constant": {"estimator": "constant"}},
        gate=gate,
    )  # fmt: skip


def met(line: Line, metric: str, rows: pa.Table, **models: np.ndarray) -> tuple[Met, Ruling]:
    """A challenger and a champion that predict these of the rows, by place; and the ruling."""

    def model(version: str) -> Any:
        return SimpleNamespace(
            predict=lambda rows, task: models[version][rows["place"].to_numpy()],
            naive=lambda count, task: np.repeat(models["naive"][:1], count, axis=0),
            unlearnt_from=ON,
        )

    champions = {"global": "champion"} if "champion" in models else {}
    up = {"global": Challenger("challenger", Look(line.bar.certainty))}
    contestants = Contestants(champions, up, model, lambda version: None)
    declared: Any = SimpleNamespace(line=line)
    (found,) = walk(declared, metric, ["global"], contestants, lambda node: rows)
    return found, rule(metric, line.bar, found.contest, None, up["global"].look)


def test_better_on_average_and_worse_on_a_slice_is_kept_out_and_the_slice_is_named() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=4000)
    rows = rows_of(rng, 4000, y)
    night = rows["hour"].to_numpy() < 6
    champion, naive = y + rng.normal(0, 1, 4000), np.zeros(4000)
    challenger = y + np.where(night, 2.0, 0.5) * rng.normal(0, 1, 4000)
    models = {"challenger": challenger, "champion": champion, "naive": naive}
    plain, ruling = met(line_of("regression"), "mae", rows, **models)
    assert ruling.verdict == "promote" and not [name for name in plain.metrics["challenger"] if " of " in name]
    found, ruling = met(line_of("regression", slices={"night": NIGHT | {"worse": 0.3}}), "mae", rows, **models)
    assert ruling.verdict == "keep"
    assert "better than" in ruling.reason and "but worse in slice night: mae 1.586 beside 0.7913" in ruling.reason
    assert f"of the champion, by more than 0.3, on {night.sum()} rows" in ruling.reason
    own = found.metrics["challenger"]
    assert own["mae of night"] == pytest.approx(mean_absolute_error(y[night], challenger[night]), rel=1e-12)
    assert own["rows of night"] == night.sum() and found.metrics["naive"]["mae of night"] > 0
    assert found.certainty["mae of night"] < 0.01, "that it is worse by no more than 0.3"
    _, ruling = met(line_of("regression", slices={"night": NIGHT | {"worse": 5}}), "mae", rows, **models)
    assert ruling.verdict == "promote"


def limited(
    own: float,
    theirs: float | None = 5.0,
    rows: int = 80,
    sure: float | None = 0.7,
    look: Look | None = None,
    **declared: Any,
) -> Ruling:
    """The ruling on a challenger that is better on all rows, and of this mae on a slice."""
    gate = Gate(certainty=0.9, slices={"night": NIGHT | declared})
    parts = {"rows of night": float(rows), "mae of night": own}
    champion = {"mae": 5.0} | ({"mae of night": theirs} if theirs is not None else {})
    certainty = {"naive": 0.99, "challenger": 0.99} | ({"mae of night": sure} if sure is not None else {})
    return rule("mae", gate, Contest({"mae": 9.0}, None, champion, {"mae": 4.0} | parts, certainty), None, look)


def test_a_slice_is_held_against_its_limits_and_what_cannot_be_measured_has_not_passed() -> None:
    waiting = Look(0.95, 7, 7, 0.95)
    assert limited(5.5, worse=0.5).verdict == "promote" and limited(5.51, worse=0.5).verdict == "keep"
    assert limited(5.5, floor=5.5).verdict == "promote"
    assert "worse in slice night: mae 5.6, at most 5.5 needed, on 80 rows" in limited(5.6, floor=5.5).reason
    few = limited(4.0, rows=49, worse=0.5)
    assert few.verdict == "keep" and "slice night has 49 rows, 50 needed" in few.reason
    assert limited(4.0, rows=49, worse=0.5, look=waiting).verdict == "undecided"
    assert limited(9.0, rows=49, worse=0.5, unmeasured="ignore").verdict == "promote"
    assert limited(9.0, rows=50, worse=0.5, unmeasured="ignore").verdict == "keep"
    nothing = rule(
        "mae", Gate(certainty=0.5, slices={"night": NIGHT | {"worse": 1}}), Contest({}, None, None, {"mae": 1.0}), None
    )
    assert nothing.verdict == "fallback" and "slice night has 0 rows" in nothing.reason
    unsure = limited(5.1, worse=0.5, certainty=0.8)
    assert (
        unsure.verdict == "keep"
        and "maybe worse in slice night" in unsure.reason
        and "0.7000 sure, 0.8000" in unsure.reason
    )
    assert limited(5.1, worse=0.5, certainty=0.7).verdict == "promote"
    assert "0.8500 needed" in limited(5.1, worse=0.5, certainty=0.7, look=waiting).reason, "half of the luck is left"
    assert limited(5.1, sure=None, worse=0.5, certainty=0.7).verdict == "keep"
    assert limited(5.6, worse=0.5, look=waiting).verdict == "undecided"
    assert limited(9.0, worse=0.5, sure=0.05, look=waiting).verdict == "keep", (
        "nobody waits for one that is worse for sure"
    )
    assert limited(9.0, theirs=None, worse=0.5).verdict == "promote", "there is nobody to be worse than"


def test_where_more_is_better_worse_is_less() -> None:
    gate = Gate(certainty=0.5, slices={"night": NIGHT | {"worse": 0.1}})
    for own, verdict in ((0.4, "promote"), (0.39, "keep")):
        parts = {"rows of night": 90.0, "roc_auc of night": own}
        champion = {"roc_auc": 0.5, "roc_auc of night": 0.5}
        met = Contest({"roc_auc": 0.5}, None, champion, {"roc_auc": 0.9} | parts)
        assert rule("roc_auc", gate, met, None).verdict == verdict


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (
            {"selection": 0.8},
            "selection ratio 0.25, at least 0.8 allowed (1 of the champion); selection rate 0.1 of sex=f, 0.4 of sex=m",
        ),
        ({"true_positive": 0.2}, "true positive difference 0.6, at most 0.2 allowed"),
        ({"false_positive": 0.2}, "false positive difference 0, at most"),
    ],
)
def test_groups_that_are_treated_otherwise_keep_a_challenger_out(limits: dict[str, float], named: str) -> None:
    """Of 100 of each sex half are a yes: 10 and 40 of these get one."""
    sex, y = np.repeat(["f", "m"], 100), np.tile([1.0, 0.0], 100)
    rows = rows_of(np.random.default_rng(2), 200, y).set_column(6, "sex", pa.array(sex))
    chosen = np.zeros(200)
    for start, number in ((0, 10), (100, 40)):
        chosen[start + 2 * np.arange(number)] = 1.0
    line = line_of("binary", certainty=0.5, groups={"sex": limits})
    models = {"challenger": 0.1 + 0.8 * chosen, "champion": np.full(200, 0.6), "naive": np.full(200, 0.5)}
    found, ruling = met(line, "log_loss", rows, **models)
    own = found.metrics["challenger"]
    assert own["selection_rate of sex=f"] == 0.1 and own["true_positive_rate of sex=m"] == 0.8
    assert (own["selection_ratio of sex"], own["true_positive_difference of sex"]) == (0.25, pytest.approx(0.6))
    if "false_positive" in limits:
        assert ruling.verdict == "promote" and own["false_positive_difference of sex"] == 0
    else:
        assert ruling.verdict == "keep" and f"groups of sex differ: {named}" in ruling.reason


def test_a_small_group_cannot_be_measured_and_may_be_left_out() -> None:
    rng, y = np.random.default_rng(3), np.tile([1.0, 0.0], 110)
    rows = rows_of(rng, 220, y).set_column(6, "sex", pa.array([*["f"] * 100, *["m"] * 100, *[None] * 20]))
    models = {"challenger": 0.1 + 0.8 * y, "champion": np.full(220, 0.6), "naive": np.full(220, 0.5)}
    for more, verdict in (({}, "keep"), ({"unmeasured": "ignore"}, "promote"), ({"rows": 10}, "promote")):
        line = line_of("binary", certainty=0.5, groups={"sex": {"true_positive": 0.1} | more})
        _, ruling = met(line, "log_loss", rows, **models)
        assert ruling.verdict == verdict
        small = "true positive difference of sex cannot be measured: sex is null with 10 positives, 50 needed"
        assert (small in ruling.reason) == (verdict == "keep")
    line = line_of("binary", certainty=0.5, groups={"place": {"selection": 0.1}})
    _, ruling = met(line, "log_loss", rows, **models)
    assert ruling.verdict == "keep" and "groups of place cannot be compared: 220 values, 100 at most" in ruling.reason


def test_errors_of_numbers_are_compared_between_groups() -> None:
    sex, y = np.repeat(["f", "m"], 100), np.zeros(200)
    rows = rows_of(np.random.default_rng(2), 200, y).set_column(6, "sex", pa.array(sex))
    models = {"challenger": np.repeat([1.0, -3.0], 100), "champion": np.full(200, 4.0), "naive": np.full(200, 5.0)}
    for limits, reason in (
        ({"mae_ratio": 2}, "mae ratio 3, at most 2 allowed (1 of the champion); mae 1 of sex=f, 3 of sex=m"),
        (
            {"mean_error": 1},
            "mean error difference 4, at most 1 allowed (0 of the champion); mean error -3 of sex=m, 1 of sex=f",
        ),
    ):
        _, ruling = met(line_of("regression", certainty=0.5, groups={"sex": limits}), "mae", rows, **models)
        assert ruling.verdict == "keep" and f"groups of sex differ: {reason}" in ruling.reason


def test_a_cost_gives_the_threshold_the_cost_of_each_and_what_is_saved() -> None:
    rng = np.random.default_rng(4)
    rows = rows_of(rng, 700)
    y = rows["label"].to_numpy()
    models = {"challenger": rng.random(700), "champion": rng.random(700), "naive": np.full(700, 0.5)}
    line = line_of("binary", cost=COST)
    found, _ = met(line, "log_loss", rows, **models)
    assert line.gate.decides_at == 1 / (1 + 22)
    spent = {}
    for side, p in models.items():
        _, fp, fn, tp = confusion_matrix(y, p >= 1 / 23).ravel()
        spent[side] = fp + 20 * fn - 2 * tp
        assert found.metrics[side]["cost"] == pytest.approx(spent[side] / 700, rel=1e-12)
    asked = Asked.of(line, "log_loss")
    assert asked is not None
    saved = costs(asked, found.y, found.predictions["champion"]) - costs(
        asked, found.y, found.predictions["challenger"]
    )
    assert saved.mean() == pytest.approx((spent["champion"] - spent["challenger"]) / 700)
    days = stretches(found.rows["ds"].to_numpy())
    assert limits_of(lambda kept: float(saved[kept].mean()), 700, [days]) == tuple(
        found.certainty[name] for name in GAIN
    )
    assert found.certainty[GAIN[0]] < saved.mean() < found.certainty[GAIN[1]] and 0 < found.certainty["cost"] < 1


def test_the_limits_of_a_gain_hold_it_in_nineteen_of_twenty_samples() -> None:
    rng, days, held = np.random.default_rng(5), np.repeat(np.arange(10), 30), 0
    for _ in range(400):
        saved = 1.0 + rng.normal(0, 1, 10)[days] + rng.normal(size=300)
        low, high = limits_of(lambda kept, saved=saved: float(saved[kept].mean()), 300, [stretches(days)]) or (0, 0)
        held += low <= 1.0 <= high
    assert 0.92 <= held / 400 <= 0.975


PARTS = {
    "slices": {
        "night": NIGHT | {"worse": 1},
        "quick": {"where": "pace.n_1d > 0.5 or sex = 'f'", "worse": 1},
        "never": {"where": "hour > 99", "worse": 1},
    },
    "groups": {"sex": {}},
}  # fmt: skip
TASKS = ("binary", "regression", "count", "quantile(0.9)", "multiclass(low, high, none)")


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from(TASKS), st.sampled_from([7, 50_000]))
def test_parts_measured_from_the_kept_table_are_those_that_were_recorded(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, task: str, batch: int
) -> None:
    """Bit for bit, whatever order the table has."""
    rng, classes = np.random.default_rng(seed), classes_of(task)

    def guess() -> np.ndarray:
        return rng.dirichlet(np.ones(len(classes)), max(count, 1)) if classes else rng.random(max(count, 1))

    rows = rows_of(rng, count)
    if classes:
        rows = rows.set_column(
            rows.schema.get_field_index("label"), "label", pa.array(rng.choice(classes, count), pa.string())
        )
    gate = PARTS | ({"cost": COST} if task == "binary" else {})
    metric = {"binary": "log_loss", "count": "mae", "quantile(0.9)": "pinball"}.get(
        task, "log_loss" if classes else "mae"
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scores, "BATCH", batch)
        models = {side: guess() for side in ("challenger", "champion", "naive")}
        found, _ = met(line_of(task, **gate), metric, rows, **models)
        tables = list(scores.tables("global", task, ON, found.rows, found.versions, found.predictions))
    table = pa.concat_tables([scores.schema(task).empty_table(), *tables])
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    lake.replace_part(
        "question/evaluation", table.take(pa.array(rng.permutation(table.num_rows), pa.int64())), ON, "node", ["global"]
    )
    with duck.opened([lake.root]) as con:
        read = scores.of_node(con, scores.view(con, lake, "question", ON), "global")
    assert scores.measured(read) == (found.metrics if count else {})
    if not count:
        return
    parts = parts_of(read)
    assert parts is not None and found.metrics["challenger"]["rows of never"] == 0
    hours = dict(zip(rows["example_id"].cast(pa.string()).to_pylist(), rows["hour"].to_pylist(), strict=True))
    assert parts.masks["night"].tolist() == [hours[each] < 6 for each in read["example_id"].to_pylist()]


def test_rows_that_an_older_release_wrote_are_read_without_parts(tmp_path: Path) -> None:
    rows = rows_of(np.random.default_rng(1), 50)
    models = {"challenger": np.full(50, 0.4), "naive": np.full(50, 0.5)}
    found, _ = met(line_of("binary"), "log_loss", rows, **models)
    (table,) = scores.tables("global", "binary", ON, found.rows, found.versions, found.predictions)
    lake = Lake(str(tmp_path))
    lake.replace_part("question/evaluation", table.drop_columns(["slices", "asked"]), ON, "node", ["global"])

    def kept() -> dict[str, dict[str, float]]:
        with duck.opened([lake.root]) as con:
            return scores.measured(scores.of_node(con, scores.view(con, lake, "question", ON), "global"))

    assert kept() == found.metrics
    newer, _ = met(line_of("binary", slices={"night": NIGHT | {"worse": 1}}), "log_loss", rows, **models)
    (table,) = scores.tables("a", "binary", ON, newer.rows, newer.versions, newer.predictions)
    lake.replace_part("question/evaluation", table, ON, "node", ["a"])
    assert kept() == found.metrics, "beside rows that have them, too"


def test_of_several_classes_each_is_compared_with_all_others_and_the_class_is_named() -> None:
    """Of 100 of each sex a half are late; who is late is told so in 45 cases of men, and in 20 of women."""
    sex, y = np.repeat(["f", "m"], 100), np.tile(["late", "soon"], 100)
    rows = rows_of(np.random.default_rng(2), 200).drop_columns("label").append_column("label", pa.array(y))
    rows = rows.set_column(rows.schema.get_field_index("sex"), "sex", pa.array(sex))
    got = np.full(200, 1)
    for start, number in ((0, 20), (100, 45)):
        got[start + 2 * np.arange(number)] = 0
    task = "multiclass(late, soon, lost)"
    probabilities = np.full((200, 3), 0.1) + 0.7 * np.eye(3)[got]
    models = {
        "challenger": probabilities,
        "champion": np.tile([0.4, 0.4, 0.2], (200, 1)),
        "naive": np.full((200, 3), 1 / 3),
    }
    limits = {"true_positive": 0.2, "unmeasured": "ignore"}
    found, ruling = met(line_of(task, certainty=0.5, groups={"sex": limits}), "log_loss", rows, **models)
    own = found.metrics["challenger"]
    assert (own["true_positive_rate_late of sex=f"], own["true_positive_rate_late of sex=m"]) == (0.4, 0.9)
    assert own["selection_rate_soon of sex=f"] == 0.8 and own["selection_ratio_late of sex"] == pytest.approx(20 / 45)
    assert own["true_positive_difference_soon of sex"] == 0 and own["positives_lost of sex=f"] == 0
    assert ruling.verdict == "keep"
    assert (
        "groups of sex differ: true positive difference of late 0.5, at most 0.2 allowed (0 of the champion)"
        in ruling.reason
    )
    assert "true positive rate of late 0.4 of sex=f, 0.9 of sex=m" in ruling.reason
    _, ruling = met(line_of(task, certainty=0.5, groups={"sex": {"true_positive": 0.5}}), "log_loss", rows, **models)
    assert (
        "true positive difference of lost of sex cannot be measured: sex=f with 0 positives; sex=m with"
        in ruling.reason
    )
    assert "of late" not in ruling.reason.partition(", but ")[2]


def test_what_decisions_cost_decides_where_that_is_declared() -> None:
    """A challenger with the better log loss that says no where a miss is dear, and one that is worse by it and saves money."""
    rng = np.random.default_rng(5)
    y = (rng.random(4000) < 0.2).astype(float)
    rows = rows_of(rng, 4000, y)
    cost = {"unit": "EUR", "false_positive": 1, "false_negative": 20}
    wary, sharp = np.where(y == 1, 0.3, 0.04), np.where(y == 1, rng.choice([0.01, 0.99], 4000, p=[0.05, 0.95]), 0.02)
    models = {"challenger": wary, "champion": sharp, "naive": np.full(4000, 0.2)}
    line = line_of("binary", metric="cost", cost=cost, calibration=9)
    found, ruling = met(line, "cost", rows, **models)
    assert found.metrics["challenger"]["log_loss"] > found.metrics["champion"]["log_loss"]
    assert ruling.verdict == "promote" and ruling.reason.startswith("cost 0, better than 0.245 of the champion")
    assert found.certainty["challenger"] == found.certainty["cost"] > 0.95
    back = {"challenger": sharp, "champion": wary, "naive": models["naive"]}
    assert met(line, "cost", rows, **back)[1].verdict == "keep"
    assert met(line_of("binary", cost=cost, calibration=9), "log_loss", rows, **back)[1].verdict == "promote"
    (challenger,) = [each for each in found.records("question", SPAN, "cost") if each.version == "challenger"]
    champion = [each for each in found.records("question", SPAN, "cost") if each.version == "champion"]
    again = recorded("cost", champion[0], challenger)
    assert rule("cost", line.bar, again, None).verdict == "promote", "as the ledger has it"
    of_night = line_of("binary", metric="cost", cost=cost, calibration=9, slices={"night": NIGHT | {"worse": 0.01}})
    found, ruling = met(of_night, "cost", rows, **back)
    night = rows["hour"].to_numpy() < 6
    expected = 20 * np.mean((sharp < 1 / 21)[night] & (y == 1)[night])
    assert found.metrics["challenger"]["cost of night"] == pytest.approx(expected)
    assert found.certainty["cost of night"] < 0.05


def test_cost_decides_only_where_costs_are_declared_and_models_are_made_as_by_log_loss() -> None:
    cost = {"unit": "EUR", "false_positive": 1, "false_negative": 20}
    bare = line_of("binary", metric="cost")
    assert [str(message) for path, message in check_candidates(bare) if path == ("gate", "metric")] == [
        "'cost' compares models by what their decisions cost: declare gate: {cost: {unit: EUR, false_positive: 1, ...}}"
    ]
    line = line_of("binary", metric="cost", cost=cost)
    assert not [path for path, _ in check_candidates(line) if path == ("gate", "metric")]
    declared: Any = SimpleNamespace(line=line)
    assert (metric_of(declared), decided_by(declared)) == ("log_loss", "cost")
    assert recipe(line) == recipe(line_of("binary", metric="log_loss", cost=cost))


def test_what_cannot_be_computed_of_a_row_is_of_no_slice() -> None:
    asked = Asked("mae", {"a": "cast(word as integer) > 1", "b": "word is null"}, {"flag": 1})
    rows = pa.table({"word": ["2", "x", None, "1"], "flag": [True, None, False, True]})
    assert belonging(asked, rows).to_pylist() == [
        ["a", "flag=true"],
        ["flag is null"],
        ["b", "flag=false"],
        ["flag=true"],
    ]
    assert belonging(Asked("mae", {"all": "1 = 1"}), rows).to_pylist() == [["all"]] * 4
    assert belonging(Asked("mae", {"all": "1 = 1"}), rows.slice(0, 0)).to_pylist() == []
    assert belonging(Asked("mae"), rows).to_pylist() == [[]] * 4


def test_a_metric_that_a_slice_leaves_undefined_is_absent_and_the_challenger_has_not_passed() -> None:
    masks = {"night": np.array([True, True, False, False])}
    parts = Parts(Asked("roc_auc", {"night": "hour < 6"}), masks, {})
    found = measured("binary", np.array([1.0, 1.0, 0.0, 1.0]), np.array([0.5, 0.6, 0.1, 0.9]), parts)
    assert found["rows of night"] == 2 and "roc_auc of night" not in found
    gate = Gate(certainty=0.5, slices={"night": NIGHT | {"worse": 1, "rows": 1}})
    ruling = rule("roc_auc", gate, Contest({}, None, None, found), None)
    assert ruling.verdict == "fallback" and "roc_auc of slice night cannot be measured on 2 rows" in ruling.reason


@pytest.mark.parametrize(
    ("task", "gate", "message"),
    [
        ("regression", {"cost": COST}, "cost: is for a binary task; question is regression"),
        ("count", {"threshold": 0.2}, "threshold: is for a binary task; question is count"),
        ("count", {"groups": {"country": {"selection": 0.8}}}, "selection: is no measure of task count; allowed: mae_ratio,"),
        ("multiclass(a, b, c)", {"groups": {"country": {"mae_ratio": 2}}}, "is no measure of task multiclass; allowed: selection,"),
        ("binary", {"may_tell": ["amout"]}, "may_tell: 'amout' is no feature of the line; it has "),
    ],
)  # fmt: skip
def test_what_is_no_measure_of_a_task_is_refused(task: str, gate: dict[str, Any], message: str) -> None:
    declared = declared_line(**OF_EVENTS)
    line = declared.line.model_copy(update={"task": task, "gate": Gate(**gate)})
    found = declared_parts.check(type(declared)(line, declared.observed, declared.views, declared.streams))
    assert [f"{path[-1]}: {told}" for path, told in found if message in f"{path[-1]}: {told}"]


def test_a_column_of_groups_is_no_feature() -> None:
    carried = OF_EVENTS["observe"] | {"carry": ["shop", "country"]}
    before = declared_line(**OF_EVENTS | {"observe": carried})
    after = declared_line(**OF_EVENTS | {"observe": carried, "gate": {"groups": {"shop": {"selection": 0.8}}}})
    assert "shop" in after.kept and "shop" not in after.features and after.features == before.features
