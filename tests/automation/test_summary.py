"""Does a run's table tell what drifted from what did not, how good a guess would have been, and what nobody could tell?"""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa

from factory_assets.automation.summary import _drift, _measured
from factory_resources.lake import Lake

DAY = dt.date(2026, 3, 10)
VERDICTS = {
    "FR": [("amount", "stable"), ("channel", "stable")],
    "DE": [("amount", "stable"), ("channel", "no verdict"), ("ref", "no verdict")],
    "IT": [("amount", "no verdict")],
    # What a column is called says nothing of its verdict.
    "ES": [("habit.is_stable", "drifted"), ("amount", "stable")],
    "PT": [("habit.is_stable", "drifted"), ("amount", "drifted"), ("channel", "no verdict")],
}


def test_a_node_is_in_trouble_by_its_verdicts_and_stable_only_where_all_columns_are(tmp_path: Path) -> None:
    rows = [
        {"node": node, "column": column, "verdict": verdict, "ds": DAY}
        for node, columns in VERDICTS.items()
        for column, verdict in columns
    ]
    lake = Lake(root=str(tmp_path))
    lake.replace("line/drift", pa.Table.from_pylist(rows), [DAY])
    found, day = _drift(lake, "line")
    assert day == str(DAY)
    assert found == {
        "FR": ("stable", False),
        "DE": ("1 of 3 stable", False),
        "IT": ("no verdict", False),
        "ES": ("habit.is_stable", True),
        "PT": ("2 columns", True),
    }


def test_a_guess_is_made_of_the_training_labels_and_not_of_the_one_that_it_is_measured_on() -> None:
    rows = pa.table({"leaf": ["FR"], "version": ["v1"], "prediction": [4.0], "label": [3.0]})
    assert _measured("regression", "mae", rows, {"v1": np.array([5.0])}) == (1.0, 2.0)
    assert _measured("regression", "mae", rows, {}) == (1.0, None)
