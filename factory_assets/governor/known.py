"""What does the plan ask? Declarations, and what event log, lake, ledger and sources hold at a moment."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream
from factory_assets.declarations.view import View
from factory_assets.features.examples.labels import Through
from factory_assets.governor.retraining import Trained
from factory_assets.governor.work import Running
from factory_assets.identity.inputs import Asset, Recorded
from factory_assets.monitoring.episodes import Alarm
from factory_resources.records.verdicts import Judged


class Known(Protocol):
    """What the plan is made from. `book.Book` implements it."""

    catalogue: Catalogue
    now: dt.datetime
    until: dt.date | None
    #: Lines whose trainings are carried out: the others' predictions do not wait for one.
    trains: Collection[str]

    def asset(self, name: str) -> Asset: ...

    def recorded(self, name: str) -> Mapping[dt.date, Recorded]: ...

    def damaged(self, name: str) -> Mapping[dt.date, str]:
        """Day -> what of it is lost or damaged in the lake, of the days that are recorded."""
        ...

    def lost_models(self, line: str) -> Mapping[dt.date, Mapping[str, str]]:
        """As of which day a champion, or a challenger that is still undecided, was trained -> node -> what the archive lacks of it."""
        ...

    def lost_trainings(self, name: str, line: str) -> Collection[dt.date]:
        """Days as of which a line was trained that a table with a part of each training has lost: outcomes, or leaderboards."""
        ...

    def lost_scores(self, line: str) -> Mapping[dt.date, Sequence[str]]:
        """As of which day nodes were evaluated -> these nodes, of days whose rows the lake has lost."""
        ...

    def newest_event(self, name: str) -> int:
        """Number of the newest materialisation of an asset; 0 where there is none."""
        ...

    def unknown_versions(self, line: str) -> Sequence[str]:
        """Versions that the line's predictions name, where the ledger knows of no training of the line: it has lost them."""
        ...

    def expected(
        self, name: str, days: Sequence[dt.date], extra: Mapping[dt.date, str] | None
    ) -> Mapping[dt.date, str]:
        """Day -> the stamp that it would be made with now. extra: what a day depends on beside tables."""
        ...

    def judged(self, name: str) -> Mapping[dt.date, Judged]: ...

    def unchecked(self, name: str) -> Collection[dt.date]:
        """Days that the asset's newest run made, if it died before its checks."""
        ...

    def accepted(self, stream: str) -> Mapping[str, set[dt.date]]: ...

    def moved(self, declared: DeclaredStream) -> Mapping[dt.date, str]:
        """Day -> a hash of the versions of its events that other days have, of days with any."""
        ...

    def looked_at(self, declared: DeclaredStream, days: Sequence[dt.date]) -> Sequence[dt.date]:
        """Those of the days whose source is asked now."""
        ...

    def source(self, declared: DeclaredStream, days: Sequence[dt.date]) -> Mapping[dt.date, str]:
        """Day -> fingerprint of what its source holds. Raises SourceError."""
        ...

    def through(self, declared: DeclaredLine) -> Through: ...

    def standing(self, line: str) -> Mapping[str, Trained]: ...

    def drawn(self, line: str) -> Collection[dt.date]:
        """Days of trainings that have a leaderboard."""
        ...

    def decided(self, line: str) -> tuple[str, dt.date] | None:
        """A hash of the decisions by which nodes stand, and of tags, and the newest day as of which one was made; None without any."""
        ...

    def decided_on_board(self, line: str) -> str | None:
        """The hash of what the newest leaderboard tells; None where it tells what was decided by an earlier day alone."""
        ...

    def first_trained(self, line: str) -> dt.date | None: ...

    def nodes(self, line: str) -> Collection[str]: ...

    def seen(self, line: str, until: dt.date) -> Sequence[str]: ...

    def without_room(self, declared: DeclaredLine, as_of: dt.date) -> str | None: ...

    def contract(self, declared: DeclaredLine) -> str: ...

    def alarms(self, declared: DeclaredLine, first: dt.date, last: dt.date) -> Sequence[Alarm]:
        """What the line's monitors found, as far as it may start a training, known at the close of these days."""
        ...

    def champions(self, line: str, days: Sequence[dt.date]) -> Mapping[dt.date, str]: ...

    def export_state(self, view: View) -> str | None:
        """A hash of the export that is due; None where the store holds the newest features, or there are none."""
        ...

    def page(self, line: str) -> tuple[str, str | None]:
        """A hash of what the line's page would show of tables and decisions, and the state of the newest page; None without one."""
        ...

    def fleet(self) -> tuple[str, str | None]:
        """The version of the code of the page of all lines, and the state of the newest one; None without one."""
        ...

    def running(self) -> Sequence[Running]: ...

    def tried(self, state: str) -> str | None:
        """Why work of this state is not tried again; None where it may be."""
        ...
