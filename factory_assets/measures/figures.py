"""How do all pictures look alike? Figures, colours and texts of `plots`, by matplotlib's object interface."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

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
USUAL = (0.45, 0.2, 0.15, 0.25)  # inches to the left, below, to the right and above, as most axes need them
PAD_X, PAD_Y = 0.1, 0.08  # inches that are left free beside and above all that belongs to axes
SMALL = 7  # points of what is written beside axes
TITLE = "title"  # by which a title is known among the texts of axes
SETTLED = 0.2  # a change of the axes' size, as a share of it, that changes no choice of ticks
PALETTE = 96  # colours: a few hues, each with the steps that smooth its edges


def blank(width: float, height: float, rows: int, columns: int, panels: int | None = None) -> tuple[Figure, Any]:
    """A figure and its axes. panels: how many of the grid's places are used, row by row; None: all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left, bottom, right, top = (
        min(inches / size, 0.3) for inches, size in zip(USUAL, (width, height) * 2, strict=True)
    )
    grid = figure.add_gridspec(
        rows, columns, left=left, bottom=bottom, right=1 - right, top=1 - top,
        wspace=(left + right) / max(1 / columns - left - right, 0.1), hspace=(bottom + top) / max(1 / rows - bottom - top, 0.1),
    )  # fmt: skip
    axes = [figure.add_subplot(grid[divmod(place, columns)]) for place in range(panels or rows * columns)]
    for one in axes:
        one.set_axisbelow(True)
        one.grid(visible=True, color=GRID, linewidth=0.8)
        one.tick_params(length=0, labelsize=7, labelcolor=GREY)
        for axis in (one.xaxis, one.yaxis):
            axis.label.set(color=GREY, fontsize=8)
            axis.offsetText.set(color=GREY, fontsize=SMALL)
        for side, spine in one.spines.items():
            spine.set(visible=side in ("left", "bottom"), color=LIGHT, linewidth=0.8)
    return figure, axes[0] if rows * columns == 1 else axes


def png(figure: Figure) -> bytes:
    """PNG with a palette: a third of the bytes, and an event log keeps every one of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    _arrange(figure, canvas.get_renderer())
    canvas.draw()
    buffer = io.BytesIO()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(PALETTE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """SVG whose texts are texts: they can be searched, read aloud, and coloured by the page that they stand on."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _arrange(figure, FigureCanvasAgg(figure).get_renderer())
    drawn = io.StringIO()
    # Ids and dates of their own would make another picture of the same numbers.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "factory", "font.family": "sans-serif"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return drawn.getvalue()


def _arrange(figure: Figure, renderer: RendererAgg) -> None:
    """Give all axes of a figure the same size, and as much room around them as their texts need.

    matplotlib's own layouts measure each text several times, which was half of the time of a picture.
    """
    panels = [axes for axes in figure.axes if axes.axison]
    if not panels:
        return
    for axes in panels:
        _raise_titles(axes)
    # Other ticks may be chosen for axes of another size.
    for _ in range(3):
        before = panels[0].bbox.frozen()
        _place(figure, panels, renderer)
        after = panels[0].bbox
        if max(abs(after.width / before.width - 1), abs(after.height / before.height - 1)) < SETTLED:
            break


def _place(figure: Figure, panels: list[Axes], renderer: RendererAgg) -> None:
    spec = panels[0].get_subplotspec()
    assert spec
    rows, columns, *_ = spec.get_geometry()
    left, right, below, above = np.zeros(columns), np.zeros(columns), np.zeros(rows), np.zeros(rows)
    places = []
    for axes in panels:
        spec = axes.get_subplotspec()
        assert spec
        row, column = spec.rowspan.start, spec.colspan.start
        places.append((row, column))
        inner = axes.bbox
        for box in _around(axes, renderer):
            left[column] = max(left[column], inner.x0 - box.x0)
            right[column] = max(right[column], box.x1 - inner.x1)
            below[row] = max(below[row], inner.y0 - box.y0)
            above[row] = max(above[row], box.y1 - inner.y1)
    beside, over = PAD_X * DPI, PAD_Y * DPI
    note = getattr(figure, "_supxlabel", None)
    foot = note.get_window_extent(renderer).height + over if note else 0
    wide, high = figure.bbox.width, figure.bbox.height
    width = max((wide - left.sum() - right.sum() - 2 * columns * beside) / columns, 1)
    height = max((high - foot - below.sum() - above.sum() - 2 * rows * over) / rows, 1)
    for axes, (row, column) in zip(panels, places, strict=True):
        x = left[: column + 1].sum() + right[:column].sum() + (2 * column + 1) * beside + column * width
        y = high - above[: row + 1].sum() - below[:row].sum() - (2 * row + 1) * over - (row + 1) * height
        axes.set_position((x / wide, y / high, width / wide, height / high))


def _around(axes: Axes, renderer: RendererAgg) -> Iterator[Bbox]:
    """What belongs to axes and may stand outside of them."""
    for axis in (axes.xaxis, axes.yaxis):
        if (box := axis.get_tightbbox(renderer, for_layout_only=True)) is not None:
            yield box
    for text in _titles(axes):
        yield text.get_window_extent(renderer)
    legend = axes.get_legend()
    if legend is not None and not legend.get_frame_on():  # those inside of the axes have one
        yield legend.get_window_extent(renderer)


def _titles(axes: Axes) -> list[Text]:
    from matplotlib.text import Text

    texts = [child for child in axes.get_children() if isinstance(child, Text)]
    return [text for text in texts if text.get_gid() == TITLE and text.get_text()]


def _raise_titles(axes: Axes) -> None:
    """Above the power of ten that stands at the top of an axis with large numbers."""
    axes.yaxis.get_majorticklabels()  # it is known once they are chosen
    if axes.yaxis.get_major_formatter().get_offset():
        height = 1.7 * SMALL * DPI / 72
        for text in _titles(axes):
            text.set_y(1 + height / axes.bbox.height)


def line(name: str, position: int) -> dict[str, Any]:
    return NAIVE if name == "naive" else LINES[min(position, len(LINES) - 1)]


def bars(
    axes: Axes, when: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, zorder: float, of_panel: bool = False
) -> None:
    """A bar a day, from low to high, shape (n,): one artist, since hundreds of bars by themselves would take a millisecond each.

    of_panel: low and high are shares of the panel's height, whatever its axis shows.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.dates import date2num

    axes.xaxis.update_units(when)
    seen = high > low
    day, low, high = date2num(when[seen]), low[seen], high[seen]
    corners = np.stack([day - 0.5, low, day - 0.5, high, day + 0.5, high, day + 0.5, low], axis=1).reshape(-1, 4, 2)
    drawn = PolyCollection(corners, facecolors=colour, linewidths=0, zorder=zorder)  # type: ignore[arg-type]
    if of_panel:
        drawn.set_transform(axes.get_xaxis_transform())
    axes.add_collection(drawn, autolim=not of_panel)


def title(axes: Axes, title: str, note: str = "", size: float = 9) -> None:
    # At a height that is given matplotlib does not look for one, which takes it longer than to draw the rest.
    axes.set_title(plain(title), loc="left", y=1, fontsize=size, color=INK, fontweight="bold", gid=TITLE)
    if note:
        axes.set_title(plain(note), loc="right", y=1, fontsize=7, color=GREY, gid=TITLE)


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
