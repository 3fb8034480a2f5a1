"""Does a model of last year's libraries score today as it did then, or is it refused?

Run as a script, in an environment of other versions, it archives models and prints what they say of rows.
"""

import datetime as dt
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.habits import Stretches
from factory_assets.models.archived import ModelRefused, load
from factory_assets.models.libraries import libraries
from factory_assets.training.archiving import release
from factory_assets.training.dataset import NodeRows
from factory_assets.training.fit.fitting import Fitted, fit_node
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveFolder
from tests.features.lines import declared_line

DAY = dt.date(2026, 1, 1)
OTHERS = [
    "numpy",
    "scipy",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "duckdb",
    "sqlglot",
    "skops",
    "threadpoolctl",
    "fsspec",
    "tzdata",
    "pytest",
]
CANDIDATES = {
    "lightgbm": {"estimator": "lightgbm", "params": {"num_boost_round": 30}},
    "linear": {"estimator": "linear"},
    "constant": {"estimator": "constant"},
}


def rows(seed: int, task: str) -> pa.Table:
    """A number with gaps, a category, and a label that both make."""
    rng = np.random.default_rng(seed)
    amount, city = rng.normal(size=2000), rng.choice(["Paris", "Lyon", "Oslo"], 2000)
    score = amount + (city == "Oslo") + 0.3 * rng.normal(size=2000)
    label = score if task == "regression" else (score > 0.5).astype(float)
    gaps = pa.array(amount, mask=rng.random(2000) < 0.1)
    days = [DAY + dt.timedelta(days=int(each)) for each in np.sort(rng.integers(0, 7, 2000))]
    return pa.table({"amount": gaps, "city": city, "leaf": ["global"] * 2000, "ds": days, "label": label})


def archive_all(folder: str) -> None:
    span = Timeline(*(DAY + dt.timedelta(days=offset) for offset in (9, 0, 6, 7, 8)))
    told: dict[str, object] = {"libraries": libraries()}
    for task in ("binary", "regression"):
        for name, candidate in CANDIDATES.items():
            label = {"expression": "flag" if task == "binary" else "amount"}
            declared = declared_line(
                task=task,
                observe={"stream": "orders"},
                label=label,
                features=["amount", "city"],
                candidates={name: candidate},
            )
            train, recent, around = rows(1, task), rows(2, task), rows(4, task).slice(0, 0)
            past = Stretches(span.train_from, span.as_of, 7)
            fitted = fit_node(
                declared.line, train, declared.features, "global", "log_loss" if task == "binary" else "mae"
            )
            assert isinstance(fitted, Fitted)
            of_node = NodeRows(train, recent, around, train)
            version = release(ArchiveFolder(folder), declared, span, past, fitted, of_node, {}).version
            told[version] = load(folder, "question", version).predict(rows(3, task)).tolist()
    sys.stdout.write(json.dumps(told))


@pytest.mark.longest
@pytest.mark.parametrize(
    "older", [("lightgbm==4.6.0", "scikit-learn==1.7.*"), ("lightgbm==4.5.0", "scikit-learn==1.8.*")]
)
def test_models_of_other_minor_versions_score_the_same_or_are_refused_with_both_versions(
    older: tuple[str, ...], tmp_path: Path
) -> None:
    python = tmp_path / "environment" / "bin" / "python"
    venv.create(tmp_path / "environment", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *older, *OTHERS], check=True)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [python, __file__, str(tmp_path / "archive")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    then = told.pop("libraries")
    assert [then[name].rsplit(".", 1)[0] for name in ("lightgbm", "scikit-learn")] != [
        libraries()[name].rsplit(".", 1)[0] for name in ("lightgbm", "scikit-learn")
    ]
    assert len(told) == 2 * len(CANDIDATES)
    for version, scores in told.items():
        try:
            model = load(str(tmp_path / "archive"), "question", version)
        except ModelRefused as refused:
            # scikit-learn changes what its fitted objects are made of; it is the only one that may be refused.
            assert f"scikit-learn {then['scikit-learn']} ({libraries()['scikit-learn']} here)" in str(refused)
            kept = ArchiveFolder(str(tmp_path / "archive")).load("question", version).manifest
            assert kept["estimator"] == "linear"
            continue
        np.testing.assert_allclose(model.predict(rows(3, model.manifest["task"])), scores, rtol=1e-12, atol=1e-12)


if __name__ == "__main__":
    archive_all(sys.argv[1])
