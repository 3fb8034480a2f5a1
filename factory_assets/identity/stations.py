"""Which modules decide the values of each table, and of models? Named by hand, held complete by a test.

`tests/identity/test_stations.py` follows the imports: what a named module imports is named too, or stands aside with the
reason why it decides no value; so does every module that there is. A station is computed again when its modules compute
something else (see `code.code_of`), so a list should be no longer than need be: the content of the tables that a station reads
counts by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Station:
    """The modules that decide the values of one table of a stream, a view or a line, or its models.

    aside: module that these import -> why it decides no value here, though it may elsewhere.
    """

    modules: tuple[str, ...]
    aside: Mapping[str, str] = field(default_factory=dict)


def _of(room: str, *names: str) -> tuple[str, ...]:
    return tuple(f"factory_assets.{room}.{name}" for name in names)


#: Module, or room with all that is in it and not named below -> why it decides no value of any table or model.
ASIDE = {
    # Who starts what, and when.
    "factory_assets.automation": "decides when something is computed",
    "factory_assets.cli": "asks and tells people",
    "factory_assets.commands": "asks and tells people",
    "factory_assets.components": "turns declarations into assets",
    "factory_assets.definitions": "puts assets together",
    "factory_assets.deployment": "says where things are",
    "factory_assets.defs": "declarations of the demo, which are hashed beside the code",
    "factory_assets.backtest": "replays a line for people, by the modules that make it",
    "factory_assets.governor": "decides when something is computed",
    "factory_assets.loading": "puts assets together",
    "factory_assets.pages": "shows people what was found",
    "factory_assets.identity": "tells which code and which declaration it is",
    "factory_assets.words": "puts numbers into words for people",
    "factory_assets.release": "decides who answers; a day is scored by what was decided, which is hashed beside the code",
    # Dagster's assets: they read, call the modules that are named, and write. Checks compute no table.
    "factory_assets.daily_checks": "judges",
    "factory_assets.materialization": "records what was computed",
    "factory_assets.training.session": "hands nodes to `fitting` and `archiving`, and keeps records of what comes back",
    "factory_assets.training.run_config": "says which nodes are trained as of which day",
    "factory_assets.serving.due": "says when something is exported",
    "factory_assets.events.assets": "makes assets; the rows come of `events.stations`",
    "factory_assets.events.checks": "judges",
    "factory_assets.events.jobs": "writes down what people decide",
    "factory_assets.launching": "reads what a launch says",
    "factory_assets.events.aside": "counts for people what was set aside",
    "factory_assets.features.assets": "makes assets; the rows come of `snapshots`, `examples` and `labels`",
    "factory_assets.features.checks": "judges",
    "factory_assets.training.assets": "makes assets; the metric that it names is hashed beside the code",
    "factory_assets.evaluation.assets": "makes assets; the numbers come of `contest`",
    "factory_assets.evaluation.decay_assets": "makes assets; the numbers come of `decay`",
    "factory_assets.evaluation.shown": "shows people what was found",
    "factory_assets.scoring.assets": "makes assets; the champions that it finds are hashed beside the code",
    "factory_assets.scoring.champions": "finds the champions of a day, which are hashed beside the code",
    "factory_assets.scoring.outliers": "counts rows for people",
    "factory_assets.scoring.bounds": "judges predictions for people, and changes none",
    "factory_assets.scoring.checks": "makes checks, which write no table",
    "factory_assets.scoring.explained": "tells people how a prediction came about",
    "factory_assets.monitoring.assets": "makes assets; the rows come of the modules beside it",
    "factory_assets.monitoring.charts.assets": "makes assets; the rows come of the modules beside it",
    "factory_assets.monitoring.drift.assets": "makes assets; the rows come of the modules beside it",
    "factory_assets.monitoring.estimates.assets": "makes assets; the rows come of the modules beside it",
    "factory_assets.monitoring.performance.assets": "makes assets; the rows come of the modules beside it",
    "factory_assets.monitoring.checks": "judges",
    "factory_assets.monitoring.drift.causes": "tells people what moves predictions",
    "factory_assets.monitoring.alarms": "judges",
    "factory_assets.monitoring.episodes": "judges",
    "factory_assets.monitoring.skew": "judges",
    "factory_assets.monitoring.calibration": "judges the judges, for people",
    "factory_assets.monitoring.charts.latency": "judges runs, for people",
    "factory_assets.serving.assets": "makes assets; the rows come of `export`",
    "factory_assets.serving.checks": "judges",
    # Pictures, and words for people.
    "factory_assets.events.contract.expectations": "judges raw rows once more, for people; a test holds it equal to `validation`",
    "factory_assets.events.contract.inference": "proposes contracts to people",
    "factory_assets.events.contract.seen": "proposes contracts to people",
    "factory_assets.events.contract.patches": "proposes changes of a contract to people",
    "factory_assets.events.contract.proposal": "proposes changes of a contract to people",
    "factory_assets.events.contract.warned": "refuses contracts, and changes none that it lets pass",
    "factory_assets.events.statistics.pictures": "draws pictures",
    "factory_assets.events.plan": "tells people which days are missing",
    "factory_assets.features.catalogue.inventory": "tells people which features there are",
    "factory_assets.features.catalogue.duplicates": "tells people which features are alike",
    "factory_assets.features.examples.leaks": "judges",
    "factory_assets.features.examples.single": "computes one example once more, for people",
    "factory_assets.measures.charts": "draws pictures, which go along with a model and are no part of it",
    "factory_assets.measures.decay_plot": "draws pictures",
    "factory_assets.measures.figures": "draws pictures",
    "factory_assets.measures.plots": "draws pictures",
    "factory_assets.monitoring.drift.report": "draws pictures",
    "factory_assets.models.estimator_checks": "judges estimators",
    "factory_assets.models.safety": "judges models that are archived",
    "factory_assets.evaluation.fresh_process": "judges models that are archived",
    "factory_assets.models.contributions": "tells people what adds to a prediction, and predicts nothing",
    # Declarations: what they say is hashed beside the code. These read files, or refuse what does not fit.
    "factory_assets.declarations.candidates": "refuses lines, and changes none that it lets pass",
    "factory_assets.declarations.changes": "tells people what differs",
    "factory_assets.declarations.documents": "finds where in its file a declaration stands",
    "factory_assets.declarations.edits": "edits files for people",
    "factory_assets.declarations.parts": "refuses lines, and changes none that it lets pass",
    "factory_assets.declarations.queries": "refuses queries, and changes none that it lets pass",
    "factory_assets.declarations.readers": "tells people who reads a column",
    "factory_assets.declarations.search": "says which parameters are tried; those found are hashed beside the code",
    "factory_assets.declarations.shapes": "tells people which expressions are alike",
    "factory_assets.declarations.templates": "reads variables of the environment",
    "factory_assets.declarations.units": "tells units to people",
    # Which version, days, rows or parameters: the answer is hashed beside the code, or is the same however it is found.
    "factory_assets.models.names": "finds the version that a name means",
    "factory_assets.features.online": "computes the features of a request; tests hold it equal to `examples`",
    "factory_assets.evaluation.incumbents": "finds who is met, which is hashed beside the code",
    "factory_assets.evaluation.meetings": "finds who meets on which days, which is hashed beside the code",
    "factory_assets.evaluation.challengers": "finds who is up, which is hashed beside the code",
    "factory_assets.training.undecided": "finds who is up still, which is hashed beside the code",
    "factory_assets.evaluation.attribution": "tells people which cause makes how much of a difference",
    "factory_assets.evaluation.dependence": "tells people how models answer to a feature, and keeps nothing",
    "factory_assets.evaluation.effects": "tells people what features do to predictions",
    "factory_assets.evaluation.differences": "tells people in what versions differ",
    "factory_assets.training.crossed": "fits models for people, and keeps none",
    "factory_assets.evaluation.weak": "tells people where a model is weak",
    "factory_assets.evaluation.again": "makes rows once more, and keeps them where they come out as they were",
    "factory_assets.measures.compared": "finds the metric, which is hashed beside the code",
    "factory_assets.features.point_in_time.tables": "reads tables, all days of one as of one version",
    "factory_assets.features.point_in_time.stretches": "chooses how many days are computed together, which changes none of them",
    "factory_assets.training.made": "tells what a model is made from",
    "factory_assets.models.parquet_files": "refuses files, and changes none that it lets pass",
    "factory_assets.models.libraries": "tells which libraries are installed; they are hashed beside the code",
    "factory_assets.training.fit.pool": "chooses where a model is made, which changes none",
    "factory_assets.training.remake": "makes a version once more, by what is named",
    "factory_assets.training.restoring": "puts versions back as they were",
    "factory_assets.training.search.study": "looks for parameters; those found are hashed beside the code",
    "factory_assets.training.search.tuned": "looks for parameters; those found are hashed beside the code",
    "factory_assets.training.fit.warm": "finds the version that a model continues, which is hashed beside the code",
    # Storage: it gives back what was written, as tests/resources has it.
    "factory_resources": "stores, or opens connections",
}

#: How any expression is understood, and what every declaration is made of.
EXPRESSIONS = _of("declarations", "base", "expressions", "types")
STREAMS = (*EXPRESSIONS, *_of("declarations", "contract", "declared", "periods", "stream"))
VIEWS = (*STREAMS, *_of("declarations", "on_demand", "view"))
LINES = (*VIEWS, *_of("declarations", "catalogue", "line", "tasks"))

_ASIDE_OF_STREAMS = dict.fromkeys(
    _of("declarations", "catalogue", "line", "on_demand", "view"), "a stream is declared without views and lines"
)
_ASIDE_OF_VIEWS = dict.fromkeys(_of("declarations", "catalogue", "line"), "a view is declared without lines")
_ASIDE_OF_MODELS = {
    "factory_assets.declarations.serving": "says where features are served",
    "factory_assets.declarations.outcomes": "says what outcomes may read, which are a table of their own",
    "factory_assets.declarations.limits": "says what a gate measures and allows, which is hashed beside the code",
}
_ASIDE_OF_LINES = _ASIDE_OF_MODELS | {"factory_assets.declarations.warm_start": "says what a model may continue from"}
_ASIDE_OF_REPLAYS = _ASIDE_OF_LINES | {
    "factory_assets.declarations.definitions": "tells what features mean, for an archive",
    "factory_assets.training.fit.fitting": "fits models; those that are archived are what they are",
}
_ASIDE_OF_PREDICTIONS = _ASIDE_OF_REPLAYS | {
    "factory_assets.training.timeline": "says on which days a model is trained"
}

#: Of tables that read rows of a day as performance does.
_ASIDE_BESIDE_PERFORMANCE = _ASIDE_OF_PREDICTIONS | {
    f"factory_assets.measures.{name}": "tells the limits of a day's metric, which performance alone has"
    for name in ("certainty", "limits")
}


def _but(aside: dict[str, str], module: str) -> dict[str, str]:
    return {name: why for name, why in aside.items() if name != module}


SOURCES = (
    "factory_assets.events.sources",
    *_of("events.sources", "base", "csv", "files", "parquet", "postgres", "simulation"),
)
#: The same code scores by the champions that answer, and by those above them.
_SCORING = "factory_assets.scoring.predictions"
AGGREGATES = (
    *_of("features.point_in_time", "aggregates", "exact", "history", "parts", "windows"),
    "factory_assets.events.versions",
)
ESTIMATORS = (
    "factory_assets.models.estimators",
    *_of("models.estimators", "additive", "base", "booster_text", "calibration", "categories", "classes"),
    *_of("models.estimators", "constant", "gradient_boosting", "linear", "trees"),
    *_of("models", "arrays", "matrix", "one_thread", "skops_files"),
)
#: How an archived model predicts.
PREDICTING = (
    *ESTIMATORS,
    "factory_assets.models.archived",
    "factory_assets.identity.nodes",
    *_of("measures", "habits", "metrics", "profiles", "tables"),
)

STATIONS = {
    "raw": Station(
        (
            *STREAMS,
            "factory_assets.declarations.days",
            *SOURCES,
            *_of("events", "landing", "simulation", "stations"),
        ),
        _ASIDE_OF_STREAMS
        | dict.fromkeys(
            (*_of("events.contract", "validation", "verdicts"), *_of("events", "moved", "statistics.describe")),
            "makes other tables, of `raw`",
        ),
    ),
    "events": Station(
        (
            *STREAMS,
            "factory_assets.declarations.days",
            *_of("events", "landing", "moved", "stations", "versions"),
            *_of("events.contract", "cleansing", "day_rules", "rules", "validation", "verdicts"),
            *_of("events", "sources", "sources.files"),
        ),
        _ASIDE_OF_STREAMS
        | dict.fromkeys(
            _of("events.sources", "base", "csv", "parquet", "postgres", "simulation"),
            "reads into `raw`, whose content counts by itself",
        )
        | {"factory_assets.events.statistics.describe": "made of events"},
    ),
    "statistics": Station(
        (*STREAMS, "factory_assets.events.stations", *_of("events.statistics", "describe", "sketches", "tallies")),
        _ASIDE_OF_STREAMS
        | dict.fromkeys(
            (*_of("events", "landing", "moved", "sources"), *_of("events.contract", "validation", "verdicts")),
            "makes `events`, whose content counts by itself",
        ),
    ),
    "features": Station(
        (*VIEWS, "factory_assets.declarations.days", *AGGREGATES, *_of("features.point_in_time", "snapshots", "tiles")),
        _ASIDE_OF_VIEWS | {"factory_assets.declarations.serving": "says where features are served"},
    ),
    "examples": Station(
        (*LINES, *AGGREGATES, *_of("features", "examples.rows", "on_demand"), "factory_assets.identity.nodes"),
        _ASIDE_OF_LINES,
    ),
    "labels": Station(
        (
            *LINES,
            "factory_assets.declarations.days",
            *AGGREGATES,
            *_of("features", "examples.labels", "examples.rows", "on_demand"),
            "factory_assets.identity.nodes",
        ),
        _ASIDE_OF_LINES,
    ),
    "model": Station(
        (
            *LINES,
            *_of("declarations", "days", "definitions", "warm_start"),
            *PREDICTING,
            *_of("training", "archiving", "dataset", "subtrees", "timeline"),
            *_of("training.fit", "again", "fitting", "warm_fit"),
        ),
        _ASIDE_OF_MODELS,
    ),
    "refit": Station(
        (
            *LINES,
            *_of("measures", "metrics"),
            "factory_assets.identity.nodes",
            *_of("evaluation", "gate", "limits", "luck", "parts"),
            "factory_assets.declarations.limits",
        ),
        _but(_ASIDE_OF_LINES, "factory_assets.declarations.limits"),
    ),
    "evaluation": Station(
        (
            *LINES,
            *PREDICTING,
            "factory_assets.measures.certainty",
            *_of(
                "evaluation",
                "calibration",
                "contest",
                "copies",
                "coverage",
                "gate",
                "likeness",
                "limits",
                "luck",
                "measuring",
                "met",
                "parts",
                "scores",
                "staging",
            ),
            "factory_assets.declarations.limits",
            "factory_assets.training.subtrees",
        ),
        _but(_ASIDE_OF_PREDICTIONS, "factory_assets.declarations.limits"),
    ),
    "champion": Station(
        (
            *LINES,
            *_of("measures", "metrics"),
            "factory_assets.identity.nodes",
            *_of("evaluation", "gate", "limits", "luck", "parts"),
            "factory_assets.declarations.limits",
        ),
        _but(_ASIDE_OF_LINES, "factory_assets.declarations.limits"),
    ),
    "leaderboard": Station(
        (
            *LINES,
            "factory_assets.declarations.days",
            "factory_assets.identity.nodes",
            "factory_assets.measures.metrics",
            "factory_assets.release.resolver",
            "factory_assets.training.timeline",
        ),
        _ASIDE_OF_LINES,
    ),
    "decay": Station(
        (
            *LINES,
            "factory_assets.declarations.days",
            *PREDICTING,
            "factory_assets.evaluation.decay",
            *_of("training", "dataset", "subtrees", "timeline"),
        ),
        _ASIDE_OF_REPLAYS,
    ),
    "predictions": Station((*LINES, *PREDICTING, _SCORING), _ASIDE_OF_PREDICTIONS),
    "parents": Station((*LINES, *PREDICTING, _SCORING), _ASIDE_OF_PREDICTIONS),
    "performance": Station(
        (
            *LINES,
            *PREDICTING,
            "factory_assets.features.examples.subtree_rows",
            *_of("measures", "certainty", "limits"),
            "factory_assets.monitoring.performance.measured",
        ),
        _ASIDE_OF_PREDICTIONS,
    ),
    "outcomes": Station(
        (
            *LINES,
            *AGGREGATES,
            *PREDICTING,
            "factory_assets.features.examples.subtree_rows",
            "factory_assets.declarations.outcomes",
            *_of("monitoring.performance", "measured", "outcomes"),
        ),
        _but(_ASIDE_BESIDE_PERFORMANCE, "factory_assets.declarations.outcomes"),
    ),
    "estimates": Station(
        (
            *LINES,
            "factory_assets.declarations.days",
            *PREDICTING,
            "factory_assets.features.examples.subtree_rows",
            *_of("monitoring.estimates", "expected", "windows"),
            *_of("monitoring.performance", "losses", "measured"),
        ),
        _ASIDE_BESIDE_PERFORMANCE,
    ),
    "drift": Station(
        (
            *LINES,
            "factory_assets.declarations.days",
            *PREDICTING,
            "factory_assets.features.examples.subtree_rows",
            *_of("monitoring.drift", "days", "labels", "sliding", "table", "verdicts"),
        ),
        _ASIDE_OF_PREDICTIONS,
    ),
    "counts": Station(
        (
            *LINES,
            "factory_assets.declarations.days",
            "factory_assets.identity.nodes",
            "factory_assets.monitoring.charts.counts",
        ),
        _ASIDE_OF_LINES,
    ),
    "monitors": Station(
        (
            *LINES,
            "factory_assets.declarations.days",
            "factory_assets.identity.nodes",
            *_of("measures", "metrics", "tables"),
            *_of("monitoring", "monitors", "schemas"),
            *_of("monitoring.charts", "control", "counts"),
            *_of("monitoring.performance", "losses", "released"),
        ),
        _ASIDE_OF_LINES | {"factory_assets.monitoring.drift.days": "makes another table"},
    ),
    "serving": Station(
        (
            *VIEWS,
            *_of("declarations", "days", "serving"),
            *_of("serving", "export", "stores"),
            *_of("serving.stores", "base", "postgres", "redis"),
        ),
        _ASIDE_OF_VIEWS,
    ),
}


def aside(module: str, station: str = "") -> bool:
    """Whether a module, or the room that it is in, decides no value: of a station, or of any."""
    rooms = [module.rsplit(".", places)[0] for places in range(module.count(".") + 1)]
    all_aside = {*ASIDE, *(STATIONS[station].aside if station else ())}
    return any(room in all_aside for room in rooms)
