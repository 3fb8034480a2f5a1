"""Which nodes drifted, one day after the other? Windows overlap, and each row is read, predicted and counted once.

A day is judged on the rows of the days up to it. Rows in the bins of a profile can be added up by day, so a day that follows
another adds only its own rows, while the champion stays the same.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from factory_assets.declarations.days import DAY
from factory_assets.declarations.line import Monitor
from factory_assets.features.examples.subtree_rows import SubtreeRows
from factory_assets.measures.habits import PARTS
from factory_assets.measures.profiles import Numbers
from factory_assets.measures.tables import LEAF, prediction_columns
from factory_assets.models.archived import ReleasedModel
from factory_assets.monitoring.causes import causes, in_words
from factory_assets.monitoring.drift import Counted, Drift, drifts

#: Fewer rows than this on either side give no verdict: a bin would hold too few for the chi-square limit.
MINIMUM_ROWS = 100
#: Models are kept for the next day up to so many bytes of their parts, and others loaded again; in use they take a few times as much.
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Tally:
    """Rows of a node in the bins of its champion's profiles. counts: column -> shape (days, bins), of these days."""

    days: list[dt.date]
    counts: dict[str, Numbers]

    def followed_by(self, later: "Tally", first: dt.date) -> "Tally":
        """Both tallies as one, without the days before the first."""
        kept = [place for place, day in enumerate(self.days) if day >= first]
        counts = {name: np.vstack([self.counts[name][kept], more]) for name, more in later.counts.items()}
        return Tally([self.days[place] for place in kept] + later.days, counts)


class DriftDays:
    """Judges one day after the other, ascending.

    read: rows of the examples from a day to a day, by day. load: the model of a version. monitor: how many days a day is judged
    on, and what an alarm may cost.
    """

    def __init__(
        self,
        read: Callable[[dt.date, dt.date], pa.Table],
        load: Callable[[str], ReleasedModel],
        monitor: Monitor,
    ):
        self._read, self._load, self.monitor, self._window = read, load, monitor, monitor.window
        self._seen: pa.Table | None = None
        self._days: list[dt.date] = []
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._kept: dict[str, ReleasedModel] = {}
        self._room = KEPT_BYTES

    def judge(self, day: dt.date, champions: Mapping[str, str]) -> list[tuple[str, str, Drift]]:
        """Node, version and verdict on each column, of every node that has a champion. champions: node -> version.

        A node is judged on all rows of its subtree, because that is what its champion was trained on. Rows for which a child
        answers count too, with what this champion says of them: otherwise a model that is left with the small segments would
        seem to drift as soon as the large ones get models of their own. A node with too few rows for any verdict has none.
        """
        self._move_to(day)
        for version in self._kept.keys() - set(champions.values()):
            self._room += _size(self._kept.pop(version))
        tallies, columns = dict[tuple[str, str], Tally](), list[tuple[str, str, Counted]]()
        judged = [each for each in sorted(champions.items()) if self._by_node.count(each[0]) >= MINIMUM_ROWS]
        for node, version in judged:
            model = self.model(version)
            tally = self._tally(node, model, self._tallies.get((node, version)))
            tallies[node, version] = tally
            rate = self.monitor.rate(len(judged) * len(tally.counts) * len(PARTS))
            profiles, habits = model.profiles, model.habits
            columns += [
                (node, version, Counted(profiles[name], habits.get(name), counts.sum(axis=0), rate))
                for name, counts in tally.counts.items()
            ]
        self._tallies = tallies
        found = drifts(
            [column for *_, column in columns],
            minimum_effect=self.monitor.minimum_effect,
            minimum_rows=MINIMUM_ROWS,
        )
        verdicts = [(node, version, verdict) for (node, version, _), verdict in zip(columns, found, strict=True)]
        return self._with_causes(_with_companions(verdicts, self.rows))

    def _with_causes(self, verdicts: list[tuple[str, str, Drift]]) -> list[tuple[str, str, Drift]]:
        """The verdicts; those that predictions have drifted say which features moved them."""
        found, of_node = list(verdicts), dict[str, str]()
        for at, (node, version, verdict) in enumerate(verdicts):
            if verdict.verdict != "drifted" or verdict.kind(self.model(version).features) != "prediction":
                continue
            if node not in of_node:
                of_node[node] = in_words(causes(self.model(version), self.rows(node)))
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
        """The model of a version, kept if there is room."""
        if version in self._kept:
            return self._kept[version]
        model = self._load(version)
        # The first models are kept, and none makes room for a later one: it would be the next to be asked for again.
        if _size(model) <= self._room:
            self._kept[version] = model
            self._room -= _size(model)
        return model

    def _move_to(self, day: dt.date) -> None:
        first = day - self._window + DAY
        newest = self._days[-1] if self._days else first - DAY
        seen = self._read(max(first, newest + DAY), day)
        if self._seen is not None:
            kept = self._seen.slice(np.searchsorted(_days(self._seen), np.datetime64(first)))
            seen = pa.concat_tables([kept, seen])
        self._seen = seen.combine_chunks()
        self._days = [first + DAY * place for place in range(self._window.days)]
        places = np.searchsorted(_days(self._seen), np.array(self._days, dtype="datetime64[D]"))
        self._first_row = dict(zip(self._days, places.tolist(), strict=True))
        self._by_node = SubtreeRows(self._seen)

    def _tally(self, node: str, model: ReleasedModel, before: Tally | None) -> Tally:
        """The node's rows of all days of the window. before: the tally of the days that are counted already."""
        days = self._days if before is None else [day for day in self._days if day > before.days[-1]]
        new = _counted(model, self._by_node.rows(node, self._first_row[days[0]]), days)
        return new if before is None else before.followed_by(new, self._days[0])


def _counted(model: ReleasedModel, rows: pa.Table, days: list[dt.date]) -> Tally:
    columns = [*model.features, *([LEAF] if LEAF in model.profiles else [])]
    judged = {name: rows[name] for name in columns} | prediction_columns(model.task, model.predict(rows))
    of_rows = np.searchsorted(np.array(days, dtype="datetime64[D]"), _days(rows))
    counts = {}
    for name, values in judged.items():
        profile = model.profiles[name]
        bins = len(profile.counts) + 1
        cells = profile.places(values) + bins * of_rows
        counts[name] = np.bincount(cells, minlength=bins * len(days)).reshape(len(days), bins)
    return Tally(days, counts)


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


def _days(rows: pa.Table) -> np.ndarray:
    return np.asarray(rows["ds"].to_numpy()).astype("datetime64[D]")


def _size(model: ReleasedModel) -> int:
    return sum(map(len, model.parts.values()))
