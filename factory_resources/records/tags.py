"""By which names is a version known beside its id? By a UUID of its own, and by the tags that people put on it.

A tag names one version of a node at a time. It is moved and taken off by appending, like decisions, so that the ledger
tells what it named at any moment.
"""

import datetime as dt
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from factory_resources.records.chain import append
from factory_resources.records.decisions import ANYONE
from factory_resources.records.tables import TAGS, VERSIONS, Database, writing

#: Where the UUIDs of versions are counted. Another one would give every version another UUID.
NAMESPACE = uuid.UUID("4212553e-3c87-4bf2-a710-95a8bd6a1eed")
#: The tag that nobody puts: it is on whoever answers.
CHAMPION = "champion"
#: Names that MLflow takes as well, for an alias of a registered model; it keeps `latest`, and `v1`, `v2` ... for itself.
NAME, OF_MLFLOW = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"latest|v\d+")


class TagMoved(RuntimeError):
    """A tag was to be moved from a version that it is no longer on."""


@dataclass(frozen=True)
class Tagging:
    """A tag that was put on a version of a node, or taken off: then `version` is None."""

    line: str
    node: str
    tag: str
    version: str | None
    why: str
    by: str
    at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def __str__(self) -> str:
        when = f"{self.at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        done = f"put on {self.version}" if self.version else "taken off"
        return f"{done} by {self.by} at {when}: {self.why}"


def uuid_of(line: str, node: str, version: str) -> str:
    """The UUID (RFC 9562, version 5) of a version: the same wherever the same is trained, and no other version's."""
    return str(uuid.uuid5(NAMESPACE, f"{line}/{node}/{version}"))


def as_uuid(text: str) -> str | None:
    """A UUID as `uuid_of` writes it; None for what is no UUID, such as a version's id."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def check_tag(tag: str) -> None:
    """Raises ValueError for a name that no tag may have, saying which may."""
    if tag == CHAMPION:
        raise ValueError(
            "the tag 'champion' is always on the champion: promote, approve or roll back a version instead"
        )
    if OF_MLFLOW.fullmatch(tag):
        raise ValueError(f"the tag {tag!r} would mean something else in MLflow; take another name, such as 'stable'")
    if not NAME.fullmatch(tag):
        allowed = "a lower-case letter, then up to 62 of a-z, 0-9, _ and -"
        raise ValueError(f"{tag!r} is no name of a tag: {allowed}, such as 'stable' or 'audit-2026'")


class Tags(Database):
    """What tags name, in the ledger's database; appended, never changed."""

    def tag(self, tagging: Tagging, against: str | None = ANYONE) -> bool:
        """Put a tag on a version of its node, whichever it was on before, or take it off; whether that was news.

        against: the version that it was seen on, None if on none. Who moves the tags of one node wait for each other.

        Raises TagMoved, saying what it names now and why, if that is another than `against`; ValueError for a name that
        no tag may have, a version that the node does not have, or without a person or a reason; LookupError where a tag
        that is on nothing is to be taken off.
        """
        _check(tagging)
        line, node, tag = tagging.line, tagging.node, tagging.tag
        with writing(self._open(), "tags", line, node) as connection:
            last = {row.tag: row for row in connection.execute(_latest(line, node))}
            before = last.get(tag)
            present = before.version if before else None
            if tagging.version is None and present is None:
                others = ", ".join(sorted(name for name, row in last.items() if row.version)) or "none"
                raise LookupError(f"no version of {node!r} of line {line!r} is tagged {tag!r}; tags there: {others}")
            if present == tagging.version:
                return False
            if against not in (ANYONE, present):
                earlier = str(_tagging(before)) if before else ""
                raise TagMoved(
                    f"@{tag} of {line}/{node} is not on {against or 'any version'} any more: it was {earlier}"
                )
            _require_of_node(connection, tagging)
            sequence = before.sequence + 1 if before else 1
            append(connection, TAGS, [vars(tagging) | {"sequence": sequence}])
        return True

    def tags(self, line: str, node: str | None = None, at: dt.datetime | None = None) -> list[Tagging]:
        """What each tag of a line, or of one of its nodes, names: how it came to be there, by node and tag.

        at: as it was at this moment (None: now). Raises ValueError for a moment without time zone.
        """
        return [each for each in self.last_taggings(line, node, at) if each.version is not None]

    def last_taggings(self, line: str, node: str | None = None, at: dt.datetime | None = None) -> list[Tagging]:
        """As `tags`, with those that were taken off."""
        if at is not None and at.tzinfo is None:
            raise ValueError(f"the moment {at!r} has no time zone: give it one, such as UTC")
        with self._open().connect() as connection:
            found = [_tagging(row) for row in connection.execute(_latest(line, node, at))]
        return sorted(found, key=lambda each: (each.node, each.tag))

    def taggings(self, line: str) -> list[Tagging]:
        """All that was ever put on, moved or taken off, in the order in which it was done."""
        with self._open().connect() as connection:
            found = connection.execute(sa.select(TAGS).where(TAGS.c.line == line).order_by(TAGS.c.id))
            return [_tagging(row) for row in found]


def tagged() -> sa.ColumnElement[bool]:
    """Of rows of ledger_versions: whether a tag names them now."""
    last = _latest().subquery()
    return sa.exists().where(last.c.line == VERSIONS.c.line, last.c.version == VERSIONS.c.version)


def _latest(line: str | None = None, node: str | None = None, at: dt.datetime | None = None) -> sa.Select[Any]:
    """The last row of each tag of each node."""
    c = TAGS.c
    newest_first = sa.func.row_number().over(partition_by=(c.line, c.node, c.tag), order_by=c.sequence.desc())
    limits = [c.line == line] if line is not None else []
    limits += [c.node == node] if node is not None else []
    limits += [c.at <= at] if at is not None else []
    ranked = sa.select(TAGS, newest_first.label("place")).where(*limits).subquery()
    return sa.select(ranked).where(ranked.c.place == 1)


def _tagging(row: sa.Row[Any]) -> Tagging:
    return Tagging(row.line, row.node, row.tag, row.version, row.why, row.by, row.at)


def _check(tagging: Tagging) -> None:
    check_tag(tagging.tag)
    if not tagging.why.strip() or not tagging.by.strip():
        raise ValueError("a tag needs somebody who puts it or takes it off, and a reason")
    if tagging.at.tzinfo is None:
        raise ValueError(f"Tagging.at is {tagging.at!r}: give it a time zone, such as UTC")


def _require_of_node(connection: sa.Connection, tagging: Tagging) -> None:
    c = VERSIONS.c
    own = sa.select(c.id).where(c.line == tagging.line, c.node == tagging.node, c.version == tagging.version)
    if tagging.version is not None and connection.execute(own).first() is None:
        raise ValueError(f"node {tagging.node!r} of line {tagging.line!r} has no version {tagging.version!r}")
