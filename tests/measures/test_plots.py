"""Pictures are small, reproducible, safe to draw in threads, and drawn for awkward data too."""

from __future__ import annotations

import base64
import datetime as dt
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory_assets.measures import plots
from factory_assets.measures.plots import (
    OverDays,
    days_plot,
    distributions_plot,
    evaluation_plot,
    markdown,
    series_plot,
)

REPOSITORY = Path(__file__).parents[2]
DAYS = [dt.date(2018, 5, 1) + dt.timedelta(days) for days in range(120)]
ACCENT = (31, 111, 235)


def binary(rows: int = 20_000) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    y = (rng.random(rows) < 0.05).astype(float)
    models = {"challenger": rng.normal(2 * y), "incumbent": rng.normal(1 * y)}
    probabilities = {name: 1 / (1 + np.exp(3 - score)) for name, score in models.items()}
    return y, probabilities | {"naive": np.full(rows, y.mean())}


def regression(rows: int = 20_000) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    y = rng.gamma(2, 80, rows)
    return y, {"challenger": y + rng.normal(0, 30, rows), "naive": np.full(rows, y.mean())}


def pixels(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def accented(png: bytes) -> np.ndarray:
    """Where the subject is drawn: pixels of about the accent colour, shape (height, width)."""
    return np.abs(pixels(png) - ACCENT).sum(axis=2) < 60


def columns(many: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    counts, edges = np.histogram(rng.gamma(2, 10, 5000), 30)
    numbers = {f"customer_spending.amount_{i}d": (edges.tolist(), counts.tolist()) for i in range(many - 1)}
    return numbers | {"merchant": {f"merchant {i}": 1000 // (i + 1) for i in range(20)}}


PICTURES = {
    "binary": lambda: evaluation_plot("binary", *binary()),
    "regression": lambda: evaluation_plot("regression", *regression()),
    "series": lambda: series_plot(DAYS, {"champion": np.sin(np.arange(120)).tolist()}, "line", "mae", {DAYS[9]: "v2"}),
    "distributions": lambda: distributions_plot(columns(12)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_is_small_white_and_drawn_in_the_accent_colour(picture: str) -> None:
    png = PICTURES[picture]()
    assert len(png) < 60_000
    assert pixels(png)[0, 0].tolist() == [255, 255, 255]
    assert accented(png).sum() > 500


def test_the_same_input_gives_the_same_bytes_from_many_threads() -> None:
    with ThreadPoolExecutor(4) as threads:
        drawn = list(threads.map(lambda name: (name, PICTURES[name]()), list(PICTURES) * 3))
    assert {name: len({png for drawn_name, png in drawn if drawn_name == name}) for name in PICTURES} == dict.fromkeys(
        PICTURES, 1
    )


def test_drawing_never_imports_pyplot() -> None:
    code = (
        "import sys; from factory_assets.measures import plots; assert 'matplotlib' not in sys.modules;"
        "plots.evaluation_plot('regression', [1.0, 2.0], {'challenger': [1.5, 1.5]}); plots.distributions_plot({});"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_a_better_challenger_leaves_more_room_under_its_roc_curve() -> None:
    y, models = binary()

    def first_accent(challenger: np.ndarray) -> float:
        left = accented(evaluation_plot("binary", y, {"challenger": challenger}))[40:, :450]
        tops = [column.argmax() for column in left.T if column.any()]
        return float(np.mean(tops))  # rows from the top: a better curve runs higher

    assert first_accent(models["challenger"]) < first_accent(models["incumbent"]) < first_accent(models["naive"])


def test_the_precision_of_a_rare_class_is_drawn_from_its_first_alarm_on() -> None:
    rows = 200_000
    y = np.zeros(rows)
    y[:20] = 1  # ranked first: precision 1 up to recall 1, among 200,000 thresholds
    challenger = np.linspace(1, 0, rows)
    right = accented(evaluation_plot("binary", y, {"challenger": challenger}))[:, 462:]
    top = right[25:45, :].any(axis=0)
    assert top.mean() > 0.75  # a line along the top of the panel


@pytest.mark.parametrize(
    ("task", "y", "p"),
    [
        ("binary", [], []),
        ("binary", [0.0] * 30, [0.2] * 30),
        ("binary", [0, 1], [0.5, 0.5]),
        ("regression", [], []),
        ("regression", [3.0], [4.0]),
        ("regression", [3.0, 3.0], [3.0, 3.0]),
        ("regression", [0.0, 1e300, -5.0], [0.0, 1.0, 1e9]),
        ("multiclass(a, b, c)", [], np.empty((0, 3))),
        ("multiclass(a, b, c)", [1.0], [[0.2, 0.5, 0.3]]),
        (f"multiclass({', '.join(f'class_{place}' for place in range(12))})", [0.0, 11.0], np.full((2, 12), 1 / 12)),
    ],
)
def test_an_evaluation_of_awkward_rows_is_still_a_picture(task: str, y: list[float], p: list[float]) -> None:
    assert pixels(evaluation_plot(task, y, {"challenger": p})).size


def test_a_class_that_is_never_the_most_likely_leaves_its_column_of_the_picture_empty() -> None:
    y = np.repeat([0.0, 1.0, 2.0], 50)
    right, never = np.full((150, 3), 0.1), np.tile([0.5, 0.3, 0.2], (150, 1))
    right[np.arange(150), y.astype(int)] = 0.8
    shown = [
        accented(evaluation_plot("multiclass(a, b, c)", y, {"challenger": p}))[40:360, 350:470] for p in (right, never)
    ]
    assert shown[0].sum() > 5000 and shown[1].sum() == 0, "the third column, blue where the class was recognised"


def test_one_outlier_does_not_shrink_the_rest_to_a_dot() -> None:
    y, models = regression()
    clean = accented(evaluation_plot("regression", y, models)).sum()
    models["challenger"][0] = 1e9
    assert accented(evaluation_plot("regression", y, models)).sum() > 0.8 * clean


def test_an_evaluation_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="'ranking'"):
        evaluation_plot("ranking", [0, 1], {"challenger": [0, 1]})
    with pytest.raises(ValueError, match="predictions are missing"):
        evaluation_plot("regression", [0, 1], {"challenger": [0, np.nan]})
    with pytest.raises(ValueError, match="predictions"):
        evaluation_plot("binary", [0, 1], {})


def test_a_day_without_a_value_is_a_gap_in_the_line() -> None:
    flat = [0.5] * 120
    broken = [*flat[:50], *[None] * 20, *flat[70:]]
    whole, gap = (accented(series_plot(DAYS, {"champion": v}, "t", "y")).any(axis=0).sum() for v in (flat, broken))
    assert 0.1 < 1 - gap / whole < 0.25


@pytest.mark.parametrize("days", [0, 1, 7, 400])
def test_a_series_of_any_length_is_a_picture(days: int) -> None:
    when = [dt.date(2018, 1, 1) + dt.timedelta(day) for day in range(days)]
    series = {"champion": [0.4] * days, "naive": [None] * days}
    assert len(series_plot(when, series, "card_fraud: 100 $ and x_{$", "y")) > 500


def test_a_marked_day_is_drawn_and_a_mark_outside_the_days_is_not() -> None:
    series = {"champion": [0.5] * 120}
    plain = series_plot(DAYS, series, "t", "y")
    assert series_plot(DAYS, series, "t", "y", {DAYS[60]: "v3 released"}) != plain
    assert series_plot(DAYS, series, "t", "y", {dt.date(2030, 1, 1): "v3 released"}) == plain


@pytest.mark.parametrize("many", [1, 2, 3, 5, 12])
def test_every_column_has_a_panel(many: int) -> None:
    assert accented(distributions_plot(columns(many))).sum() > 400 * many  # type: ignore[arg-type]


def test_more_than_twelve_columns_are_cut_and_the_picture_says_so() -> None:
    cut, all_of_them = distributions_plot(columns(30)), distributions_plot(dict(list(columns(30).items())[:12]))  # type: ignore[arg-type]
    assert pixels(cut).shape == pixels(all_of_them).shape
    assert cut != all_of_them  # "12 of 30 columns"


def test_distributions_of_nothing_of_one_level_and_of_no_rows_are_pictures() -> None:
    for columns_shown in ({}, {"country": {"FR": 3}}, {"country": {}}, {"amount": ([0.0, 1.0, 2.0], [0, 0])}):
        assert pixels(distributions_plot(columns_shown)).size  # type: ignore[arg-type]


def test_bins_of_different_width_are_drawn_as_density() -> None:
    narrow_and_wide = accented(distributions_plot({"amount": ([0, 1, 10], [50, 50])}))
    heights = narrow_and_wide.sum(axis=0)
    assert heights[30] > 5 * heights[400]


@pytest.mark.parametrize("edges", [[0, 1], [0, 1, 1], [0, 2, 1], [0, 1, np.inf]])
def test_edges_that_do_not_ascend_are_refused_with_the_column(edges: list[float]) -> None:
    with pytest.raises(ValueError, match="'amount': 2 counts need 3 finite, ascending edges"):
        distributions_plot({"amount": (edges, [5, 5])})


def test_markdown_carries_the_picture_and_a_plain_alternative() -> None:
    png = PICTURES["series"]()
    text = markdown(png, "course of\n[card_fraud](x)")
    head, data = text.split(";base64,")
    assert head == r"![course of \[card_fraud\](x)](data:image/png"
    assert base64.b64decode(data.removesuffix(")")) == png


def amount(days: int, absent: float = 0.0) -> OverDays:
    series = [100.0 + at for at in range(days)]
    return OverDays([absent] * days, band=([x - 20 for x in series], series, [x + 60 for x in series]))


def city(days: int, absent: float = 0.0) -> OverDays:
    return OverDays([absent] * days, shares={"Paris": [0.6 - absent / 2] * days, "Lyon": [0.3 - absent / 2] * days})


def test_what_has_no_value_hangs_down_from_the_top_in_its_share_of_the_panel() -> None:
    grey = np.array([int(plots.GREY[at : at + 2], 16) for at in (1, 3, 5)])
    drawn = [pixels(days_plot(DAYS[:28], {"city": city(28, share)})) for share in (0.0, 0.25, 0.5)]
    areas = [int((np.abs(picture - grey).sum(axis=2) < 30).sum()) for picture in drawn]
    assert areas[0] < areas[1] / 10
    assert (areas[2] - areas[0]) / (areas[1] - areas[0]) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("days", [1, 2, 28])
def test_a_column_is_shown_over_few_days_with_gaps_and_without_any_value(days: int) -> None:
    gaps = OverDays([None, *[0.1] * (days - 1)], band=tuple([None, *[1.0 + at] * (days - 1)] for at in range(3)))  # type: ignore[arg-type]
    columns = {"amount": amount(days), "city": city(days, 0.2), "gaps": gaps, "nothing": OverDays([1.0] * days)}
    shape = pixels(days_plot(DAYS[:days], columns)).shape
    assert shape[0] > 200 and shape[1] > 400


def test_more_columns_than_panels_are_counted_and_none_is_said_in_words() -> None:
    twelve, thirteen = (pixels(days_plot(DAYS[:7], {f"c{at}": amount(7) for at in range(n)})) for n in (12, 13))
    assert twelve.shape == thirteen.shape and (twelve != thirteen).any(), "the picture says that one is left out"
    assert pixels(days_plot([], {"amount": amount(0)})).size and pixels(days_plot(DAYS[:7], {})).size


LARGE = OverDays([0.05] * 28, band=tuple([at * 1e6 + x for at in range(28)] for x in (0.0, 1e6, 2e6)))  # type: ignore[arg-type]
AWKWARD = {
    "powers of ten": lambda: days_plot(DAYS[:28], {"delay_minutes_of_the_whole_day": LARGE, "city": city(28, 0.1)}),
    "long levels": lambda: distributions_plot(
        {"a": {f"{'level ' * 5}{at}": 5 + at for at in range(9)}, "b": ([0, 1e7], [9])}
    ),
    "long names": lambda: plots.gains_plot({f"{'node_' * 12}{at}": at - 5.0 for at in range(12)}, [], "Gains", "mae"),
    "classes": lambda: evaluation_plot(
        "multiclass(red, green, blue)", [0.0, 1, 2], {"challenger": np.full((3, 3), 1 / 3)}
    ),
    "two series": lambda: series_plot(DAYS, {"champion": [1e7] * 120, "naive": [2e7] * 120}, "line", "mae"),
}


@pytest.mark.parametrize("picture", [*PICTURES, *AWKWARD])
def test_nothing_is_cut_at_the_edge_and_nothing_is_left_empty_there(picture: str) -> None:
    ink = (pixels((PICTURES | AWKWARD)[picture]()) < 250).any(axis=2)
    assert not ink[:3].any() and not ink[-3:].any() and not ink[:, :3].any() and not ink[:, -3:].any()
    # Each margin is as wide as what is written there needs.
    assert ink[:25].any() and ink[-25:].any() and ink[:, :25].any() and ink[:, -25:].any()


def test_the_power_of_ten_of_an_axis_stands_below_the_title() -> None:
    left = (pixels(AWKWARD["powers of ten"]()) < 200).any(axis=2)[:60, 22:45]
    rows = left.any(axis=1)
    blocks = [at for at in range(1, len(rows)) if rows[at] and not rows[at - 1]]
    assert len(blocks) >= 3, "the title, the power of ten, what hangs from the top"
