"""Are challengers that stay undecided looked at again alike, whoever keeps the line and however late?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from factory_assets.governor.plan import plan
from tests.governor.world import SMALL, World, by_ci, by_command, by_daemon, day, worlds

pytestmark = pytest.mark.longest
PATIENT = SMALL.replace(
    "gate: {metric: mae, floor: 15, certainty: 0.5}", "gate: {metric: mae, certainty: 0.9, patience: 6d}"
).replace("retrain: {every: 30d}", "retrain: {every: 2d}")
DAYS, FIRST = 26, 9


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    kept = {
        "each day": (range(FIRST, DAYS), by_command),
        "at the end": ([DAYS - 1], by_command),
        "seldom": ([13, 20, DAYS - 1], by_daemon),
        "from CI": ([16, DAYS - 1], by_ci),
    }
    with worlds(tmp_path_factory.mktemp("patient"), list(kept), PATIENT) as made:
        for name, (looks, keep) in kept.items():
            made[name].load()
            for offset in range(DAYS):
                made[name].deliver("orders", day(offset))
                made[name].at(day(offset + 1), 1)
                if offset in looks:
                    keep(made[name])
        yield made


@pytest.mark.parametrize("other", ["at the end", "seldom", "from CI"])
def test_whoever_keeps_the_line_and_however_late_the_same_is_decided(lived: dict[str, World], other: str) -> None:
    one, two = lived["each day"], lived[other]
    assert one.decisions() == two.decisions()
    assert one.contents() == two.contents()
    assert one.archived() == two.archived()
    assert not plan(two.deployment.book()).work


def test_some_are_undecided_more_than_once(lived: dict[str, World]) -> None:
    made = [
        (node, version)
        for _, _, node, verdict, version, _, _ in lived["each day"].decisions()
        if verdict == "undecided"
    ]
    assert len(made) > len(set(made)) > 1
