"""In what do two versions differ, by what the ledger has of them?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from factory_assets.training.crossed import same_meaning
from factory_resources.ledger import VersionRecord

#: Parts of a recipe that are listed by themselves, or have no part in how a model is fitted.
APART = ("seed", "monitor")
#: Of many features so many are named.
NAMED = 5


@dataclass(frozen=True)
class Difference:
    """Something that two versions do not have in common, in words. kind: which cause of another metric it belongs to."""

    kind: str
    what: str
    a: str
    b: str


#: What a version is made from -> the causes that a comparison tells apart, in the order in which they are listed.
DATA, FEATURES, CONFIGURATION, LIBRARIES, CODE = "data", "features", "configuration", "libraries", "code"
#: What follows from these, and causes nothing itself.
OUTCOME = "outcome"


def differences(a: VersionRecord, b: VersionRecord) -> list[Difference]:
    """What differs between two versions, the causes of another metric first; the rest is how they came about."""
    return [
        *_data(a, b),
        *_features(a, b),
        *_configuration(a, b),
        *_made_with(a.configuration, b.configuration),
        *_outcome(a, b),
    ]


def recipes(a: VersionRecord, b: VersionRecord) -> list[tuple[str, str, str]]:
    """All that both were told to do, path by path, with what it is in either: candidates with their parameters, and the choice."""
    before, after = (_flat(_recipe(each)) for each in (a, b))
    return [
        (path, _short(before.get(path)), _short(after.get(path))) for path in dict.fromkeys([*before, *after]) if path
    ]


def causes(a: VersionRecord, b: VersionRecord) -> list[str]:
    """Of data, features and configuration those that differ, so that a fit may take them from either version."""
    kinds = {each.kind for each in differences(a, b)}
    if FEATURES in kinds and a.tables != b.tables:
        # Whether rows of the same days are other ones cannot be told from what other features made of them.
        kinds.add(DATA)
    if a.configuration.get("features") != b.configuration.get("features"):
        kinds.add(FEATURES)
    return [each for each in (DATA, FEATURES, CONFIGURATION) if each in kinds]


def by_libraries_alone(a: VersionRecord, b: VersionRecord) -> list[Difference]:
    """The libraries that differ, where nothing else does; [] where anything else does, or they are the same."""
    found = differences(a, b)
    found = [each for each in found if each.kind != OUTCOME]
    return found if found and all(each.kind == LIBRARIES for each in found) else []


def made_with_other(
    record: VersionRecord, libraries: Mapping[str, str], code: str
) -> tuple[dict[str, tuple[str, str]], bool]:
    """Library -> its version when the record was made and here, of those that differ; and whether our own code does."""
    then = record.configuration.get("libraries", {})
    differ = {name: (str(then.get(name)), here) for name, here in sorted(libraries.items()) if then.get(name) != here}
    return differ, record.configuration.get("code") != code


def _data(a: VersionRecord, b: VersionRecord) -> Iterator[Difference]:
    yield from _differing(DATA, "node", a.node, b.node)
    yield from _differing(DATA, "training days", f"{a.train_from} .. {a.train_to}", f"{b.train_from} .. {b.train_to}")
    yield from _differing(DATA, "training rows", f"{a.rows:,}", f"{b.rows:,}")
    if a.positives is not None or b.positives is not None:
        yield from _differing(DATA, "positives", f"{a.positives or 0:,}", f"{b.positives or 0:,}")
    same_days = (a.node, a.train_from, a.train_to) == (b.node, b.train_from, b.train_to)
    hashes = [each.configuration.get("data", {}).get("train", "") for each in (a, b)]
    if same_days and not list(_features(a, b)) and hashes[0] != hashes[1]:
        read = [", ".join(f"{table} {number}" for table, number in each.tables.items()) for each in (a, b)]
        yield Difference(DATA, "rows of the same days", *read)


def _features(a: VersionRecord, b: VersionRecord) -> Iterator[Difference]:
    mine, theirs = (each.configuration.get("features", []) for each in (a, b))
    lines = [each.configuration.get("definitions", {}).get("line", {}) for each in (a, b)]
    for part in ("task", "observe", "label", "segments"):
        yield from _differing(FEATURES, part, _short(lines[0].get(part)), _short(lines[1].get(part)))
    if removed := [name for name in mine if name not in theirs]:
        yield Difference(FEATURES, "features removed", _named(removed), "-")
    if added := [name for name in theirs if name not in mine]:
        yield Difference(FEATURES, "features added", "-", _named(added))
    if not all("definitions" in each.configuration for each in (a, b)):
        return
    for name in (each for each in mine if each in theirs):
        if not same_meaning(name, a, b):
            before, after = (_definition(each, name) for each in (a, b))
            yield Difference(FEATURES, f"feature {name}", before, after if after != before else "(its events, or when)")


def _definition(record: VersionRecord, feature: str) -> str:
    kept = record.configuration["definitions"]
    view, _, name = feature.rpartition(".")
    if feature in kept.get("on_demand", {}):
        return str(kept["on_demand"][feature])
    declared = kept["views"].get(view, {})
    own = declared.get("features", {}).get(name.rpartition("_")[0]) or declared.get("derive", {}).get(name)
    where = f" where {declared['where']}" if declared.get("where") else ""
    return f"{own}{where}" if own else "as declared"


def _configuration(a: VersionRecord, b: VersionRecord) -> Iterator[Difference]:
    before, after = (_flat(_recipe(each)) for each in (a, b))
    for path in dict.fromkeys([*before, *after]):
        yield from _differing(CONFIGURATION, path, _short(before.get(path)), _short(after.get(path)))
    made = [each.configuration for each in (a, b)]
    started = [each.get("warm_from", {}).get("version", "anew") for each in made]
    yield from _differing(CONFIGURATION, "begins", *started)
    yield from _differing(CONFIGURATION, "seed", _short(made[0].get("seed")), _short(made[1].get("seed")))


def _outcome(a: VersionRecord, b: VersionRecord) -> Iterator[Difference]:
    yield from _differing(OUTCOME, "candidate taken", a.candidate, b.candidate)
    rounds = [_short(each.configuration.get("rounds")) for each in (a, b)]
    yield from _differing(OUTCOME, "rounds found", *rounds)


def _recipe(record: VersionRecord) -> dict[str, Any]:
    return {name: value for name, value in record.configuration.get("recipe", {}).items() if name not in APART}


def _made_with(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    before, after = a.get("libraries", {}), b.get("libraries", {})
    for name in sorted({*before, *after}):
        yield from _differing(LIBRARIES, name, before.get(name, "-"), after.get(name, "-"))
    yield from _differing(CODE, "code of models", str(a.get("code"))[:8], str(b.get("code"))[:8])


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Path -> value of everything in an object."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {
        name: each
        for key, inner in value.items()
        for name, each in _flat(inner, f"{path}.{key}" if path else key).items()
    }


def _differing(kind: str, what: str, a: str, b: str) -> Iterator[Difference]:
    if a != b:
        yield Difference(kind, what, a, b)


def _named(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _short(value: Any) -> str:
    return "-" if value is None else str(value)
