"""How does a figure of matplotlib stand on a page? As SVG inside of it, in the page's colours, which change with the dark."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup

from factory_assets.measures.figures import ACCENT, GREY, GRID, INK, LIGHT, svg
from factory_assets.pages.document import cut

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours of figures that stand for a verdict.
GOOD, WARN, BAD, SOFT = "#1a7f37", "#b07800", "#b42318", "#ddeafd"
#: A figure's colour -> the page's.
COLOURS = {
    ACCENT: "--accent", INK: "--ink", GREY: "--grey", LIGHT: "--light", GRID: "--grid", GOOD: "--good", WARN: "--warn",
    BAD: "--bad", SOFT: "--soft", "#ffffff": "--card",
}  # fmt: skip


def drawn(figure: Figure, says: str) -> Markup:
    """The figure as SVG of a page. says: what it shows, for those who cannot see it."""
    text = svg(figure)
    body = text[text.index("<svg") :]
    # Descriptions of matplotlib's own name vocabularies by their addresses.
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<g/>", "", body, flags=re.DOTALL)
    # A page's own font, whose letters are as wide.
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    opening, body = body.split(">", 1)
    box = re.search(r'viewBox="([\d. -]+)"', opening)
    assert box, "matplotlib gives every SVG its box"
    named = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', body))
    body = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in named else "", body)
    for colour, variable in COLOURS.items():
        body = body.replace(f"{colour};", f"var({variable});").replace(f'{colour}"', f'var({variable})"')
    body = re.sub(r"\n\s*", "\n", body)
    label = Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1], cut(says))
    return label + Markup(body)
