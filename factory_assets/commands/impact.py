"""What does a change of a contract do to the declarations that stand on it: who reads it, what retrains, what breaks?

A line retrains when the hash of its streams' contracts changes and its `retrain.on` names schema, as the rule in
automation/due.py has it; the hash is the same. It covers whole contracts, so that a line may retrain for a column that it
does not read: the answer says which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.changes import compare
from factory_assets.declarations.contract import MEANING, Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.readers import Reader, readers
from factory_assets.identity.versions import contract_hash


@dataclass(frozen=True)
class Touched:
    """A changed column of a stream, and one of its readers."""

    column: str
    stream: str
    reader: Reader


@dataclass(frozen=True)
class LineImpact:
    """A line on one of the streams: whether it will retrain, and why or why not."""

    name: str
    retrains: bool
    why: str


@dataclass(frozen=True)
class Impact:
    """What a change means: readers of touched columns, lines, and declarations that no longer hold."""

    touched: list[Touched]
    lines: list[LineImpact]
    problems: list[str]


def streams_under(catalogue: Catalogue, *contracts: Contract) -> list[str]:
    """Streams whose contract is one of these."""
    return [name for name, declared in catalogue.streams.items() if declared.contract in contracts]


def impact(catalogue: Catalogue, names: Sequence[str], old: Contract, new: Contract) -> Impact:
    """The impact of replacing one contract by another on the streams of these names and all that stands on them."""
    changed = dict.fromkeys(
        change.column for change in compare(old, new) if change.column and change.field not in MEANING
    )
    touched = [
        Touched(column, name, reader)
        for name in names
        for column in changed
        for reader in readers(catalogue, name, old if column in old.columns else new, column)
    ]
    before, after = _under(catalogue, names, old), _under(catalogue, names, new)
    lines = []
    for name, line in catalogue.lines.items():
        if not set(before.resolve(line).stands_on) & set(names):
            continue
        read = dict.fromkeys(one.column for one in touched if (one.reader.kind, one.reader.name) == ("line", name))
        hashes = [contract_hash(catalogue.resolve(line)) for catalogue in (before, after)]
        lines.append(_line(name, hashes[0] != hashes[1], "schema" in line.retrain.on, list(read)))
    return Impact(touched, lines, _problems(after, names))


def _line(name: str, differs: bool, on_schema: bool, read: list[str]) -> LineImpact:
    reads = f"it reads {', '.join(read)}" if read else "though it reads no column that changed"
    if not differs:
        return LineImpact(name, False, "only the version or descriptions differ: its contracts' hash stays the same")
    if not on_schema:
        return LineImpact(name, False, f"retrain.on does not name schema; {reads}")
    return LineImpact(name, True, f"retrain.on names schema, and the hash of its contracts changes; {reads}")


def _under(catalogue: Catalogue, names: Sequence[str], contract: Contract) -> Catalogue:
    changed = {name: DeclaredStream(catalogue.streams[name].stream, contract) for name in names}
    return replace(catalogue, streams={**catalogue.streams, **changed})


def _problems(after: Catalogue, names: Sequence[str]) -> list[str]:
    """Declarations that no longer hold; views and lines on a stream that has problems itself are not checked."""
    findings_of = {name: after.streams[name].check() for name in names}
    if not any(findings_of.values()):
        views = {name: after.check_view(view) for name, view in after.views.items() if view.stream in names}
        views |= {name: after.check_on_demand(view) for name, view in after.on_demand.items()}
        findings_of |= (
            views if any(views.values()) else {name: after.check_line(line) for name, line in after.lines.items()}
        )
    return [
        f"{name}: {'.'.join(path)}: {message}" for name, findings in findings_of.items() for path, message in findings
    ]
