"""Is a search refused where it could not work, with its line, and do its folds respect time?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.declarations.search import Fold, folds_of

DEMO = Path(__file__).parents[2] / "factory_assets" / "defs" / "marketplace"
BOOSTED = "boosted: {estimator: lightgbm, params: {num_leaves: 15, learning_rate: 0.08, num_boost_round: 150}}"
LAST, DAY = dt.date(2026, 3, 1), dt.timedelta(days=1)


def checked(tmp_path: Path, candidate: str) -> tuple[str, int]:
    """What `factory check` says of the demo with another candidate, on one line, and the line where that begins."""
    text = (DEMO / "defs.yaml").read_text().replace(BOOSTED, "boosted:\n      " + candidate.strip())
    (tmp_path / "defs.yaml").write_text(text)
    (tmp_path / "contract.yaml").write_text((DEMO / "contract.yaml").read_text())
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    return " ".join(result.output.split()), 1 + text[: text.index("boosted:\n")].count("\n")


def searching(space: str, more: str = "", estimator: str = "lightgbm", params: str = "{}") -> str:
    return f"""
      estimator: {estimator}
      params: {params}
      search:
        space:
          {space}
        folds: 3
        {more}"""


def test_a_sound_search_is_accepted(tmp_path: Path) -> None:
    space = "num_leaves: {int: [4, 64], log: true}\n          boosting: {choice: [gbdt, dart]}"
    output, _ = checked(tmp_path, searching(space, "time: 2m"))
    assert "2 lines" in output and "problem" not in output


@pytest.mark.parametrize(
    ("candidate", "below", "told"),
    [
        (searching("num_leaves: {int: [64, 4]}"), 5, "the lowest value, then a higher one"),
        (searching("num_leaves: {int: [4, 64], float: [4, 64]}"), 5, "given: int and float"),
        (searching("learning_rate: {float: [0, 1], log: true}"), 5, "must begin above 0"),
        (searching("num_leaves: {integer: [4, 64]}"), 5, "allowed: int, float, choice, log"),
        (searching("num_leafs: {int: [4, 64]}"), 5, "lightgbm has no parameter num_leafs"),
        (searching("num_threads: {int: [1, 4]}"), 5, "num_threads is set by the factory"),
        (searching("num_leaves: {int: [1, 64]}"), 5, "1: lightgbm refuses"),
        (searching("max_leaves: {int: [4, 64]}", params="{num_leaves: 7}"), 5, "num_leaves is given twice"),
        (searching("num_leaves: {int: [4, 64]}", params="{num_leaves: 7}"), 0, "fixed or searched for"),
        (searching("alpha: {float: [0, 1]}", estimator="constant"), 5, "constant has no parameter alpha"),
        (searching("num_leaves: {int: [4, 64]}").replace("folds: 3", "folds: 20"), 6, "need 22 days"),
        (searching("num_leaves: {int: [4, 64]}", "trials: 0"), 7, "greater than or equal to 1"),
    ],
)
def test_a_search_that_cannot_work_is_refused_with_its_line(
    tmp_path: Path, candidate: str, below: int, told: str
) -> None:
    output, line = checked(tmp_path, candidate)
    assert told in output
    assert f"defs.yaml:{line + below}" in output.replace(" ", "")


def test_what_a_fold_learns_from_was_known_before_what_it_is_judged_on() -> None:
    # 21 days, labels a week late: 5, 8 and 11 days to learn from, 3 to be judged on.
    assert folds_of(LAST, 21, 7, 3) == [
        Fold(LAST - 16 * DAY, LAST - 8 * DAY, LAST - 6 * DAY),
        Fold(LAST - 13 * DAY, LAST - 5 * DAY, LAST - 3 * DAY),
        Fold(LAST - 10 * DAY, LAST - 2 * DAY, LAST),
    ]
    with pytest.raises(ValueError, match="3 folds need 11 days: 7 until labels are known"):
        folds_of(LAST, 10, 7, 3)
