"""Which features are computed from features of other views and the observed event? The `OnDemandView` declaration."""

from collections.abc import Collection, Iterator, Mapping
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

    def visit(name: str) -> None:
        if name in begun or name not in texts:
            return
        begun.add(name)
        for read in expressions.features(texts[name]):
            visit(read)
        found[name] = None

    for name in names:
        visit(name)
    return list(found)


def sources(name: str, texts: Mapping[str, str]) -> list[str]:
    """The features of views over streams that one computed on demand comes from, through however many others."""
    read = [one for step in in_order([name], texts) for one in expressions.features(texts[step])]
    return [one for one in dict.fromkeys(read) if one not in texts]


def observed(names: Collection[str], texts: Mapping[str, str]) -> list[str]:
    """The columns of the observed event that features computed on demand come from, through however many others."""
    return list(dict.fromkeys(one for step in in_order(names, texts) for one in expressions.observed(texts[step])))


def circle(name: str, texts: Mapping[str, str]) -> list[str]:
    """A way from a feature back to itself, both at its ends; [] where there is none."""

    def ways(path: list[str], seen: set[str]) -> Iterator[list[str]]:
        for read in expressions.features(texts[path[-1]]):
            if read == name:
                yield [*path, read]
            elif read in texts and read not in seen:
                seen.add(read)
                yield from ways([*path, read], seen)

    return next(ways([name], {name}), [])
