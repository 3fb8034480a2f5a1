"""Do the parts of a difference sum to it, whichever cause is changed first?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory_assets.evaluation.attribution import NoValue, Share, shares

CAUSES = ["data", "features", "configuration"]
VALUES = st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=8)


def by_place(values: list[float], changed: frozenset[str]) -> float:
    return values[sum(1 << CAUSES.index(each) for each in changed)]


@given(VALUES, st.permutations(CAUSES))
def test_the_parts_sum_to_the_difference_and_the_other_way_round_they_are_the_opposite(
    values: list[float], order: list[str]
) -> None:
    found = shares(order, lambda changed: by_place(values, changed))
    back = shares(CAUSES, lambda changed: by_place(values, frozenset(CAUSES) - changed))
    assert found is not None and back is not None and not found.missing
    assert sum(each.size for each in found.shares) == pytest.approx(values[-1] - values[0], abs=1e-6)
    opposite = {each.cause: each.size for each in back.shares}
    for each in found.shares:
        assert each.size == pytest.approx(-opposite[each.cause], abs=1e-6)


def test_causes_that_act_together_share_what_neither_does_alone() -> None:
    found = shares(["data", "features"], lambda changed: float(len(changed) == 2))
    assert found is not None
    assert found.shares == (Share("data", 0.5, 0.0, 1.0), Share("features", 0.5, 0.0, 1.0))


def test_an_order_that_cannot_be_tried_is_left_out_with_its_reason_and_the_parts_still_sum_to_the_whole() -> None:
    def value(changed: frozenset[str]) -> float:
        if changed == {"features"}:
            raise NoValue("no rows")
        return {frozenset(): 1.0, frozenset({"data"}): 4.0, frozenset({"data", "features"}): 5.0}[changed]

    found = shares(["data", "features"], value)
    assert found is not None and found.missing == ("no rows",)
    assert found.shares == (Share("data", 3.0, 3.0, None), Share("features", 1.0, None, 1.0))


def test_where_no_order_can_be_tried_nothing_is_shared_out() -> None:
    def value(changed: frozenset[str]) -> float:
        if len(changed) == 1:
            raise NoValue("they exist together only")
        return float(len(changed))

    assert shares(["data", "features"], value) is None
