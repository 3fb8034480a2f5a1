"""What is a plan made of? Work, one run each, and notices of what is not made, with the reasons."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from factory_assets.declarations.days import ranges
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.governor.retraining import Training
from factory_assets.words import counted

#: Assets of a training, in order; the board is drawn after each.
TRAINED = ("model", "evaluation", "refit", "champion", "leaderboard")
#: Assets of days that follow from who is champion.
SCORED = ("predictions", "parents", "performance", "outcomes", "estimates", "drift", "counts", "monitors")
#: What people look at: written once nothing that it shows is about to change.
PAGE = "page"
#: All lines and nodes on one page, after those of the lines.
FLEET = "fleet"
Kind = Literal["blocked", "waiting", "failed", "idle", "damaged"]
#: Notices that people act on, or have to know of.
CALLING: tuple[Kind, ...] = ("blocked", "failed", "damaged")


@dataclass(frozen=True)
class Work:
    """One run: assets, the days or the training that it makes, and why.

    after: assets whose work comes first; with none, it is ready. states: a hash an asset, or a training, of what it would be made
    from now: while it is the same, what failed would fail again. new: whether its days were never made. follows: number of the
    newest event about what it makes anew. span: the days that its assets have at all: only those of the same run together.
    """

    assets: tuple[str, ...]
    reason: str
    days: tuple[dt.date, ...] = ()
    training: Training | None = None
    after: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    new: bool = False
    follows: int = 0
    span: str = ""
    #: What a page is told: see `Called`; and the page of all lines, of each.
    page: "Called | None" = None
    fleet: "Mapping[str, Called] | None" = None

    @property
    def is_page(self) -> bool:
        """Whether it makes nothing but what people look at."""
        return self.page is not None or self.fleet is not None

    @property
    def what(self) -> str:
        """The work in short, for people."""
        if self.training:
            return f"{self.training.line} as of {self.training.as_of}, {counted(len(self.training.nodes), 'node')}"
        return ", ".join(self.assets) + (f", {counted(len(self.days), 'day')}" if self.days else "")


@dataclass(frozen=True)
class Notice:
    """Why something is not made, or has to be made again.

    blocked: until somebody decides or mends. waiting: until something comes. failed: a run failed that was tried on what is
    there now. idle: nothing calls for it. damaged: what was made is not there any more, or not whole.
    """

    kind: Kind
    asset: str
    reason: str
    days: tuple[dt.date, ...] = ()

    def __str__(self) -> str:
        return f"{self.asset}{f' {days_in_words(self.days)}' if self.days else ''}: {self.reason}"


@dataclass(frozen=True)
class Called:
    """What the plan tells the page of a line, which asks no plan itself: what somebody has to act on, and what nothing carries out.

    due: work in words, and why.
    """

    notices: tuple[Notice, ...] = ()
    due: tuple[tuple[str, str], ...] = ()

    @property
    def damaged(self) -> set[str]:
        """Assets of which something is lost, or not whole."""
        return {notice.asset for notice in self.notices if notice.kind == "damaged"}

    @property
    def blocked(self) -> list[dt.date]:
        """Days that are held back, ascending."""
        return sorted({day for notice in self.notices if notice.kind == "blocked" for day in notice.days})

    @property
    def parts(self) -> list[str]:
        """All of it as texts, for a hash."""
        return [*(f"{notice.kind}: {notice}" for notice in self.notices), *(": ".join(each) for each in self.due)]


@dataclass(frozen=True)
class Plan:
    """Work in the order of the line, and what is not made, with the reasons."""

    work: list[Work] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    @property
    def ready(self) -> list[Work]:
        return [work for work in self.work if not work.after]

    @property
    def next(self) -> list[Work]:
        """Ready work, without scoring what a training that is due would score anew: a backlog is scored in one range.

        A training that waits for what the monitors say of days that are scored waits for these.
        """
        scoring = set[str]()
        for work in self.work:
            of_line = {f"{work.training.line}/{name}" for name in SCORED} if work.training else set()
            scoring |= of_line if not of_line & {*work.after} else set()
        return [work for work in self.ready if not scoring & {*work.assets}]

    def notices_of(self, *kinds: Kind) -> list[Notice]:
        return [notice for notice in self.notices if notice.kind in kinds]

    def of_line(self, declared: DeclaredLine) -> "Plan":
        """The work on a line, and on what it stands on, and the notices of these."""
        assets = _assets_of(declared)
        work = [work for work in self.work if any(_is_of(asset, assets) for asset in work.assets)]
        return Plan(work, [notice for notice in self.notices if _is_of(notice.asset, assets)])


@dataclass(frozen=True)
class Running:
    """A run that makes something now. days: None where they are not known, or the asset has none."""

    run_id: str
    assets: frozenset[str]
    days: frozenset[dt.date] | None = None

    def is_at(self, declared: DeclaredLine) -> bool:
        """Whether it makes something of the line, or of what that stands on."""
        beginnings = _assets_of(declared)
        return any(_is_of(asset, beginnings) for asset in self.assets)


def reasons_in_words(reasons: Sequence[str]) -> str:
    """The reasons for days, with how many days have each."""
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return ", ".join(reason if len(reasons) == 1 else f"{count} {reason}" for reason, count in counts.items())


def days_in_words(days: Sequence[dt.date]) -> str:
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in ranges(days))


def _assets_of(declared: DeclaredLine) -> set[tuple[str, ...]]:
    """Beginnings of the names of the line's assets, and of those that it stands on."""
    views = {(room, view) for view in declared.views for room in ("features", "serving")}
    return {(declared.line.name,), *((stream,) for stream in declared.stands_on), *views}


def _is_of(asset: str, beginnings: set[tuple[str, ...]]) -> bool:
    parts = tuple(asset.split("/"))
    return parts[:1] in beginnings or parts[:2] in beginnings
