"""Do training and holdout respect the time at which labels are known, and is training refused before windows fill?"""

import datetime as dt
from pathlib import Path

import pytest

from factory_assets.declarations.catalogue import DeclaredLine, load
from factory_assets.declarations.days import DAY
from factory_assets.training.timeline import TrainingRefused, first_as_of, require_coverage, timeline
from tests.line.world import declare


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DeclaredLine]:
    catalogue = load(declare(tmp_path_factory.mktemp("declarations")))
    return {name: catalogue.resolve(line) for name, line in catalogue.lines.items()}


@pytest.mark.parametrize("name", ["delivery_time", "repeat_order"])
def test_the_holdout_begins_when_every_training_label_is_known(lines: dict[str, DeclaredLine], name: str) -> None:
    declared, as_of = lines[name], dt.date(2026, 4, 5)
    span, horizon = timeline(declared, as_of), declared.line.label.horizon
    newest_label = dt.datetime.combine(span.train_to + DAY, dt.time()) + horizon
    assert newest_label <= dt.datetime.combine(span.holdout_from, dt.time())
    last_of_holdout = dt.datetime.combine(span.holdout_to + DAY, dt.time()) + horizon
    assert last_of_holdout <= dt.datetime.combine(as_of + DAY, dt.time())


def test_window_and_holdout_have_the_declared_lengths(lines: dict[str, DeclaredLine]) -> None:
    span = timeline(lines["repeat_order"], dt.date(2026, 4, 5))
    assert (span.train_to - span.train_from).days + 1 == 28
    assert (span.holdout_to - span.holdout_from).days + 1 == 7


def test_a_seven_day_label_delay_gives_the_split_published_for_card_fraud() -> None:
    folder = Path(__file__).parents[2] / "examples" / "card_fraud"
    catalogue = load(folder, lambda value: value)
    declared = catalogue.resolve(catalogue.lines["card_fraud"])
    span = timeline(declared, dt.date(2018, 8, 21))
    assert (span.train_to, span.holdout_from, span.holdout_to) == (
        dt.date(2018, 7, 31),
        dt.date(2018, 8, 8),
        dt.date(2018, 8, 14),
    )


def test_training_is_refused_the_day_before_windows_are_covered_and_allowed_on_it(
    lines: dict[str, DeclaredLine],
) -> None:
    declared = lines["delivery_time"]
    first = first_as_of(declared)
    span = require_coverage(declared, first)
    assert span.train_from - declared.reach_days * DAY == declared.observed.stream.start
    with pytest.raises(TrainingRefused) as refused:
        require_coverage(declared, first - DAY)
    message = str(refused.value)
    assert "restaurant_pace" in message and "28d" in message and "delay of 2h" in message and str(first) in message
