"""What does a model's line mean by its features and label, so that these can be computed again wherever the model goes?

The declarations in JSON, without the fields on which the meaning does not depend: owners, places of sources, places where
features are served. So neither a moved folder nor a rotated password makes another model, and an archive holds no secret.
"""

from collections.abc import Mapping
from typing import Any

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream
from factory_assets.declarations.line import Line
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.tasks import COST, WITH_COST
from factory_assets.declarations.view import View

MEANING = {"name", "task", "observe", "label", "snapshot"}
#: The meaning of a label does not depend on when somebody is warned.
UNHEARD: dict[str, Any] = {"label": {"freshness"}}
#: Other fields of a line that change no model.
NOT_MADE_OF: dict[str, Any] = dict.fromkeys([*MEANING, "owner", "description", "features", "retrain"], True) | {
    "segments": {"max_nodes", "max_failed"},
    "train": {"workers", "pool", "missing", "refit"},
    "gate": {
        *(
            "floor",
            "certainty",
            "swaps",
            "false_promotions",
            "rows",
            "patience",
            "cluster",
            "latency",
            "size",
            "refit_apart",
        ),
        *(
            "slices",
            "groups",
            "cost",
            "threshold",
            "disagreement",
            "tolerance",
            "approval",
            "calibration",
            "labels",
            "may_tell",
        ),
    },
    "monitor": {"false_alarms", "false_alarm_rate", "minimum_effect", "remind"},
}
#: Required fields of a declaration on which its meaning does not depend.
OWNED = {"owner": "team:archived", "description": "Read from an archive."}
UNTRAINED = {"train": {"window": "1d", "holdout": "1d"}, "candidates": {"none": {"estimator": "constant"}}}
#: A model that is made again, or asked for its features, is up for no gate: any holdout will do.
UNJUDGED = {"certainty": 0.5}
NOWHERE = {"source": {"kind": "parquet", "uri": "archived"}, "start": "1970-01-01"}


def definitions(declared: DeclaredLine) -> dict[str, Any]:
    """The line's observation, label and features by canonical name, and the views and streams that they are made of."""
    line = declared.line.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=MEANING, exclude=UNHEARD)
    levels = {"segments": {"levels": declared.line.segments.levels}} if declared.line.segments.levels else {}
    derived = {"on_demand": declared.derived} if declared.derived else {}
    return derived | {
        "line": line | levels | {"features": declared.features},
        "views": {
            name: view.model_dump(
                mode="json", exclude_defaults=True, exclude={"owner", "description", "freshness", "units", "serve"}
            )
            for name, view in sorted(declared.views.items())
        },
        "streams": {name: _stream(declared.streams[name]) for name in declared.stands_on},
    }


def _stream(declared: DeclaredStream) -> dict[str, Any]:
    kept = {"name", "id", "event_time", "known_at", "timezone", "cleanse", "derive", "rules", "exclude"}
    columns = {name: column.type for name, column in declared.contract.columns.items()}
    return declared.stream.model_dump(mode="json", exclude_defaults=True, include=kept) | {"columns": columns}


def recipe(line: Line) -> dict[str, Any]:
    """How the line's models are made: what `definitions` leaves out of the line and a model depends on."""
    made = line.model_dump(mode="json", by_alias=True, exclude=NOT_MADE_OF)
    if line.gate.metric == COST:
        made["gate"]["metric"] = WITH_COST
    return {name: value for name, value in made.items() if value != {}}


def declared_from(definitions: Mapping[str, Any], recipe: Mapping[str, Any] | None = None) -> DeclaredLine:
    """The inverse: a line with its views and streams. Without a recipe it can compute features and train nothing.

    Raises ValueError for definitions that do not fit together, or hold an expression that no declaration may.
    """
    made = dict(recipe or UNTRAINED)
    made["gate"] = made.get("gate", {}) | UNJUDGED
    if levels := definitions["line"].get("segments"):
        made["segments"] = made.get("segments", {}) | levels
    line = Line.model_validate(dict(definitions["line"]) | made | OWNED)
    streams = {}
    for name, kept in definitions["streams"].items():
        stream = {field: value for field, value in kept.items() if field != "columns"}
        contract = Contract.model_validate(
            {"columns": {column: {"type": kind} for column, kind in kept["columns"].items()}}
        )
        streams[name] = DeclaredStream(Stream.model_validate(stream | OWNED | NOWHERE), contract)
    views = {name: View.model_validate(dict(view) | OWNED) for name, view in definitions["views"].items()}
    derived: dict[str, dict[str, str]] = {}
    for name, text in definitions.get("on_demand", {}).items():
        view, _, feature = name.partition(".")
        derived.setdefault(view, {})[feature] = text
    on_demand = {
        name: OnDemandView.model_validate({"name": name, "derive": own} | OWNED) for name, own in derived.items()
    }
    catalogue = Catalogue(streams, views, {line.name: line}, on_demand)
    findings = [found for stream in streams.values() for found in stream.check()]
    findings += [found for view in views.values() for found in catalogue.check_view(view)]
    findings += [found for computed in on_demand.values() for found in catalogue.check_on_demand(computed)]
    if problems := findings or catalogue.check_line(line):
        raise ValueError("; ".join(f"{'.'.join(map(str, path))}: {message}" for path, message in problems))
    return catalogue.resolve(line)
