"""What does a person need to see before a table of metrics? Small pictures for an asset's metadata.

Every function returns PNG bytes, and the same input gives the same bytes. Figures are built by matplotlib's object
interface: pyplot keeps a global list of figures and is not safe in Dagster's threads. One accent colour is the
subject, greys are what it is compared with.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from factory_assets.declarations.tasks import classes_of
from factory_assets.measures.figures import ACCENT, GREY, GRID, INK, LIGHT
from factory_assets.measures.figures import bars as _bars
from factory_assets.measures.figures import blank as _figure
from factory_assets.measures.figures import legend as _legend
from factory_assets.measures.figures import line as _line
from factory_assets.measures.figures import plain as _plain
from factory_assets.measures.figures import png as _png
from factory_assets.measures.figures import saying as _saying
from factory_assets.measures.figures import short as _short
from factory_assets.measures.figures import title as _title
from factory_assets.measures.metrics import (
    METRICS,
    average_precision,
    by_threshold,
    checked,
    log_loss,
    most_likely,
    roc_auc,
)
from factory_resources.markdown import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
Distribution = tuple[Sequence[float], Sequence[float]] | Mapping[str, int]
Series = Sequence[float | None]

CURVE_POINTS = 400  # a curve 380 pixels wide shows no more
COLUMNS, LEVELS = 12, 8  # as many as fit in a picture, and in a panel
UNIT = (-0.01, 1.02)
FEW_ROWS = 500  # dots that a person can still tell apart
FEW_DAYS = 12  # each has its own date on the axis
CHARACTER = 0.0063  # width of a mark's letter, of the axes' width
SHADES = (ACCENT, "#79aaf7", "#b6d2fb", INK, GREY, LIGHT)  # of levels stacked, the most frequent first
REST = "#dfe4e9"
READABLE = 0.11  # share of a panel's height that holds a name
BARS = 40  # names that are still legible below each other


@dataclass(frozen=True)
class OverDays:
    """A column day by day; every series has shape (n,), None where a day has no rows.

    absent: share of rows without a value. band: a number's low, middle and high. shares: of all rows, by level.
    """

    absent: Series
    band: tuple[Series, Series, Series] | None = None
    shares: Mapping[str, Series] = field(default_factory=dict)


def evaluation_plot(task: str, y: npt.ArrayLike, predictions: Mapping[str, npt.ArrayLike]) -> bytes:
    """Predictions of several models for the same rows, the first one (the challenger) as the subject.

    Binary: ROC and precision against recall. Classes: what the subject took the rows of each class for, and the probability
    that all gave to what happened. Other tasks: predicted against observed for the subject (the density, where rows are
    many), and the errors of all. y and each of the predictions as `metrics.score` takes them.
    Raises ValueError as `metrics.score` does, and without predictions. Rows that allow no curve (none, or of one class)
    give a picture that says so.
    """
    if not predictions:
        raise ValueError("an evaluation plot takes the predictions of one model or more")
    models = {name: checked(task, y, p) for name, p in predictions.items()}
    labels = next(iter(models.values()))[0]
    shown = {name: p for name, (_, p) in models.items()}
    if len(labels) == 0:
        return _saying("no labelled rows")
    if task == "binary" and labels.min() == labels.max():
        return _saying(f"all {len(labels):,} labels are {labels[0]:g}: no curve")
    figure, (left, right) = _figure(8.4, 3.7, 1, 2)
    if task == "binary":
        _roc(left, labels, shown)
        _precision_recall(right, labels, shown)
    elif classes := classes_of(task):
        _confusion(left, classes, labels, shown)
        _given_to_what_happened(right, classes, labels, shown)
    else:
        _predicted_and_observed(left, labels, shown)
        _errors(right, labels, shown)
    return _png(figure)


def series_plot(
    days: Sequence[dt.date],
    series: Mapping[str, Sequence[float | None]],
    title: str,
    ylabel: str,
    marks: Mapping[dt.date, str] | None = None,
) -> bytes:
    """Values over days, the first series as the subject; None and NaN leave a gap.

    days: shape (n,), in order. series: name -> values, shape (n,).
    marks: what happened on a day, such as a release: a thin vertical line, with its text where there is room.
    """
    if len(days) == 0:
        return _saying("no days")
    figure, axes = _figure(8.4, 3.0, 1, 1)
    when = np.asarray(days, dtype="datetime64[D]")
    for position, (name, values) in enumerate(series.items()):
        y = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        # A day between two gaps has no line to show it.
        size = 3.2 if len(when) <= FEW_DAYS else 1.6 if position == 0 else 0
        axes.plot(when, y, label=_plain(name), marker="o", markersize=size, **_line(name, position))  # type: ignore[arg-type]
    axes.margins(x=0.02, y=0.12)
    _dates(axes, when)
    _mark(axes, marks or {})
    axes.set_ylabel(_plain(ylabel))
    _title(axes, title)
    if len(series) > 1:  # beside the title, where it hides no day
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=4, fontsize=7, labelcolor=INK, frameon=False)
    return _png(figure)


def trials_plot(values: Sequence[float | None], metric: str, importances: Mapping[str, float], title: str) -> bytes:
    """The values of a search, trial by trial, with the best so far; beside it the influence of each parameter.

    values: shape (n,), by number of the trial; None for one that was given up or failed, a tick at the bottom.
    importances: parameter -> share; without any there is no second panel.
    """
    if not any(value is not None for value in values):
        return _saying("no trial was judged on all folds")
    figure, panels = _figure(8.4, 3.0, 1, 2 if importances else 1)
    left = np.ravel(panels)[0]
    y, numbers = _floats(values), np.arange(len(values))
    best = np.fmax.accumulate(y) if METRICS[metric].greater_is_better else np.fmin.accumulate(y)
    left.step(numbers, best, where="post", label="best so far", **_line("best", 0))
    left.plot(numbers, y, ".", color=GREY, markersize=4, label="trial", zorder=3)
    ended = numbers[np.isnan(y)]
    left.plot(ended, np.zeros(len(ended)), "|", color=LIGHT, transform=left.get_xaxis_transform(), label="given up")
    left.set(xlabel="trial", ylabel=metric)
    _title(left, title)
    _legend(left, loc="best")
    if importances:
        shown = sorted(importances.items(), key=lambda item: item[1])[-LEVELS:]
        right = np.ravel(panels)[1]
        right.barh(
            [_plain(_short(name, 24)) for name, _ in shown], [share for _, share in shown], color=ACCENT, height=0.6
        )
        right.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        _title(right, "What mattered")
    return _png(figure)


def gains_plot(gains: Mapping[str, float], chosen: Collection[str], title: str, unit: str) -> bytes:
    """By how much something is better than what it would replace, a bar each; those chosen are the subject.

    gains: name -> gain, positive where it is better. Among many names the two ends are drawn.
    """
    if not gains:
        return _saying("nothing could be measured")
    ordered = sorted(gains, key=lambda name: (gains[name], name))
    half = BARS // 2
    drawn = ordered if len(ordered) <= BARS else ordered[:half] + ordered[-half:]
    figure, axes = _figure(8.4, 0.9 + 0.16 * len(drawn), 1, 1)
    colours = [ACCENT if name in chosen else LIGHT for name in drawn]
    axes.barh(range(len(drawn)), [gains[name] for name in drawn], color=colours, height=0.7, zorder=3)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=4)
    axes.set_yticks(range(len(drawn)), [_plain(_short(name, 36)) for name in drawn])
    axes.grid(visible=False, axis="y")
    axes.margins(y=0.01)
    axes.set_xlabel(_plain(f"gain in {unit}"))
    left_out = f", {len(ordered) - len(drawn)} between them not drawn" if len(drawn) < len(ordered) else ""
    _title(axes, title, f"blue: ships{left_out}")
    return _png(figure)


def distributions_plot(columns: Mapping[str, Distribution]) -> bytes:
    """One small panel a column, for the first twelve columns.

    Each is (edges, counts) of a histogram, shapes (bins + 1,) and (bins,), drawn as density where bins differ in
    width; or the counts of levels by name, of which the eight most frequent are drawn.
    Raises ValueError for edges that do not ascend.
    """
    if not columns:
        return _saying("no columns")
    shown = list(columns.items())[:COLUMNS]
    wide = min(4, len(shown))
    tall = -(-len(shown) // wide)
    figure, grid = _figure(2.1 * max(wide, 2), 1.6 * tall + 0.25, tall, wide, len(shown))
    for axes, (name, distribution) in zip(np.ravel(grid), shown, strict=True):
        if isinstance(distribution, Mapping):
            _levels(axes, distribution)
        else:
            _histogram(axes, name, *distribution)
        _title(axes, _short(name, 24), size=7.5)
    if len(columns) > COLUMNS:
        figure.supxlabel(f"{COLUMNS} of {len(columns)} columns", fontsize=7, color=GREY)
    return _png(figure)


def days_plot(days: Sequence[dt.date], columns: Mapping[str, OverDays]) -> bytes:
    """Columns day beside day, one small panel each, for the first twelve.

    A number is a line in the middle of its band; a category a stack of the shares of its levels, with the others in light
    grey. What has no value hangs down from the top in dark grey, in its share of the panel's height.
    days: shape (n,), ascending.
    """
    if not columns or len(days) == 0:
        return _saying("no days" if columns else "no columns")
    shown = list(columns.items())[:COLUMNS]
    wide = min(3, len(shown))
    tall = -(-len(shown) // wide)
    figure, grid = _figure(2.9 * max(wide, 2), 1.55 * tall + 0.25, tall, wide, len(shown))
    when = np.asarray(days, dtype="datetime64[D]")
    for axes, (name, column) in zip(np.ravel(grid), shown, strict=True):
        _over_days(axes, when, column)
        newest = column.absent[-1]
        _title(
            axes, _short(name, 16 if newest else 24), f"{100 * newest:.3g} % without value" if newest else "", size=7.5
        )
    if len(columns) > COLUMNS:
        figure.supxlabel(f"{COLUMNS} of {len(columns)} columns", fontsize=7, color=GREY)
    return _png(figure)


def markdown(png: bytes, alt: str) -> str:
    """The picture as markdown that carries it, for `MetadataValue.md`; alt is read where it cannot be shown."""
    text = literal(" ".join(alt.split()))
    return f"![{text}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _roc(axes: Axes, y: Floats, models: Mapping[str, Floats]) -> None:
    for position, (name, p) in enumerate(models.items()):
        alarms, found, _ = curve(y, p)
        axes.plot(alarms, found, label=f"{_plain(name)}  {roc_auc(y, p):.3f}", **_line(name, position))
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1, zorder=1)
    axes.set(xlim=UNIT, ylim=UNIT, xlabel="share of negatives alarmed", ylabel="share of positives found")
    _title(axes, "ROC", "area under the curve")
    _legend(axes, loc="lower right")


def _precision_recall(axes: Axes, y: Floats, models: Mapping[str, Floats]) -> None:
    for position, (name, p) in enumerate(models.items()):
        _, found, precision = curve(y, p)
        label = f"{_plain(name)}  {average_precision(y, p):.3f}"
        axes.plot(found, precision, label=label, drawstyle="steps-pre", **_line(name, position))
    axes.set(xlim=UNIT, ylim=UNIT, xlabel="recall", ylabel="precision")
    _title(axes, "Precision and recall", "average precision")
    _legend(axes, loc="best")


def curve(y: Floats, p: Floats) -> tuple[Floats, Floats, Floats]:
    """False positive rate, recall and precision at each distinct threshold, thinned for drawing.

    A point for recall 0 comes first; its precision, which is undefined, is that of the highest threshold.
    """
    threshold, true = by_threshold(y, p)
    if len(threshold) > CURVE_POINTS:
        # Half of the points by rank, half by recall: the steep beginning of a rare class needs its own.
        by_rank = np.linspace(0, len(threshold) - 1, CURVE_POINTS // 2).astype(int)
        by_recall = np.searchsorted(true, np.linspace(true[0], true[-1], CURVE_POINTS // 2))
        kept = np.union1d(by_rank, by_recall)
        threshold, true = threshold[kept], true[kept]
    false = threshold + 1 - true
    precision = true / (threshold + 1)
    alarms, found = np.append(0, false / (len(y) - y.sum())), np.append(0, true / y.sum())
    return alarms, found, np.append(precision[0], precision)


def _predicted_and_observed(axes: Axes, y: Floats, models: Mapping[str, Floats]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    name, p = next(iter(models.items()))
    low, high = _span(np.concatenate([y, p]))
    inside = (y >= low) & (y <= high) & (p >= low) & (p <= high)
    axes.plot([low, high], [low, high], color="white", linewidth=2, zorder=3)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.9, zorder=3)
    colours = LinearSegmentedColormap.from_list("accent", ["#ddeafd", ACCENT, "#0a2f6b"])
    if len(y) <= FEW_ROWS:
        axes.scatter(y[inside], p[inside], s=14, color=ACCENT, alpha=0.5, linewidths=0, zorder=4)
    else:
        square = (low, high, low, high)
        axes.hexbin(y[inside], p[inside], gridsize=34, mincnt=1, bins="log", cmap=colours, extent=square, linewidths=0)
    outside = _outside(len(y) - inside.sum(), len(y))
    axes.set(xlim=(low, high), ylim=(low, high), xlabel=f"observed{outside}", ylabel="predicted")
    _title(axes, "Predicted and observed", name)


def _errors(axes: Axes, y: Floats, models: Mapping[str, Floats]) -> None:
    errors = {name: p - y for name, p in models.items()}
    every = np.concatenate(list(errors.values()))
    low, high = _span(every)
    edges = np.linspace(low, high, 46)
    for position, (name, error) in enumerate(errors.items()):
        label = f"{_plain(name)}  {np.mean(np.abs(error)):,.4g}"
        share = np.histogram(error, edges)[0] / len(error)
        if position == 0:
            axes.stairs(share, edges, fill=True, color=ACCENT, alpha=0.25, zorder=2)
        axes.stairs(share, edges, label=label, **_line(name, position))
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.margins(y=0.08)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    outside = _outside(int(((every < low) | (every > high)).sum()), len(every))
    axes.set(xlim=(low, high), ylim=(0, None), xlabel=f"predicted - observed{outside}", ylabel="share of rows")
    _title(axes, "Errors", "mean absolute error")
    _legend(axes, loc="best")


def _confusion(axes: Axes, classes: Sequence[str], y: Floats, models: Mapping[str, Floats]) -> None:
    """A row a class that happened, with the share of its rows that were predicted as each class."""
    from matplotlib.colors import LinearSegmentedColormap

    name, p = next(iter(models.items()))
    of = len(classes)
    counts = np.bincount(y.astype(int) * of + most_likely(p), minlength=of * of).reshape(of, of)
    rows = counts.sum(axis=1)
    shares = counts / np.maximum(rows, 1)[:, None]
    colours = LinearSegmentedColormap.from_list("accent", ["white", "#b6d2fb", ACCENT])
    axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
    names = [_plain(_short(each, 14)) for each in classes]
    axes.set_xticks(range(of), names, rotation=90 if of > LEVELS else 0)
    axes.set_yticks(range(of), [f"{each}  {count:,}" for each, count in zip(names, rows, strict=True)])
    axes.grid(visible=False)
    for row, column in np.argwhere(counts) if of <= LEVELS else ():
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{100 * share:.3g} %",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if share > 0.6 else INK,
        )
    axes.set(xlabel="most likely", ylabel="observed, rows")
    _title(axes, "Predicted and observed", name)


def _given_to_what_happened(axes: Axes, classes: Sequence[str], y: Floats, models: Mapping[str, Floats]) -> None:
    """The probability that each class was given on the rows where it happened: a bar a model."""
    height = 0.8 / len(models)
    for position, (name, p) in enumerate(models.items()):
        given = p[np.arange(len(y)), y.astype(int)]
        mean = [given[y == place].mean() if np.any(y == place) else 0.0 for place in range(len(classes))]
        colour = _line(name, position)["color"]
        label = f"{_plain(name)}  {log_loss(y, p):.4g}"
        axes.barh(
            np.arange(len(classes)) + height * (position + 0.5) - 0.4, mean, height, color=colour, label=label, zorder=2
        )
    axes.set_yticks(range(len(classes)), [_plain(_short(each, 14)) for each in classes])
    axes.set(xlim=(0, 1), ylim=(len(classes) - 0.5, -0.5), xlabel="mean probability given to the class that happened")
    axes.grid(visible=False, axis="y")
    _title(axes, "Probability of what happened", "log loss")
    _legend(axes, loc="best")


def _span(values: Floats) -> tuple[float, float]:
    """The middle 99 % of the values and a margin: one outlier must not turn the rest into a dot."""
    low, high = np.quantile(values, [0.005, 0.995])
    margin = 0.03 * (high - low) or 0.5 * abs(high) or 0.5
    return float(low - margin), float(high + margin)


def _outside(rows: int, of: int) -> str:
    return f"  ({100 * rows / of:.2g} % outside)" if rows else ""


def _over_days(axes: Axes, when: npt.NDArray[np.datetime64], column: OverDays) -> None:
    half_a_day = np.timedelta64(12, "h")
    if column.band:
        low, middle, high = (_floats(series) for series in column.band)
        # A day between two gaps has no line to show it.
        axes.fill_between(when, low, high, color=ACCENT, alpha=0.18, linewidth=0, zorder=2)  # type: ignore[arg-type]
        axes.vlines(when, low, high, color=ACCENT, alpha=0.25, linewidth=0.8, zorder=2)  # type: ignore[arg-type]
        axes.plot(when, middle, color=ACCENT, linewidth=1.6, marker="o", markersize=2, zorder=4)  # type: ignore[arg-type]
        axes.margins(y=0.14)
        axes.locator_params(axis="y", nbins=4)
        if any(column.absent):
            _hang(axes, when, _floats(column.absent), zorder=1)  # the line stays in sight
    else:
        _stack(axes, when, column)
        axes.set_ylim(0, 1)
        _hang(axes, when, _floats(column.absent), zorder=3)
    axes.set_xlim(when.min() - half_a_day, when.max() + half_a_day)
    axes.grid(axis="x", visible=False)
    # A panel has room for three dates; matplotlib's own choice among four weeks may be a single one.
    shown = when[sorted({0, len(when) // 2, len(when) - 1})]
    axes.set_xticks(shown, [f"{day:%-d %b}" for day in shown.astype(dt.date)])  # type: ignore[arg-type]


def _stack(axes: Axes, when: npt.NDArray[np.datetime64], column: OverDays) -> None:
    """Shares of levels from the bottom up, and the share of all other values; names where there is room."""
    base = np.zeros(len(when))
    left = 1 - _floats(column.absent)
    series = [
        (name, _floats(shares), SHADES[min(at, len(SHADES) - 1)])
        for at, (name, shares) in enumerate(column.shares.items())
    ]
    for name, shares, colour in series:
        _bars(axes, when, base, base + shares, colour, zorder=2)
        first = int(np.flatnonzero(np.isfinite(shares))[0])
        if np.nanmin(shares) > READABLE:
            left_edge, middle = (first + 0.3) / len(when), float(base[first] + shares[first] / 2)
            ink = "white" if colour in (ACCENT, INK, GREY) else INK
            at = axes.text(
                left_edge, middle, _plain(_short(name, 22)), ha="left", va="center", fontsize=6.5, color=ink, zorder=5
            )
            at.set_transform(axes.get_yaxis_transform())
        base = base + shares
    _bars(axes, when, base, left, REST, zorder=2)
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.grid(visible=False)


def _hang(axes: Axes, when: npt.NDArray[np.datetime64], absent: Floats, zorder: float) -> None:
    _bars(axes, when, 1 - absent, np.ones(len(when)), GREY, zorder, of_panel=True)


def _floats(series: Series) -> Floats:
    return np.array([np.nan if value is None else value for value in series], dtype=np.float64)


def _histogram(axes: Axes, name: str, edges: Sequence[float], counts: Sequence[float]) -> None:
    cuts, rows = np.asarray(edges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    width = np.diff(cuts)
    if len(cuts) != len(rows) + 1 or not np.all(np.isfinite(cuts)) or not np.all(width > 0):
        raise ValueError(f"{name!r}: {len(rows)} counts need {len(rows) + 1} finite, ascending edges; got {edges}")
    same_width = np.allclose(width, width[0], rtol=1e-6)
    axes.stairs(rows if same_width else rows / width, cuts, fill=True, color=ACCENT, zorder=2)
    axes.set(xlim=(cuts[0], cuts[-1]), ylim=(0, None), yticks=[])
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=4)


def _levels(axes: Axes, counts: Mapping[str, int]) -> None:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    top = ranked[:LEVELS]
    names, rows = [_plain(_short(str(level), 14)) for level, _ in top], [count for _, count in top]
    if len(ranked) > LEVELS:
        names.append(f"{len(ranked) - LEVELS} more")
        rows.append(sum(count for _, count in ranked[LEVELS:]))
    colours = [ACCENT] * len(top) + [LIGHT] * (len(rows) - len(top))
    axes.barh(range(len(rows)), rows, color=colours, height=0.72, zorder=2)
    axes.set_yticks(range(len(rows)), names, fontsize=6.5)
    axes.set_ylim(max(len(rows), 4) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=3)


def _mark(axes: Axes, marks: Mapping[dt.date, str]) -> None:
    """Marked days, their texts in up to three rows above the lines; `ends` is how far each row is written."""
    low, high = axes.get_xlim()
    ends = [-1.0] * 3
    for day, text in sorted(marks.items()):
        at = (float(axes.convert_xunits(np.datetime64(day, "D"))) - low) / (high - low)
        if not 0 <= at <= 1:
            continue
        axes.axvline(low + at * (high - low), color=LIGHT, linewidth=0.9, zorder=1)
        note = f" {_short(text, 24)} "
        start = at if at + CHARACTER * len(note) <= 1 else at - CHARACTER * len(note)
        row = next((row for row, end in enumerate(ends) if start >= end), None)
        if row is not None:
            ends[row] = start + CHARACTER * len(note)
            side: Literal["left", "right"] = "left" if start == at else "right"
            text_at = axes.text(at, 0.985 - 0.055 * row, _plain(note), ha=side, va="top", fontsize=6.5, color=GREY)
            text_at.set_transform(axes.transAxes)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.06 * (top - bottom) * sum(end >= 0 for end in ends))


def _dates(axes: Axes, days: npt.NDArray[np.datetime64]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, DateFormatter

    if len(days) <= FEW_DAYS:
        half_a_day = np.timedelta64(12, "h")
        axes.set_xlim(days.min() - half_a_day, days.max() + half_a_day)
        axes.set_xticks(days)
        axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))
        return
    locator = AutoDateLocator(minticks=min(3, len(days)), maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set(fontsize=7, color=GREY)
