"""Does an estimator keep the contract? One suite, which those of the factory pass and yours should.

In a test of your own package, for an estimator that its entry points name `forest` in the group model_factory.estimators:

    from factory_assets.models.estimator_checks import check_estimator

    def test_it_keeps_the_contract() -> None:
        check_estimator(Forest, params={"trees": 20})

Every check raises AssertionError. As a script this prints the hashes of every part, which must be those of this process.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from factory_assets.declarations.tasks import KINDS
from factory_assets.measures.metrics import DEFAULT, guessed, naive, score
from factory_assets.models.estimators.base import Estimator, Examples, Start

CODES, AMOUNT, EMPTY = 0, 1, 2
FEATURES, ROWS, SEED = 24, 1000, 7
#: Tasks that are more than one word, as they are checked.
CHECKED_AT = {"quantile": "quantile(0.9)", "multiclass": "multiclass(red, green, blue)"}
#: The variables that set how many threads libraries use.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED")


def examples(task: str, rows: int = ROWS, seed: int = 0) -> Examples:
    """Categories 1 and 3 of 5 and a large amount raise the label; a fifth of both is missing. The rest is noise.

    The third of three classes has the lowest signal, so that places are no quantities.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, FEATURES))
    x[:, CODES] = rng.integers(0, 5, rows)
    signal = 2.0 * np.isin(x[:, CODES], (1, 3)) + x[:, AMOUNT] + 0.5 * rng.normal(size=rows)
    x[:, :2][rng.random((rows, 2)) < 0.2] = np.nan
    x[:, EMPTY] = np.nan
    labels = {"binary": (signal > 1).astype(np.float64), "count": np.floor(np.exp(np.clip(signal, -3, 3)))}
    labels[CHECKED_AT["multiclass"]] = np.array([2.0, 0.0, 1.0])[np.digitize(signal, (0.0, 1.5))]
    return Examples(x, labels.get(task, signal), task, (CODES,))


@dataclass(frozen=True)
class Subject:
    """An estimator, one of its tasks, and the parameters it is checked with: small ones make the checks fast.

    learns: whether it looks at the features at all.
    """

    kind: type[Estimator]
    task: str
    params: Mapping[str, Any] = field(default_factory=dict)
    learns: bool = True

    @cached_property
    def model(self) -> Estimator:
        return self.trained(examples(self.task))

    def trained(self, learnt: Examples, params: Mapping[str, Any] | None = None) -> Estimator:
        return self.kind(self.kind.train(learnt, self.params if params is None else params, SEED))

    @property
    def name(self) -> str:
        """The class as it can be found by another process."""
        return f"{self.kind.__module__}:{self.kind.__qualname__}"


def subjects(kind: type[Estimator], params: Mapping[str, Any] | None = None, learns: bool = True) -> list[Subject]:
    """One for each task; a quantile is checked at 0.9, and three classes."""
    return [Subject(kind, CHECKED_AT.get(task, task), params or {}, learns) for task in kind.tasks]


def check_estimator(kind: type[Estimator], params: Mapping[str, Any] | None = None, learns: bool = True) -> None:
    """Run every check on every task of an estimator; raises AssertionError with the clause that it does not keep.

    kind: a class at the top of a module, which a fresh process can import. params: see Subject.
    """
    of_kind = subjects(kind, params, learns)
    for check in CHECKS:
        for subject in of_kind:
            try:
                check(subject)
            except AssertionError as error:
                raise AssertionError(f"{kind.__name__}, {subject.task}, {check.__name__}: {error}") from error
    check_fresh_processes(of_kind)


def declares_what_it_can_do(subject: Subject) -> None:
    kind = subject.kind
    _require(bool(kind.tasks) and set(kind.tasks) <= set(KINDS), f"tasks are {kind.tasks}; known: {KINDS}")
    known = {"class_weight", "monotone", "early_stopping", "warm_start"}
    _require(set(kind.options) <= known, f"options are {kind.options}; known: {sorted(known)}")
    _require(isinstance(kind.interpretable, bool), "interpretable is neither True nor False")
    _require(bool(kind.files), "files names no part")
    _require("multiclass" not in kind.tasks or "binary" in kind.tasks, "rows of two classes only are a binary task")


def loaded_predicts_bit_for_bit_what_trained_did(subject: Subject) -> None:
    x, parts = examples(subject.task, seed=1).x, subject.model.parts()
    loaded = subject.kind(parts)
    _same(loaded.predict(x), subject.model.predict(x), "predictions of the loaded model")
    _same(loaded.importances(), subject.model.importances(), "importances of the loaded model")
    _require(loaded.parts() == parts, "the loaded model has other parts")
    _require(set(parts) == set(subject.kind.files), f"its parts are {sorted(parts)}, its files {subject.kind.files}")
    _require(all(isinstance(data, bytes) for data in parts.values()), "a part is not bytes")


def what_training_says_of_its_rows_is_what_the_model_predicts(subject: Subject) -> None:
    learnt = examples(subject.task)
    parts, predicted = subject.kind.trained(learnt, subject.params, SEED)
    _require(parts == subject.model.parts(), "`trained` gives another model than `train`")
    if predicted is not None:
        _same(predicted, subject.kind(parts).predict(learnt.x), "predictions of the training rows")


def training_twice_gives_the_same_bytes(subject: Subject) -> None:
    again = subject.trained(examples(subject.task)).parts()
    _require(again == subject.model.parts(), "the same examples, parameters and seed give other bytes")


def side_by_side_equals_alone(subject: Subject) -> None:
    from threadpoolctl import threadpool_limits

    seeds = [0, 1, 0]
    with threadpool_limits(limits=4), ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda seed: subject.trained(examples(subject.task, seed=seed)).parts(), seeds))
    _require(parts[0] == parts[2] == subject.model.parts(), "trained beside others it has other bytes than alone")
    _require(not subject.learns or parts[1] != parts[0], "other examples give the same bytes")


def one_prediction_a_row(subject: Subject) -> None:
    learnt = examples(subject.task)
    x, predicted = learnt.x, subject.model.predict(learnt.x)
    shape = (len(x), learnt.classes) if learnt.classes else (len(x),)
    _require(
        predicted.shape == shape and predicted.dtype == np.float64,
        f"predictions are {predicted.shape} of {predicted.dtype}",
    )
    _require(subject.model.predict(x[:0]).shape == (0,), "no rows give predictions")
    if subject.task == "binary":
        _require(bool(((predicted >= 0) & (predicted <= 1)).all()), "a probability lies outside 0..1")
    if learnt.classes:
        _require(
            bool((predicted >= 0).all()) and bool(np.allclose(predicted.sum(axis=1), 1)),
            "probabilities do not sum to 1",
        )
    if subject.task == "count":
        _require(bool((predicted >= 0).all()), "a count lies below 0")


def a_row_alone_gets_the_bits_that_it_gets_in_a_batch(subject: Subject) -> None:
    x = examples(subject.task).x
    alone = np.array([subject.model.predict(x[row : row + 1])[0] for row in range(50)])
    _same(alone, subject.model.predict(x)[:50], "rows scored alone")
    _same(alone, subject.model.predict(np.asfortranarray(x[:50])), "rows in another memory order")


def missing_infinite_and_unknown_values_are_scored(subject: Subject) -> None:
    x = examples(subject.task, rows=6).x
    x[0], x[1, CODES], x[2, AMOUNT], x[3, AMOUNT], x[4, EMPTY] = np.nan, 99, np.inf, -np.inf, 1.0
    _require(bool(np.isfinite(subject.model.predict(x)).all()), "a missing, infinite or unknown value is not scored")


def importances_are_shares(subject: Subject) -> None:
    shares = subject.model.importances()
    _require(shares.shape == (FEATURES,), f"importances have shape {shares.shape}")
    _require(bool((shares >= 0).all()) and shares[EMPTY] == 0, "one is negative, or that of an empty feature is not 0")
    _require(bool(np.isclose(shares.sum(), 1 if subject.learns else 0)), f"importances sum to {shares.sum()}")
    if subject.learns:
        shown = f"{shares[[CODES, AMOUNT]].sum():.2f} of 1 are those of the two features that matter"
        _require(set(np.argsort(shares)[-2:].tolist()) == {CODES, AMOUNT}, shown)


def contributions_sum_to_what_is_predicted(subject: Subject) -> None:
    """With the base they are the scores, of which the link makes the predictions: to nine digits, for strange rows as well."""
    known = examples(subject.task).x
    x = known[:40].copy()
    x[0], x[1, CODES], x[2, AMOUNT], x[3, AMOUNT], x[4, EMPTY] = np.nan, 99, np.inf, -np.inf, 1.0
    found = subject.model.contributions(x, known)
    if found is None:
        return
    predicted = subject.model.predict(x)
    shape = (len(x), len(found.base), FEATURES)
    _require(found.of_features.shape == shape, f"contributions are {found.of_features.shape}, not {shape}")
    again = found.predictions()
    _require(again.shape == predicted.shape, f"their scores predict {again.shape}, and the model {predicted.shape}")
    far = np.abs(again - predicted) / np.maximum(np.abs(predicted), np.finfo(np.float64).tiny)
    _require(bool((far <= 1e-9).all()), f"their scores predict something else, by a share of {far.max():.3g}")
    _require(not found.of_features[:, :, EMPTY].any(), "an empty feature adds something")
    shown = np.argsort(np.abs(found.of_features).mean(axis=(0, 1)))[-2:].tolist()
    _require(not subject.learns or set(shown) == {CODES, AMOUNT}, f"features {shown} add most")


def it_beats_the_constant_on_rows_it_has_not_seen(subject: Subject) -> None:
    if not subject.learns:
        return
    new = examples(subject.task, seed=1)
    metric = "log_loss" if subject.task == "binary" else DEFAULT[new.kind]
    guess = guessed(naive(subject.task, new.y), len(new.y))
    loss, best = (score(subject.task, new.y, predicted)[metric] for predicted in (subject.model.predict(new.x), guess))
    _require(loss < 0.85 * best, f"{metric} {loss:.3f}, of a constant {best:.3f}")


def codes_are_names_of_categories_and_not_quantities(subject: Subject) -> None:
    """A model that reads codes as numbers would find other splits, or another slope, once they are dealt anew."""
    learnt = examples(subject.task)
    dealt, present = learnt.x.copy(), np.isfinite(learnt.x[:, CODES])
    dealt[present, CODES] = np.array([3, 0, 4, 1, 2])[learnt.x[present, CODES].astype(int)]
    again = subject.trained(replace(learnt, x=dealt)).predict(dealt)
    before = subject.model.predict(learnt.x)
    far = np.abs(again - before).max()
    _require(bool(np.allclose(again, before, rtol=1e-3, atol=1e-3)), f"other codes move predictions by {far:.3g}")


def another_width_is_refused(subject: Subject) -> None:
    _refused(lambda: subject.model.predict(np.zeros((2, FEATURES - 1))), f"{FEATURES} features", "another width")


def an_unknown_parameter_is_refused_by_name(subject: Subject) -> None:
    wrong = {"num_leafs": 3}
    _refused(lambda: subject.trained(examples(subject.task), wrong), "num_leafs", "an unknown parameter")


def an_absent_part_is_named(subject: Subject) -> None:
    parts = subject.model.parts()
    for absent in parts:
        rest = {name: data for name, data in parts.items() if name != absent}
        _refused(lambda rest=rest: subject.kind(rest), absent, f"a model without {absent}")  # type: ignore[misc]
    more = subject.kind(parts | {"reference.parquet": b"PAR1"}).parts()
    _require(more == parts, "a part that is not its own is kept")


def hostile_parts_are_refused_unread(subject: Subject) -> None:
    """Bytes that run code where someone lets them, in the place of each part."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary"
        parts = subject.model.parts()
        for part in parts:
            for attack in attacks(canary, parts[part]):
                changed = parts | {part: attack}
                _refused(lambda changed=changed: subject.kind(changed), part.split(".")[0], f"a hostile {part}")  # type: ignore[misc]
        _require(not canary.exists(), "a part was executed")


def options_are_honoured(subject: Subject) -> None:
    learnt, kind = examples(subject.task), subject.kind
    if "class_weight" in kind.options and subject.task == "binary":
        heavier = replace(learnt, weights=np.where(learnt.y == 1, 1.8, 0.2))
        weighted, unweighted = subject.trained(heavier).predict(learnt.x), subject.model.predict(learnt.x)
        _require(weighted.mean() > unweighted.mean() + 0.05, "heavier positives do not raise predictions")
    if "class_weight" in kind.options and learnt.classes:
        heavier = replace(learnt, weights=np.where(learnt.y == 1, 2.4, 0.3))
        weighted, unweighted = subject.trained(heavier).predict(learnt.x), subject.model.predict(learnt.x)
        _require(weighted[:, 1].mean() > unweighted[:, 1].mean() + 0.02, "a heavier class is not more likely")
    if "monotone" in kind.options and learnt.kind not in ("quantile", "multiclass"):
        _check_monotone(subject, learnt)
    if "early_stopping" in kind.options:
        older = np.arange(len(learnt.y)) < 0.8 * len(learnt.y)
        params, rounds = kind.stopped(learnt.where(older), learnt.where(~older), subject.params, SEED, 3)
        _require(rounds >= 1, f"{rounds} rounds were found")
        again = subject.trained(learnt, params)
        _require(subject.trained(learnt, params).parts() == again.parts(), "its parameters do not train the same again")
    if "warm_start" in kind.options:
        _check_continued(subject, learnt)


def _check_continued(subject: Subject, learnt: Examples) -> None:
    """Going on towards other labels moves predictions, a little with few rounds, and by the same bytes again."""
    x, before = learnt.x, subject.model.predict(learnt.x)
    other = replace(learnt, y=np.roll(learnt.y, len(learnt.y) // 2))
    start = Start(subject.model.parts(), np.ones(len(learnt.y), dtype=bool), share=0.05)
    few, again, many = (
        subject.kind.continued(other, replace(start, share=share), subject.params, SEED) for share in (0.05, 0.05, 1.0)
    )
    _require(few == again, "it goes on to other bytes the second time")
    moved, far = (float(np.abs(subject.kind(parts).predict(x) - before).mean()) for parts in (few, many))
    _require(0 < moved < far, f"few rounds that are added move predictions by {moved:.3g}, many by {far:.3g}")


def _check_monotone(subject: Subject, learnt: Examples) -> None:
    amounts = np.linspace(-3, 3, 50)
    rows = np.repeat(learnt.x[:20], len(amounts), axis=0)
    rows[:, AMOUNT] = np.tile(amounts, 20)
    for way in (1, -1):
        predicted = subject.trained(replace(learnt, monotone={AMOUNT: way})).predict(rows).reshape(20, -1)
        against = float((way * np.diff(predicted, axis=1)).min())
        _require(against >= -1e-12, f"a prediction moves by {against:.3g} against its direction")


#: Each takes a Subject; in an order in which the first to fail says most.
CHECKS: tuple[Callable[[Subject], None], ...] = (
    declares_what_it_can_do,
    one_prediction_a_row,
    loaded_predicts_bit_for_bit_what_trained_did,
    training_twice_gives_the_same_bytes,
    side_by_side_equals_alone,
    what_training_says_of_its_rows_is_what_the_model_predicts,
    a_row_alone_gets_the_bits_that_it_gets_in_a_batch,
    missing_infinite_and_unknown_values_are_scored,
    importances_are_shares,
    contributions_sum_to_what_is_predicted,
    it_beats_the_constant_on_rows_it_has_not_seen,
    codes_are_names_of_categories_and_not_quantities,
    another_width_is_refused,
    an_unknown_parameter_is_refused_by_name,
    an_absent_part_is_named,
    hostile_parts_are_refused_unread,
    options_are_honoured,
)


def check_fresh_processes(of: Sequence[Subject]) -> None:
    """Two fresh processes, with 1 and 4 threads, other hash seeds and working folders, must give the bytes of this one."""
    wanted = [[subject.name, subject.task, dict(subject.params)] for subject in of]
    here = digests(wanted)
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for threads in ("1", "4"):
            environment = os.environ | dict.fromkeys(THREADS, threads) | {"PYTHONPATH": os.pathsep.join(sys.path)}
            command = [sys.executable, "-m", __name__, json.dumps(wanted)]
            running.append(
                subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            )
        for process in running:
            output, complaints = process.communicate()
            _require(process.returncode == 0, f"a fresh process cannot train it: {complaints.decode()[-2000:]}")
            there = json.loads(output.splitlines()[-1])
            other = [name for name in here if there[name] != here[name]]
            _require(not other, f"a fresh process with other threads gives other bytes for {', '.join(other)}")


def digests(wanted: Sequence[Sequence[Any]]) -> dict[str, dict[str, str]]:
    """Hash of each part of the trained models, for each [module:class, task, params]."""
    hashes = {}
    for name, task, params in wanted:
        module, _, kind = name.partition(":")
        subject = Subject(getattr(importlib.import_module(module), kind), task, params)
        parts = subject.model.parts().items()
        hashes[f"{kind} {task}"] = {part: hashlib.sha256(data).hexdigest() for part, data in parts}
    return hashes


def attacks(canary: Path, part: bytes = b"") -> list[bytes]:
    """Something that makes a file for whoever lets bytes run code: bare, as an array of objects, as both within a zip, and
    in a part that is itself a zip in the place of every file.
    """
    # Written out by hand: os.system, called with a command, as pickles were first written down.
    bare, array, zipped = b"cos\nsystem\n(S'touch " + bytes(canary) + b"'\ntR.", io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    array.write(bare)
    node = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "__id__": 1}
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("1.npy", array.getvalue())
        archive.writestr("schema.json", json.dumps(node | {"type": "numpy", "file": "1.npy", "protocol": 2}))
    if not zipfile.is_zipfile(io.BytesIO(part)):
        return [bare, array.getvalue(), zipped.getvalue()]
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(part)) as own, zipfile.ZipFile(changed, "w") as archive:
        for name in own.namelist():
            archive.writestr(name, array.getvalue() if name.endswith(".npy") else own.read(name))
    return [bare, array.getvalue(), zipped.getvalue(), changed.getvalue()]


def _require(kept: bool, message: str) -> None:
    # Not `assert`, which is left out under python -O.
    if not kept:
        raise AssertionError(message)


def _same(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    _require(bool(np.array_equal(found, wanted)), f"{what} differ by up to {np.abs(found - wanted).max():.3g}")


def _refused(attempt: Callable[[], object], says: str, what: str) -> None:
    try:
        attempt()
    except ValueError as error:
        _require(says in str(error), f"{what} is refused without saying {says!r}: {error}")
        return
    raise AssertionError(f"{what} is not refused by a ValueError")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(digests(json.loads(sys.argv[1]))) + "\n")
