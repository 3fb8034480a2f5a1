"""Is nothing trained on labels that are not of the line's task, and does a person learn which they are, and where?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.governor.test_leaking_views import command, deliver
from tests.governor.world import SMALL, worlds

DAYS = 11
BINARY = (
    SMALL.replace("regression", "binary")
    .replace("ridge", "logistic_regression")
    .replace("metric: mae, floor: 15, ", "")
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strange", "shown", "sound"),
    [
        ("case when y > 0.5 then 2 else 1 end", ("gives 2 (", "), 1 ("), "y > 0.5"),
        pytest.param(
            *("case when y > 0.5 then 1 else 0.5 end", ("gives 0.5 (", "), 1 ("), "y > 0.5"), marks=pytest.mark.longest
        ),
    ],
)
def test_a_line_is_not_trained_on_labels_that_are_not_0_or_1_and_goes_on_once_they_are(
    tmp_path: Path, strange: str, shown: tuple[str, ...], sound: str
) -> None:
    declared, mended = f'{{expression: "{strange}", delay: 1d}}', f'{{expression: "{sound}", delay: 1d}}'
    with worlds(tmp_path, ["one"], BINARY.replace("{expression: y, delay: 1d}", declared)) as made:
        world = made["one"]
        deliver(world, 0, DAYS)
        code, printed = command(world, "run")
        lines = (world.folder / "defs" / "defs.yaml").read_text().splitlines()
        number = next(number for number, line in enumerate(lines, 1) if "expression" in line)
        told = printed.replace("\n", "")
        assert code == 1 and f"defs.yaml:{number}: guess: label.expression:" in told
        assert all(part in told for part in shown) and "0 and 1, or false and true" in told
        assert "Traceback" not in printed
        assert world.decisions() == [] and world.archived() == [] and not world.lake.days("guess/labels")
        world.replace("defs.yaml", declared, mended)
        code, printed = command(world, "run")
        assert code == 0, printed
        assert world.decisions() and world.lake.days("guess/predictions")
