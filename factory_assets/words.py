"""How is a number of things put into words?"""

import difflib
from collections.abc import Iterable, Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun, in the plural unless it is one: "1 day", "7 new labelled days". plural: if not with an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def figure(value: float | None) -> str:
    """A number for people to read, by four digits, and of a large one those before the point; a dash where there is none.

    >>> figure(0.123456), figure(123456.7), figure(None)
    ('0.1235', '123,457', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if 9999.5 <= abs(value) < 1e15 else f"{value:.4g}"


def brief(version: str | None) -> str:
    """The beginning of a version's id, as tables show it; commands take it in place of the whole. A dash where there is none.

    >>> brief("fd4436331a2b3c4d"), brief(None)
    ('fd443633', '-')
    """
    return version[:8] if version else "-"


def meant(name: str, names: Iterable[str]) -> str:
    """A question that ends a message about an unknown name, where one that there is looks like it; else nothing.

    >>> meant("delivry_time", ["delivery_time", "repeat_order"]), meant("x", ["delivery_time"])
    ("; did you mean 'delivery_time'?", '')
    """
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(texts: Sequence[str], most: int, noun: str = "") -> str:
    """Texts one after the other; of more than the most, how many more there are. noun: of what.

    >>> listed(["a", "b"], 2), listed(["a", "b", "c"], 2), listed(["a", "b", "c"], 1, "node")
    ('a; b', 'a; b; and 1 more', 'a; and 2 nodes more')
    """
    left = len(texts) - most
    return "; ".join([*texts[:most], *([f"and {counted(left, noun) if noun else left} more"] if left > 0 else [])])
