"""Is what the documentation says so: links, YAML, commands, fields, files?

A YAML block whose first line is `# folder/file.yaml` belongs to that folder, and `factory check` accepts the folders of each page. A
block `yaml fragment=ModelLine` is a part of such a declaration. Commands are the lines of `sh` blocks, and those of `console` blocks
behind a `$`; on a home of the demo each ends well, or as ENDS_OTHERWISE says.
"""

import ast
import datetime as dt
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest
import typer
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from factory_assets import deployment
from factory_assets.cli import app
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.expressions import AGGREGATES, FUNCTIONS, TYPES
from factory_assets.declarations.line import Line
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.tasks import BUILT_IN, METRICS
from factory_assets.declarations.view import View
from factory_assets.events.sources import SOURCES
from factory_assets.release.request import Request
from factory_assets.release.rollback import roll_back
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import BrokenRule, Issues
from tests.line.world import Home
from tests.line.world import declare as declare_demo

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]
COMMANDS, DECLARATIONS, CONTRIBUTING = (
    ROOT / "docs" / f"{name}.md" for name in ("commands", "declarations", "contributing")
)
#: Lines that README.md may have: it says what there is and how to begin.
LONGEST_README = 150

#: What is no command of ours, by how it begins -> where it is tried.
OTHERS = {
    "make run": "a set-up, and `factory run`, which is run here",
    "make live": "as the others, and `factory demo`, which is tried in tests/commands",
    "make ui": "a server that does not end; tests/governor/test_daemon.py runs one",
    "make test": "this",
    "make lint": "part of `make test`",
    "make test-slow": "tests that take minutes",
    "make test-longest": "tests that take longest",
    "make test-dagster": "installs another Dagster",
    "make test-mlflow": "installs a server",
    ".venv/bin/pip install": "installs; that the extras exist is tested here",
    ".venv/bin/python docs/pictures.py": "needs a browser",
    "docker compose -f deploy/compose.yaml": "needs Docker; tests/test_deploy.py reads the file",
    "dg dev": "a server that does not end",
    "dagster asset materialize": "tests/governor runs what `factory due --json` prints",
    "dagster definitions validate": "Dagster's own",
    "dg list defs": "Dagster's own",
    "dg check": "Dagster's own; deploy/ci runs it",
    "export VISITS=": "the files are made here",
}
#: Commands that do not end with 0 on the demo -> exit code, part of what they print, and why.
ENDS_OTHERWISE = {
    "factory mirror --to http://127.0.0.1:5000": (1, "http://127.0.0.1:5000", "no server is there"),
    "factory mirror delivery_time --to http://127.0.0.1:5000": (1, "http://127.0.0.1:5000", "no server is there"),
    "factory status": (1, "unanswered", "a challenger waits for approval where nobody answers"),
    "factory status --line delivery_time --all": (1, "alarm", "the small demo's labels drift"),
    "factory status --page": (1, "fleet.html", "as the others"),
    "factory status --json": (1, '"health": "unanswered"', "as the others"),
}
#: Declarations in whose place a fragment stands: all that is required, and nothing else.
WHOLE: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "ModelLine": (
        Line,
        {
            "name": "a", "owner": "team:a", "description": "A.", "task": "regression", "observe": {"stream": "s"},
            "label": {"expression": "y"}, "features": ["x"], "train": {"window": "28d", "holdout": "7d"},
            "candidates": {"constant": {"estimator": "constant"}},
        },
    ),
    "FeatureView": (
        View,
        {
            "name": "a", "stream": "s", "entity": "e", "owner": "team:a", "description": "A.", "windows": ["1d"],
            "features": {"n": "count()"},
        },
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. info: what stands behind the fence, such as `yaml fragment=ModelLine`."""

    page: Path
    info: str
    text: str

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    found = re.findall(r"^```([^\n]*)\n(.*?)^```\s*?$", page.read_text(), re.MULTILINE | re.DOTALL)
    return tuple(Block(page, info.strip(), text) for info, text in found)


def of_language(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


@cache
def prose(page: Path) -> str:
    """The page without its fenced and indented blocks."""
    text = re.sub(r"^```.*?^```\s*?$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        found.add(plain if plain not in found else f"{plain}-1")
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    without_code = re.sub(r"`[^`]*`", "", prose(page))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_of_the_documentation_is_reached_from_the_readme() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in PAGES[0].read_text()


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= LONGEST_README


def folders(page: Path) -> dict[str, list[str]]:
    """File, such as churn/defs.yaml -> the documents that the page's blocks put into it."""
    found: dict[str, list[str]] = {}
    for block in blocks(page):
        named = re.match(r"# (\w+/\w+\.yaml)\n", block.text)
        if block.language == "yaml" and named:
            found.setdefault(named[1], []).append(block.text)
    return found


def declare(page: Path, root: Path) -> set[Path]:
    """Write the page's declarations, and return their folders."""
    for file, documents in folders(page).items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("---\n".join(documents))
    return {(root / file).parent for file in folders(page)}


@pytest.mark.parametrize("page", [page for page in PAGES if folders(page)], ids=name_of)
def test_every_declaration_passes_factory_check(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"env\.(\w+)", page.read_text()):
        monkeypatch.setenv(name, "/data")
    for folder in declare(page, tmp_path):
        told = CliRunner().invoke(app, ["check", str(folder)])
        assert told.exit_code == 0, told.output


@pytest.mark.parametrize("block", of_language("yaml"), ids=lambda block: f"{name_of(block.page)}-{block.text[:20]!r}")
def test_every_yaml_block_is_a_file_of_declarations_or_a_fragment_of_one(block: Block) -> None:
    kind = block.info.partition("fragment=")[2]
    if not kind:
        assert re.match(r"# \w+/(defs|contract)\.yaml\n", block.text), "neither a file nor a fragment"
        return
    model, whole = WHOLE[kind]
    model.model_validate(whole | yaml.safe_load(block.text))


@pytest.mark.parametrize("block", of_language("python"), ids=lambda block: f"{name_of(block.page)}-{block.text[:20]!r}")
def test_every_python_block_can_be_parsed(block: Block) -> None:
    ast.parse(block.text)


def declared_fields(model: type[BaseModel]) -> Iterator[str]:
    """Names of a declaration's fields, and of those inside them, as YAML has them."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in models_in(field.annotation):
            yield from declared_fields(inner)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models_in(argument)


@pytest.mark.parametrize("model", [Stream, Contract, View, OnDemandView, Line], ids=lambda model: model.__name__)
def test_every_field_of_the_language_is_described(model: type[BaseModel]) -> None:
    text = prose(DECLARATIONS) + prose(ROOT / "docs" / "serving.md")
    described = {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", span)}
    assert sorted(set(declared_fields(model)) - described - {"kind"}) == []


def spans(page: Path) -> set[str]:
    """Words of a page that stand as code."""
    return {word for span in re.findall(r"`([^`]+)`", prose(page)) for word in re.findall(r"[\w.]+", span)}


def test_what_a_declaration_may_choose_from_is_listed() -> None:
    text = DECLARATIONS.read_text()
    functions = set(re.findall(r"\w+", text.partition("and these functions:")[2]))
    # Of these the page speaks as operators.
    assert sorted(FUNCTIONS - functions - {"case", "in", "between", "interval"}) == []
    assert sorted(TYPES - {word.upper() for word in functions}) == []
    assert sorted(set(AGGREGATES) - set(re.findall(r"(\w+)\(", text))) == []
    assert sorted(set(BUILT_IN) - spans(ROOT / "docs" / "models.md")) == []
    assert sorted({name for names in METRICS.values() for name in names} - set(re.findall(r"\w+", text))) == []
    assert sorted(set(SOURCES) - set(re.findall(r"kind: (\w+)", text))) == []


def test_every_variable_of_the_environment_is_listed() -> None:
    known = set(re.findall(r"FACTORY_[A-Z_]*[A-Z]", Path(deployment.__file__).read_text())) | {"FACTORY_USER"}
    assert sorted(known - spans(ROOT / "docs" / "running.md")) == []


def commands_of(block: Block) -> list[str]:
    """The commands of a block, without their comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    # A comment begins where a word would.
    return [plain for line in lines if (plain := re.sub(r"(^|\s)#.*$", "", line).strip())]


DOCUMENTED = list(dict.fromkeys(command for block in of_language("sh", "console") for command in commands_of(block)))


def is_ours(command: str) -> bool:
    return "factory " in command and not other(command)


def other(command: str) -> str | None:
    """The entry of OTHERS that a command falls under."""
    plain = re.sub(r"^(\w+=\S+ )+", "", command)
    return max((begin for begin in OTHERS if plain.startswith(begin)), key=len, default=None)


def tree(command: click.Command, *path: str) -> dict[tuple[str, ...], click.Command]:
    if not hasattr(command, "commands"):
        return {path: command}
    return {key: inner for name, sub in command.commands.items() for key, inner in tree(sub, *path, name).items()}


KNOWN = tree(typer.main.get_command(app))


def found(words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The command that words name, and its arguments."""
    place = next((tuple(words[:length]) for length in (2, 1) if tuple(words[:length]) in KNOWN), ())
    return place, list(words[len(place) :])


def test_every_command_in_a_block_is_ours_or_on_the_list_and_the_list_has_no_other() -> None:
    assert [command for command in DOCUMENTED if not is_ours(command) and not other(command)] == []
    assert set(OTHERS) == {other(command) for command in DOCUMENTED} - {None}
    assert set(ENDS_OTHERWISE) <= set(DOCUMENTED)


@pytest.mark.parametrize("command", [command for command in DOCUMENTED if is_ours(command)])
def test_every_command_of_ours_has_the_options_that_the_documentation_gives_it(command: str) -> None:
    inner = re.sub(r"^.*\$\((.*)\)$", r"\1", command)
    words = shlex.split(inner)
    place, arguments = found(words[words.index("factory") + 1 :])
    assert place, f"there is no such command; commands: {', '.join(map(' '.join, KNOWN))}"
    KNOWN[place].make_context(" ".join(place), arguments)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_named_in_a_sentence_exists(page: Path) -> None:
    named = re.findall(r"`factory ([a-z][^`]*)`", prose(page))
    groups = {place[0] for place in KNOWN if len(place) == 2}
    unknown = [text for text in named if not found(text.split())[0] and text not in groups]
    assert [text for text in unknown if not text.startswith("COMMAND")] == []


@pytest.mark.parametrize("place", KNOWN, ids=" ".join)
def test_every_command_has_a_section_with_all_of_its_options(place: tuple[str, ...]) -> None:
    sections = re.split(r"^### ", COMMANDS.read_text(), flags=re.MULTILINE)
    own = next((each for each in sections if each.partition("\n")[0] == f"factory {' '.join(place)}"), None)
    assert own, f"{name_of(COMMANDS)} has no section `### factory {' '.join(place)}`"
    options = [option for parameter in KNOWN[place].params for option in parameter.opts if option.startswith("--")]
    assert [option for option in options if option not in own and option != "--help"] == []


def test_every_file_that_a_change_touches_is_there() -> None:
    named = re.findall(
        r"`((?:factory_assets|factory_resources|tests|docs|benchmarks|deploy)/[^`<]*)`", CONTRIBUTING.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_extra_that_is_named_exists() -> None:
    import tomllib

    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for page in PAGES for extra in re.findall(r"-e '\.\[(\w+)\]'", page.read_text())}
    assert named <= set(known)


#: The moment at which the commands are run: the demo in small is over, and so are the visits.
NOW = dt.datetime(2026, 4, 2, 1, tzinfo=dt.UTC)

#: Nodes of which the pages take a champion back, or tag it. In the demo they have one; of the small one that is not sure.
NODES = ("DE", "FR", "DE/Hamburg")


def visits(folder: Path) -> None:
    """Three months of visits to the shop of README.md, until yesterday; some customers come often, others seldom."""
    folder.mkdir()
    with duckdb.connect(":memory:") as con:
        con.execute(
            f"""COPY (SELECT row_number() OVER () AS visit_id, customer_id,
                             day + to_seconds(hash(customer_id, day) % 86000) AS visited_at,
                             CAST(5 + hash(day, customer_id) % 40 AS DOUBLE) AS amount
                      FROM range(150) AS c(customer_id),
                           range(TIMESTAMP '2026-01-01', TIMESTAMP '{NOW:%Y-%m-%d}', INTERVAL 1 DAY) AS d(day)
                      WHERE hash(customer_id, day, 7) % 100 < 3 + customer_id % 30)
                TO '{folder}/visits.parquet' (FORMAT parquet)"""
        ).fetchall()
        con.execute(
            f"COPY (FROM '{folder}/visits.parquet' WHERE visited_at < TIMESTAMP '2026-02-01') TO '{folder}/visits.csv'"
        ).fetchall()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The demo in small after a run, in whose second line a challenger waits for approval; an issue; and a working folder."""
    root = tmp_path_factory.mktemp("documented")
    declarations = declare_demo(root / "marketplace")
    text = (declarations / "defs.yaml").read_text()
    assert "floor: 0.5}" in text
    (declarations / "defs.yaml").write_text(text.replace("floor: 0.5}", "floor: 0.5, approval: true}"))
    declare(PAGES[0], root)
    contract = (root / "churn" / "contract.yaml").read_text()
    (root / "contract.new.yaml").write_text(contract.replace("min: 0", "min: 1").replace("version: 1", "version: 2"))
    visits(root / "visits")
    (root / "clock").write_text(NOW.isoformat())
    (root / "factory_assets").symlink_to(ROOT / "factory_assets")
    home = Home(
        root / "home",
        declarations,
        {
            "FACTORY_DEFS": str(declarations), "FACTORY_CLOCK": str(root / "clock"), "VISITS": str(root / "visits"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "FACTORY_USER": "docs",
        },
    )  # fmt: skip
    home.run()
    ledger, lake = Ledger(url=f"sqlite:///{home.folder / 'ledger.db'}"), Lake(root=str(home.folder / "lake"))
    for node in NODES:
        if node not in ledger.champions("delivery_time"):
            newest = [known.version for known in ledger.versions("delivery_time") if known.node == node][-1]
            roll_back(ledger, lake, Request("delivery_time", node, "the pages speak of it", "a test"), to=newest)
    day = dt.date(2026, 3, 1)
    Issues(url=f"sqlite:///{home.folder / 'ledger.db'}").note(
        "orders",
        "team:marketplace",
        [day],
        {day: [BrokenRule("number of rows", "volume", "12, expected at least 100")]},
    )
    return home


@pytest.mark.longest
def test_every_command_ends_as_documented(demo: Home) -> None:
    bash = shutil.which("bash")
    assert bash
    wrong = []
    for command in DOCUMENTED:
        if not is_ours(command):
            continue
        code, told, _ = ENDS_OTHERWISE.get(command, (0, "", ""))
        ended = subprocess.run(
            [bash, "-c", command],
            cwd=demo.folder.parent,
            env=demo.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        output = ended.stdout + ended.stderr
        if ended.returncode != code or told not in output or "Traceback" in output:
            wrong.append(f"$ {command}\nended with {ended.returncode}, not {code}:\n{output[-1500:]}")
    assert not wrong, "\n\n".join(wrong)
