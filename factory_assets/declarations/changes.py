"""What differs between two versions of a contract, and is each change looser or tighter than before?

Looser: whatever passed still passes. Tighter: something that passed may not pass any more.
"""

from dataclasses import dataclass
from typing import Any, Literal

from factory_assets.declarations.contract import Contract

Direction = Literal["loosened", "tightened", "added", "removed", "other"]
#: Fields of which more lets more pass; a bound that is absent lets everything pass.
UPPER = ("max", "max_change", "max_shift", "tolerance")
#: Fields of which more lets less pass.
LOWER = ("min", "min_fraction", "min_count")
#: Fields of which a longer list lets more pass; `allowed` lets everything pass where it is absent.
LISTS = ("allowed", "not_in", "warn", "quiet")


@dataclass(frozen=True)
class Change:
    """One field that differs: of a column, or of the contract as a whole (column is empty)."""

    column: str
    field: str
    before: Any
    after: Any
    direction: Direction


def compare(before: Contract, after: Contract) -> list[Change]:
    """Changes from one contract to another: of the whole first, then column by column in the new one's order."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    changes = _fields("", {**old, "columns": None}, {**new, "columns": None})
    for name in dict.fromkeys([*new["columns"], *old["columns"]]):
        if name not in old["columns"]:
            changes.append(Change(name, "", None, after.columns[name], "added"))
        elif name not in new["columns"]:
            changes.append(Change(name, "", before.columns[name], None, "removed"))
        else:
            changes += _fields(name, old["columns"][name], new["columns"][name])
    return changes


def _fields(column: str, old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[Change]:
    changes = []
    for field in dict.fromkeys([*new, *old]):
        before, after, path = old.get(field), new.get(field), f"{prefix}{field}"
        if before == after:
            continue
        parts = [part for part in (before, after) if part is not None]
        if all(isinstance(part, dict) for part in parts) and len(parts) == 2:
            changes += _fields(column, before, after, f"{path}.")  # type: ignore[arg-type]
        else:
            changes.append(Change(column, path, before, after, _direction(path, before, after)))
    return changes


def _direction(path: str, before: Any, after: Any) -> Direction:
    """How a field's new value relates to what passed under its old one."""
    field = path.rpartition(".")[2]
    if path.startswith("rules."):
        # A rule, by its name, is an expression: of two of them nobody can say which lets more pass.
        return "tightened" if before is None else "loosened" if after is None else "other"
    if field in ("presence", "value_count", "distinct", "volume"):
        return "tightened" if before is None else "loosened"
    if field in ("nullable", "required"):
        return "loosened" if after is (field == "nullable") else "tightened"
    if field in LISTS:
        return _of_lists(field, before, after)
    if field in (*UPPER, *LOWER):
        if before is None or after is None:
            return "tightened" if before is None else "loosened"
        return "loosened" if (after > before) == (field in UPPER) else "tightened"
    return "other"


def _of_lists(field: str, before: list[Any] | None, after: list[Any] | None) -> Direction:
    if before is None or after is None:
        return "tightened" if before is None else "loosened"
    if set(map(str, before)) == set(map(str, after)):
        return "other"
    if set(map(str, before)) <= set(map(str, after)):
        return "loosened"
    return "tightened" if set(map(str, after)) <= set(map(str, before)) else "other"
