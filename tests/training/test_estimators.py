"""Does every estimator keep the contract? One suite, over all of them and all tasks that they can do.

Run as a script it prints the hash of every part of every case; a test compares those of fresh processes.
"""

import functools
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory_assets.training import one_thread, skops_files
from factory_assets.training.estimators import ESTIMATORS, Constant, Examples, Model, fit, load

CASES = [(name, task) for name, kind in ESTIMATORS.items() for task in kind.tasks]
LEARNERS = [case for case in CASES if case[0] != "constant"]
IMPOSSIBLE = [(name, task) for name in ESTIMATORS for task in ("binary", "regression") if (name, task) not in CASES]
CODES, AMOUNT, EMPTY, NOISE = 0, 1, 2, 3
SEED = 7


def examples(task: str, rows: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Categories 1 and 3 of 5 and a large amount raise the label; a fifth of both is missing. The rest is noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 24))
    x[:, CODES] = rng.integers(0, 5, rows)
    score = 2.0 * np.isin(x[:, CODES], (1, 3)) + x[:, AMOUNT] + 0.5 * rng.normal(size=rows)
    x[:, :2][rng.random((rows, 2)) < 0.2] = np.nan
    x[:, EMPTY] = np.nan
    return x, score if task == "regression" else (score > 1).astype(np.float64)


def train(name: str, task: str, params: Mapping[str, Any] | None = None, seed: int = SEED, data_seed: int = 0) -> Model:
    if params is None:
        params = {"num_boost_round": 20} if name == "lightgbm" else {}
    x, y = examples(task, seed=data_seed)
    return fit(name, x, y, task=task, categorical=[CODES], params=params, seed=seed)


@functools.cache
def model(name: str, task: str) -> Model:
    return train(name, task)


def digests(name: str, task: str) -> dict[str, str]:
    return {part: hashlib.sha256(data).hexdigest() for part, data in train(name, task).parts().items()}


def error(task: str, y: np.ndarray, predicted: np.ndarray) -> float:
    """What each task's constant minimises: log loss of the base rate, absolute error of the median."""
    if task == "regression":
        return float(np.abs(y - predicted).mean())
    return float(-np.log(np.where(y == 1, predicted, 1 - predicted)).mean())


@pytest.mark.parametrize(("name", "task"), CASES)
class TestEveryEstimator:
    def test_a_loaded_model_predicts_bit_for_bit_what_the_trained_one_did(self, name: str, task: str) -> None:
        x, _ = examples(task, seed=1)
        loaded = load(name, model(name, task).parts())
        np.testing.assert_array_equal(loaded.predict(x), model(name, task).predict(x))
        np.testing.assert_array_equal(loaded.importances(), model(name, task).importances())
        assert loaded.parts() == model(name, task).parts()

    def test_training_twice_gives_the_same_bytes(self, name: str, task: str) -> None:
        assert train(name, task).parts() == model(name, task).parts()

    def test_models_trained_side_by_side_equal_those_trained_alone(self, name: str, task: str) -> None:
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda data_seed: train(name, task, data_seed=data_seed).parts(), [0, 1, 2, 0]))
        assert parts[0] == parts[3] == model(name, task).parts()
        assert parts[1] == train(name, task, data_seed=1).parts()

    def test_one_prediction_a_row_and_none_for_no_rows(self, name: str, task: str) -> None:
        x, _ = examples(task)
        predicted = model(name, task).predict(x)
        assert predicted.shape == (len(x),)
        assert predicted.dtype == np.float64
        assert model(name, task).predict(x[:0]).shape == (0,)
        if task == "binary":
            assert ((predicted >= 0) & (predicted <= 1)).all()

    def test_a_row_scored_alone_gets_the_bits_that_it_gets_in_a_batch(self, name: str, task: str) -> None:
        x, _ = examples(task)
        alone = [model(name, task).predict(x[row : row + 1])[0] for row in range(100)]
        np.testing.assert_array_equal(alone, model(name, task).predict(x)[:100])
        np.testing.assert_array_equal(alone, model(name, task).predict(np.asfortranarray(x[:100])))

    def test_missing_infinite_and_unknown_values_are_scored(self, name: str, task: str) -> None:
        x, _ = examples(task, rows=4)
        x[0], x[1, CODES], x[2, AMOUNT], x[3, AMOUNT] = np.nan, 99, np.inf, -np.inf
        assert np.isfinite(model(name, task).predict(x)).all()

    def test_importances_are_shares_and_what_was_empty_has_none(self, name: str, task: str) -> None:
        shares = model(name, task).importances()
        assert shares.shape == (24,)
        assert (shares >= 0).all()
        assert shares[EMPTY] == 0
        assert shares.sum() == pytest.approx(0 if name == "constant" else 1)

    def test_a_matrix_of_another_width_is_refused(self, name: str, task: str) -> None:
        with pytest.raises(ValueError, match=r"24 features; given is a matrix of shape \(2, 23\)"):
            model(name, task).predict(np.zeros((2, 23)))

    def test_an_unknown_parameter_is_refused_by_name(self, name: str, task: str) -> None:
        with pytest.raises(ValueError, match="no parameter num_leafs; allowed: "):
            train(name, task, {"num_leafs": 3})

    def test_a_missing_part_is_named(self, name: str, task: str) -> None:
        for part in model(name, task).parts():
            rest = {other: data for other, data in model(name, task).parts().items() if other != part}
            with pytest.raises(ValueError, match=f"lacks its parts {part}"):
                load(name, rest)

    def test_parts_of_others_are_ignored(self, name: str, task: str) -> None:
        more = model(name, task).parts() | {"reference.parquet": b"PAR1"}
        assert load(name, more).parts() == model(name, task).parts()

    def test_labels_that_teach_nothing_are_refused_with_their_count(self, name: str, task: str) -> None:
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
        for labels, message in bad:
            with pytest.raises(ValueError, match=message):
                fit(name, x, labels, task=task, categorical=[CODES], params={}, seed=SEED)
        with pytest.raises(ValueError, match="0 "):
            fit(name, x[:0], y[:0], task=task, categorical=[CODES], params={}, seed=SEED)

    def test_bytes_that_run_code_when_unpickled_are_refused_unread(self, name: str, task: str, tmp_path: Path) -> None:
        canary = tmp_path / "canary"
        for part in model(name, task).parts():
            for attack in attacks(canary):
                with pytest.raises(ValueError, match=part.split(".")[0]):
                    load(name, model(name, task).parts() | {part: attack})
        assert not canary.exists()
        # The canary sings where someone does unpickle.
        pickle.loads(attacks(canary)[0])  # noqa: S301
        assert canary.exists()


@pytest.mark.parametrize(("name", "task"), LEARNERS)
class TestEveryLearner:
    def test_it_beats_the_constant_on_rows_it_has_not_seen(self, name: str, task: str) -> None:
        x, y = examples(task, seed=1)
        naive = error(task, y, model("constant", task).predict(x))
        assert error(task, y, model(name, task).predict(x)) < 0.85 * naive

    def test_the_features_that_matter_are_the_important_ones(self, name: str, task: str) -> None:
        shares = model(name, task).importances()
        assert set(np.argsort(shares)[-2:]) == {CODES, AMOUNT}
        assert shares[[CODES, AMOUNT]].sum() > 0.5

    def test_codes_are_names_of_categories_and_not_quantities(self, name: str, task: str) -> None:
        """A model that reads codes as numbers would find other splits, or another slope, once they are dealt anew."""
        x, y = examples(task)
        renamed = x.copy()
        known = np.isfinite(x[:, CODES])
        renamed[known, CODES] = np.array([3, 0, 4, 1, 2])[x[known, CODES].astype(int)]
        params = {"num_boost_round": 20} if name == "lightgbm" else {}
        again = fit(name, renamed, y, task=task, categorical=[CODES], params=params, seed=SEED)
        np.testing.assert_allclose(again.predict(renamed), model(name, task).predict(x), rtol=1e-3)


@pytest.fixture(scope="module")
def fresh_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, str]]]:
    """Digests of every case from two processes, with other threads, hash seeds and working directories."""
    running = []
    for threads in ("1", "4"):
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED")
        environment = os.environ | dict.fromkeys(variables, threads) | {"PYTHONPATH": str(Path(__file__).parents[2])}
        folder = tmp_path_factory.mktemp(f"threads{threads}")
        running.append(
            subprocess.Popen([sys.executable, __file__], env=environment, cwd=folder, stdout=subprocess.PIPE, text=True)
        )
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_fresh_processes_with_other_threads_give_the_same_bytes(
    name: str, task: str, fresh_processes: list[dict[str, dict[str, str]]]
) -> None:
    for process in fresh_processes:
        assert process[f"{name} {task}"] == digests(name, task)


def attacks(canary: Path) -> list[bytes]:
    """Something that runs code when unpickled: bare, as an array of objects, and as both within a zip."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (canary,)

    bare, array, zipped = pickle.dumps(Payload()), io.BytesIO(), io.BytesIO()
    np.save(array, np.array([Payload()], dtype=object), allow_pickle=True)
    node = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "__id__": 1}
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("1.npy", array.getvalue())
        archive.writestr("schema.json", json.dumps(node | {"type": "numpy", "file": "1.npy", "protocol": 2}))
    return [bare, array.getvalue(), zipped.getvalue()]


@pytest.mark.parametrize(("name", "task"), IMPOSSIBLE)
def test_a_task_that_an_estimator_cannot_do_is_refused_with_both_names(name: str, task: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' cannot do task '{task}'"):
        train(name, task)


def test_an_unknown_estimator_or_task_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(ValueError, match="'xgboost' is not known; allowed: constant, lightgbm, linear"):
        train("xgboost", "binary")
    with pytest.raises(ValueError, match="'xgboost' is not known; allowed: constant, lightgbm, linear"):
        load("xgboost", {})
    with pytest.raises(ValueError, match="'ranking' is not known; allowed: binary, regression"):
        fit("lightgbm", *examples("binary"), task="ranking", categorical=[], params={}, seed=SEED)


def test_a_plug_in_is_one_class_in_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Largest(Constant):
        @classmethod
        def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
            content = {"value": examples.y.max(), "features": examples.x.shape[1]}
            return {"constant.json": json.dumps(content).encode()}

    monkeypatch.setitem(ESTIMATORS, "largest", Largest)
    x, y = examples("regression")
    assert set(load("largest", train("largest", "regression").parts()).predict(x)) == {y.max()}


@pytest.mark.parametrize(("task", "expected"), [("binary", np.mean), ("regression", np.median)])
def test_the_constant_is_the_base_rate_or_the_median(task: str, expected: Any) -> None:
    x, y = examples(task)
    assert set(model("constant", task).predict(x)) == {expected(y)}


class TestLightGBM:
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

    def test_the_limit_on_threads_ends_with_the_last_that_needs_it(self) -> None:
        from threadpoolctl import threadpool_info, threadpool_limits

        def threads() -> set[int]:
            return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

        model("linear", "binary")
        with threadpool_limits(limits=2, user_api="blas"):
            first, second = one_thread.ONE_BLAS_THREAD, one_thread.ONE_BLAS_THREAD
            first.__enter__()
            second.__enter__()
            first.__exit__()
            assert threads() == {1}
            second.__exit__()
            assert threads() == {2}


if __name__ == "__main__":
    sys.stdout.write(json.dumps({f"{name} {task}": digests(name, task) for name, task in CASES}))
