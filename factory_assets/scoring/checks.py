"""The check on predictions of numbers: `in_bounds` warns of those that are far beyond all labels that their models know."""

from collections.abc import Sequence

import dagster as dg

from factory_assets.daily_checks import Finding, report
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import kind_of
from factory_assets.identity.partitions import partitions
from factory_assets.materialization import days_of
from factory_assets.measures.tables import PREDICTION
from factory_assets.scoring.bounds import Beyond, beyond
from factory_assets.training.archiving import RANGED
from factory_assets.words import counted, listed
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.lake import Lake

#: Nodes that a message names.
SHOWN = 5


def bounds_check(declared: DeclaredLine) -> dg.AssetChecksDefinition | None:
    """None for a task whose predictions have bounds by themselves."""
    key, line = dg.AssetKey([declared.line.name, "predictions"]), declared.line
    if kind_of(line.task) not in RANGED:
        return None

    @dg.asset_check(
        asset=key,
        name="in_bounds",
        partitions_def=partitions(declared.observed),
        description="No prediction is beyond all labels that its version was trained on by more than these span from the smallest "
        "to the largest.",
    )
    def in_bounds(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        archive: dg.ResourceParam[ArchiveFolder],
    ) -> dg.AssetCheckResult:
        ranges, findings = dict[str, tuple[float, float] | None](), list[Finding]()
        for day in days_of(context):
            rows = lake.read("/".join(key.path), day, day, ["node", "version", PREDICTION], empty_if_absent=True)
            for version in set(rows["version"].unique().to_pylist()) - set(ranges):
                kept = archive.exists(line.name, version)
                labels = archive.manifest(line.name, version).get("label_range") if kept else None
                ranges[version] = (float(labels[0]), float(labels[1])) if labels else None
            found = beyond(rows, ranges)
            passed = not any(each.far for each in found)
            numbers = {"judged": _sum(found, "rows"), "outside": _sum(found, "outside"), "far": _sum(found, "far")}
            metadata = {name: dg.MetadataValue.int(number) for name, number in numbers.items()}
            findings.append(Finding(day, passed, message=_told(found, rows.num_rows), metadata=metadata))
        return report(context, key, "in_bounds", findings)

    return in_bounds


def _sum(found: Sequence[Beyond], name: str) -> int:
    return sum(getattr(each, name) for each in found)


def _told(found: Sequence[Beyond], rows: int) -> str:
    """rows: predictions of the day, also of versions whose labels are not known."""
    if not found:
        return (
            "nothing was predicted"
            if not rows
            else "no verdict: no version that answered has kept the range of its labels"
        )
    far = sorted((each for each in found if each.far), key=lambda each: (-each.far / each.rows, each.node))
    if far:
        return listed([_told_of(each) for each in far], SHOWN, "node")
    outside = _sum(found, "outside")
    slightly = f"; {outside} beyond all labels of training, by less than these span" if outside else ""
    return f"{counted(_sum(found, 'rows'), 'prediction')}{slightly}"


def _told_of(one: Beyond) -> str:
    return (
        f"{one.node}: {one.far} of {counted(one.rows, 'prediction')} by version {one.version}, {one.furthest:.6g} at the furthest, "
        f"where its training had labels from {one.low:.6g} to {one.high:.6g}"
    )
