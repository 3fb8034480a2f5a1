"""Does one archive say the same in a batch, in a request handler, and in a program that knows nothing of the factory's machinery?"""

import contextlib
import doctest
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pytest

from factory_assets.declarations.definitions import definitions
from factory_assets.features.online import Online, vectors
from factory_assets.features.point_in_time.tables import loader
from factory_assets.models import archived
from factory_assets.models.archived import ModelRefused, load
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.records.tags import Tagging
from tests.release.trained import LINE, TRAINED
from tests.stations import Station, day

SCORED = day(13)
PROGRAM = """
import json, sys
from factory_assets.models.archived import load
root, version = sys.argv[1:]
model = load(root, "greeted", version)
print(json.dumps([model.predict_one(row) for row in json.load(sys.stdin)]))
print(sorted({"dagster", "sqlalchemy", "deltalake", "matplotlib"} & set(sys.modules)))
"""

# The line that it loads from takes half a minute to be made.
pytestmark = pytest.mark.slow


def test_batch_request_and_import_give_equal_scores(trained_line: Station) -> None:
    station, root = trained_line, str(trained_line.folder / "archive")
    station.run(SCORED, assets=["greeted/predictions"])
    batch = station.lake.read(f"{LINE}/predictions", SCORED, SCORED)
    assert batch.num_rows > 50
    node = batch["node"][0].as_py()
    (version,) = set(batch.filter(pc.equal(batch["node"], node))["version"].to_pylist())
    # Of an order that another test has corrected, the events hold another version than was observed.
    corrected = {each["order_id"] for each in station.table("superseded", SCORED)}
    answered = [each for each in batch.to_pylist() if each["node"] == node]
    expected = {each["example_id"]: each["prediction"] for each in answered if each["example_id"] not in corrected}

    model = load(root, LINE, version)
    events = {each["order_id"]: each for each in station.table("events", SCORED) if each["order_id"] in expected}
    with duckdb.connect(":memory:") as con:
        # What the handler knows of features is what the archive tells it.
        online = Online(con, model.declared, SCORED, loader(station.lake, con))
        features = {number: online.features(event) for number, event in events.items()}
    assert {number: model.predict_one(row) for number, row in features.items()} == expected

    asked = json.dumps(list(features.values()))
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, root, version], input=asked, capture_output=True, text=True, check=True
    )
    scores, imported = told.stdout.splitlines()
    assert dict(zip(features, json.loads(scores), strict=True)) == expected
    assert imported == "[]"


def test_the_examples_of_a_server_s_functions_run(trained_line: Station, tmp_path: Path) -> None:
    station = trained_line
    (tmp_path / "LAKE").symlink_to(station.folder)
    version = station.deployment.ledger.versions(LINE)[-1].version
    given = {
        "event": station.table("events", SCORED)[0], "lake": station.lake, "loader": loader,
        "model": load(str(station.folder / "archive"), LINE, version),
    }  # fmt: skip
    with contextlib.chdir(tmp_path):
        for module in (archived, vectors):
            found = doctest.testmod(module, extraglobs=given)
            assert found.attempted > 2 and not found.failed


def test_an_archive_says_what_its_features_mean_and_who_answered_before_it(trained_line: Station) -> None:
    station, root = trained_line, str(trained_line.folder / "archive")
    ledger = station.deployment.ledger
    declared = station.catalogue.resolve(station.catalogue.lines[LINE])
    # Other tests train as of the second and the last day once more, and let archives of theirs be made anew.
    first, third = (ledger.versions(LINE, "Lyon", TRAINED[place])[0] for place in (0, 2))
    model = load(root, LINE, third.version)
    assert definitions(model.declared) == definitions(declared) == third.configuration["definitions"]
    assert load(root, LINE, first.version).answered == {}
    by_gate = [each for each in ledger.decisions(LINE) if each.decided_by == "gate" and each.as_of in TRAINED[:2]]
    then = [each for each in by_gate if each.decided_at < third.ended_at]
    last = {each.node: each.champion for each in then if each.node in ("Lyon", "global")}
    assert model.answered == {node: champion for node, champion in last.items() if champion} != {}
    for name in third.charts.values():
        assert model.attachments[name].startswith(b"<svg") and b"</svg>" in model.attachments[name]
    assert b"amount" in model.attachments["importances.svg"]


def test_a_model_that_scores_otherwise_under_another_library_is_refused_and_one_that_does_not_is_loaded(
    trained_line: Station, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (known, *_) = trained_line.deployment.ledger.versions(LINE)
    manifest, parts, attachments = ArchiveFolder(str(trained_line.folder / "archive")).load(LINE, known.version)
    elsewhere = ArchiveFolder(str(tmp_path_factory.mktemp("elsewhere")))
    older = json.loads(attachments["provenance.json"])
    older["libraries"] |= {"scikit-learn": "0.9.1"}
    provenance = {"provenance.json": json.dumps(older).encode()}
    assert load(elsewhere, LINE, elsewhere.store(LINE, manifest, parts, provenance)).predict_one(
        {"amount": 1.0, "channel": "app", "ref_number": 3} | dict.fromkeys(known.configuration["features"][3:])
    )
    # The archived rows tell of other scores than the model has: as if a library had changed what its numbers mean.
    (other,) = (one for one in trained_line.deployment.ledger.versions(LINE, "Paris", TRAINED[0]))
    strange = ArchiveFolder(str(trained_line.folder / "archive")).load(LINE, other.version).parts["reference.parquet"]
    forged = elsewhere.store(LINE, manifest, parts | {"reference.parquet": strange}, provenance)
    with pytest.raises(
        ModelRefused, match=r"scores \d+ of \d+ archived rows otherwise .* scikit-learn 0\.9\.1 \(1\.\d+\.\d+ here\)"
    ):
        load(elsewhere, LINE, forged)


def test_a_program_that_loads_by_a_tag_gets_the_model_that_the_tag_was_moved_to(trained_line: Station) -> None:
    ledger, root = trained_line.deployment.ledger, str(trained_line.folder / "archive")
    first, second = (ledger.versions(LINE, "Lyon", as_of)[0] for as_of in TRAINED[:2])

    def loaded(named: str) -> str:
        return load(root, LINE, named, ledger=ledger.url).version

    ledger.tag(Tagging(LINE, "Lyon", "stable", first.version, "works", "ana"))
    assert loaded("Lyon@stable") == loaded(first.uuid) == loaded(first.version[:12]) == first.version
    ledger.tag(Tagging(LINE, "Lyon", "stable", second.version, "better", "ana"))
    assert loaded("Lyon@stable") == second.version
    champions = ledger.champions(LINE)
    assert loaded("Lyon@champion") == (champions.get("Lyon") or champions["global"]).champion
    with pytest.raises(LookupError, match="no version of 'global' of line 'greeted' is tagged 'stable'"):
        loaded("@stable")
    with pytest.raises(ValueError, match=r"'Lyon@stable' is no id of 16 hex digits; what a tag .* names"):
        load(root, LINE, "Lyon@stable")
    mistyped = trained_line.folder / "leger.db"
    with pytest.raises(FileNotFoundError, match=r"the ledger .*leger\.db is no file"):
        load(root, LINE, "Lyon@stable", ledger=f"sqlite:///{mistyped}")
    assert not mistyped.exists()
