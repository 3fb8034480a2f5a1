"""How do all pictures look alike? Figures, colours and texts of `plots`, by matplotlib's object interface."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCENT = "#1f6feb"
INK, GREY, LIGHT, GRID = "#24292f", "#6e7781", "#afb8c1", "#eaeef2"
NAIVE: dict[str, Any] = {"color": GREY, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 2}
LINES: tuple[dict[str, Any], ...] = (
    {"color": ACCENT, "linewidth": 1.8, "zorder": 4},
    {"color": INK, "linewidth": 1.1, "zorder": 3},
    {"color": GREY, "linewidth": 1.1, "zorder": 3},
    {"color": LIGHT, "linewidth": 1.3, "zorder": 2},
)
DPI = 110
PALETTE = 96  # colours: a few hues, each with the steps that smooth its edges


def blank(width: float, height: float, rows: int, columns: int) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.07, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    axes = figure.subplots(rows, columns)
    for one in np.ravel(axes):
        one.set_axisbelow(True)
        one.grid(visible=True, color=GRID, linewidth=0.8)
        one.tick_params(length=0, labelsize=7, labelcolor=GREY)
        for axis in (one.xaxis, one.yaxis):
            axis.label.set(color=GREY, fontsize=8)
            axis.offsetText.set(color=GREY, fontsize=7)
        for side, spine in one.spines.items():
            spine.set(visible=side in ("left", "bottom"), color=LIGHT, linewidth=0.8)
    return figure, axes


def png(figure: Figure) -> bytes:
    """PNG with a palette: a third of the bytes, and an event log keeps every one of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(PALETTE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def line(name: str, position: int) -> dict[str, Any]:
    return NAIVE if name == "naive" else LINES[min(position, len(LINES) - 1)]


def bars(axes: Axes, when: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, zorder: float) -> None:
    """A bar a day, from low to high, shape (n,): one artist, since hundreds of bars by themselves would take a millisecond each."""
    from matplotlib.collections import PolyCollection
    from matplotlib.dates import date2num

    axes.xaxis.update_units(when)
    seen = high > low
    day, low, high = date2num(when[seen]), low[seen], high[seen]
    corners = np.stack([day - 0.5, low, day - 0.5, high, day + 0.5, high, day + 0.5, low], axis=1).reshape(-1, 4, 2)
    axes.add_collection(PolyCollection(corners, facecolors=colour, linewidths=0, zorder=zorder))  # type: ignore[arg-type]


def title(axes: Axes, title: str, note: str = "", size: float = 9) -> None:
    axes.set_title(plain(title), loc="left", fontsize=size, color=INK, fontweight="bold")
    if note:
        axes.set_title(plain(note), loc="right", fontsize=7, color=GREY)


def legend(axes: Axes, loc: Literal["best", "lower right"]) -> None:
    legend = axes.legend(loc=loc, fontsize=7, labelcolor=INK, frameon=True, framealpha=0.9, edgecolor="none")
    legend.set_zorder(5)


def saying(text: str) -> bytes:
    figure, axes = blank(4.2, 0.6, 1, 1)
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, fontsize=9)
    return png(figure)


def plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib reads what stands between dollars as a formula


def short(text: str, longest: int) -> str:
    """At most `longest` characters, the middle left out: names that begin alike differ at the end."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[: half - 1]}…{text[-half:]}"
