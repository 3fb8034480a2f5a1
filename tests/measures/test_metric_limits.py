"""Do limits of a metric lie within what it can be, and is what is measured on any rows?"""

import numpy as np
import pytest

from factory_assets.measures.limits import BELOW_NOTHING, SHARES, possible
from factory_assets.measures.metrics import METRICS


@pytest.mark.parametrize("metric", METRICS)
def test_what_a_metric_can_be_has_room_for_what_it_is(metric: str) -> None:
    low, high = possible(metric, -np.inf, np.inf)
    assert low == (-np.inf if metric in BELOW_NOTHING else 0.0)
    assert high == (1.0 if metric in SHARES or metric == "r2" else np.inf)
    assert possible(metric, 0.2, 0.7) == (0.2, 0.7)


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"cost", "accuracy", "balanced_accuracy", "macro_f1"}))
def test_what_is_measured_on_any_rows_is_possible(metric: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        y = rng.integers(0, 2, 30).astype(float)
        p = rng.beta(0.3, 0.3, 30)
        value = METRICS[metric].fn(y, p, *([0.5] if metric in ("pinball", "coverage") else []))
        if np.isfinite(value):
            assert possible(metric, value, value) == pytest.approx((value, value))
