"""Does every estimator keep the contract, through the suite that plug-ins run, and what is there to say of single ones?"""

import functools
import importlib.metadata
import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory_assets.declarations.tasks import BUILT_IN, KINDS
from factory_assets.models import arrays, estimator_checks, one_thread, skops_files
from factory_assets.models.estimator_checks import (
    AMOUNT,
    CHECKS,
    CODES,
    FEATURES,
    SEED,
    Subject,
    check_estimator,
    subjects,
)
from factory_assets.models.estimators import ESTIMATORS, Model, Options, TooFewDays, fit, load
from factory_assets.models.estimators import train as trained
from factory_assets.models.estimators.base import best_round
from factory_assets.models.estimators.gradient_boosting import OBJECTIVES
from factory_assets.models.libraries import LIBRARIES, libraries

#: Small, so that checks are fast.
PARAMS: dict[str, dict[str, Any]] = {
    "lightgbm": {"num_boost_round": 30, "learning_rate": 0.1},
    "hist_gradient_boosting": {"max_iter": 30},
    "random_forest": {"n_estimators": 20},
    "additive": {"knots": 8},
}
SUBJECTS = {
    f"{name} {subject.task}": subject
    for name, kind in ESTIMATORS.items()
    for subject in subjects(kind, PARAMS.get(name), learns=name != "constant")
}
IMPOSSIBLE = [(name, task) for name, kind in ESTIMATORS.items() for task in KINDS if task not in kind.tasks]


def examples(task: str, rows: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    found = estimator_checks.examples(task, rows, seed)
    return found.x, found.y


def train(name: str, task: str, params: Mapping[str, Any] | None = None, seed: int = SEED, data_seed: int = 0) -> Model:
    x, y = examples(task, seed=data_seed)
    params = PARAMS.get(name, {}) if params is None else params
    return fit(name, x, y, task=task, categorical=[CODES], params=params, seed=seed)


@functools.cache
def model(name: str, task: str) -> Model:
    return train(name, task)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", SUBJECTS)
def test_every_estimator_keeps_the_contract(case: str, check: Callable[[Subject], None]) -> None:
    check(SUBJECTS[case])


def test_the_attacks_of_the_suite_do_run_code_where_someone_unpickles(tmp_path: Path) -> None:
    bare, array, *_ = estimator_checks.attacks(tmp_path / "canary")
    pickle.loads(bare)  # noqa: S301
    assert (tmp_path / "canary").exists()
    (tmp_path / "canary").unlink()
    np.load(io.BytesIO(array), allow_pickle=True)
    assert (tmp_path / "canary").exists()


@pytest.mark.slow
def test_fresh_processes_with_other_threads_give_the_same_bytes() -> None:
    estimator_checks.check_fresh_processes(list(SUBJECTS.values()))


def test_what_declarations_know_of_an_estimator_is_what_its_class_says() -> None:
    assert {name: (known.tasks, known.options) for name, known in BUILT_IN.items()} == {
        name: (kind.tasks, kind.options) for name, kind in ESTIMATORS.items()
    }


@pytest.mark.parametrize("task", ["binary", "regression", "count"])
def test_labels_that_teach_nothing_are_refused_with_their_count(task: str) -> None:
    x, y = examples(task, rows=50)
    bad = [
        (np.where(np.arange(50) < 3, np.nan, y), "3 of 50 labels are missing"),
        (y[:49], r"\(50, 24\) and \(49,\)"),
    ]
    if task == "binary":
        bad += [
            (np.zeros(50), "0 of 50 labels are 1"),
            (np.ones(50), "50 of 50 labels are 1"),
            (y + 1, "given are also 2"),
        ]
    if task == "count":
        bad += [(np.zeros(50), "all 50 labels are 0"), (y - 0.5, "whole number from 0 on; given are also ")]
    for labels, message in bad:
        with pytest.raises(ValueError, match=message):
            fit("constant", x, labels, task=task, categorical=[CODES], params={}, seed=SEED)
    with pytest.raises(ValueError, match="0 rows"):
        fit("constant", x[:0], y[:0], task=task, categorical=[CODES], params={}, seed=SEED)


@pytest.mark.parametrize(("name", "task"), IMPOSSIBLE)
def test_a_task_that_an_estimator_cannot_do_is_refused_with_both_names(name: str, task: str) -> None:
    x, y = examples("binary")
    task = estimator_checks.CHECKED_AT.get(task, task)
    with pytest.raises(ValueError, match=f"'{name}' cannot do task '"):
        fit(name, x, y, task=task, categorical=[CODES], params={}, seed=SEED)


def test_an_unknown_estimator_or_task_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(ValueError, match="'xgboost' is not known; allowed: constant, linear"):
        train("xgboost", "binary")
    with pytest.raises(ValueError, match="'xgboost' is not known; allowed: constant, linear"):
        load("xgboost", {})
    with pytest.raises(ValueError, match="'ranking' is not a task; allowed: 'binary'"):
        fit("lightgbm", *examples("binary"), task="ranking", categorical=[], params={}, seed=SEED)


PLUG_IN = """
import json
from factory_assets.models.estimators import Estimator

class Largest(Estimator):
    tasks, files, interpretable = ("regression",), ("largest.json",), True

    def __init__(self, parts):
        super().__init__(parts)
        try:
            self.value, self.width = json.loads(self._parts["largest.json"])
        except ValueError as error:
            raise ValueError(f"largest.json is refused: {error}") from error

    @classmethod
    def train(cls, examples, params, seed):
        if params:
            raise ValueError(f"largest has no parameter {', '.join(params)}; allowed: none")
        return {"largest.json": json.dumps([examples.y.max(), examples.x.shape[1]]).encode()}

    def importances(self):
        import numpy as np
        return np.zeros(self.width)

    def _predict(self, x):
        import numpy as np
        return np.full(len(x), self.value)

class Forgetful(Largest):
    calls = 0

    @classmethod
    def train(cls, examples, params, seed):
        Forgetful.calls += 1
        return {"largest.json": json.dumps([float(cls.calls), examples.x.shape[1]]).encode()}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with an estimator, as pip would leave it."""
    (tmp_path / "largest.py").write_text(PLUG_IN)
    about = tmp_path / "largest-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: largest\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[model_factory.estimators]\nlargest = largest:Largest\nodd = json:dumps\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "largest", raising=False)
    return tmp_path


def test_a_plug_in_is_one_class_that_an_installed_package_names(installed: Path) -> None:
    _, y = examples("regression")
    assert set(load("largest", train("largest", "regression").parts()).predict(np.zeros((2, FEATURES)))) == {y.max()}
    with pytest.raises(ValueError, match=r"allowed: constant, .*, largest"):
        load("smallest", {})
    with pytest.raises(ValueError, match="'odd' is json:dumps, which is no subclass of Estimator"):
        load("odd", {})


def test_models_are_made_with_the_package_of_a_plug_in_too_and_with_what_that_requires(installed: Path) -> None:
    about = installed / "largest-1.0.dist-info" / "METADATA"
    about.write_text(about.read_text() + "Requires-Dist: pytest>=7\nRequires-Dist: nowhere; extra == 'all'\n")
    libraries.cache_clear()
    try:
        found = libraries()
    finally:
        libraries.cache_clear()
    here = {name: importlib.metadata.version(name) for name in (*LIBRARIES, "pytest")}
    assert found == here | {"largest": "1.0"}


def test_a_plug_in_passes_the_suite_or_is_told_what_it_does_not_keep(installed: Path) -> None:
    from largest import Forgetful, Largest  # type: ignore[import-not-found]

    check_estimator(Largest, learns=False)
    with pytest.raises(AssertionError, match=r"Forgetful, regression, training_twice.*other bytes"):
        check_estimator(Forgetful, learns=False)
    with pytest.raises(AssertionError, match="importances sum to 0"):
        check_estimator(Largest)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("binary", np.mean),
        ("regression", np.median),
        ("count", np.mean),
        ("quantile(0.9)", lambda y: np.quantile(y, 0.9)),
        (estimator_checks.CHECKED_AT["multiclass"], lambda y: np.bincount(y.astype(int)) / len(y)),
    ],
)
def test_the_constant_is_what_labels_alone_would_predict(task: str, expected: Any) -> None:
    x, y = examples(task)
    np.testing.assert_array_equal(np.unique(model("constant", task).predict(x), axis=0), [expected(y)])


class TestOptions:
    DAYS = np.repeat(np.arange("2026-01-01", "2026-01-21", dtype="datetime64[D]"), 100)

    def trained(
        self, name: str, options: Options, params: Mapping[str, Any], task: str = "binary", seed: int = 0
    ) -> Any:
        x, y = examples(task, seed=seed)
        settings = {"task": task, "categorical": [CODES], "params": params, "seed": SEED}
        return trained(name, x, y, options=options, days=self.DAYS, **settings)

    @pytest.mark.parametrize("name", ["lightgbm", "hist_gradient_boosting"])
    def test_rounds_are_those_that_were_best_on_the_newest_days_and_the_model_learns_from_all(self, name: str) -> None:
        rounds = {"lightgbm": "num_boost_round", "hist_gradient_boosting": "max_iter"}[name]
        stopped = self.trained(name, Options(early_stopping=5), {rounds: 300, "learning_rate": 0.3})
        assert 1 <= stopped.rounds < 60, "at this rate it overfits soon"
        again = self.trained(name, Options(), {rounds: stopped.rounds, "learning_rate": 0.3})
        np.testing.assert_array_equal(
            stopped.model.predict(examples("binary")[0]), again.model.predict(examples("binary")[0])
        )

    def test_a_round_after_the_patience_has_run_out_is_not_looked_at(self) -> None:
        losses = np.array([3.0, 2.0, 1.0, 5.0, 5.0, 0.0])
        assert [best_round(losses, patience) for patience in (1, 2, 3)] == [3, 3, 6]

    @pytest.mark.parametrize("kind", ["isotonic", "sigmoid"])
    def test_a_calibration_puts_weighted_probabilities_right_and_stays_with_the_parts(self, kind: str) -> None:
        from factory_assets.measures.metrics import score

        x, y = examples("binary", seed=1)
        rare = Options(class_weight="balanced")
        params = {"num_boost_round": 30}
        raw = self.trained("lightgbm", rare, params)
        right = self.trained("lightgbm", Options(class_weight="balanced", calibrate=kind), params)
        assert raw.model.predict(x).mean() > y.mean() + 0.03
        assert right.model.predict(x).mean() == pytest.approx(y.mean(), abs=0.03)
        told, calibrated = (score("binary", y, one.model.predict(x)) for one in (raw, right))
        assert calibrated["calibration_error"] < told["calibration_error"]
        loaded = load("lightgbm", right.model.parts())
        np.testing.assert_array_equal(loaded.predict(x), right.model.predict(x))
        assert loaded.parts() == right.model.parts() and json.loads(loaded.parts()["calibration.json"])["kind"] == kind

    def test_a_calibration_knows_nothing_of_the_model_that_saw_its_labels(self) -> None:
        """Labels of the newest days that are noise: learnt by heart they would look certain."""
        x, y = examples("binary")
        later = self.DAYS[-400] <= self.DAYS
        noise = np.where(later, np.random.default_rng(0).integers(0, 2, len(y)), y).astype(float)
        settings = {"task": "binary", "categorical": [CODES], "params": {"num_boost_round": 200}, "seed": SEED}
        found = trained("lightgbm", x, noise, options=Options(calibrate="sigmoid"), days=self.DAYS, **settings)
        assert json.loads(found.model.parts()["calibration.json"])["slope"] < 0.3

    @pytest.mark.parametrize(
        "content", [b"", b"{}", b'{"kind": "isotonic", "said": [0], "happened": [NaN]}', b"\x80\x04K\x01."]
    )
    def test_a_calibration_that_is_none_is_refused(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"calibration\.json is no calibration"):
            load("constant", model("constant", "binary").parts() | {"calibration.json": content})

    def test_days_that_leave_nothing_to_look_back_on_are_refused_with_their_count(self) -> None:
        x, y = examples("binary")
        settings = {
            "task": "binary",
            "categorical": [CODES],
            "params": {},
            "seed": SEED,
            "options": Options(calibrate="sigmoid"),
        }
        with pytest.raises(TooFewDays, match="of 1 days the newest 1 hold 2000 of 2000 rows"):
            trained("constant", x, y, days=self.DAYS[:1].repeat(len(y)), **settings)

    @pytest.mark.parametrize(
        ("name", "task", "options", "says"),
        [
            (
                "random_forest",
                "binary",
                Options(early_stopping=5),
                "'random_forest' has no early_stopping; it has: class_weight",
            ),
            ("ridge", "regression", Options(monotone={1: 1}), "'ridge' has no monotone; it has: none"),
            ("lightgbm", "quantile(0.5)", Options(monotone={1: 1}), "'quantile' cannot be monotone"),
            ("lightgbm", "count", Options(calibrate="isotonic"), "calibrate is for a binary task; this one is count"),
        ],
    )
    def test_an_option_that_cannot_be_honoured_is_refused(
        self, name: str, task: str, options: Options, says: str
    ) -> None:
        with pytest.raises(ValueError, match=says):
            self.trained(name, options, {}, task)


CLASSES = estimator_checks.CHECKED_AT["multiclass"]


class TestClasses:
    """Of red, green and blue; the third has the lowest signal."""

    def trained(self, name: str, x: np.ndarray, y: np.ndarray, task: str = CLASSES, **options: Any) -> Any:
        settings = {"task": task, "categorical": [CODES], "params": PARAMS.get(name, {}), "seed": SEED}
        days = np.repeat(np.arange("2026-01-01", "2026-01-21", dtype="datetime64[D]"), 100)
        return trained(name, x, y, options=Options(**options), days=days[: len(y)], **settings)

    @pytest.mark.parametrize("name", [name for name, kind in ESTIMATORS.items() if "multiclass" in kind.tasks])
    @pytest.mark.parametrize("known", [(0, 2, 4), (1, 3)])
    def test_a_class_that_training_did_not_see_has_probability_zero(self, name: str, known: tuple[int, ...]) -> None:
        x, y = examples(CLASSES, rows=1200)
        seen = y < len(known)
        found = self.trained(name, x[seen], np.array(known)[y[seen].astype(int)], "multiclass(a, b, c, d, e)").model
        said = found.predict(x)
        assert said.shape == (1200, 5) and np.allclose(said.sum(axis=1), 1)
        assert set(np.flatnonzero(said.any(axis=0))) == set(known)
        np.testing.assert_array_equal(load(name, found.parts()).predict(x[:7]), said[:7])
        of_its_own = fit(
            name, x[seen], y[seen], task="binary" if len(known) == 2 else CLASSES, categorical=[CODES],
            params=PARAMS.get(name, {}), seed=SEED,
        ).predict(x)  # fmt: skip
        alone = np.column_stack([1 - of_its_own, of_its_own]) if len(known) == 2 else of_its_own
        np.testing.assert_array_equal(said[:, known], alone)
        assert found.predict(x[:0]).shape == (0, 5)

    def test_one_class_teaches_nothing_and_another_is_no_place(self) -> None:
        x, y = examples(CLASSES, rows=50)
        with pytest.raises(ValueError, match="needs two of them; all 50 labels are 'green'"):
            self.trained("constant", x, np.ones(50))
        with pytest.raises(ValueError, match=r"place of one of 3 classes; given are also 3\.0"):
            self.trained("constant", x, y + 1)

    def test_balanced_classes_weigh_the_same(self) -> None:
        _, y = examples(CLASSES)
        y = y[(y != 1) | (np.arange(len(y)) % 10 == 0)]
        nothing = np.zeros((len(y), 2))
        for weight, expected in ((None, np.bincount(y.astype(int)) / len(y)), ("balanced", [1 / 3] * 3)):
            said = self.trained("logistic_regression", nothing, y, class_weight=weight).model.predict(nothing[:1])
            np.testing.assert_allclose(said[0], expected, atol=0.005)

    @pytest.mark.parametrize("name", ["lightgbm", "hist_gradient_boosting"])
    def test_rounds_are_counted_on_later_rows_of_classes_that_came_before(self, name: str) -> None:
        x, y = examples(CLASSES)
        later = np.arange(2000) >= 1600
        new = np.where(later & (y == 2), 3, y)  # the newest days have a class that none before had
        task = "multiclass(red, green, blue, black)"
        stopped = self.trained(name, x, new, task, early_stopping=5)
        assert stopped.rounds >= 1 and stopped.model.known == ("red", "green", "blue", "black")
        with pytest.raises(TooFewDays, match="0 of 4 classes on both sides"):
            self.trained(name, x, np.where(later, 2 + y // 2, y // 2), task, early_stopping=5)

    @pytest.mark.parametrize(
        ("name", "params", "options", "says"),
        [
            ("lightgbm", {}, Options(calibrate="isotonic"), "calibrate is for a binary task; this one is multiclass"),
            ("lightgbm", {}, Options(monotone={1: 1}), "cannot all have a direction"),
            (
                "lightgbm",
                {"objective": "multiclass"},
                Options(),
                "objective of a multiclass task is set by the factory",
            ),
            ("lightgbm", {"num_class": 3}, Options(), "num_class is set by the factory"),
            ("additive", {}, Options(), "'additive' cannot do task"),
        ],
    )
    def test_what_makes_no_sense_of_classes_is_refused(
        self, name: str, params: dict[str, Any], options: Options, says: str
    ) -> None:
        x, y = examples(CLASSES)
        with pytest.raises(ValueError, match=says):
            trained(name, x, y, task=CLASSES, categorical=[CODES], params=params, seed=SEED, options=options)

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"\x80\x04K\x01.", b"{}", b"[" * 100_000,
            b'{"declared": ["red", "green", "blue"], "known": ["red", "pink", "blue"]}',
            b'{"declared": ["red", "green", "blue"], "known": ["red", "red", "red"]}',
            b'{"declared": ["red", "green"], "known": ["red", "green"]}',
        ],
    )  # fmt: skip
    def test_classes_that_are_none_are_refused(self, content: bytes) -> None:
        with pytest.raises(ValueError, match=r"classes\.json does not hold classes"):
            load("constant", model("constant", CLASSES).parts() | {"classes.json": content})

    def test_a_model_of_another_number_of_classes_is_refused_when_it_is_asked(self) -> None:
        two = b'{"declared": ["red", "green", "blue"], "known": ["red", "blue"]}'
        with pytest.raises(ValueError, match="names 2 classes, of a model that knows 3"):
            load("constant", model("constant", CLASSES).parts() | {"classes.json": two}).predict(
                np.zeros((1, FEATURES))
            )

    def test_a_category_is_a_number_that_tells_classes_apart_which_their_mean_place_does_not(self) -> None:
        """Levels 0 and 1 have the same mean place, 1: all of the second class, or half of the first and half of the third."""
        from factory_assets.models.estimators import Examples
        from factory_assets.models.estimators.categories import learn_categories

        code = np.arange(4000) % 2
        y = np.where(code == 0, 1.0, np.where(np.arange(4000) % 4 == 1, 0.0, 2.0))
        categories, _ = learn_categories(Examples(code[:, None].astype(float), y, CLASSES, (0,)), SEED)
        _, (first, second) = categories.levels[0]
        assert abs(first - second) > 0.5


class TestTrees:
    @pytest.mark.parametrize("name", ["random_forest", "hist_gradient_boosting"])
    @pytest.mark.parametrize("task", ["binary", "regression", "count", CLASSES])
    def test_they_are_walked_as_scikit_learn_walks_them(self, name: str, task: str) -> None:
        from factory_assets.models.estimators.categories import learn_categories

        kind, told = ESTIMATORS[name], estimator_checks.examples(task)
        categories, x = learn_categories(told, SEED)
        grown = kind._grown(told, x, PARAMS[name], SEED)
        new = estimator_checks.examples(task, seed=1).x
        seen = np.where(np.arange(FEATURES) == estimator_checks.EMPTY, 0, categories.encode(new))
        expected = grown.predict_proba(seen) if task in ("binary", CLASSES) else grown.predict(seen)
        expected = expected[:, 1] if task == "binary" else expected
        np.testing.assert_allclose(SUBJECTS[f"{name} {task}"].model.predict(new), expected, rtol=1e-12)

    @pytest.mark.parametrize(
        ("name", "change", "says"),
        [
            ("left", lambda nodes: 0 * nodes, "a left child does not stand between"),
            ("right", lambda nodes: nodes + 10**6, "a right child does not stand between"),
            ("feature", lambda nodes: nodes + 10**6, "points beyond"),
            ("roots", lambda nodes: nodes - 1, "points beyond"),
            ("value", lambda nodes: nodes[1:], "differ in length"),
            ("level_feature", lambda nodes: nodes + 1, "not those of its categories"),
            ("category_feature", lambda nodes: nodes - 9, "of no feature"),
            ("base_divisor", lambda nodes: 0 * nodes, "is no number"),
            ("base_divisor", lambda nodes: np.append(nodes, (1, 1)), "differ in length"),
            ("link", lambda nodes: nodes + 3, "takes probabilities of several"),
        ],
    )
    def test_a_tree_that_leads_out_of_its_arrays_or_in_a_circle_is_refused(
        self, name: str, change: Callable[[np.ndarray], np.ndarray], says: str
    ) -> None:
        from factory_assets.models.estimators.trees import KEPT

        kept = arrays.load(SUBJECTS["random_forest binary"].model.parts()["trees.npz"], KEPT, "")
        crafted = kept | {name: change(kept[name]).astype(KEPT[name])}
        with pytest.raises(ValueError, match=rf"trees\.npz is refused: .*{says}"):
            load("random_forest", {"trees.npz": arrays.dump(crafted)})

    def test_a_number_of_a_category_does_not_know_the_label_of_the_row_it_stands_for(self) -> None:
        """Two rows a category, of labels that have nothing to do with it: read off their own labels, the codes would tell."""
        from factory_assets.models.estimators import Examples
        from factory_assets.models.estimators.categories import learn_categories

        y = np.random.default_rng(0).normal(size=2000)
        codes = np.repeat(np.arange(1000.0), 2)[:, None]
        categories, x = learn_categories(Examples(codes, y, "regression", (0,)), SEED)
        assert abs(np.corrcoef(x[:, 0], y)[0, 1]) < 0.1
        assert np.corrcoef(categories.encode(codes)[:, 0], y)[0, 1] > 0.5, "what new rows get does know all labels"


class TestAdditive:
    def test_a_prediction_is_the_sum_of_its_curves(self) -> None:
        found, x = SUBJECTS["additive regression"].model, examples("regression")[0]
        at, adds = found.curves[AMOUNT]
        more = x[:200].copy()
        more[:, AMOUNT] = at[2]
        moved = found.predict(more) - found.predict(np.where(np.arange(FEATURES) == AMOUNT, at[4], more))
        np.testing.assert_allclose(moved, adds[2] - adds[4])

    def test_a_curve_follows_what_no_line_can(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.uniform(-3, 3, size=(4000, 2))
        y = np.abs(x[:, 0]) + 0.1 * rng.normal(size=4000)
        errors = [
            np.abs(fit(name, x, y, task="regression", categorical=[], params={}, seed=SEED).predict(x) - y).mean()
            for name in ("additive", "ridge")
        ]
        assert errors[0] < 0.1 < 0.6 < errors[1]

    def test_a_quantile_lies_above_its_share_of_labels(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.uniform(size=(4000, 1))
        y = x[:, 0] * rng.exponential(size=4000)
        found = fit("additive", x, y, task="quantile(0.8)", categorical=[], params={}, seed=SEED).predict(x)
        assert np.mean(y <= found) == pytest.approx(0.8, abs=0.01)
        np.testing.assert_allclose(found, -np.log(0.2) * x[:, 0], atol=0.15)


class TestLightGBM:
    @pytest.mark.parametrize(
        ("task", "objective"), [(task, goal) for task, goals in OBJECTIVES.items() for goal in goals]
    )
    def test_what_training_knows_of_its_rows_is_bit_for_bit_what_the_model_predicts(
        self, task: str, objective: str
    ) -> None:
        task = estimator_checks.CHECKED_AT.get(task, task)
        x, y = examples(task)
        x, y = x[:1200], np.abs(y[:1200]) if objective in ("poisson", "tweedie", "gamma") else y[:1200]
        sampled = {"num_boost_round": 30, "bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.5}
        goal = {} if "multiclass" in task else {"objective": objective}
        options = Options(class_weight="balanced") if task == "binary" else Options()
        settings = {"task": task, "categorical": [CODES], "params": sampled | goal, "seed": SEED}
        found = trained("lightgbm", x, y, options=options, **settings)
        assert found.predictions is not None
        np.testing.assert_array_equal(found.predictions, found.model.predict(x), strict=True)

    @pytest.mark.parametrize("other", [{"boosting": "dart"}, {"linear_tree": True}, {"bin_construct_sample_cnt": 100}])
    def test_nothing_is_taken_from_training_that_may_be_another_number(self, other: Mapping[str, Any]) -> None:
        x, y = examples("regression")
        settings = {"task": "regression", "categorical": [CODES], "params": {"num_boost_round": 5} | other, "seed": 1}
        assert trained("lightgbm", x, y, **settings).predictions is None

    def test_every_name_that_lightgbm_has_for_a_parameter_trains_the_same_model(self) -> None:
        one = train("lightgbm", "binary", {"num_boost_round": 5, "min_data_in_leaf": 50})
        other = train("lightgbm", "binary", {"n_estimators": 5, "min_child_samples": 50})
        assert one.parts() == other.parts() != train("lightgbm", "binary", {"num_boost_round": 5}).parts()
        with pytest.raises(ValueError, match="num_iterations is given twice, once as n_iter"):
            train("lightgbm", "binary", {"num_boost_round": 5, "n_iter": 5})

    @pytest.mark.parametrize("name", ["num_threads", "n_jobs", "seed", "random_state", "deterministic", "device"])
    def test_what_the_promise_of_equal_bytes_hangs_on_cannot_be_declared(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} is set by the factory"):
            train("lightgbm", "binary", {name: 2})

    def test_what_a_candidate_declares_has_no_second_place_in_its_parameters(self) -> None:
        with pytest.raises(
            ValueError, match="early_stopping_rounds is not for params: declare early_stopping of the candidate"
        ):
            train("lightgbm", "binary", {"early_stopping_rounds": 5})

    def test_defaults_and_fixed_settings_are_those_of_the_factory(self) -> None:
        text = train("lightgbm", "regression", {}, seed=11).parts()["model.txt"].decode()
        for line in ("num_iterations: 200", "num_leaves: 31", "learning_rate: 0.05", "num_threads: 1", "seed: 11"):
            assert f"[{line}]" in text
        for line in ("objective: regression", "deterministic: 1", "force_row_wise: 1", "categorical_feature: 0"):
            assert f"[{line}]" in text

    def test_another_objective_of_the_same_task_can_be_declared_and_of_another_task_not(self) -> None:
        absolute = train("lightgbm", "regression", {"num_boost_round": 5, "objective": "regression_l1"})
        assert b"objective=regression_l1" in absolute.parts()["model.txt"]
        with pytest.raises(ValueError, match="'regression' cannot do 'binary'; allowed: binary, cross_entropy"):
            train("lightgbm", "binary", {"objective": "regression"})

    def test_the_seed_decides_what_is_drawn(self) -> None:
        drawn = {"num_boost_round": 5, "feature_fraction": 0.5}
        assert train("lightgbm", "binary", drawn).parts() == train("lightgbm", "binary", drawn).parts()
        assert train("lightgbm", "binary", drawn).predict(examples("binary")[0]).tolist() != (
            train("lightgbm", "binary", drawn, seed=8).predict(examples("binary")[0]).tolist()
        )

    def test_too_few_rows_for_a_split_give_the_base_rate_and_no_importances(self) -> None:
        x, y = examples("binary", rows=10)
        tiny = fit("lightgbm", x, y, task="binary", categorical=[CODES], params={}, seed=SEED)
        np.testing.assert_allclose(tiny.predict(x), y.mean())
        assert not tiny.importances().any()


class TestLinear:
    @pytest.mark.parametrize(("name", "task"), [("logistic_regression", "binary"), ("ridge", "regression")])
    def test_linear_is_the_one_of_the_task(self, name: str, task: str) -> None:
        assert model("linear", task).parts() == model(name, task).parts()

    def test_a_model_of_another_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="holds a Ridge, which is no LogisticRegression"):
            load("logistic_regression", model("ridge", "regression").parts())

    def test_it_predicts_what_scikit_learn_does(self) -> None:
        import skops.io

        for task, method in (("binary", "predict_proba"), ("regression", "predict")):
            x, _ = examples(task, seed=1)
            pipeline = skops.io.loads(model("linear", task).parts()["model.skops"], trusted=["numpy.dtype"])
            expected = np.asarray(getattr(pipeline, method)(x)).reshape(len(x), -1)[:, -1]
            np.testing.assert_allclose(model("linear", task).predict(x), expected, rtol=1e-12)

    def test_where_a_declaration_was_read_from_does_not_show_in_the_bytes(self) -> None:
        """Two equal floats are one object in a literal and two when parsed; skops' own file shows it."""
        literal = train("linear", "binary", {"C": 0.001, "tol": 0.001})
        assert literal.parts() == train("linear", "binary", json.loads('{"C": 0.001, "tol": 0.001}')).parts()

    def test_categories_by_the_thousand_stay_sparse_and_are_scored_row_by_row(self) -> None:
        rng = np.random.default_rng(0)
        x = np.column_stack([rng.integers(0, 1000, 3000), rng.normal(size=(3000, 8))])
        y = (x[:, 0] % 2 + x[:, 1] + rng.normal(size=3000) > 0.5).astype(float)
        wide = fit("linear", x, y, task="binary", categorical=[0], params={}, seed=SEED)
        alone = [wide.predict(x[row : row + 1])[0] for row in range(50)]
        np.testing.assert_array_equal(alone, wide.predict(x)[:50])
        assert wide.importances().shape == (9,)
        assert wide.importances()[[0, 1]].sum() > 0.9

    def test_importances_are_coefficients_times_deviations_whatever_the_unit(self) -> None:
        """A category of one row in a hundred moves few predictions, however far it moves them."""
        rng = np.random.default_rng(0)
        x = np.column_stack([rng.random(20_000) < 0.01, rng.normal(size=(20_000, 2)) * [1, 1000]])
        y = x @ [10, 3, 0.001]
        shares = fit("ridge", x, y, task="regression", categorical=[0], params={}, seed=SEED).importances()
        # The two columns of the category have coefficients of -5 and 5 and a deviation of sqrt(0.01 x 0.99) each.
        expected = np.array([10 * np.sqrt(0.01 * 0.99), 3, 1])
        np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.02)

    @pytest.mark.parametrize("task", ["binary", "regression"])
    def test_threads_that_blas_is_given_do_not_show_in_the_coefficients(self, task: str) -> None:
        from threadpoolctl import threadpool_limits

        rng = np.random.default_rng(0)
        # A size at which OpenBLAS does share the work; below it the test would prove nothing.
        x = rng.normal(size=(5000, 100))
        y = x @ rng.normal(size=100) + rng.normal(size=5000)
        parts = []
        for threads in (1, 2, 4):
            with threadpool_limits(threads, user_api="blas"):
                labels = y if task == "regression" else y > 0
                parts.append(fit("linear", x, labels, task=task, categorical=[], params={}, seed=SEED).parts())
        assert parts[0] == parts[1] == parts[2]

    def test_a_type_that_skops_would_trust_is_refused_if_it_is_not_on_our_list(self) -> None:
        import skops.io
        from sklearn.preprocessing import FunctionTransformer
        from sklearn.svm import SVC

        for foreign in (SVC(), FunctionTransformer(os.system), {"a": functools.partial(os.system, "true")}):
            parts = model("linear", "binary").parts() | {"model.skops": skops.io.dumps(foreign)}
            with pytest.raises(ValueError, match=r"it names .*(SVC|FunctionTransformer|partial).*; allowed: "):
                load("linear", parts)

    def test_a_skops_file_holds_no_address_no_time_and_each_array_once(self) -> None:
        with zipfile.ZipFile(io.BytesIO(model("linear", "binary").parts()["model.skops"])) as archive:
            entries, schema = archive.infolist(), json.loads(archive.read("schema.json"))
            contents = [archive.read(entry) for entry in entries]
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert len(set(contents)) == len(contents)
        ids = [node["__id__"] for node in skops_files.nodes(schema) if "__id__" in node]
        assert sorted(ids) == list(range(1, len(ids) + 1))

    def test_the_limit_on_threads_holds_whoever_set_another_and_ends_with_the_last_that_needs_it(self) -> None:
        from threadpoolctl import threadpool_info, threadpool_limits

        def threads() -> set[int]:
            return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

        model("linear", "binary")
        first, second = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        with threadpool_limits(limits=2, user_api="blas"), first, second:
            first.submit(one_thread.ONE_BLAS_THREAD.__enter__).result()
            second.submit(one_thread.ONE_BLAS_THREAD.__enter__).result()
            first.submit(one_thread.ONE_BLAS_THREAD.__exit__).result()
            assert threads() == {1}
            second.submit(one_thread.ONE_BLAS_THREAD.__exit__).result()
            assert threads() == {2}
