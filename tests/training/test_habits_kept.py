"""Is the habit of a column of predictions that of the values which its profile is of, whether there were recent rows or none?"""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.habits import FACTORS, Stretches
from factory_assets.measures.profiles import profile
from factory_assets.training.archiving import OnDays, _habit_of_predictions

FIRST = dt.date(2026, 1, 1)


def predictions(seed: int, first_week: int, weeks: int, scale: float = 1.0) -> OnDays:
    rng = np.random.default_rng(seed)
    days = np.datetime64(FIRST) + 7 * first_week + np.repeat(np.arange(7 * weeks), 100)
    return pa.array(scale * rng.lognormal(size=len(days))), pa.chunked_array([pa.array(days)])


@pytest.mark.parametrize("recent", [True, False])
def test_factors_and_stretches_are_those_of_the_values_that_the_reference_is_of(recent: bool) -> None:
    past = Stretches(FIRST, FIRST + dt.timedelta(days=7 * 9 - 1), 7)
    learnt = predictions(1, 3, 4)
    # Other days' predictions are five times as large: taken for the reference's, a factor of 1.01 would lie far away.
    seen, others = predictions(2, 7, 2) if recent else learnt, predictions(3, 0, 3, 5.0)
    found = _habit_of_predictions(past, profile(seen[0]), learnt=learnt, seen=seen, others=others)
    assert (found.stretches, found.outside) == ((9, 3) if recent else (7, 3))
    assert len(found.factors) == len(FACTORS) and found.factors[0] < 0.01 < 0.5 < found.factors[-1]
    assert found.excess["values"] > 10
