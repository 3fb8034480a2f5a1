"""Which small change of the contract would let an anomaly pass, or why should none?

Where a feed grew or changed on purpose, the answer is a patch: a fragment of the contract, to be read and applied. Where the
rows are wrong in themselves, it is a refusal that says what to do instead: a contract that is stretched over a fault hides it.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from factory_assets.declarations.base import COLUMN, reserved
from factory_assets.declarations.contract import Amount, Column, Presence
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.edits import edited, flow
from factory_assets.events.contract.inference import guess_texts, round_up
from factory_assets.events.contract.rules import essential

#: Numbers and words that feeds write where they have no value.
STAND_INS = frozenset(["-1", "-9", "-99", "-999", "-9999", "999", "9999", "99999", "na", "n/a", "nan", "none", "null"])
#: A value so many times beyond its bound is of another unit, or a fault.
FAR = 10
#: So many new values at once are another column, or another coding, and no growth.
MANY_NEW = 20
#: A share of a day's rows that new values do not have at once: the column has another meaning, or another unit.
MANY_ROWS = 0.2
#: Divergence from which two days have little in common; 1 is nothing at all.
OTHER_DATA = 0.5
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
NAME_LIKE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]*")


@dataclass(frozen=True)
class Anomaly:
    """A broken rule, with the values and measurements that break it.

    kind: as in validation.Rule, or one of the whole day: value_count, rule, presence, distinct, shift, volume; or
        undeclared, for a column that the contract does not know.
    column: empty for volume and rule. rule: the name under which verdicts give it.
    values: the different values found; of a type, the texts. For min and max the extremes suffice, for allowed all are
        needed, for exists the delivered columns that are not in the contract.
    observed: the measurement: for null the share of rows, for presence the share or number, for value_count, distinct and
        volume the number, for shift the divergence.
    past: the median of the recent past, where the day was compared with it. share: of the day's rows, those that break it.
    """

    kind: str
    column: str
    rule: str
    values: tuple[Any, ...] = ()
    observed: float | None = None
    past: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class Patch:
    """A change of the contract, as a merge patch: null takes a field away. reason: when to apply it."""

    change: Mapping[str, Any]
    reason: str

    @property
    def text(self) -> str:
        """The fragment on one line."""
        return ", ".join(f"{key}: {flow(value)}" for key, value in self.change.items())

    @property
    def message(self) -> str:
        return f"{self.text}  ({self.reason})"


@dataclass(frozen=True)
class Refusal:
    """Why no patch should let the anomaly pass, and what to do instead."""

    reason: str
    instead: str

    @property
    def message(self) -> str:
        return f"no patch: {self.reason}; {self.instead}"


Suggestion = Patch | Refusal


def suggest(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    """A patch of the stream's contract under which the anomaly passes, or the refusal of one."""
    if anomaly.kind not in SUGGESTIONS:
        raise ValueError(f"{anomaly.kind!r} is no kind of anomaly; allowed: {', '.join(SUGGESTIONS)}")
    return SUGGESTIONS[anomaly.kind](declared, anomaly)


def apply(text: str, patch: Patch) -> str:
    """The contract's text with the patch, its version raised by one, its comments and layout kept.

    Raises edits.EditError where the text cannot be changed in place.
    """
    version = (yaml.safe_load(text) or {}).get("version", 1)
    return edited(text, {"version": version + 1, **patch.change})


def _column(name: str, **fields: Any) -> dict[str, Any]:
    return {"columns": {name: fields}}


def _exists(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name = anomaly.column
    renamed = f" Is it one of {', '.join(map(str, anomaly.values))} now?" if anomaly.values else ""
    if name in essential(declared.stream):
        return Refusal(
            f"without {name} a row is no event",
            f"have the feed deliver it again; if it has a new name for good, change id, times and contract.{renamed}",
        )
    return Patch(_column(name, required=False), f"if deliveries may come without {name} from now on.{renamed}")


def _undeclared(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name = anomaly.column
    known = {other.lower() for other in declared.contract.columns}
    if not COLUMN.fullmatch(name) or reserved(name) or name.lower() in known:
        why = "differs from another in case alone" if name.lower() in known else "is a name that tables cannot hold"
        return Refusal(f"{name!r} {why}", "rename it in the feed; until then it is kept in raw, in _undeclared")
    guess = guess_texts([str(value) for value in anomaly.values if value is not None])
    fields = {"type": guess.type, **({"format": guess.format} if guess.format else {})}
    note = f" ({guess.note})" if guess.note else ""
    return Patch(
        _column(name, **fields, required=False, nullable=True),
        f"if {name} is wanted{note}; it enters no model before a declaration names it",
    )


def _type(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name, column = anomaly.column, declared.contract.columns[anomaly.column]
    texts = [str(value) for value in anomaly.values]
    if not texts:
        return Refusal("the offending texts are not known", "look at them in the stream's quarantine")
    if any(CONTROL.search(text) for text in texts):
        return Refusal("control characters are damage, not data", "have the file exported or sent again")
    if all(text.strip().lower() in STAND_INS for text in texts):
        shown = ", ".join(dict.fromkeys(map(repr, texts)))
        return Refusal(
            f"{shown} stands for an empty value", "name it in null_values of the source, and make the column nullable"
        )
    guess = guess_texts(texts)
    if column.type in ("timestamp", "date"):
        return _new_format(name, column, guess.type, guess.format, guess.note)
    if column.type == "integer" and guess.type == "double" and column.allowed is None:
        return Patch(_column(name, type="double"), f"if {name} has fractions from now on")
    if column.type == "integer" and all(NAME_LIKE.fullmatch(text) and not _is_number(text) for text in texts):
        bounds: dict[str, Any] = {bound: None for bound in ("min", "max") if getattr(column, bound) is not None}
        if column.allowed is not None:
            bounds["allowed"] = list(dict.fromkeys([*map(str, column.allowed), *texts]))
        return Patch(
            _column(name, type="string", **bounds),
            f"if {name} is a text from now on; what computes with it no longer can: see factory contract diff",
        )
    return Refusal(f"{', '.join(map(repr, texts[:3]))} is no {column.type}", "have the feed corrected at its source")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _new_format(name: str, column: Column, kind: str, format: str | None, note: str) -> Suggestion:
    if note or kind not in ("timestamp", "date"):
        why = f"they may be {note}" if note else f"they are no {column.type}"
        return Refusal(why, "ask the feed which format it writes, and set it by hand")
    if format == column.format:
        return Refusal(f"{name} has the declared format and no time that can be", "have the feed corrected")
    return Patch(
        _column(name, format=format),
        f"if the feed writes {name} so from now on; days delivered in the old format will no longer parse",
    )


def _null(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name, share = anomaly.column, anomaly.observed
    if name in essential(declared.stream):
        return Refusal(f"a row without {name} is no event", "have the feed corrected; the rows stay in quarantine")
    if share is not None and share > 0.5:
        return Refusal(f"{share:.0%} of the day is empty, which is an outage", "have the feed deliver the day again")
    fields: dict[str, Any] = {"nullable": True}
    # Twice as many as today are the most that pass without being looked at again.
    if share is not None and (least := math.floor(100 * (1 - 2 * share)) / 100) > 0:
        fields["presence"] = {"min_fraction": least}
    return Patch(_column(name, **fields), f"if {name} may be empty")


def _bound(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name, column = anomaly.column, declared.contract.columns[anomaly.column]
    found = [float(value) for value in anomaly.values] + ([anomaly.observed] if anomaly.observed is not None else [])
    if not found:
        return Refusal("the offending values are not known", "look at them in the stream's quarantine")
    if all(f"{value:g}" in STAND_INS for value in found):
        shown = ", ".join(dict.fromkeys(f"{value:g}" for value in found))
        return Refusal(f"{shown} often stands for an empty value", "if so, name it in null_values of the source")
    if anomaly.share is not None and anomaly.share > MANY_ROWS:
        return Refusal(
            f"{anomaly.share:.0%} of the day lie beyond: another unit, such as cents, or another column",
            "have the feed corrected",
        )
    extreme = max(found) if anomaly.kind == "max" else min(found)
    reach = max(abs(bound) for bound in (column.min, column.max, 0.0) if bound is not None)
    if reach and abs(extreme) > FAR * reach:
        return Refusal(
            f"{extreme:g} is more than {FAR} times what {name} may be: another unit, such as cents, or a fault",
            "have the feed corrected",
        )
    bound = round_up(extreme) if anomaly.kind == "max" else -round_up(-extreme)
    return Patch(_column(name, **{anomaly.kind: bound}), f"if {extreme:g} is a sound value of {name}")


def _allowed(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name, column = anomaly.column, declared.contract.columns[anomaly.column]
    allowed = list(column.allowed or [])
    new = sorted(set(anomaly.values) - set(allowed), key=lambda value: (str(type(value)), value))
    known = {str(value).strip().lower(): value for value in allowed}
    alike = {value: known[str(value).strip().lower()] for value in new if str(value).strip().lower() in known}
    if alike:
        shown = ", ".join(f"{value!r} is {right!r}" for value, right in alike.items())
        return Refusal(
            f"{shown} but for case or blanks", "have the feed write one of them; derive can read both as one"
        )
    stand_ins = [value for value in new if str(value).strip().lower() in STAND_INS | {""} or CONTROL.search(str(value))]
    if stand_ins:
        return Refusal(
            f"{', '.join(map(repr, stand_ins))} is no value", "name what stands for an empty value in null_values"
        )
    if column.type == "integer" and 0 in new and allowed == list(range(1, len(allowed) + 1)):
        return Refusal("0 beside codes from 1 on: they may have been numbered anew", "ask the feed what its codes mean")
    if len(new) > max(MANY_NEW, len(allowed)):
        return Refusal(
            f"{len(new)} new values beside {len(allowed)} known ones are no growth",
            f"ask the feed what {name} means now; if it has no fixed values, take allowed away",
        )
    shown = ", ".join(map(str, new[:3])) + (" ..." if len(new) > 3 else "")
    return Patch(_column(name, allowed=[*allowed, *new]), f"if {shown} belongs to {name}")


def _value_count(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name, allowed = anomaly.column, declared.contract.columns[anomaly.column].value_count
    counts = [int(value) for value in anomaly.values] + (
        [int(anomaly.observed)] if anomaly.observed is not None else []
    )
    assert allowed is not None and counts
    bounds = {"min": min(allowed.min, *counts)}
    if allowed.max is not None:
        if allowed.max and max(counts) > FAR * allowed.max:
            return Refusal(f"{max(counts)} values are more than {FAR} times what is allowed", "look at such a row")
        bounds["max"] = max(allowed.max, *counts)
    return Patch(_column(name, value_count=bounds), f"if {name} may hold so many values")


def _presence(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name, observed = anomaly.column, anomaly.observed
    wanted = declared.contract.columns[name].presence or Presence()
    assert observed is not None
    counted = observed > 1 or (observed == 1 and wanted.min_count > 1)
    least: float = wanted.min_count if counted else wanted.min_fraction
    if observed < least / 2:
        given = f"{observed:.0f} values" if counted else f"{observed:.1%} of the rows with a value"
        return Refusal(
            f"{given}, where {least:g} is asked for, is an outage", "have the feed deliver what is missing again"
        )
    bound = {"min_count": int(observed)} if counted else {"min_fraction": math.floor(observed * 100) / 100}
    return Patch(_column(name, presence=bound), f"if {name} is given less often from now on")


def _amount(what: str, allowed: Amount | None, anomaly: Anomaly) -> tuple[dict[str, Any], float] | Refusal:
    """The fields of an amount that the observation breaks, widened; and how far it is from the past, as a share."""
    bounds, observed = allowed or Amount(), anomaly.observed
    assert observed is not None
    if observed == 0:
        return Refusal(f"there is no {what} at all, which is an outage", "have the day delivered again")
    if bounds.max is not None and observed > FAR * bounds.max:
        return Refusal(
            f"{observed:g} {what} are more than {FAR} times what is allowed", "look for rows that came twice"
        )
    fields: dict[str, Any] = {}
    if bounds.min is not None and observed < bounds.min:
        fields["min"] = math.floor(-round_up(-observed))
    if bounds.max is not None and observed > bounds.max:
        fields["max"] = math.ceil(round_up(observed))
    change = abs(observed / anomaly.past - 1) if anomaly.past else 0.0
    if bounds.max_change is not None and change > bounds.max_change:
        fields["max_change"] = math.ceil(change * 10) / 10
    if not fields:
        raise ValueError(f"{observed:g} {what} break no bound of {bounds}; past: {anomaly.past}")
    return fields, change


def _distinct(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    widened = _amount("values", declared.contract.columns[anomaly.column].distinct, anomaly)
    if isinstance(widened, Refusal):
        return widened
    fields, change = widened
    if change > 1 and anomaly.observed and anomaly.past and anomaly.observed > anomaly.past:
        return Refusal(
            f"{anomaly.observed:g} different values after {anomaly.past:g} are no growth",
            f"ask the feed what {anomaly.column} means now",
        )
    return Patch(_column(anomaly.column, distinct=fields), f"if so many values of {anomaly.column} are plausible")


def _volume(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    if anomaly.observed == 0:
        return Refusal(
            "a day without a row is an outage until someone says otherwise",
            "have it delivered, or name the weekday or the date in quiet of the contract",
        )
    widened = _amount("rows", declared.contract.volume, anomaly)
    if isinstance(widened, Refusal):
        return widened
    return Patch({"volume": widened[0]}, "if the day is whole, and came once")


def _shift(declared: DeclaredStream, anomaly: Anomaly) -> Suggestion:
    name, column, observed = anomaly.column, declared.contract.columns[anomaly.column], anomaly.observed
    assert observed is not None
    two = column.type == "boolean" or (column.allowed is not None and len(column.allowed) == 2)
    if "serving" in column.not_in or two:
        return Refusal(
            f"{name} is {'a label' if 'serving' in column.not_in else 'a yes or no'}: it may have turned over",
            "compare single rows with their source; if they are right, raise max_shift by hand",
        )
    if observed > OTHER_DATA:
        return Refusal(
            f"the values of {name} have little in common with those of the past ({observed:.2f}): another unit, coding or column",
            "have the feed corrected; if the change is meant, derive can translate the new values",
        )
    return Patch(_column(name, max_shift=math.ceil(observed * 100) / 100), f"if the values of {name} are sound")


def _refused(reason: str, instead: str) -> Callable[[DeclaredStream, Anomaly], Suggestion]:
    return lambda _, __: Refusal(reason, instead)


SUGGESTIONS: dict[str, Callable[[DeclaredStream, Anomaly], Suggestion]] = {
    "exists": _exists,
    "undeclared": _undeclared,
    "line": _refused(
        "a line that cannot be split into the columns is no row",
        "have the file sent again, or check delimiter and quote of the source",
    ),
    "type": _type,
    "null": _null,
    "min": _bound,
    "max": _bound,
    "allowed": _allowed,
    "computes": _refused(
        "the declaration's own expression fails on these values", "let it expect them: try_cast, nullif, coalesce"
    ),
    "day": _refused(
        "the time of an event is a fact: one of another day, in the future or at the epoch's beginning is wrong",
        "have the feed corrected; where all rows are off by hours, check timezone of the stream",
    ),
    "unique": _refused(
        "different rows with one id cannot both be the event",
        "have the feed send corrections with a later known_at, or choose an id that tells them apart",
    ),
    "once": _refused("a row that came again is kept once already", "nothing is to be done; tell the feed"),
    "value_count": _value_count,
    "rule": _refused(
        "the rule says what is true of every row",
        "correct the rows at their source, or the rule where it asks too much; named in warn it only informs",
    ),
    "presence": _presence,
    "distinct": _distinct,
    "shift": _shift,
    "volume": _volume,
    "freshness": _refused("a feed that went quiet before the close is late", "have the rest of the day delivered"),
}
