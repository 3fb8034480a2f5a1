"""Does a link lead to a launchpad that is filled in, in the code location that there is?"""

import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml
from markdown_it import MarkdownIt

from factory_assets.definitions import defs
from factory_assets.launching import LOCATION, launchpad, link
from factory_assets.loading import DECIDE
from tests.pages.test_document import HOSTILE

REPOSITORY = Path(__file__).parents[1]


def test_a_link_fills_in_what_its_job_takes() -> None:
    asked = {"line": "delivery_time", "node": "FR/Lyon", "why": 'Straße: "#1" & more', "by": "", "version": "abc"}
    text, _, address = str(launchpad("rollback", "roll_champion_back", asked).value).removesuffix(")").partition("](")
    assert text == "[fill in and launch: rollback" and not set(address) & set("() \n")
    parts = urlsplit(address)
    assert parts.path == f"/locations/{LOCATION}/jobs/rollback/playground/setup"
    (filled,) = parse_qs(parts.query)["config"]
    assert yaml.safe_load(filled) == {"ops": {"roll_champion_back": {"config": asked}}}


@pytest.mark.parametrize("node", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_link_is_one_link_whatever_it_fills_in(node: str) -> None:
    name = node.replace("\ud800", "lone ")
    (paragraph,) = [
        each for each in MarkdownIt().parse(link("Take it back", "rollback", "op", {"node": name})) if each.children
    ]
    opened, text, closed = paragraph.children or ()
    assert (opened.type, text.content, closed.type) == ("link_open", "Take it back", "link_close")
    (filled,) = parse_qs(urlsplit(str(opened.attrs["href"])).query)["config"]
    assert yaml.safe_load(filled)["ops"]["op"]["config"]["node"] == name


def test_links_name_jobs_ops_and_the_location_that_there_are() -> None:
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())
    assert workspace["load_from"][0]["python_module"]["location_name"] == LOCATION
    assert (
        tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]["code_location_name"]
        == LOCATION
    )
    definitions = defs()
    linked = [
        ("rollback", "roll_champion_back"), ("approve", "approve_challenger"), ("issue", "decide_issue"),
        ("contract_patch", "suggest_patch"), ("quarantine_release", "release_rows"), ("retrain", "train_nodes"),
    ]  # fmt: skip
    for job, op in linked:
        assert [node.name for node in definitions.resolve_job_def(job).nodes] == [op]


def test_pages_follow_every_job_by_which_people_decide_without_being_switched_on() -> None:
    (sensor,) = [each for each in defs().sensors or () if each.name == "follow_people"]
    assert isinstance(sensor, dg.RunStatusSensorDefinition) and sensor.default_status == dg.DefaultSensorStatus.RUNNING
    asked = {each.name for each in defs().jobs or () if {"line", "stream"} & _fields(each)}
    # A patch is shown, and decides nothing; the last two are there for the deployment.
    assert {*DECIDE} == asked - {"contract_patch", "retrain", "quarantine_release"}


def _fields(job: object) -> set[str]:
    """What a launch of the job says."""
    assert isinstance(job, dg.JobDefinition)
    schemas = [
        node.definition.config_schema.config_type for node in job.nodes if isinstance(node.definition, dg.OpDefinition)
    ]
    return {name for each in schemas for name in getattr(each, "fields", ())}
