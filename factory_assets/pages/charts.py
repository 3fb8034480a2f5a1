"""What does a person look at beside the words? The figures of a line's page; `drawing` puts them on it.

All have one size, that of a phone's width: on a laptop two stand side by side.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from factory_assets.declarations.days import DAY, ranges
from factory_assets.declarations.tasks import kind_of
from factory_assets.measures.figures import ACCENT, GREY, INK, LIGHT, blank, legend, line, plain, short, title
from factory_assets.measures.metrics import Floats, average_precision, roc_auc
from factory_assets.measures.plots import curve
from factory_assets.monitoring.monitors import ALARM, STABLE
from factory_assets.pages.document import visible
from factory_assets.pages.drawing import BAD, SOFT, WARN
from factory_assets.pages.evidence import Bin, Evidence, Threshold, gains

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.6, 2.5
#: Columns of a heat map: those that alarmed most, and longest.
COLUMNS = 16
#: Characters of a name that stand beside a map.
NAMES = 26
#: Points of a curve: a picture of this width shows no more.
POINTS = 120
#: Share of rows, highest first, whose lift is written out: the usual tenth.
FIRST = 0.1


def performance(
    metric: str,
    days: Sequence[dt.date],
    values: Sequence[float | None],
    limits: tuple[Sequence[float | None], Sequence[float | None]],
    naive: Sequence[float | None],
    releases: Mapping[dt.date, str],
    alarmed: Collection[dt.date],
    blocked: Collection[dt.date],
) -> Figure:
    """A node's metric day by day beside the naive guess, with what happened to it.

    limits: those that hold each day's value, the lower ones and the upper ones.
    releases: the first day that a version answered for -> its id. alarmed: days whose value is an alarm. blocked: days held back.
    """
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    when, value, (low, high) = _when(days), _floats(values), map(_floats, limits)
    axes.fill_between(when, low, high, color=ACCENT, alpha=0.18, linewidth=0, zorder=2)
    axes.plot(when, value, label=plain(metric), marker="o", markersize=1.8, **line(metric, 0))
    axes.plot(when, _floats(naive), label="naive guess", **line("naive", 1))
    for day in sorted(blocked):
        axes.axvspan(_at(day - DAY / 2), _at(day + DAY / 2), color=WARN, alpha=0.25, linewidth=0, zorder=1)
    for day in releases:
        axes.axvline(_at(day), color=LIGHT, linewidth=1, zorder=1)
    places = np.array([day in alarmed for day in days], dtype=bool)
    if places.any():
        axes.plot(when[places], value[places], "o", color=BAD, markersize=4, label="alarm", zorder=6, linestyle="none")
    of_time(axes, when)
    notes = [
        "band: 95 %" if np.isfinite(low).any() else "",
        f"{len(releases)} releases" if len(releases) != 1 else "1 release",
        f"{len(blocked)} blocked days" if blocked else "",
    ]
    title(axes, f"{plain(metric)} by day", ", ".join(filter(None, notes)))
    legend(axes, loc="best")
    return figure


def estimated(metric: str, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """What was estimated before labels were in, with its band, and what came. rows: of estimates, oldest first."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    when = _when([row["ds"] for row in rows])
    estimate, low, high, final = (_floats([row[name] for row in rows]) for name in ("estimate", "low", "high", "final"))
    axes.fill_between(when, low, high, color=ACCENT, alpha=0.18, linewidth=0, zorder=2)
    axes.plot(when, estimate, label="estimated", **line("estimated", 0))
    axes.plot(when, final, label="came", **line("came", 1))
    changed = np.array([row["verdict"] == "concept" for row in rows], dtype=bool)
    if changed.any():
        axes.plot(
            when[changed], final[changed], "o", color=BAD, markersize=4, label="otherwise than estimated", zorder=6
        )
    of_time(axes, when)
    title(axes, f"{plain(metric)}: estimated, and as it came", "band: 95 %")
    legend(axes, loc="best")
    return figure


def drift(rows: Sequence[Mapping[str, Any]]) -> tuple[Figure, int]:
    """Columns and days: where a column's drift was an alarm, and where nobody could tell. How many columns are not shown.

    rows: of monitors of drift, of one node.
    """
    by_column: dict[str, dict[str, list[dt.date]]] = {}
    for row in rows:
        by_column.setdefault(row["column"], {}).setdefault(row["verdict"], []).append(row["ds"])
    ranked = sorted(by_column, key=lambda name: (-len(by_column[name].get(ALARM, ())), name))
    chosen = ranked[:COLUMNS]
    figure, axes = blank(WIDTH, 0.8 + 0.16 * len(chosen), 1, 1)
    for place, name in enumerate(chosen):
        for verdict, days in by_column[name].items():
            colour = BAD if verdict == ALARM else SOFT if verdict == STABLE else LIGHT
            bars = [(_at(each[0]) - 0.5, len(each)) for each in ranges(days)]
            axes.broken_barh(bars, (place - 0.42, 0.84), facecolors=colour, linewidth=0, zorder=2)
    axes.set_yticks(range(len(chosen)), [plain(short(visible(name), NAMES)) for name in chosen])
    axes.set_ylim(len(chosen) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.xaxis_date()
    of_time(axes, _when(sorted({row["ds"] for row in rows})))
    title(axes, "Drift by column and day")
    return figure, len(ranked) - len(chosen)


def curves(found: Evidence) -> list[tuple[str, Figure]]:
    """Figures of the holdout with what each shows: of a binary task ROC, precision, gain, calibration and the threshold."""
    if kind_of(found.task) == "binary":
        drawable = found.y.min() < found.y.max()
        made = (
            [
                ("ROC curve", roc(found.y, found.predictions)),
                ("precision by recall", precision(found.y, found.predictions)),
                ("cumulative gain and lift", gain(found.y, found.predictions)),
            ]
            if drawable
            else []
        )
        made.append(("calibration", calibration(found.bins, "predicted probability", "share that happened")))
        return [*made, ("what the threshold does", threshold(found.thresholds, found.decides_at, len(found.y)))]
    if kind_of(found.task) == "multiclass":
        return [("calibration", calibration(found.bins, "how sure of the likeliest class", "share that came"))]
    return [
        ("calibration", calibration(found.bins, "predicted", "mean of what came")),
        ("errors by prediction", errors(found.bins)),
    ]


def roc(y: Floats, predictions: Mapping[str, Floats]) -> Figure:
    """y: of both classes, shape (n,). predictions: whose they are -> shape (n,); so in `precision` and `gain`."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    for place, (name, p) in enumerate(predictions.items()):
        alarms, hits, _ = _thin(*curve(y, p))
        axes.plot(alarms, hits, label=f"{name}  {roc_auc(y, p):.3f}", **line(name, place))
    axes.set(
        xlabel="share of negatives alarmed", ylabel="share of positives found", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02)
    )
    title(axes, "ROC", "area under the curve")
    legend(axes, loc="lower right")
    return figure


def precision(y: Floats, predictions: Mapping[str, Floats]) -> Figure:
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    for place, (name, p) in enumerate(predictions.items()):
        _, recall, of_yes = _thin(*curve(y, p))
        label = f"{name}  {average_precision(y, p):.3f}"
        axes.plot(recall, of_yes, label=label, drawstyle="steps-pre", **line(name, place))
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    title(axes, "Precision and recall", "average precision")
    legend(axes, loc="best")
    return figure


def gain(y: Floats, predictions: Mapping[str, Floats]) -> Figure:
    """The share of positives among the rows with the highest predictions, by how many are taken; the lift of the first tenth."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    rate = float(y.mean())
    for place, (name, p) in enumerate(predictions.items()):
        taken, found = gains(y, p)
        axes.plot(
            *_thin(taken, found), label=f"{name}  {np.interp(FIRST, taken, found) / FIRST:.2g}×", **line(name, place)
        )
    axes.plot(
        [0, rate, 1], [0, 1, 1], color=LIGHT, linewidth=1, zorder=1, label=f"the most  {min(1 / rate, 1 / FIRST):.2g}×"
    )
    axes.set(
        xlabel="share of rows, highest first", ylabel="share of positives found", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02)
    )
    title(axes, "Cumulative gain", f"lift of the first {FIRST:.0%}")
    legend(axes, loc="lower right")
    return figure


def calibration(bins: Sequence[Bin], predicted: str, happened: str) -> Figure:
    """What happened by what was predicted, in bins of equal mass; on the line both are the same."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    x, y = np.array([each.predicted for each in bins]), np.array([each.happened for each in bins])
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=2, label="as predicted")
    axes.plot(x, y, marker="o", markersize=3.5, label="a tenth of the rows each", **line("x", 0))
    axes.set(xlabel=predicted, ylabel=happened)
    title(axes, "Calibration")
    legend(axes, loc="best")
    return figure


def errors(bins: Sequence[Bin]) -> Figure:
    """By how much predictions are off, from low to high ones: the middle, and where eight in ten of the errors lie."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    x = np.array([each.predicted for each in bins])
    low, middle, high = (np.array([getattr(each, name) for each in bins]) for name in ("low", "middle", "high"))
    axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=2)
    axes.fill_between(x, low, high, color=ACCENT, alpha=0.18, linewidth=0, label="eight in ten")
    axes.plot(x, middle, marker="o", markersize=3.5, label="middle", **line("x", 0))
    axes.set(xlabel="predicted", ylabel="predicted - observed")
    title(axes, "Errors by prediction")
    legend(axes, loc="best")
    return figure


def threshold(steps: Sequence[Threshold], decides_at: float, rows: int) -> Figure:
    """What decisions from each threshold on cost; without a declared cost, how many would be a yes, and how many rightly."""
    figure, axes = blank(WIDTH, HEIGHT, 1, 1)
    x = np.array([each.at for each in steps])
    if steps and steps[0].cost is not None:
        axes.plot(x, [each.cost for each in steps], label="cost of a row", **line("x", 0))
        title(axes, "What a threshold costs")
    else:
        yes = np.array([each.true_yes + each.false_yes for each in steps])
        right = np.array([each.true_yes for each in steps])
        axes.plot(x, yes / rows, label="rows that are a yes", **line("x", 0))
        axes.plot(x, right / rows, label="of them rightly", **line("x", 1))
        title(axes, "What a threshold does", "share of all rows")
    axes.axvline(decides_at, color=INK, linewidth=1, linestyle=(0, (1, 1)), label=f"decides at {decides_at:.3g}")
    axes.set(xlabel="threshold")
    legend(axes, loc="best")
    return figure


def _thin(*series: np.ndarray) -> list[np.ndarray]:
    if len(series[0]) <= POINTS:
        return list(series)
    kept = np.unique(np.linspace(0, len(series[0]) - 1, POINTS).astype(int))
    return [each[kept] for each in series]


def of_time(axes: Axes, when: np.ndarray) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set(fontsize=7, color=GREY)
    axes.margins(x=0.02)
    if len(when):
        axes.set_xlim(_at(when[0].astype(dt.date)) - 1, _at(when[-1].astype(dt.date)) + 1)


def _when(days: Sequence[dt.date]) -> np.ndarray:
    return np.asarray(days, dtype="datetime64[D]")


def _at(day: dt.date) -> float:
    """A day as matplotlib counts them."""
    from matplotlib.dates import date2num

    return float(date2num(day))


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
