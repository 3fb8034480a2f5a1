"""How much worse is a model than a fresh one, the older it is? The picture of a decay curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factory_assets.measures.figures import ACCENT, GREY, INK, LIGHT, blank, legend, plain, png, saying, title


def decay_plot(
    ages: Sequence[tuple[int, int]],
    losses: Sequence[float],
    limits: Sequence[tuple[float, float] | None],
    tolerated: Sequence[float],
    cadence: int | None,
    declared: int,
    metric: str,
    heading: str,
) -> bytes:
    """PNG of the loss against a fresh model by age; all but the last four have shape (n,), by age.

    ages: first and last day. losses, tolerated: in the metric's unit. limits: None where too few days allow none; such an age
    is drawn hollow. cadence, declared: days after which to train again, as suggested and as declared.
    """
    if not ages:
        return saying("no version was old enough beside a fresh one")
    figure, axes = blank(8.4, 3.0, 1, 1)
    middle, y = np.array([(first + last) / 2 for first, last in ages]), np.array(losses)
    known = np.array([limit is not None for limit in limits])
    ends = np.array([limit for limit in limits if limit is not None], dtype=float).reshape(-1, 2)
    axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
    axes.vlines(middle[known], ends[:, 0], ends[:, 1], color=ACCENT, alpha=0.5, linewidth=1.4, zorder=3)
    axes.plot(middle, y, color=ACCENT, linewidth=1.2, zorder=3)
    axes.plot(middle[known], y[known], "o", color=ACCENT, markersize=5, label="loss, with limits", zorder=4)
    hollow = {"markerfacecolor": "white", "markeredgecolor": ACCENT}
    axes.plot(middle[~known], y[~known], "o", markersize=5, label="too few to judge", zorder=4, **hollow)  # type: ignore[arg-type]
    axes.plot(middle, tolerated, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="tolerated", zorder=2)
    axes.axvline(declared, color=LIGHT, linewidth=1.4, label="declared", zorder=1)
    if cadence is not None:
        axes.axvline(cadence, color=INK, linewidth=1.2, label="suggested", zorder=1)
    axes.set(xlabel="age of the model, in days", ylabel=f"loss, {plain(metric)}", xlim=(0, ages[-1][1] * 1.02))
    axes.margins(y=0.12)
    title(axes, heading)
    legend(axes, loc="best")
    return png(figure)
