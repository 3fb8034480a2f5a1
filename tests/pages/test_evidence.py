"""Do the curves of a holdout say what a count of its rows says?"""

from __future__ import annotations

import numpy as np
import pytest

from factory_assets.measures.metrics import roc_auc
from factory_assets.pages.evidence import gains

Y = (np.random.default_rng(0).random(500) < 0.15).astype(float)
P = np.round(np.random.default_rng(1).random(500) * 0.8 + 0.2 * Y, 3)


def test_the_gain_is_the_share_of_positives_among_as_many_rows_with_the_highest_predictions() -> None:
    taken, found = gains(Y, P)
    for share, gained in zip(taken[1:], found[1:], strict=True):
        highest = np.argsort(-P, kind="stable")[: round(share * len(Y))]
        assert gained == pytest.approx(Y[highest].sum() / Y.sum())
    assert (taken[0], found[0], taken[-1], found[-1]) == (0, 0, 1, 1)


def test_rows_with_the_same_prediction_are_taken_together_whatever_their_order() -> None:
    first, last = np.sort(Y)[::-1], np.sort(Y)
    same = np.full(len(Y), 0.5)
    for y in (first, last):
        assert [each.tolist() for each in gains(y, same)] == [[0, 1], [0, 1]], "a guess gains what chance does"


def test_the_area_below_it_follows_from_that_of_the_roc_curve() -> None:
    rate = Y.mean()
    assert np.trapezoid(*gains(Y, P)[::-1]) == pytest.approx(rate / 2 + (1 - rate) * roc_auc(Y, P))
