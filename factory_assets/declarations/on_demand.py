"""Which features are computed from features of other views and the observed event? The `OnDemandView` declaration."""

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from factory_assets.declarations import expressions
from factory_assets.declarations.base import Declared, Name, Unit
from factory_assets.declarations.stream import check_owner


def _reads_features(text: str) -> str:
    # Dagster reads a declaration before its templates are filled in, and we once more after.
    if "{{" not in text and not expressions.features(text):
        raise ValueError(f"{text!r} reads no feature; write those of views by canonical name, such as habit.spent_7d")
    return text


class OnDemandView(Declared):
    """Numbers computed at an observation from features of other views, whatever their entities and streams, and its event."""

    name: Name = Field(description="Name of the view; its features are called <view>.<feature>.")
    owner: str = Field(description="Who answers for the features: team:<name> or an e-mail address.")
    description: str = Field(description="What the features say, with units.")
    derive: dict[Name, Annotated[str, AfterValidator(_reads_features)]] = Field(
        min_length=1,
        description="Feature name to an expression over features of other views, by canonical name, and columns of the "
        "observed event: ratio: amount / nullif(terminal.mean_7d, 0).",
    )

    units: dict[Name, Unit] = Field({}, description="Feature name to what it is measured in, such as ratio: 1.")

    @field_validator("owner")
    @classmethod
    def _owner_is_one(cls, value: str) -> str:
        return check_owner(value)

    @property
    def names(self) -> list[str]:
        """Feature names inside the view."""
        return list(self.derive)

    @property
    def canonical(self) -> list[str]:
        """Names by which lines and other views ask for the features."""
        return [f"{self.name}.{name}" for name in self.derive]


def texts(views: Mapping[str, OnDemandView]) -> dict[str, str]:
    """Canonical name -> expression, of all features of these views."""
    return {f"{view.name}.{name}": text for view in views.values() for name, text in view.derive.items()}


def in_order(names: Collection[str], texts: Mapping[str, str]) -> list[str]:
    """The features computed on demand among these features and their inputs, each after the features that it reads.

    texts: as of `texts` above. A circle, which a check refuses, is cut where it closes.
    """
    found: dict[str, None] = {}
    begun: set[str] = set()
    # Not by recursion: a feature may stand on thousands of others, each on the one before.
    todo = [(name, False) for name in reversed(list(names))]
    while todo:
        name, read = todo.pop()
        if read:
            found[name] = None
        elif name in texts and name not in begun:
            begun.add(name)
            todo.append((name, True))
            todo += [(one, False) for one in reversed(expressions.features(texts[name]))]
    return list(found)


def unordered(texts: Mapping[str, str]) -> set[str]:
    """Features that cannot be computed one after the other: those in a circle, and those that read such."""
    read = {name: {one for one in expressions.features(text) if one in texts} for name, text in texts.items()}
    readers: dict[str, list[str]] = {}
    for name, own in read.items():
        for one in own:
            readers.setdefault(one, []).append(name)
    ready = [name for name, own in read.items() if not own]
    while ready:
        one = ready.pop()
        for name in readers.get(one, ()):
            read[name].discard(one)
            if not read[name]:
                ready.append(name)
    return {name for name, own in read.items() if own}


def sources(name: str, texts: Mapping[str, str]) -> list[str]:
    """The features of views over streams that one computed on demand comes from, through however many others."""
    read = [one for step in in_order([name], texts) for one in expressions.features(texts[step])]
    return [one for one in dict.fromkeys(read) if one not in texts]


def observed(names: Collection[str], texts: Mapping[str, str]) -> list[str]:
    """The columns of the observed event that features computed on demand come from, through however many others."""
    return list(dict.fromkeys(one for step in in_order(names, texts) for one in expressions.observed(texts[step])))


def circle(name: str, texts: Mapping[str, str]) -> list[str]:
    """A way from a feature back to itself, both at its ends; [] where there is none."""

    before: dict[str, str] = {}
    todo = [name]
    while todo and name not in before:
        at = todo.pop(0)
        for read in expressions.features(texts[at]):
            if read in texts and read not in before:
                before[read] = at
                todo.append(read)
    if name not in before:
        return []
    way = [name, before[name]]
    while way[-1] != name:
        way.append(before[way[-1]])
    return way[::-1]
