"""How do those who look for models in MLflow find the factory's there? The ledger, copied to a tracking server after the fact.

A line knows nothing of it. What the server has is asked of the server, by the tag `factory.version`, and nothing is noted here:
a server that was down is caught up with, one that was wiped is filled again, and a mirror that was killed goes on.
"""

import datetime as dt
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from factory_resources.ledger import EvaluationRecord, Ledger, VersionRecord
from factory_resources.markdown import literal
from factory_resources.records.decisions import in_words
from factory_resources.records.tags import CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import RegisteredModel

VERSION, MEASURED = "factory.version", "factory.measured"
#: Read by the client when it is imported, and at each request. Unasked it would wait for minutes for a server that is down.
SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
#: MLflow's own limits: parameters in a request, entries on a page.
BATCH, PAGE = 100, 1000


class MirrorFailed(Exception):
    """The server could not be brought up to date; the message says which, and why."""


@dataclass(frozen=True)
class Mirrored:
    """What of a line was new to the server."""

    line: str
    runs: int
    versions: int
    aliases: int


@dataclass(frozen=True)
class MlflowMirror:
    """A tracking server with its model registry, to which the ledger is mirrored.

    uri: address of the server, http://host:5000 or https://…; empty, where there is none.
    """

    uri: str

    @property
    def address(self) -> str:
        """The URI without user and password."""
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def bring_up_to_date(self, ledger: Ledger, lines: Sequence[str] = ()) -> Iterator[Mirrored]:
        """Tell the server what it does not know yet of these lines, or of all; what was new, line by line.

        A line is an experiment, a version a run, a node a registered model `line.node`, whose alias `champion` is at the
        node's own champion, and nowhere while an ancestor answers. Tags are aliases too; those that the ledger never knew stay.

        Raises MirrorFailed where the server does not answer or refuses, and where the extra `mlflow` is not installed.
        """
        client = self._client()
        for line in lines or ledger.lines():
            with self._speaking():
                mirrored = _mirror(client, ledger, line)
            yield mirrored

    def _client(self) -> "MlflowClient":
        if not re.match(r"https?://.", self.uri):
            raise MirrorFailed(
                f"{self.address!r} is no address of a server; FACTORY_MLFLOW, or --to, is one such as http://host:5000"
            )
        os.environ.update(SWITCHES)
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError:
            raise MirrorFailed(
                "MLflow's client is not installed; it is the extra `mlflow`, as in: pip install -e '.[mlflow]'"
            ) from None
        return MlflowClient(self.uri, self.uri)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            message = " ".join(str(_reason(error)).replace(self.uri, self.address).split())
            raise MirrorFailed(f"MLflow at {self.address} was not brought up to date: {message[:500]}") from error


def _mirror(client: "MlflowClient", ledger: Ledger, line: str) -> Mirrored:
    measured, runs, written = ledger.evaluated(line), dict[str, str](), 0
    experiment = _experiment(client, line)
    runs_there = _runs(client, experiment)
    # A record is kilobytes: only those of versions that the server does not know, or not to the end, are read.
    for _, _, version in ledger.identities(line):
        of_version, run = measured.get(version, []), runs_there.get(version)
        if run is None or not _is_told(run, of_version):
            runs[version] = _run(client, experiment, ledger.version(line, version), of_version, run)
            written += 1
        else:
            runs[version] = str(run.info.run_id)
    models = _models(client, line)
    numbers = _numbers(client, line)
    new = [version for version in runs if version not in numbers]
    for version in new:
        record = ledger.version(line, version)
        name = model_name(line, record.node)
        if name not in models:
            models[name] = client.create_registered_model(name, _of_node(record), literal(f"{line}, {record.node}"))
        numbers[version] = _number(client, name, record, runs[version])
    aliases = _aliases(client, ledger, line, models, numbers)
    return Mirrored(line, written, len(new), aliases)


def model_name(line: str, node: str) -> str:
    """The registered model of a node: FR/Lyon of eta -> eta.FR.Lyon. No two nodes share a name.

    MLflow takes neither / nor : in a name. A key holds % only before the two digits of a character that it cannot hold.
    """
    return f"{line}.{node.replace('.', '%2E').replace(':', '%3A').replace('/', '.')}"


def _experiment(client: "MlflowClient", line: str) -> str:
    found = client.get_experiment_by_name(line)
    if found is None:
        return str(client.create_experiment(line, tags={"factory.line": line}))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _runs(client: "MlflowClient", experiment: str) -> dict[str, "Run"]:
    """Version -> its run, deleted ones as well: these come back."""
    from mlflow.entities import ViewType

    found: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs([experiment], "", ViewType.ALL, PAGE, page_token=token)
        found |= {run.data.tags[VERSION]: run for run in page if VERSION in run.data.tags}
        if not (token := page.token):
            return found


def _is_told(run: "Run", measured: Sequence[EvaluationRecord]) -> bool:
    """Whether the server has all of a version's run."""
    finished = run.info.lifecycle_stage != "deleted" and run.info.status == "FINISHED"
    return finished and run.data.tags.get(MEASURED) == _state(measured)


def _state(measured: Sequence[EvaluationRecord]) -> str:
    return hashlib.sha256(json.dumps([[str(e.as_of), e.challenger, e.naive] for e in measured]).encode()).hexdigest()


def _run(
    client: "MlflowClient",
    experiment: str,
    record: VersionRecord,
    measured: Sequence[EvaluationRecord],
    run: "Run | None",
) -> str:
    """Write the version's run; its id."""
    if run is None:
        run = client.create_run(experiment, _ms(record.started_at), _tags(record), f"{record.node} {record.as_of}")
    elif run.info.lifecycle_stage == "deleted":
        client.restore_run(run.info.run_id)
    from mlflow.entities import Param

    own = str(run.info.run_id)
    params = [Param(_name(name), _text(value)) for name, value in _params(record).items()]
    client.log_batch(own, _metrics(record, measured), params[:BATCH])
    for start in range(BATCH, len(params), BATCH):
        client.log_batch(own, params=params[start : start + BATCH])
    # Last: a run that lacks them was not written to its end, and is written again.
    client.set_tag(own, MEASURED, _state(measured))
    client.set_terminated(own, "FINISHED", _ms(record.ended_at))
    return own


def _tags(record: VersionRecord) -> dict[str, str]:
    configuration = record.configuration
    tags = {
        VERSION: record.version,
        "factory.uuid": record.uuid,
        "factory.line": record.line,
        "factory.node": record.node,
        "factory.as_of": str(record.as_of),
        "factory.made_from": configuration.get("made_from"),
        "factory.configuration": configuration.get("id"),
        "factory.judged": record.judged,
        "factory.code": configuration.get("code"),
        "factory.libraries": configuration.get("libraries") and _text(configuration["libraries"]),
        "factory.archive": record.archive_uri,
        "factory.tables": _text(record.tables),
        "factory.owner": record.owner,
        "dagster.run_id": record.run_id,
        "mlflow.user": record.owner,
        "mlflow.note.content": configuration.get("choice"),
    }
    return {name: str(value) for name, value in tags.items() if value}


def _params(record: VersionRecord) -> dict[str, Any]:
    configuration, dates = record.configuration, ("train_from", "train_to", "holdout_from", "holdout_to")
    own = {name: getattr(record, name) for name in ("task", "estimator", "candidate", *dates, "rows", "positives")}
    own |= {name: configuration[name] for name in ("seed", "rounds", "features") if name in configuration}
    return {
        **configuration["params"],
        **configuration.get("options", {}),
        **{n: value for n, value in own.items() if value is not None},
    }


def _metrics(record: VersionRecord, measured: Sequence[EvaluationRecord]) -> list[Any]:
    """Of the training, once; of each holdout a point, as many days after the version was made as its `step`."""
    from mlflow.entities import Metric

    ended, points = _ms(record.ended_at), []
    for kind, values in (("train", record.metrics), ("validation", record.validation.get(record.candidate, {}))):
        points += [Metric(_name(f"{kind}.{name}"), value, ended, 0) for name, value in values.items()]
    for place, evaluation in enumerate(measured):
        # Of two evaluations as of one day the later one counts, as the server sees it by its time.
        at = _ms(dt.datetime.combine(evaluation.as_of, dt.time(), dt.UTC)) + place
        step = (evaluation.as_of - record.as_of).days
        for kind, values in (("holdout", evaluation.challenger), ("holdout.naive", evaluation.naive)):
            points += [Metric(_name(f"{kind}.{name}"), value, at, step) for name, value in values.items()]
    return points


def _models(client: "MlflowClient", line: str) -> dict[str, "RegisteredModel"]:
    found: dict[str, RegisteredModel] = {}
    token = None
    while True:
        page = client.search_registered_models(f"name LIKE '{line}.%'", PAGE, page_token=token)
        found |= {model.name: model for model in page}
        if not (token := page.token):
            return found


def _numbers(client: "MlflowClient", line: str) -> dict[str, str]:
    """Version -> its number in the registry."""
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name LIKE '{line}.%'", PAGE, page_token=token)
        # To LIKE an underscore is any character.
        own = [each for each in page if each.name.startswith(f"{line}.") and VERSION in each.tags]
        found |= {each.tags[VERSION]: str(each.version) for each in own}
        if not (token := page.token):
            return found


def _number(client: "MlflowClient", name: str, record: VersionRecord, run: str) -> str:
    # A server takes no path of another machine for a source; an address in an object store everybody can read.
    remote = "://" in record.archive_uri and not record.archive_uri.startswith("file:")
    source = record.archive_uri if remote else f"factory:///{record.line}/{record.version}"
    tags = {VERSION: record.version, "factory.archive": record.archive_uri}
    made = client.create_model_version(name, source, run, tags, await_creation_for=0)
    return str(made.version)


def _of_node(record: VersionRecord) -> dict[str, str]:
    return {"factory.line": record.line, "factory.node": record.node, "factory.owner": record.owner}


def _aliases(
    client: "MlflowClient",
    ledger: Ledger,
    line: str,
    models: Mapping[str, "RegisteredModel"],
    numbers: Mapping[str, str],
) -> int:
    """Put the aliases where the ledger has the champions and the tags; how many were moved."""
    decisions, moved = ledger.last_decisions(line), 0
    wanted: dict[str, dict[str, str | None]] = {node: {CHAMPION: last.champion} for node, last in decisions.items()}
    for each in ledger.last_taggings(line):
        wanted.setdefault(each.node, {})[each.tag] = each.version
    for node, aliases in wanted.items():
        name = model_name(line, node)
        if name not in models:
            continue
        for alias, version in aliases.items():
            number = numbers[version] if version else None
            if models[name].aliases.get(alias) != number:
                moved += 1
                if number is None:
                    client.delete_registered_model_alias(name, alias)
                else:
                    client.set_registered_model_alias(name, alias, number)
        decided = in_words(decisions[node]) if node in decisions else None
        if decided and models[name].tags.get("factory.decided") != decided:
            client.set_registered_model_tag(name, "factory.decided", decided)
    return moved


def _reason(error: BaseException) -> BaseException:
    """What lies behind an error of the client: of a connection, why there is none."""
    behind = error.__cause__ or error.__context__
    retried = behind.args[0] if behind is not None and behind.args else None
    return getattr(retried, "reason", None) or error


def _ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def _name(text: str) -> str:
    """MLflow's alphabet for names of parameters and metrics."""
    return re.sub(r"[^\w.\- /]", "_", text)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | dt.date) else json.dumps(value, default=str)
