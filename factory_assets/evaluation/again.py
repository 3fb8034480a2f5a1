"""Rows of meetings were lost: are they made again as they were? By the versions that the ledger has of each meeting, and kept only
where every metric comes out equal.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from factory_assets.evaluation import parts
from factory_assets.evaluation.parts import Asked, parts_of
from factory_assets.evaluation.scores import VERSIONS, measured, predicted, tables, version_of
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models.archived import ModelRefused, ReleasedModel
from factory_resources.archive_folder import ArchiveDamaged
from factory_resources.ledger import EvaluationRecord, Ledger


@dataclass(frozen=True)
class Remembered:
    """A meeting as the ledger has it, in its records. versions: side -> version. metrics: side, and naive -> what was measured."""

    node: str
    versions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)
    records: list[EvaluationRecord] = field(default_factory=list)

    @property
    def since(self) -> dt.date:
        """The first day of the rows on which they met."""
        return max(record.holdout_from for record in self.records)


@dataclass(frozen=True)
class Meetings:
    """The meetings of a line's nodes as of a day, parents before children, and the task as which they were measured."""

    line: str
    task: str
    day: dt.date
    met: Sequence[Remembered]


def remembered(ledger: Ledger, line: str, task: str, day: dt.date, nodes: Sequence[str]) -> Meetings:
    """The last meetings of the nodes, of those that had one. task: as it is declared now, if nothing was trained as of the day."""
    trained = ledger.versions(line, as_of=day)
    challengers = {node: decision.version for node, decision in ledger.undecided(line, before=day).items()}
    challengers |= {version.node: version.version for version in trained}
    by_node: dict[str, dict[str, EvaluationRecord]] = {}
    for record in ledger.evaluations(line, as_of=day):
        by_node.setdefault(record.node, {})[record.version] = record
    met = [_meeting(ledger, node, by_node[node], challengers.get(node)) for node in nodes if node in by_node]
    return Meetings(line, trained[-1].task if trained else task, day, met)


def _meeting(ledger: Ledger, node: str, records: Mapping[str, EvaluationRecord], challenger: str | None) -> Remembered:
    """records: version -> its last one as of the day. Who is champion by now says nothing: people may have decided since."""
    own, meeting = records.get(challenger or ""), Remembered(node)
    others = [record for record in records.values() if record is not own]
    met = [record for record in others if own is not None and record.version == own.incumbent_version]
    champion = next(reversed(met or others), None)
    for side, record in (("challenger", own), ("champion", champion)):
        if record is None:
            continue
        meeting.versions[side], meeting.metrics[side] = record.version, record.challenger
        meeting.metrics.setdefault("naive", record.naive)
        if (other := record.incumbent_version) is not None:
            # The challenger was measured against the better of the two others.
            rival = "champion" if ledger.version(record.line, other).node == node else "parent"
            meeting.versions[rival], meeting.metrics[rival] = other, record.incumbent
    meeting.records.extend(record for record in (champion, own) if record)
    return meeting


def make_again(
    meetings: Meetings,
    load: Callable[[str], ReleasedModel],
    rows_of: Callable[[str], pa.Table],
    asked: Asked | None = None,
) -> Iterator[tuple[str, Iterator[pa.Table] | str]]:
    """Node -> its rows of `<line>/evaluation`, or why they do not come out as they were.

    load: the model of a version. rows_of: the rows of a node in the holdout, in any order. asked: what is declared of parts of the
    rows now; where that was another, metrics of parts come out otherwise.
    """
    for meeting in meetings.met:
        try:
            models = {side: load(version) for side, version in meeting.versions.items()}
        except (FileNotFoundError, ArchiveDamaged, ModelRefused) as error:
            yield meeting.node, str(error)
            continue
        task = meetings.task
        rows, predictions = predicted(task, rows_of(meeting.node), models, meeting.since, asked)
        predictions["naive"] = (models.get("challenger") or models["champion"]).naive(rows.num_rows, task)
        y = label_values(task, rows[LABEL])
        of_parts = parts_of(rows)
        found = {side: parts.measured(task, y, values, of_parts) for side, values in predictions.items()}
        if others := [side for side in found if found[side] != meeting.metrics[side]]:
            yield meeting.node, f"metrics of the {', '.join(others)} come out otherwise than they were recorded"
            continue
        yield meeting.node, tables(meeting.node, task, meetings.day, rows, meeting.versions, predictions)


def otherwise(rows: pa.Table, records: Mapping[tuple[str, str], EvaluationRecord]) -> str:
    """What comes out of a node's rows otherwise than the ledger has it; empty where everything is as recorded.

    rows: as `scores.of_node` gives them. records: (node, version) -> its last evaluation as of the day.
    """
    node = rows["node"][0].as_py()
    try:
        found = measured(rows)
    except ValueError as error:
        return str(error)
    versions = {side: rows[version_of(side)][0].as_py() for side in VERSIONS}
    for side in ("challenger", "champion"):
        if versions[side] is None:
            continue
        if (record := records.get((node, versions[side]))) is None:
            return f"the ledger has no evaluation of {versions[side]}"
        rival = [each for each in VERSIONS if versions[each] and versions[each] == record.incumbent_version]
        expected = dict.fromkeys(rival, record.incumbent) | {side: record.challenger, "naive": record.naive}
        for whose, metrics in expected.items():
            if found[whose] != metrics:
                name = next((each for each in metrics if found[whose].get(each) != metrics[each]), "a metric")
                return f"{name} of the {whose} is {found[whose].get(name)}, recorded was {metrics.get(name)}"
    return ""
