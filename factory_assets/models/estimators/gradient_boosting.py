"""How are LightGBM's trees grown, and read back from their text?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from factory_assets.declarations.tasks import KINDS
from factory_assets.models.contributions import Contributions
from factory_assets.models.estimators.base import CannotContinue, Estimator, Examples, Start, refuse_unknown, shares
from factory_assets.models.estimators.booster_text import checked

#: Objectives with which LightGBM predicts what the task asks for; the first is the default.
OBJECTIVES = {
    "binary": ("binary", "cross_entropy"),
    "regression": ("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"),
    "count": ("poisson", "tweedie"),
    "quantile": ("quantile",),
    "multiclass": ("multiclass",),
}
#: What makes predictions of scores -> the objectives of which it does; of others they are the scores.
LINKS = {
    "logistic": ("binary", "cross_entropy"),
    "exponential": ("poisson", "gamma", "tweedie"),
    "softmax": ("multiclass",),
}
#: The promise of identical bytes hangs on these, so no declaration can change them.
FIXED = {"num_threads": 1, "deterministic": True, "force_row_wise": True, "device_type": "cpu"}
#: These set the leaves of a tree after it was grown, without regard to directions: measured, they are not kept.
LEAVES_SET_AFTERWARDS = ("regression_l1", "quantile", "mape")
#: LightGBM's names for boosting whose trees are averaged instead of added up.
AVERAGED = ("rf", "random_forest")
#: Beside the parameters that a task sets, those with which training's scores of the rows are bit for bit what the model predicts
#: for them. Not so where trees are weighted anew (dart), averaged, or linear, or where bins are made from a few of the rows.
SCORES_KEPT = frozenset(
    (
        *("objective", "num_class", "alpha", "seed", "verbosity", "monotone_constraints", *FIXED),
        *("num_leaves", "learning_rate", "max_depth", "max_bin", "min_data_in_leaf", "min_sum_hessian_in_leaf"),
        *("lambda_l1", "lambda_l2", "min_gain_to_split", "bagging_fraction", "bagging_freq", "feature_fraction"),
    )
)
#: With so many rows and more LightGBM may put two sparse features into one that have a row in common, and train on one of its values.
BUNDLED_FROM = 10_000
#: Set by the task or the candidate's own fields.
DECLARED_ELSEWHERE = {
    "early_stopping_round": "early_stopping of the candidate",
    "monotone_constraints": "monotone of the candidate",
}


class LightGBM(Estimator):
    """Gradient boosted trees, on one thread: many models train side by side instead (LightGBM releases the GIL)."""

    tasks = KINDS
    options = ("class_weight", "monotone", "early_stopping", "warm_start")
    files = ("model.txt",)

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        import lightgbm as lgb

        super().__init__(parts)
        text = self._parts["model.txt"]
        try:
            self._booster = lgb.Booster(model_str=text.decode() if isinstance(text, _Own) else checked(text.decode()))
        except (ValueError, lgb.basic.LightGBMError) as error:
            raise ValueError(f"model.txt is not the text of a LightGBM model: {error}") from error
        self.width = self._booster.num_feature()

    @classmethod
    def train(cls, examples: Examples, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        return cls.trained(examples, params, seed)[0]

    @classmethod
    def trained(
        cls, examples: Examples, params: Mapping[str, Any], seed: int
    ) -> tuple[dict[str, bytes], np.ndarray | None]:
        settings, rounds = _settings(examples, params, seed)
        booster = cls._grown(examples, settings, rounds)
        known = settings.keys() <= SCORES_KEPT and len(examples.y) < BUNDLED_FROM
        return _text(booster), _scores(booster) if known else None

    @classmethod
    def continued(cls, examples: Examples, start: Start, params: Mapping[str, Any], seed: int) -> dict[str, bytes]:
        settings, rounds = _settings(examples, params, seed)
        if settings.get("boosting") in AVERAGED:
            raise CannotContinue("lightgbm averages the trees of a random forest, and adds none to them")
        added = max(1, round(start.share * (start.rounds or rounds)))
        return _text(cls._grown(examples, settings, added, cls(start.parts)._booster))

    @staticmethod
    def _grown(examples: Examples, settings: Mapping[str, Any], rounds: int, before: Any = None) -> Any:
        import lightgbm as lgb

        data = lgb.Dataset(
            examples.x,
            label=examples.y,
            weight=examples.weights,
            categorical_feature=list(examples.categorical),
            params=dict(settings),
        )
        try:
            # Kept as it is: otherwise LightGBM writes it as text and reads that, only to be asked for the text.
            return lgb.train(
                dict(settings), data, num_boost_round=rounds, init_model=before, keep_training_booster=True
            )
        except lgb.basic.LightGBMError as error:
            raise ValueError(f"lightgbm refuses its parameters or data: {error}") from error

    @classmethod
    def stopped(
        cls, examples: Examples, later: Examples, params: Mapping[str, Any], seed: int, patience: int
    ) -> tuple[dict[str, Any], int]:
        import lightgbm as lgb

        settings, rounds = _settings(examples, params, seed)
        codes = list(examples.categorical)
        data = lgb.Dataset(
            examples.x, label=examples.y, weight=examples.weights, categorical_feature=codes, params=settings
        )
        later_data = lgb.Dataset(later.x, label=later.y, weight=later.weights, reference=data, params=settings)
        stop = lgb.early_stopping(patience, first_metric_only=True, verbose=False)
        booster = lgb.train(settings, data, num_boost_round=rounds, valid_sets=[later_data], callbacks=[stop])
        return cls.with_rounds(params, booster.best_iteration), booster.best_iteration

    @classmethod
    def with_rounds(cls, params: Mapping[str, Any], rounds: int) -> dict[str, Any]:
        return _by_main_name(params) | {"num_iterations": rounds}

    def importances(self) -> np.ndarray:
        """Share of each feature in the loss that the splits of all trees took away (gain)."""
        return shares(self._booster.feature_importance("gain"))

    def contributions(self, x: np.ndarray, known: np.ndarray) -> Contributions | None:
        """Shapley values by LightGBM, which counted the rows of its training itself. None of trees with linear leaves."""
        goal, head = self._goal
        if self._parts["model.txt"].find(b"\nis_linear=1\n") >= 0:
            return None
        parts = np.asarray(self._booster.predict(x, pred_contrib=True, num_threads=1))
        parts = parts.reshape(len(x), -1, self.width + 1)
        if "average_output" in head:
            parts = parts / (self._booster.num_trees() // parts.shape[1])
        link = next((link for link, goals in LINKS.items() if goal[0] in goals), "identity")
        for option in goal[1:]:
            name, _, value = option.partition(":")
            parts = parts * float(value) if name == "sigmoid" else parts
            link = "signed_square" if name == "sqrt" else link
        return Contributions(parts[0, :, -1], parts[:, :, :-1], link)

    @property
    def _goal(self) -> tuple[list[str], list[str]]:
        """The objective with its options, as the text has them, and the lines before the first tree."""
        head = self._parts["model.txt"].decode().partition("\nTree=")[0].splitlines()
        return next(line for line in head if line.startswith("objective=")).removeprefix("objective=").split(), head

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._booster.predict(x, num_threads=1))


class _Own(bytes):
    """Text that LightGBM has just written in this run, and so can read."""


def _text(booster: Any) -> dict[str, bytes]:
    return {"model.txt": _Own(booster.model_to_string().encode())}


def _scores(booster: Any) -> np.ndarray:
    """Predictions of a booster that is still at its training for the rows on which it is trained."""
    heard: list[np.ndarray] = []

    def listen(scores: np.ndarray, _: Any) -> tuple[str, float, bool]:
        heard.append(np.array(scores, order="C"))
        return "listened", 0.0, False

    booster.eval_train(listen)
    return heard[0]


def _settings(examples: Examples, params: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], int]:
    """The parameters of LightGBM, and the number of rounds."""
    given, allowed = _by_main_name(params), OBJECTIVES[examples.kind]
    settings: dict[str, Any] = {"objective": allowed[0], "num_leaves": 31, "learning_rate": 0.05} | given
    settings |= FIXED | {"seed": seed, "verbosity": -1}
    goal, rounds = settings["objective"], settings.pop("num_iterations", 200)
    if goal not in allowed:
        raise ValueError(f"lightgbm objective {goal!r} cannot do {examples.task!r}; allowed: {', '.join(allowed)}")
    if examples.classes and "objective" in given:
        # A node with rows of two classes only learns a binary task.
        raise ValueError("lightgbm objective of a multiclass task is set by the factory; leave it out")
    if examples.classes:
        settings["num_class"] = examples.classes
    if examples.kind == "quantile":
        settings["alpha"] = examples.level
    if examples.monotone and goal in LEAVES_SET_AFTERWARDS:
        raise ValueError(f"lightgbm objective {goal!r} cannot be monotone: it sets a tree's leaves after growing it")
    if examples.monotone:
        settings["monotone_constraints"] = examples.directions
    return settings, rounds


def _by_main_name(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters under LightGBM's main name for each: num_boost_round and n_estimators are num_iterations.

    LightGBM itself trains on without a parameter that it does not know.
    """
    from lightgbm.basic import _ConfigAliases

    main = {alias: name for name, names in _ConfigAliases._get_all_param_aliases().items() for alias in names}
    refuse_unknown("lightgbm", params, allowed=main)
    given: dict[str, Any] = {}
    for alias, value in params.items():
        name = main[alias]
        if name in given:
            raise ValueError(f"lightgbm parameter {name} is given twice, once as {alias}")
        if name in {*FIXED, "seed", "verbosity", "force_col_wise", "categorical_feature", "num_class"}:
            raise ValueError(f"lightgbm parameter {alias} is set by the factory; leave it out")
        if name in DECLARED_ELSEWHERE:
            raise ValueError(f"lightgbm parameter {alias} is not for params: declare {DECLARED_ELSEWHERE[name]}")
        given[name] = value
    return given
