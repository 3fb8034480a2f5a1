"""What does the webserver tell somebody who did not log in, and what can he start? Asked of a real one, in a deployment of its own.

The server has no login: whoever reaches it may ask all that its GraphQL has. So what it has holds no secret, and no launch says
where anything is read or written.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from tests.governor.processes import BIN, ROOT, Daemon, database, until
from tests.governor.world import ORDERS_CONTRACT, SMALL, day, orders_of
from tests.line.world import Home
from tests.stations import csv

pytestmark = pytest.mark.slow

#: Days that were made before anybody asks.
DAYS = 12
#: So deep goes what is asked of fields of the root: of those where much is shown, and of the others.
DEEP, SHALLOW = 3, 1
SHOP = """
---
type: factory_assets.components.EventStream
attributes:
  name: shop
  owner: team:web
  description: Sales of the shop, from its database.
  source: {kind: postgres, url: "{{ env.SHOP_URL }}", table: sales}
  id: id
  event_time: at
  start: 2026-01-01
  contract: shop.yaml
"""
#: Fields of the root whose answers are long: where people look at resources, launchpads, runs, their logs, and assets.
LARGE = {
    "allTopLevelResourceDetailsOrError", "assetOrError", "instance", "logsForRun", "pipelineOrError", "runConfigSchemaOrError",
    "runOrError", "runsOrError", "sensorsOrError", "workspaceOrError",
}  # fmt: skip
KINDS = """query { __schema { queryType { name } types { name kind possibleTypes { name }
  fields(includeDeprecated: true) { name args { name defaultValue type { ...T } } type { ...T } } } } }
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }"""
LAUNCH = """mutation L($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } } }"""
CONFIGURED = """query C($s: PipelineSelector!) { runConfigSchemaOrError(selector: $s) { __typename ... on RunConfigSchema {
  rootDefaultYaml rootConfigType { key } allConfigTypes { key __typename
    ... on CompositeConfigType { fields { name isRequired configTypeKey } } } } ... on PythonError { message } } }"""


@dataclass
class Served:
    """A webserver, and what was put into its environment that nobody may read."""

    url: str
    instance: dg.DagsterInstance
    hidden: dict[str, str]
    folder: Path

    def ask(self, query: str, variables: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """The answer as text, and as an object."""
        asked = json.dumps({"query": query, "variables": variables or {}}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", asked, {"content-type": "application/json"})
        try:
            text = urllib.request.urlopen(request, timeout=300).read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        return text, json.loads(text)

    def data(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        text, answer = self.ask(query, variables)
        assert "errors" not in answer, text[:2000]
        return answer["data"]

    def told(self, text: str) -> list[str]:
        """Names of the secrets that a text holds."""
        return [name for name, secret in self.hidden.items() if secret in text]


@pytest.fixture(scope="module")
def served(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("webserver")
    hidden = {name: f"{name}-{secrets.token_hex(8)}" for name in ("ledger", "storage", "shop", "bucket", "token")}

    def with_password(name: str) -> str:
        url = sa.make_url(database(postgres_url, f"web_{name}"))
        return url.set(password=hidden[name]).render_as_string(hide_password=False)

    declare(folder)
    environment = {
        "FACTORY_DEFS": str(folder / "defs"), "FACTORY_LEDGER": with_password("ledger"), "FACTORY_THREADS": "1",
        "DAGSTER_HOME": str(folder / "dagster"), "DAGSTER_POSTGRES": with_password("storage"),
        "SHOP_URL": f"postgresql://shop:{hidden['shop']}@127.0.0.1:1/shop", "AWS_SECRET_ACCESS_KEY": hidden["bucket"],
        "MLFLOW_TRACKING_TOKEN": hidden["token"], "PATH": f"{BIN}:{os.environ['PATH']}",
    }  # fmt: skip
    home = Home(folder, folder / "defs", environment)
    # What runs have noted, shown and logged is asked for as well. The shop's database does not answer.
    made = subprocess.run(
        [str(BIN / "factory"), "run", "--until", str(day(DAYS - 1))], env=home.environment, cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip
    assert made.returncode == 1 and "shop" in made.stdout, made.stdout + made.stderr
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.get() as instance:
            processes = Daemon(home, instance)
            with socket.socket() as one, socket.socket() as other:
                one.bind(("127.0.0.1", 0))
                other.bind(("127.0.0.1", 0))
                processes.port, port = one.getsockname()[1], other.getsockname()[1]
            where = {"host": "127.0.0.1", "port": processes.port, "location_name": "model_factory"}
            processes.workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": where}]}))
            try:
                processes.start_code_server()
                processes.spawn(
                    "webserver", "dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(processes.workspace)
                )
                url = f"http://127.0.0.1:{port}"
                until(lambda: answers(f"{url}/server_info"), 180, "the webserver answers")
                yield Served(url, instance, hidden, folder)
            finally:
                processes.stop()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def declare(folder: Path) -> None:
    """The small world, a stream from a database, and Dagster's instance of deploy/, whose database the environment names."""
    (folder / "feed").mkdir()
    (folder / "defs").mkdir()
    (folder / "dagster").mkdir()
    (folder / "defs" / "defs.yaml").write_text(SMALL.replace("FEED", str(folder / "feed")) + SHOP)
    (folder / "defs" / "orders.yaml").write_text(ORDERS_CONTRACT)
    (folder / "defs" / "shop.yaml").write_text("columns: {id: {type: integer}, at: {type: timestamp}}\n")
    for offset in range(DAYS):
        (folder / "feed" / f"orders-{day(offset)}.csv").write_text(csv(orders_of(day(offset))))
    settings = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    settings["storage"]["custom"]["config"] = {"postgres_url": {"env": "DAGSTER_POSTGRES"}}
    (folder / "dagster" / "dagster.yaml").write_text(yaml.safe_dump(settings))


class Schema:
    """Queries for all that a GraphQL server has."""

    def __init__(self, told: Mapping[str, Any], arguments: Mapping[str, str]):
        self.kinds = {each["name"]: each for each in told["types"]}
        self.root, self.arguments = told["queryType"]["name"], arguments
        #: Fields whose resolver fails: their error would leave out what stands around them.
        self.failing: set[str] = set()

    def fields(self, kind: str) -> list[dict[str, Any]]:
        return self.kinds[kind]["fields"] or []

    def selected(self, kind: str, deep: int) -> str:
        """All of a kind's fields, down to a depth; names of fields are unlike in each kind, as kinds may disagree on one."""
        found = self.kinds[kind]
        if found["kind"] in ("UNION", "INTERFACE"):
            parts = (f"... on {each['name']} {self.selected(each['name'], deep)}" for each in found["possibleTypes"])
            return "{ __typename " + " ".join(parts) + " }"
        chosen = (self.asked(kind, each, deep) for each in self.fields(kind))
        return "{ __typename " + " ".join(filter(None, chosen)) + " }"

    def place(self, argument: Mapping[str, Any]) -> str | None:
        """What is asked about: by the kind of an object that an argument takes, by the name of a text."""
        kind = bare(argument["type"])
        return self.arguments.get(kind["name"] if kind["kind"] == "INPUT_OBJECT" else argument["name"])

    def asked(self, kind: str, field: Mapping[str, Any], deep: int) -> str:
        """A field with its arguments; nothing where one is needed that is not here, or it lies too deep."""
        needed = {each["name"]: self.place(each) for each in field["args"] if each["type"]["kind"] == "NON_NULL"}
        if None in needed.values() or f"{kind}_{field['name']}" in self.failing:
            return ""
        given = f"({', '.join(f'{name}: {place}' for name, place in needed.items())})" if needed else ""
        name, inner = field["name"], bare(field["type"])
        if inner["kind"] in ("SCALAR", "ENUM"):
            return f"{kind}_{name}: {name}{given}"
        return f"{kind}_{name}: {name}{given} {self.selected(inner['name'], deep - 1)}" if deep else ""


def bare(kind: Mapping[str, Any]) -> Mapping[str, Any]:
    while kind.get("ofType"):
        kind = kind["ofType"]
    return kind


@dataclass(frozen=True)
class There:
    """What a deployment has that can be asked about."""

    jobs: list[str]
    sensors: list[str]
    schedules: list[str]
    assets: list[list[str]]
    runs: list[str]

    def arguments(self, number: int) -> dict[str, str]:
        """The n-th of each kind, as GraphQL writes it."""
        where = 'repositoryLocationName: "model_factory", repositoryName: "__repository__"'
        job, sensor, schedule, run = (
            names[number % len(names)] for names in (self.jobs, self.sensors, self.schedules, self.runs)
        )
        asset = json.dumps(self.assets[number % len(self.assets)])
        return {
            "RepositorySelector": f"{{{where}}}", "PipelineSelector": f'{{{where}, pipelineName: "{job}"}}',
            "JobOrPipelineSelector": f'{{{where}, pipelineName: "{job}"}}', "AssetKeyInput": f"{{path: {asset}}}",
            "SensorSelector": f'{{{where}, sensorName: "{sensor}"}}', "ScheduleSelector": f'{{{where}, scheduleName: "{schedule}"}}',
            "InstigationSelector": f'{{{where}, name: "{sensor}"}}', "runId": f'"{run}"', "repositoryName": '"__repository__"',
            "repositoryLocationName": '"model_factory"', "name": '"model_factory"', "mode": '"default"', "assetKeys": "[]",
            "limit": "9",
        }  # fmt: skip


def there(served: Served) -> There:
    (found,) = served.data(
        """{ repositoriesOrError { ... on RepositoryConnection { nodes { pipelines { name } sensors { name } schedules { name }
             assetNodes { assetKey { path } } } } } }"""
    )["repositoriesOrError"]["nodes"]
    runs = served.data("{ runsOrError { ... on Runs { results { runId } } } }")["runsOrError"]["results"]
    names = ([each["name"] for each in found[kind]] for kind in ("pipelines", "sensors", "schedules"))
    return There(*names, [each["assetKey"]["path"] for each in found["assetNodes"]], [each["runId"] for each in runs])


def answers_of(served: Served, schema: Schema, field: Mapping[str, Any]) -> Iterator[str]:
    """What the server says of a field of the root, and again without those that failed inside it, until nothing does."""
    while asked := schema.asked(schema.root, field, DEEP if field["name"] in LARGE else SHALLOW):
        text, answer = served.ask(f"query {{ {asked} }}")
        yield text
        if not (errors := answer.get("errors", [])):
            return
        failed = {[step for step in each["path"] if isinstance(step, str)][-1] for each in errors}
        assert not failed & schema.failing
        schema.failing |= failed


def test_nothing_that_can_be_asked_holds_a_secret(served: Served) -> None:
    told, known = served.data(KINDS)["__schema"], there(served)
    failing: set[str] = set()
    answered: dict[str, int] = {}
    found = []
    for number in range(max(len(known.jobs), len(known.runs), len(known.sensors), len(known.schedules))):
        schema = Schema(told, known.arguments(number))
        schema.failing = failing
        for field in schema.fields(schema.root):
            of_something = any(each["type"]["kind"] == "NON_NULL" for each in field["args"])
            if number and not (of_something and field["name"] in LARGE):
                continue  # It asks about nothing in particular, and was asked before.
            for text in answers_of(served, schema, field):
                answered[field["name"]] = answered.get(field["name"], 0) + len(text)
                found += [(field["name"], name) for name in served.told(text)]
    assert found == []
    assert {name for name in LARGE if answered.get(name, 0) > 2_000} == LARGE, answered


def launched(served: Served, job: str, config: Mapping[str, Any]) -> dict[str, Any]:
    selector = {"repositoryLocationName": "model_factory", "repositoryName": "__repository__", "pipelineName": job}
    asked = {"selector": selector, "mode": "default", "runConfigData": config}
    return served.data(LAUNCH, {"p": asked})["launchPipelineExecution"]


def test_no_launch_says_where_anything_is_read_or_written(served: Served) -> None:
    elsewhere = served.folder / "elsewhere"
    attacks = {
        "lake": {"root": str(elsewhere), "storage_options": {"a": "b"}}, "ledger": {"url": f"sqlite:///{elsewhere}/ledger.db"},
        "archive": {"root": str(elsewhere)}, "reports": {"root": str(elsewhere)}, "issues": {"url": f"sqlite:///{elsewhere}/i.db"},
        "mirror": {"uri": "http://127.0.0.1:9/latest/meta-data"}, "io_manager": {"base_dir": str(elsewhere)},
    }  # fmt: skip
    before = served.instance.get_runs_count()
    for job, (name, config) in itertools.product(there(served).jobs, attacks.items()):
        for given in ({"config": config}, config):
            answer = launched(served, job, {"resources": {name: given}})
            assert answer["__typename"] == "RunConfigValidationInvalid", (job, name, answer)
            assert any(name in each["message"] for each in answer["errors"]), (job, name, answer)
    assert served.instance.get_runs_count() == before and not elsewhere.exists()
    fine = {"line": "guess", "node": "global", "why": "fine", "by": "ana"}
    taken = launched(served, "rollback", {"ops": {"roll_champion_back": {"config": fine}}})
    assert taken["__typename"] == "LaunchRunSuccess", "what is refused above is the place alone"


def test_no_job_has_a_field_for_a_place(served: Served) -> None:
    for job in there(served).jobs:
        selector = {"repositoryLocationName": "model_factory", "repositoryName": "__repository__", "pipelineName": job}
        schema = served.data(CONFIGURED, {"s": selector})["runConfigSchemaOrError"]
        kinds = {
            each["key"]: {one["name"]: one["configTypeKey"] for one in each.get("fields", [])}
            for each in schema["allConfigTypes"]
        }
        resources = kinds[kinds[schema["rootConfigType"]["key"]]["resources"]]
        assert {"lake", "ledger", "archive", "reports", "mirror", "io_manager"} <= {*resources}
        assert [name for name, kind in resources.items() if kinds[kinds[kind]["config"]]] == [], job
