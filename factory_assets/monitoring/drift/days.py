"""Which nodes drifted, one day after the other? Windows overlap, and each row is read, predicted and counted once.

A day is judged on the rows of the days up to it. Rows in the bins of a profile can be added up by day, so a day that follows
another adds only its own rows, while the champion stays the same. To count a node's rows takes a call for each column, however few
they are: where more days are to be judged, their rows are counted ahead, as many days as a window has. Labels are counted for each
day anew: which of them count depends on the day that sees them.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.declarations.line import Monitor
from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.measures.habits import PARTS
from factory_assets.measures.profiles import Numbers
from factory_assets.measures.tables import LABEL, LEAF, label_column, prediction_columns
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.monitoring.drift.causes import causes, in_words
from factory_assets.monitoring.drift.labels import LabelDays, Labels
from factory_assets.monitoring.drift.sliding import Sliding, days_of
from factory_assets.monitoring.drift.verdicts import Counted, Drift, drifts, unjudged
from factory_resources.archive_folder import ArchiveFolder

#: Fewer rows than this on either side give no verdict: a bin would hold too few for the chi-square limit.
MINIMUM_ROWS = 100
#: Models are kept for the next day up to so many bytes of their parts, and others loaded again; in use they take a few times as much.
KEPT_BYTES = 256 * 2**20


def watching(archive: ArchiveFolder, line: str) -> Callable[[str], ReleasedModel]:
    """Version -> the model by which its rows are judged: of a refit the version that was judged, of any other itself.

    A refit has learnt all labelled days. No predictions of days that it has not learnt are left to compare later ones with, and by
    those that it has learnt its predictions of new rows would seem to drift. The judged version has both, and differs from it by a few
    days of training alone: what moves the predictions of one moves those of the other.
    """

    def judging(version: str) -> ReleasedModel:
        return load(archive, line, archive.manifest(line, version).get("judged", version))

    return judging


@dataclass(frozen=True)
class Tally:
    """Rows of a node in the bins of its champion's profiles. counts: column -> shape (days, bins), of one day after the other."""

    days: list[dt.date]
    counts: dict[str, Numbers]

    def followed_by(self, later: "Tally", first: dt.date) -> "Tally":
        """Both tallies as one, without the days before the first."""
        kept = [place for place, day in enumerate(self.days) if day >= first]
        counts = {name: np.vstack([self.counts[name][kept], more]) for name, more in later.counts.items()}
        return Tally([self.days[place] for place in kept] + later.days, counts)

    def within(self, first: dt.date, last: dt.date) -> dict[str, Numbers]:
        """Column -> shape (bins,): the counts of these days together."""
        days = slice((first - self.days[0]).days, (last - self.days[0]).days + 1)
        return {name: of_days[days].sum(axis=0) for name, of_days in self.counts.items()}


class _Column:
    """A column of a champion's, and rows in the bins of its profile. last: the day with which they end."""

    def __init__(self, model: ReleasedModel, name: str, now: Numbers, last: dt.date):
        self.reference, self.habit, self.now, self.last = model.profiles[name], model.habits.get(name), now, last


class DriftDays:
    """Judges one day after the other, ascending.

    read: rows of the examples from a day to a day, by day. load: the model by which a version is judged, as of `watching`.
    monitor: how many days a day is judged on, and what an alarm may cost.
    labels: those that each day sees; without them no verdict is on labels.
    stream_of: feature -> the stream that it is made of; reasons name its days.
    through: the last day that will be judged, if it is known: up to there rows are read ahead, two windows in memory at most.
    """

    def __init__(
        self,
        read: Callable[[dt.date, dt.date], pa.Table],
        load: Callable[[str], ReleasedModel],
        monitor: Monitor,
        labels: LabelDays | None = None,
        stream_of: Callable[[str], str] = lambda _: "rows",
        through: dt.date = dt.date.min,
    ):
        self._sliding, self._load, self.monitor, self._window = Sliding(read), load, monitor, monitor.window
        self._labels, self._stream_of, self._through, self.looks = labels, stream_of, through, 0
        self._ahead = dt.date.min
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._kept: dict[str, ReleasedModel] = {}
        self._room = KEPT_BYTES

    def judge(self, day: dt.date, champions: Mapping[str, str]) -> list[tuple[str, str, Drift]]:
        """Node, version and verdict on each column, of every node that has a champion. champions: node -> version.

        A node is judged on all rows of its subtree, because that is what its champion was trained on. Rows for which a child
        answers count too, with what this champion says of them: otherwise a model that is left with the small segments would
        seem to drift as soon as the large ones get models of their own. A node with too few rows for any verdict has none; nor has
        its label a row, if there are too few labels as well.
        """
        if not champions:
            # Nobody answers: no row is read.
            self._tallies, self.looks = {}, 0
            return []
        self._move_to(day)
        for version in self._kept.keys() - set(champions.values()):
            self._room += _size(self._kept.pop(version))
        labels = self._labels.of(day) if self._labels else None
        tallies, asked = dict[tuple[str, str], Tally](), list[tuple[str, str, _Column | Drift]]()
        for node, version in sorted(champions.items()):
            has_rows = self._by_node.count(node) >= MINIMUM_ROWS
            if not has_rows and (labels is None or labels.rows.count(node) < MINIMUM_ROWS):
                continue
            model = self.model(version)
            if has_rows:
                tally = tallies[node, version] = self._tally(node, model, self._tallies.get((node, version)))
                now = tally.within(self._first, day)
                asked += [(node, version, _Column(model, name, each, day)) for name, each in now.items()]
            if labels:
                asked.append((node, version, _label(model, labels, node)))
        self._tallies = tallies
        # Labels are looked at, whether they are given or not: who asks without them is told the limits of who asks with them.
        self.looks = len(asked) if labels else len(asked) + len(tallies)
        verdicts = self._judged(asked)
        if labels:
            verdicts = [(node, version, _dated(verdict, labels)) for node, version, verdict in verdicts]
        return self._with_causes(_with_companions(verdicts, self.rows))

    @property
    def rate(self) -> float:
        """The false alarm rate of one look at a part of a column, on the day that was judged last."""
        return self.monitor.rate(self.looks * len(PARTS))

    def _judged(self, asked: Sequence[tuple[str, str, _Column | Drift]]) -> list[tuple[str, str, Drift]]:
        """What was asked, with verdicts on its columns."""
        columns = [one for *_, one in asked if isinstance(one, _Column)]
        found = iter(
            drifts(
                [Counted(one.reference, one.habit, one.now, self.rate, one.last) for one in columns],
                minimum_effect=self.monitor.minimum_effect,
                minimum_rows=MINIMUM_ROWS,
            )
        )
        return [(node, version, one if isinstance(one, Drift) else next(found)) for node, version, one in asked]

    def _with_causes(self, verdicts: list[tuple[str, str, Drift]]) -> list[tuple[str, str, Drift]]:
        """The verdicts; those that predictions have drifted say which features moved them."""
        found, of_node = list(verdicts), dict[str, str]()
        for at, (node, version, verdict) in enumerate(verdicts):
            if verdict.verdict != "drifted" or verdict.kind(self.model(version).features) != "prediction":
                continue
            if node not in of_node:
                of_node[node] = in_words(causes(self.model(version), self.rows(node), node), self._stream_of)
            if of_node[node]:
                found[at] = node, version, replace(verdict, reason=f"{verdict.reason}; {of_node[node]}")
        return found

    @property
    def judged(self) -> dict[str, str]:
        """Node -> version, of the nodes judged last."""
        return dict(self._tallies.keys())

    def rows(self, node: str) -> pa.Table:
        """The rows on which the node was judged last."""
        return self._by_node.rows(node)

    def model(self, version: str) -> ReleasedModel:
        """The model by which a version is judged, kept if there is room."""
        if version in self._kept:
            return self._kept[version]
        model = self._load(version)
        # The first models are kept, and none makes room for a later one: it would be the next to be asked for again.
        if _size(model) <= self._room:
            self._kept[version] = model
            self._room -= _size(model)
        return model

    def _move_to(self, day: dt.date) -> None:
        self._first, self._day = day - self._window + DAY, day
        if day > self._ahead:
            self._ahead = max(day, min(day + self._window - DAY, self._through))
            self._read_rows = self._sliding.move_to(self._first, self._ahead)
            self._read_by_node, self._read_days = SubtreeRows(self._read_rows), days_of(self._read_rows)
        low, high = self._places(self._first), self._places(day + DAY)
        is_all = high - low == self._read_rows.num_rows
        self._by_node = self._read_by_node if is_all else SubtreeRows(self._read_rows.slice(low, high - low))

    def _places(self, day: dt.date) -> int:
        """Before so many rows of those read lies a day."""
        return int(np.searchsorted(self._read_days, np.datetime64(day)))

    def _tally(self, node: str, model: ReleasedModel, before: Tally | None) -> Tally:
        """The node's rows of all days of the window, or of more. before: the tally of the days that are counted already.

        Rows are counted ahead from the second day on that a champion answers: one that answers for a day alone has none ahead.
        """
        first, last = self._first, self._day
        if before is not None:
            first, last = max(first, before.days[-1] + DAY), self._ahead
            if first > self._day:
                return before
        days = [first + DAY * place for place in range((last - first).days + 1)]
        low, high = self._places(first), self._places(last + DAY)
        new = _counted(model, self._read_by_node.rows(node, low, high), days)
        return new if before is None else before.followed_by(new, self._first)


def _counted(model: ReleasedModel, rows: pa.Table, days: list[dt.date]) -> Tally:
    columns = [*model.features, *([LEAF] if LEAF in model.profiles else [])]
    judged = {name: rows[name] for name in columns} | prediction_columns(model.task, model.predict(rows))
    of_rows = np.searchsorted(np.array(days, dtype="datetime64[D]"), days_of(rows))
    counts = {}
    for name, values in judged.items():
        profile = model.profiles[name]
        bins = len(profile.counts) + 1
        cells = profile.places(values) + bins * of_rows
        counts[name] = np.bincount(cells, minlength=bins * len(days)).reshape(len(days), bins)
    return Tally(days, counts)


def _label(model: ReleasedModel, labels: Labels, node: str) -> _Column | Drift:
    """A node's labels to be judged, or why they are not."""
    number = labels.rows.count(node)
    if LABEL not in model.profiles:
        return unjudged(
            LABEL, number, "the champion is of a release that kept no labels to compare with; the next one will"
        )
    if not labels.are_in:
        return unjudged(LABEL, number, "not all of them are in yet")
    now = model.profiles[LABEL].count(label_column(model.task, labels.rows.rows(node)[LABEL]))
    return _Column(model, LABEL, now, labels.last)


def _dated(verdict: Drift, labels: Labels) -> Drift:
    """A verdict on labels says of which days they are: they lie further back than the rows."""
    if verdict.column != LABEL:
        return verdict
    return replace(verdict, reason=f"{verdict.reason}; labels of {labels.first} to {labels.last}")


def _with_companions(
    verdicts: list[tuple[str, str, Drift]], rows: Callable[[str], pa.Table]
) -> list[tuple[str, str, Drift]]:
    """The verdicts, with what they have in common: columns of a node that have no value in the very same rows are one finding.

    rows: of a node.
    """
    empty: dict[tuple[str, bytes], list[str]] = {}
    places: dict[int, tuple[str, bytes]] = {}
    for at, (node, _, verdict) in enumerate(verdicts):
        if verdict.verdict == "drifted" and verdict.part == "nulls" and verdict.null_share:
            column = rows(node)[verdict.column]
            places[at] = node, np.packbits(column.is_null(nan_is_null=True).to_numpy()).tobytes()
            empty.setdefault(places[at], []).append(verdict.column)
    found = list(verdicts)
    for at, place in places.items():
        node, version, verdict = verdicts[at]
        if others := [name for name in empty[place] if name != verdict.column]:
            reason = f"{verdict.reason}; in the same rows as {', '.join(others)}"
            found[at] = node, version, replace(verdict, reason=reason, finding=min(empty[place]))
    return found


def _size(model: ReleasedModel) -> int:
    return sum(map(len, model.parts.values()))
