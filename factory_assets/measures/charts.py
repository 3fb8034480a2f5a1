"""What does a model look like at a glance? A small chart that is text: drawn in a millisecond, equal byte for byte."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

WIDTH, ROW, NAMES = 640, 20, 230
#: Bars that a person still reads.
MOST = 20


def bars(title: str, values: Mapping[str, float]) -> bytes:
    """An SVG of horizontal bars, one a name, in the order given; of more than MOST the rest is counted in words."""
    shown = dict(list(values.items())[:MOST])
    largest = max([abs(value) for value in shown.values()], default=0) or 1
    height = ROW * (len(shown) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/><text x="8" y="15" font-weight="bold">{escape(title)}</text>',
    ]
    for place, (name, value) in enumerate(shown.items(), start=1):
        y, length = ROW * place + 4, (WIDTH - NAMES - 80) * abs(value) / largest
        lines += [
            f'<text x="{NAMES - 6}" y="{y + 12}" text-anchor="end">{escape(name[-34:])}</text>',
            f'<rect x="{NAMES}" y="{y}" width="{length:.1f}" height="14" fill="#4477aa"/>',
            f'<text x="{NAMES + length + 5:.1f}" y="{y + 12}">{value:.4g}</text>',
        ]
    if left := len(values) - len(shown):
        lines.append(f'<text x="{NAMES}" y="{height - 6}" fill="#666666">and {left} more</text>')
    return "\n".join([*lines, "</svg>\n"]).encode()
