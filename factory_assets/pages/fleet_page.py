"""How is the fleet shown? One HTML file: the lines with what holds them back, and all nodes, those first that need somebody.

It is the same as `factory status`, for a browser. The first rows are there at once; the others wait in the file until they are
looked for, so that thousands of nodes cost a reader no more than some hundreds.
"""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from factory_assets.pages.document import FLEET, Badge, Mood, anchor, document, link, page_of, script
from factory_assets.pages.fleet import HEALTH, MEANING, Stand
from factory_assets.pages.lines import LineStand

#: Rows that are laid out at once, and each time that somebody asks for more.
FIRST = 100
#: Notices, works and issues of a line that are shown.
MOST_NOTICES = 3
#: Kinds of stores whose URIs are links; of any other text a link is to a file.
STORES = ("s3", "gs", "az", "https")
MOODS: dict[str, Mood] = {
    "unanswered": "bad", "alarm": "bad", "waits": "warn", "unwatched": "warn", "well": "good",
    "blocked": "bad", "damaged": "bad", "due": "warn", "current": "good",
}  # fmt: skip
COLUMNS = (
    ("Health", "The first of the states below that is true of the node, and since when."),
    ("Node", "It leads to the line's page. Below it the line, and who owns it."),
    ("Why", "The health in a sentence, with the columns that drifted."),
    (
        "Answers",
        "The version that answers, whose it is where it is not the node's own, its candidate, and how old it is.",
    ),
    (
        "Performance",
        "The line's metric on the newest day whose labels are in. Expected: on the holdout of its release. Estimated: of the newest "
        "day. Naive: of a guess that knows the training labels alone. Labels: the share of the day's predictions that have one.",
    ),
    ("Decision", "The last decision on the node itself, who made it, and why."),
)


def fleet_page(lines: Sequence[LineStand], nodes: Sequence[Stand], now: dt.datetime, dagster: str = "") -> str:
    """The page as HTML. nodes: in the order in which they are shown. dagster: address of Dagster's web server, where one is known."""

    def page(line: str, node: str | None = None) -> str:
        return link(FLEET, page_of(line), anchor(node) if node is not None else "")

    def version_at(node: Stand) -> str:
        return f"{dagster}/assets/{_quoted(node.line)}/model?partition={_quoted(str(node.answers))}"

    def run_at(node: Stand) -> str:
        return f"{dagster}/runs/{_quoted(str(node.run_id))}"

    dagster = dagster.rstrip("/")
    healths = Counter(node.health for node in nodes)
    return document(
        "fleet.html.jinja",
        "Fleet",
        script("fleet.js.jinja"),
        lines=sorted(lines, key=lambda line: line.urgency),
        number=len(nodes),
        first=nodes[:FIRST],
        rest=nodes[FIRST:],
        healths={health: healths[health] for health in HEALTH},
        meanings=MEANING,
        badges={name: Badge(name, mood) for name, mood in MOODS.items()},
        columns=COLUMNS,
        most_notices=MOST_NOTICES,
        page=page,
        dagster=dagster,
        version_at=version_at,
        run_at=run_at,
        archive_at=_archive_at,
        today=now.date(),
        at=f"{now:%Y-%m-%d %H:%M} UTC",
    )


def _archive_at(node: Stand) -> str:
    """Where the version is kept: at the store's own URI, or as a file of this machine."""
    archive = str(node.archive)
    store, _, place = archive.partition("://")
    known = place and store in STORES
    return f"{store}://{_quoted(place, '/')}" if known else f"file:///{_quoted(archive.lstrip('/'), '/')}"


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe, errors="replace")
