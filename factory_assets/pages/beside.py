"""What does a person look at to tell two versions apart? The figures of their page; `drawing` puts them on it.

A has the colour of the text, B is blue, in every one of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from factory_assets.evaluation.attribution import Share
from factory_assets.evaluation.dependence import Dependence
from factory_assets.measures.figures import GREY, LIGHT, LINES, blank, legend, plain, short, title
from factory_assets.measures.metrics import improvement
from factory_assets.pages.charts import HEIGHT, NAMES, WIDTH, of_time
from factory_assets.pages.document import visible
from factory_assets.pages.drawing import BAD, GOOD
from factory_assets.pages.evidence import Bin
from factory_assets.release.comparison import TWICE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How the lines of A and of B look.
STYLES: tuple[dict[str, Any], ...] = (LINES[1], LINES[0])
#: Characters of a figure's title.
TITLE = 40
#: Characters of a level that stand below an axis.
LEVEL = 12
#: Levels of which names fit side by side; more are written upright.
FEW = 6


def causes(metric: str, shares: Sequence[Share], seeds: float | None) -> Figure:
    """From A to B cause by cause: a bar for what each changes, and one for all.

    seeds: the spread by other seeds; twice that is drawn as a band.
    """
    figure, axes = blank(WIDTH, 1.0 + 0.3 * (len(shares) + 1), 1, 1)
    starts = np.cumsum([0.0, *(each.size for each in shares)])
    total = float(starts[-1])
    bars = [
        *zip((each.cause for each in shares), starts, (each.size for each in shares), strict=False),
        ("all", 0.0, total),
    ]
    for place, (_, start, size) in enumerate(bars):
        colour = LIGHT if size == 0 else GOOD if improvement(metric, size, 0.0) > 0 else BAD
        axes.barh(place, size, left=start, height=0.55, color=colour, zorder=3)
        to_right = size >= 0
        axes.annotate(
            f"{size:+.3g}", (start + size, place), xytext=(3 if to_right else -3, 0), textcoords="offset points",
            ha="left" if to_right else "right", va="center", fontsize=7, color=GREY,
        )  # fmt: skip
    axes.axvline(0, color=GREY, linewidth=1, zorder=2)
    if seeds:
        axes.axvspan(-TWICE * seeds, TWICE * seeds, color=LIGHT, alpha=0.35, linewidth=0, zorder=1)
    axes.set_yticks(range(len(bars)), [plain(short(name, NAMES)) for name, *_ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    # Room for the numbers beside the bars.
    axes.use_sticky_edges = False
    axes.margins(x=0.25)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(visible=False, axis="y")
    title(axes, f"{metric}, B - A", "green is better")
    return figure


def by_day(metric: str, days: Sequence[dt.date], values: Mapping[str, Sequence[float | None]]) -> Figure:
    """The metric of both on each day of the rows. values: A and B -> shape (n,)."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    when = np.asarray(days, dtype="datetime64[D]")
    for (name, of), style in zip(values.items(), STYLES, strict=True):
        known = np.array([np.nan if each is None else each for each in of])
        axes.plot(when, known, label=name, marker="o", markersize=3, **style)
    of_time(axes, when)
    title(axes, f"{metric} by day", "on the same rows")
    legend(axes, loc="best")
    return figure


def calibrations(bins: Mapping[str, Sequence[Bin]], predicted: str, happened: str) -> Figure:
    """What happened by what either predicted, in bins of equal mass of its predictions. bins: of A and B."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    ends = [value for of in bins.values() for each in of for value in (each.predicted, each.happened)]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=LIGHT, linewidth=1, zorder=2, label="as predicted")
    for (name, of), style in zip(bins.items(), STYLES, strict=True):
        x, y = [each.predicted for each in of], [each.happened for each in of]
        axes.plot(x, y, marker="o", markersize=3.5, label=name, **style)
    axes.set(xlabel=predicted, ylabel=happened)
    title(axes, "Calibration", "a tenth of the rows each")
    legend(axes, loc="best")
    return figure


def dependence(found: Dependence, names: Mapping[str, str]) -> Figure:
    """The mean prediction of either while the feature takes each of its values. names: version -> A or B; "" of one alone."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    places = np.arange(len(found.values)) if found.is_of_levels else np.array(found.values, dtype=np.float64)
    dots = {"linestyle": "none", "markersize": 4} if found.is_of_levels else {"markersize": 2}
    for (version, name), style in zip(names.items(), STYLES[-len(names) :], strict=True):
        if (means := found.means.get(version)) is not None:
            axes.plot(places, means, label=name, marker="o", **style | dots)
    if found.is_of_levels:
        many = len(places) > FEW
        labels = [plain(short(visible(str(each)), LEVEL)) for each in found.values]
        axes.set_xticks(places, labels, rotation=90 if many else 0, fontsize=6 if many else 7)
        axes.margins(x=0.08)
    axes.set(ylabel=plain(short(visible(f"mean probability of {found.of}"), NAMES)) if found.of else "mean prediction")
    title(axes, short(visible(found.feature), TITLE))
    if any(names.values()):
        legend(axes, loc="best")
    return figure
