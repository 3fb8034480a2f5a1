"""How does a page for people become one HTML file? Self-contained, readable on a phone and in the dark; it fetches nothing.

Templates (Jinja, in `templates/`) escape whatever they are given: that is the only door for names, reasons and numbers. What is
markup already is a `Markup`, which this room alone makes: from templates, and from matplotlib's drawings.

A page's Content-Security-Policy lets it load nothing from anywhere, also where a name should ever get out as markup.
"""

import base64
import datetime as dt
import functools
import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from markupsafe import Markup

from factory_assets.words import figure

if TYPE_CHECKING:
    from jinja2 import Environment

#: What is said of a cell, a card or a badge beside its words; colours follow from it, and never stand alone.
Mood = Literal["", "good", "warn", "bad", "dim"]
#: Characters of a text that a cell shows; the whole is in its title.
SHOWN = 80
#: Characters of the whole that a title holds: a page of hundreds of names of 10 kB would not be one.
WHOLE = 1000
#: Characters of a word that a column is made wide for; a longer one is broken wherever its line ends.
WORD = 22
#: Joins of letters, which scripts of India and Persia cannot do without.
JOINERS = "\u200c\u200d"
FLEET = "fleet.html"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    right: whether it holds numbers. help: what it means, shown where one points at its name. is_wide: whether a phone goes without it.
    """

    name: str
    right: bool = False
    help: str = ""
    is_wide: bool = False

    @property
    def kind(self) -> str:
        """Its class in the style sheet."""
        return " ".join(filter(None, ("right" if self.right else "", "wide" if self.is_wide else "")))


@dataclass(frozen=True)
class Cell:
    """What a table shows in a place.

    value: a text, a number, a date; None is a dash. href: where it leads to, relative to the page. code: whether it is a command or
    an id. shown: characters of it that are shown. data: by which a script sorts or finds the row.
    """

    value: object
    href: str = ""
    mood: Mood = ""
    code: bool = False
    shown: int = SHOWN
    data: str | None = None


@dataclass(frozen=True)
class Table:
    """A table with a caption. rows: each as long as columns; a plain value is a Cell of it. note: what it leaves out, below it.

    id: for links and scripts. On a phone each row is a block, with the names of the columns beside the values; a table that
    `is_narrow` stays one there.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    note: str = ""
    id: str = ""
    is_narrow: bool = False

    @property
    def cells(self) -> list[list[Cell]]:
        return [[each if isinstance(each, Cell) else Cell(each) for each in row] for row in self.rows]


@dataclass(frozen=True)
class Badge:
    """A word that tells at a glance how something stands."""

    text: str
    mood: Mood


@dataclass(frozen=True)
class Fact:
    """A sentence of a card, and what it is about. mood: whether it is good news."""

    name: str
    text: str
    mood: Mood = ""
    href: str = ""


def page_of(line: str) -> str:
    """The name of a line's page among the reports."""
    return f"{line}/page.html"


def page_of_pair(line: str, a: str, b: str) -> str:
    """The name of the page of two versions of a line among the reports."""
    return f"{line}/compare/{quote(a, safe='')}-{quote(b, safe='')}.html"


def effects_of_version(line: str, version: str) -> str:
    """The name, among the reports, of what the features of a version do."""
    return f"{line}/effects/{quote(version, safe='')}.json"


def anchor(text: str) -> str:
    """An id for a part of a page that any text may name, such as a node."""
    return f"n-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def link(page: str, to: str, part: str = "") -> str:
    """A relative address from a page to another, both by their names among the reports. part: an anchor on it.

    >>> link("card_fraud/page.html", "fleet.html"), link("fleet.html", "card_fraud/page.html", "n-0")
    ('../fleet.html', 'card_fraud/page.html#n-0')
    """
    up = len(PurePosixPath(page).parts) - 1
    return f"{'../' * up}{quote(to)}{f'#{quote(part)}' if part else ''}"


def document(template: str, title: str, script: str = "", **values: Any) -> str:
    """A whole HTML document by a template that extends `document.html.jinja`.

    script: JavaScript, written in this package; it may change what is shown, and reach nothing. values: what the template names.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    may_run = f"'sha256-{digest}'" if script else "'none'"
    return _templates().get_template(template).render(
        title=title, script=Markup(script), may_run=may_run, **values
    )  # fmt: skip


def part(template: str, **values: Any) -> Markup:
    """A part of a page by a template of its own."""
    return Markup(_templates().get_template(template).render(**values))


def script(template: str) -> str:
    """The JavaScript of a page, from a template of its own; it is the same whatever the page shows."""
    return _templates().get_template(template).render()


def visible(text: str) -> str:
    """The text with what cannot be seen, or would move its neighbours, written out: controls, and marks of direction.

    >>> visible("safe\\u202etxt.exe"), visible("two\\nlines")
    ('safe\\\\u202etxt.exe', 'two lines')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(letter) for letter in " ".join(text.split()))


def _seen(letter: str) -> str:
    if letter not in JOINERS and unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"\\u{ord(letter):04x}"
    return letter


def shown(value: object, most: int = SHOWN) -> Markup:
    """A value as a page shows it: isolated from its neighbours' direction, and cut, with the whole in its title.

    A number has four digits; None is a dash.
    """
    if isinstance(value, Markup):
        return value
    if value is None or isinstance(value, float):
        return Markup(figure(value))
    text = cut(value, WHOLE)
    if isinstance(value, dt.date):
        return Markup('<bdi class="d">{}</bdi>').format(text)
    opening = Markup('<bdi class="w"') if max(map(len, text[:most].split()), default=0) > WORD else Markup("<bdi")
    if len(text) <= most:
        return opening + Markup(">{}</bdi>").format(text)
    return opening + Markup(' title="{}">{}</bdi>').format(text, cut(text, most))


def cut(value: object, most: int = WHOLE) -> str:
    """A text, with what cannot be seen written out, and no longer than the most: for titles, and for what else is no markup."""
    # Of 10 MB nobody needs more than this looked at.
    text = visible(str(value)[: 2 * WHOLE])
    return text if len(text) <= most else f"{text[: most - 1]}…"


@functools.cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("factory_assets.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "cut": cut}
    made.globals["anchor"] = anchor
    return made
