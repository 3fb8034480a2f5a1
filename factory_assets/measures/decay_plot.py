"""How much worse is a model than a fresh one, the older it is? The picture of a decay curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory_assets.measures.figures import ACCENT, GREY, INK, LIGHT, blank, legend, plain, png, saying, title


@dataclass(frozen=True)
class LossAtAge:
    """The loss of a model of some age against a fresh one, in the metric's unit.

    first, last: age in days. limits: of the loss, None where too few days allow none. tolerated: the loss that is tolerated.
    """

    first: int
    last: int
    loss: float
    limits: tuple[float, float] | None
    tolerated: float


def decay_plot(ages: Sequence[LossAtAge], cadence: int | None, declared: int, metric: str, heading: str) -> bytes:
    """PNG of the loss against a fresh model by age; an age without limits is drawn hollow.

    cadence, declared: days after which to train again, as suggested and as declared.
    """
    if not ages:
        return saying("no version was old enough beside a fresh one")
    figure, axes = blank(8.4, 3.0, 1, 1)
    middle, y = np.array([(age.first + age.last) / 2 for age in ages]), np.array([age.loss for age in ages])
    known = np.array([age.limits is not None for age in ages])
    ends = np.array([age.limits for age in ages if age.limits is not None], dtype=float).reshape(-1, 2)
    axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
    axes.vlines(middle[known], ends[:, 0], ends[:, 1], color=ACCENT, alpha=0.5, linewidth=1.4, zorder=3)
    axes.plot(middle, y, color=ACCENT, linewidth=1.2, zorder=3)
    axes.plot(middle[known], y[known], "o", color=ACCENT, markersize=5, label="loss, with limits", zorder=4)
    hollow = {"markerfacecolor": "white", "markeredgecolor": ACCENT}
    axes.plot(middle[~known], y[~known], "o", markersize=5, label="too few to judge", zorder=4, **hollow)  # type: ignore[arg-type]
    axes.plot(
        middle,
        [age.tolerated for age in ages],
        color=INK,
        linewidth=1,
        linestyle=(0, (4, 2)),
        label="tolerated",
        zorder=2,
    )
    axes.axvline(declared, color=LIGHT, linewidth=1.4, label="declared", zorder=1)
    if cadence is not None:
        axes.axvline(cadence, color=INK, linewidth=1.2, label="suggested", zorder=1)
    axes.set(xlabel="age of the model, in days", ylabel=f"loss, {plain(metric)}", xlim=(0, ages[-1].last * 1.02))
    axes.margins(y=0.12)
    title(axes, heading)
    legend(axes, loc="best")
    return png(figure)
