"""Are Dagster's private parts what the factory takes them for, and does it do without them where they are not?"""

import ast
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

import factory_resources
from factory_assets.governor.work import FLEET, PAGE
from factory_assets.loading import resources
from factory_resources.dagster_private import declarations, reading, recording, refusals, storages, versions
from factory_resources.dagster_private import printed as printed_elsewhere
from factory_resources.dagster_private.reading import INPUTS, Checked
from factory_resources.dagster_private.recording import DATA_VERSION, Recorder
from factory_resources.dagster_private.versions import TESTED, UntestedDagsterWarning, private, require
from factory_resources.lake import Lake
from tests.governor.forked import Forked
from tests.governor.world import ORDERS_CONTRACT, SMALL, World
from tests.resources import test_postgres_event_log as postgres
from tests.resources.next_dagster import CHANGES

ROOT = Path(factory_resources.__file__).parent.parent
ROOM = "factory_resources/dagster_private/"
#: What Dagster's objects have, and do not document.
UNDOCUMENTED = {
    "event_log_storage", "run_storage", "schedule_storage", "get_step_execution_context", "op_execution_context",
    "resolve_implicit_global_asset_job_def", "resolve_asset_graph", "ComponentTree", "component_tree", "get_all_components",
}  # fmt: skip


# --- one room -------------------------------------------------------------------------------------------------------


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in ("factory_assets", "factory_resources"):
        for file in sorted((ROOT / package).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def test_one_room_imports_what_is_private_in_dagster() -> None:
    private = re.compile(r"dagster(\.\w+)*\._|dagster_postgres|dagster_shared|dagster\.components\.core")
    found = [f"{file}: {name}" for file, tree in modules() for name in imported(tree) if private.match(name)]
    assert found, "the pattern finds those of the room"
    assert [each for each in found if not each.startswith(ROOM)] == []


def test_one_room_touches_what_dagster_does_not_document() -> None:
    touched = {
        f"{file}:{node.lineno}: {node.attr}"
        for file, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in UNDOCUMENTED
    }
    assert [each for each in sorted(touched) if not each.startswith(ROOM)] == []


# --- the guard ------------------------------------------------------------------------------------------------------


def test_the_version_that_is_pinned_was_tried() -> None:
    pinned = re.search(r"^dagster==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned and versions.tested(pinned[1])
    assert versions.tested(dg.__version__)
    assert [versions.tested(each) for each in ("1.13.0", "1.14.0", "1.14.0rc1", "1.1", "2.13.0", "1!0+dev")] == [
        True, False, False, False, False, False,
    ]  # fmt: skip
    assert TESTED == ("1.13",)


def test_private_names_are_taken_without_a_warning_on_a_version_that_was_tried() -> None:
    names = (
        declarations._tree,
        reading._log(),
        reading._tables(),
        reading._checks(),
        recording._names,
        recording._of_partitions,
    )
    assert all(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UntestedDagsterWarning)
        assert storages.sqlite_event_log().__module__ == "factory_resources.dagster_private.sqlite"
        assert storages.postgres_storage().__module__ == "factory_resources.dagster_private.postgres"


def _missing() -> None:
    raise AttributeError("no such name")


@pytest.mark.parametrize(("version", "take"), [("1.14.0", lambda: None), ("1.13.27", _missing)])
def test_a_warning_and_a_line_of_the_log_say_once_what_is_different(
    version: str, take: Callable[[], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(versions, "_told", set())
    monkeypatch.setattr(dg, "__version__", version)
    with caplog.at_level(logging.WARNING, "factory"), pytest.warns(UntestedDagsterWarning) as warned:
        assert [private("reading events", take), private("reading events", take)] == [None, None]
    (told,) = [str(each.message) for each in warned]
    assert told == caplog.messages[0] and len(caplog.messages) == 1
    assert f"Dagster {version} runs" in told and "1.13.x" in told
    assert versions.OTHERWISE["reading events"] in told


def test_a_function_that_takes_other_arguments_is_another() -> None:
    def now(first: int, second: int, third: int = 0, **more: int) -> None: ...

    require(now, "first", "second")
    require(now, "first", "second", "third")
    for given in (("first",), ("second", "first"), ("first", "second", "more")):
        with pytest.raises(TypeError, match=r"now takes \(first, second, third, more\)"):
            require(now, *given)


# --- a test a symbol ------------------------------------------------------------------------------------------------

PARTS = [f"part-{number}" for number in range(5)]
KEY, BEFORE = dg.AssetKey("made"), dg.AssetKey("before")


def spanning(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def assets(made: dict[str, str]) -> list[dg.AssetsDefinition]:
    """`before`, and `made`, which records just these parts; `after` runs only if `made` gives something."""
    parts = dg.StaticPartitionsDefinition(PARTS)
    common: dict[str, Any] = {"partitions_def": parts, "backfill_policy": dg.BackfillPolicy.single_run()}

    @dg.asset(**common, code_version="b")
    def before(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("of before"))

    @dg.asset(deps=[before], name="made", **common, code_version="c")
    def made_now(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        recorder = Recorder(context, len(made))
        for number, (part, version) in enumerate(made.items()):
            recorder.add(part, {"n": number}, {DATA_VERSION: version, INPUTS: f"of-{version}"})
            recorder.write()
        yield from recorder.results()

    @dg.asset(deps=[made_now], **common)
    def after(context: dg.AssetExecutionContext) -> None: ...

    return [before, made_now, after]


def run(instance: dg.DagsterInstance, made: dict[str, str], first: str, last: str) -> dg.ExecuteInProcessResult:
    defined, tags = assets(made), spanning(first, last)
    return dg.materialize(defined, instance=instance, tags=tags)


def told(instance: dg.DagsterInstance, key: dg.AssetKey = KEY) -> list[dg.AssetMaterialization]:
    """All materialisations, the oldest first."""
    records = instance.fetch_materializations(key, limit=100, ascending=True).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def newest(instance: dg.DagsterInstance) -> dict[str | None, tuple[dict[str, Any], dict[str, str]]]:
    """Partition -> metadata and tags of its newest materialisation, but for numbers of other events."""
    return {
        event.partition: (
            {name: value.value for name, value in event.metadata.items()},
            {name: value for name, value in (event.tags or {}).items() if "event_pointer" not in name},
        )
        for event in told(instance)
    }


def recorded(monkeypatch: pytest.MonkeyPatch, public: bool) -> tuple[dict[Any, Any], int, bool]:
    """A range of five; then parts 1 and 3 of the first four; then one part alone. What is told in the end, by how many events."""
    if public:
        monkeypatch.setattr(recording, "_names", None)
    with dg.DagsterInstance.ephemeral() as instance:
        run(instance, {part: f"first-{part}" for part in PARTS}, PARTS[0], PARTS[-1])
        ended = run(instance, {PARTS[1]: "second", PARTS[3]: "second"}, PARTS[0], PARTS[3])
        dg.materialize(assets({PARTS[4]: "alone"}), instance=instance, partition_key=PARTS[4])
        made_after = {event.partition for event in ended.asset_materializations_for_node("after")}
        return newest(instance), len(told(instance)), made_after == set(PARTS[:4])


def test_a_run_over_many_partitions_writes_one_event_for_each_that_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION, DagsterEvent.asset_materialization, get_step_execution_context."""
    found, events, after = recorded(monkeypatch, public=False)
    assert events == 5 + 2 + 1
    assert after, "what follows runs all the same"
    versions = {part: tags[DATA_VERSION] for part, (_, tags) in found.items()}
    assert versions == {
        PARTS[0]: f"first-{PARTS[0]}", PARTS[1]: "second", PARTS[2]: f"first-{PARTS[2]}", PARTS[3]: "second", PARTS[4]: "alone",
    }  # fmt: skip


def test_each_event_has_the_tags_that_dagster_gives_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """_build_data_version_tags, _get_code_version, _get_input_provenance_data: by what one partition alone has of Dagster."""
    found, _, _ = recorded(monkeypatch, public=False)
    of_dagster = found[PARTS[4]][1]
    read = "dagster/input_data_version/before"
    for part, together in zip(PARTS, (5, 4, 5, 4, 1), strict=True):
        tags = found[part][1]
        assert tags.keys() == of_dagster.keys() >= {"dagster/code_version", DATA_VERSION, read, recording.GIVEN}
        assert (tags["dagster/code_version"], tags[recording.GIVEN]) == ("c", "true")
        # Of all partitions that the run read.
        assert tags[read] == sha256(("of before" * together).encode()).hexdigest()


def test_the_public_way_leaves_the_same_newest_events(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _, _ = recorded(monkeypatch, public=False)
    found, events, after = recorded(monkeypatch, public=True)
    assert found == expected
    assert after
    assert events == 2 * 5 + 2 * 4 + 1, "Dagster's own come first"


def test_events_are_written_in_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DagsterEventBatchMetadata, generate_event_batch_id."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
    sizes = []
    with dg.DagsterInstance.ephemeral() as instance:
        store = instance.event_log_storage.store_event_batch

        def noted(events: Any) -> None:
            of_made = [each for each in events if each.dagster_event_type == reading.MATERIALIZATION]
            sizes.append(len([each for each in of_made if each.get_dagster_event().asset_key == KEY]))
            store(events)

        monkeypatch.setattr(instance.event_log_storage, "store_event_batch", noted)
        parts = dg.StaticPartitionsDefinition(PARTS)

        @dg.asset(partitions_def=parts, backfill_policy=dg.BackfillPolicy.single_run())
        def made(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
            recorder = Recorder(context, len(PARTS))
            for part in PARTS:
                recorder.add(part, {}, {DATA_VERSION: part})
            yield from recorder.results()

        dg.materialize([made], instance=instance, tags=spanning(PARTS[0], PARTS[-1]))
        assert len(told(instance)) == len(PARTS)
    assert len(PARTS) in sizes


@pytest.fixture(params=["private", "public"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "public":
        for name in ("_log", "_tables", "_checks"):
            monkeypatch.setattr(reading, name, lambda: None)
        monkeypatch.setattr(reading, "PAGE", 3)


@pytest.mark.usefixtures("read")
def test_the_newest_of_each_partition_is_told() -> None:
    """get_latest_storage_id_by_partition, get_latest_tags_by_partition, by both ways."""
    with dg.DagsterInstance.ephemeral() as instance:
        for version in ("old", "new"):
            for part in PARTS:
                tags = {DATA_VERSION: f"{version} {part}"}
                instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=part, tags=tags))
                instance.report_runless_asset_event(
                    dg.AssetObservation(KEY, partition=part, tags={DATA_VERSION: "seen"})
                )
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=PARTS[0]))
        numbers = reading.newest_numbers(instance, KEY)
        assert sorted(numbers, key=numbers.__getitem__) == [*PARTS[1:], PARTS[0]]
        some = [PARTS[1], PARTS[2], "no such"]
        assert reading.newest_numbers(instance, KEY, some) == {part: numbers[part] for part in PARTS[1:3]}
        assert reading.newest_numbers(instance, KEY, []) == {}
        versions = {part: {DATA_VERSION: f"new {part}"} for part in PARTS}
        found = reading.newest_tags(instance, KEY, [DATA_VERSION])
        assert {part: tags for part, tags in found.items() if tags} == {part: versions[part] for part in PARTS[1:]}
        assert reading.newest_tags(instance, KEY, [DATA_VERSION], some) == {part: versions[part] for part in PARTS[1:3]}
        seen = reading.newest_tags(instance, KEY, [DATA_VERSION], PARTS, kind=dg.DagsterEventType.ASSET_OBSERVATION)
        assert seen == {part: {DATA_VERSION: "seen"} for part in PARTS}


@pytest.mark.parametrize("page", [1, 1000])
def test_of_all_assets_is_told_what_is_told_of_each(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SqlEventLogStorageTable, AssetEventTagsTable, AssetKeyTable."""
    names = ("twice", "untagged", "without partitions", "wiped", "wiped and made again", "observed", "never")
    keys, wanted = {name: dg.AssetKey(["of all", name]) for name in names}, [DATA_VERSION]
    with dg.DagsterInstance.ephemeral() as instance:

        def made(name: str, part: str | None, version: str = "", kind: type = dg.AssetMaterialization) -> None:
            tags = {DATA_VERSION: version, reading.INPUTS: f"of-{version}", "owner": "nobody"} if version else None
            instance.report_runless_asset_event(kind(keys[name], partition=part, tags=tags))

        for version in ("old", "new"):
            for part in PARTS:
                made("twice", part, version)
        for name in ("untagged", "wiped", "wiped and made again"):
            made(name, PARTS[0], "old")
        made("untagged", PARTS[0])
        made("untagged", "no day: '%", "odd")
        made("without partitions", None, "new")
        made("observed", PARTS[0], "new", dg.AssetObservation)
        instance.wipe_assets([keys["wiped"], keys["wiped and made again"]])
        made("wiped and made again", PARTS[1], "new")
        monkeypatch.setattr(reading, "PAGE", page)
        found = reading.newest_of_all(instance, keys.values(), wanted)
        assert keys.keys() - {key.path[1] for key in found} == {"wiped", "wiped and made again"}
        for key, of in found.items():
            assert {part: number for part, (number, _) in of.items()} == reading.newest_numbers(instance, key)
            assert {part: tags for part, (_, tags) in of.items() if tags} == reading.newest_tags(instance, key, wanted)
        assert [len(found[keys[name]]) for name in ("twice", "untagged", "observed", "never")] == [len(PARTS), 2, 0, 0]
        assert reading.newest_of_all(instance, [], wanted) == {}
        monkeypatch.setattr(reading, "_tables", lambda: None)
        assert reading.newest_of_all(instance, keys.values(), wanted) == {}


@pytest.mark.usefixtures("read")
def test_the_newest_of_each_check_is_told() -> None:
    """get_latest_asset_check_execution_by_key, AssetCheckExecutionRecordStatus, by both ways."""
    found = {"passes": True, "fails": False, "never": True}

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset=KEY) for name in found], can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for key in sorted(context.selected_asset_check_keys):
            if key.name == "never":
                raise RuntimeError
            yield dg.AssetCheckResult(passed=found[key.name], asset_key=KEY, check_name=key.name)

    definitions = dg.Definitions(assets=[dg.AssetSpec(KEY)], asset_checks=[checks])
    keys = [dg.AssetCheckKey(KEY, name) for name in [*found, "unknown"]]
    with dg.DagsterInstance.ephemeral() as instance:
        runs = []
        for chosen in (["passes", "fails", "never"], ["passes"]):
            selected = dg.AssetSelection.checks(*(key for key in keys if key.name in chosen))
            job = dg.Definitions(
                assets=definitions.assets, asset_checks=[checks], jobs=[dg.define_asset_job("job", selected)]
            ).get_job_def("job")
            runs.append(job.execute_in_process(instance=instance, raise_on_error=False).run_id)
        assert reading.newest_checks(instance, keys) == {
            keys[0]: Checked(runs[1], True), keys[1]: Checked(runs[0], False), keys[2]: Checked(runs[0], None),
        }  # fmt: skip


def test_processes_of_a_run_are_told() -> None:
    """get_records_for_run, DagsterEvent.event_specific_data."""
    with dg.DagsterInstance.ephemeral() as instance:
        ended = run(instance, {PARTS[0]: "x"}, PARTS[0], PARTS[0])
        assert reading.executing(instance, ended.run_id) == {os.getpid()}


def test_methods_of_an_instance_that_dagster_does_not_document_are_there() -> None:
    """Those by which runs are read and closed, all over the factory."""
    require(dg.DagsterInstance.get_records_for_run, "run_id", "cursor", "of_type", "limit", "ascending")
    require(dg.DagsterInstance.add_run_tags, "run_id", "new_tags")
    require(dg.DagsterInstance.report_run_failed, "dagster_run", "message")
    require(dg.DagsterInstance.all_instigator_state)
    require(dg.EventLogEntry.get_dagster_event)


def test_an_instance_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """get_run_storage_id."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as one, dg.DagsterInstance.from_ref(one.get_ref()) as same:
        with dg.DagsterInstance.ephemeral() as other:
            assert reading.name_of(one) == reading.name_of(same) != reading.name_of(other)
        assert reading.sensors_on(one, ["RUNNING"]) == set()
        monkeypatch.setenv("DAGSTER_HOME", "here")
        assert reading.name_of(SimpleNamespace()) == "here"  # type: ignore[arg-type]
        assert reading.sensors_on(SimpleNamespace(), ["RUNNING"]) is None  # type: ignore[arg-type]


def test_a_check_over_many_partitions_is_evaluated_on_each() -> None:
    """AssetCheckExecutionContext.op_execution_context, log_event of an evaluation."""
    parts = dg.StaticPartitionsDefinition(PARTS)

    @dg.asset_check(asset=KEY, partitions_def=parts)
    def fits(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        given = [
            dg.AssetCheckEvaluation(
                asset_key=KEY, check_name="fits", passed=part != PARTS[2], metadata={}, partition=part
            )
            for part in context.partition_keys
        ]
        assert recording.record_evaluations(context, given)
        return dg.AssetCheckResult(passed=True)

    with dg.DagsterInstance.ephemeral() as instance:
        tags = spanning(PARTS[0], PARTS[-1])
        defined = [*assets({part: part for part in PARTS}), fits]
        ended = dg.materialize(defined, instance=instance, tags=tags)
        evaluated = {each.partition: each.passed for each in ended.get_asset_check_evaluations()}
        assert evaluated == {part: part != PARTS[2] for part in PARTS} | {None: True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "defs.yaml").write_text(SMALL.replace("FEED", "feed"))
    (tmp_path / "orders.yaml").write_text(ORDERS_CONTRACT)
    return tmp_path


def loaded(folder: Path) -> dg.Definitions:
    return dg.Definitions.merge(declarations.load_folder(folder), dg.Definitions(resources=resources()))


def described(definitions: dg.Definitions) -> dict[str, Any]:
    specs = definitions.resolve_all_asset_specs()
    references = {spec.key: spec.metadata.get("dagster/code_references") for spec in specs}
    return {
        "assets": {spec.key: (spec.code_version, spec.group_name, len(list(spec.deps))) for spec in specs},
        "sensors": sorted(each.name for each in definitions.sensors or ()),
        "checks": {
            node.key: set(node.check_keys) for node in definitions.resolve_asset_graph().asset_nodes if node.check_keys
        },
        "sources": {key: str(each.code_references) for key, each in references.items() if each},
    }


def test_both_ways_load_the_same_declarations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ComponentTree."""
    expected = described(loaded(folder))
    assert expected["sources"] and expected["checks"] and len(expected["assets"]) > 8
    monkeypatch.setattr(declarations, "_tree", None)
    assert described(loaded(folder)) == expected


def test_a_dagster_that_loads_no_such_folder_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "_tree", None)
    monkeypatch.delattr(dg, "load_from_defs_folder")
    with pytest.raises(RuntimeError, match="does not load declarations from outside the package"):
        declarations.load_folder(folder)


def test_the_job_of_all_assets_and_the_checks_of_each_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """resolve_implicit_global_asset_job_def; check_specs of what is declared, by Dagster's own graph of assets."""
    definitions = loaded(folder)
    found = {key: set(checks) for key, checks in declarations.checks_of(definitions).items()}
    assert found == described(definitions)["checks"]
    job = declarations.job_of_all_assets(definitions)
    name = "resolve_implicit_global_asset_job_def"
    monkeypatch.delattr(next(each for each in dg.Definitions.__mro__ if name in vars(each)), name)
    public = declarations.job_of_all_assets(loaded(folder))
    assert (job.name, set(job.asset_layer.executable_asset_keys)) == (
        public.name,
        set(public.asset_layer.executable_asset_keys),
    )


#: Runs an asset that says what it sees, and waits to be stopped, or not, in an instance at the folder that is given.
PRINTS = """
import os, signal, sys, time, dagster as dg
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from factory_resources.dagster_private.printed import print_where_asked
@dg.asset
def prints() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    print("printed beside", len(children), "processes", flush=True)
    if sys.argv[2] == "wait":
        time.sleep(60)
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    print_where_asked(instance)
    run = dg.materialize([prints], instance=instance, raise_on_error=False)
    print(run.run_id)
"""


def prints(home: Path, wait: bool) -> subprocess.Popen[str]:
    asked = [sys.executable, "-c", PRINTS, str(home), "wait" if wait else "go on"]
    return subprocess.Popen(
        asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )


def test_what_a_command_s_run_prints_stays_in_its_terminal_and_the_page_of_the_run_says_so(tmp_path: Path) -> None:
    printed, _ = prints(tmp_path, wait=False).communicate(timeout=60)
    first, run = printed.splitlines()
    assert first == "printed beside 0 processes"
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (captured,) = [each for each in instance.all_logs(run) if each.dagster_event_type == "LOGS_CAPTURED"]
        assert captured.dagster_event is not None
        manager, name = instance.compute_log_manager, captured.dagster_event.logs_captured_data.file_key
        log_key = manager.build_log_key_for_run(run, name)
        assert manager.is_capture_complete(log_key)
        assert manager.get_log_data(log_key).stdout == printed_elsewhere.ELSEWHERE.encode()


def test_ctrl_c_reaches_no_process_that_prints_a_traceback_of_its_own(tmp_path: Path) -> None:
    waits = prints(tmp_path, wait=True)
    assert waits.stdout is not None and waits.stdout.readline() == "printed beside 0 processes\n"
    os.killpg(waits.pid, signal.SIGINT)
    _, told = waits.communicate(timeout=60)
    assert "watch_orphans" not in told


def test_a_refusal_is_told_by_what_the_rule_says_alone_and_is_not_tried_again() -> None:
    tries = list[int]()

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
    def refuses() -> None:
        tries.append(1)
        raise refusals.refusal("refused: nothing waits")

    @dg.job
    def asked() -> None:
        refuses()

    (failed,) = asked.execute_in_process(raise_on_error=False).filter_events(lambda each: each.is_step_failure)
    data = failed.step_failure_data
    assert data.user_failure_data is not None and data.user_failure_data.description == "refused: nothing waits"
    assert data.error is not None and str(data.error) == "refused: nothing waits"
    assert len(tries) == 1
    with pytest.raises(dg.Failure, match="refused: nothing waits"):
        asked.execute_in_process()


def test_a_refusal_is_a_failure_where_dagster_has_no_such_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_refused", lambda: None)
    refused = refusals.refusal("refused: nothing waits")
    assert type(refused) is dg.Failure and refused.description == "refused: nothing waits" and not refused.allow_retries


def test_what_an_owner_keeps_elsewhere_is_kept_there(tmp_path: Path) -> None:
    silent = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"compute_logs": silent}) as instance:
        printed_elsewhere.print_where_asked(instance)
        assert "capture_logs" not in vars(instance.compute_log_manager)


def test_storages_take_what_they_call(tmp_path: Path) -> None:
    """Every method of SqliteEventLogStorage and PostgresEventLogStorage that is called or replaced; a reason where one is missing."""
    from dagster._core.storage.event_log import SqliteEventLogStorage
    from dagster_postgres import PostgresEventLogStorage

    from factory_resources.dagster_private import postgres, sqlite

    for storage, used in ((SqliteEventLogStorage, sqlite.USED), (PostgresEventLogStorage, postgres.USED)):
        for name, arguments in used.items():
            require(getattr(storage, name), *arguments)
    for ours, theirs in (
        (sqlite.SqliteEventLog, SqliteEventLogStorage),
        (postgres.PostgresEventLog, PostgresEventLogStorage),
    ):
        replaced = [
            name for name in vars(ours) if hasattr(theirs, name) and not name.startswith("__") and name[0] != "_"
        ]
        assert replaced and all(name in sqlite.USED | postgres.USED | {"from_config_value": ()} for name in replaced)
    # What `SqliteEventLog` sets or reads beside methods.
    plain = SqliteEventLogStorage(str(tmp_path))
    assert plain._initialized_dbs == {"index"} and plain._db_lock


# --- a next Dagster -------------------------------------------------------------------------------------------------

#: Changes by which events are read, or written, another way.
READ_AGAIN = ("version", "reading", "recording")
#: The others change a part of what "version" does without.
OFTEN = ("version",)
DAYS, BAD, ROWS = 12, 10, 60


class Factory(Forked):
    """`factory run` over a stream, a view and a line, each time under another Dagster, in a home of its own."""

    def __init__(self, folder: Path):
        super().__init__(folder, "tests.resources.next_dagster", DAYS, BAD, ROWS)

    def run(self, change: str) -> tuple[int, str]:
        """Exit code, and what was printed."""
        return self.ask(self.home(change), change=change)

    def home(self, change: str) -> Path:
        return self.folder / change.replace(" ", "-")

    def tables(self, change: str) -> dict[str, tuple[int, str]]:
        seen = SimpleNamespace(lake=Lake(root=str(self.home(change) / "lake")), feed=self.folder / "feed")
        return World.contents(seen)  # type: ignore[arg-type]

    def events(self, change: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """Asset and partition -> data version and tags of its newest event, as this Dagster reads it.

        Pointers to other events are left out, and what pages were drawn from: they know tables by the numbers of their events, and
        two are written of a partition where this Dagster has no other way.
        """
        monkeypatch.setenv("DAGSTER_HOME", str(self.home(change) / "dagster"))
        found: dict[str, Any] = {}
        with dg.DagsterInstance.get() as instance:
            for key in instance.get_asset_keys():
                for record in instance.fetch_materializations(key, limit=1000, ascending=True).records:
                    event = record.asset_materialization
                    assert event is not None
                    pages = {INPUTS} if key.path[-1] in (PAGE, FLEET) else set()
                    tags = {
                        n: tag for n, tag in (event.tags or {}).items() if "event_pointer" not in n and n not in pages
                    }
                    found[f"{key.to_user_string()} {event.partition}"] = tags
        return found

    def checks(self, change: str, monkeypatch: pytest.MonkeyPatch) -> dict[dg.AssetCheckKey, bool | None]:
        monkeypatch.setenv("DAGSTER_HOME", str(self.home(change) / "dagster"))
        with dg.DagsterInstance.get() as instance:
            told = [(key, passed) for _, key, passed in reading._told_of_checks(instance)]
        return dict(reversed(told))


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    factory = Factory(tmp_path_factory.mktemp("next"))
    yield factory
    factory.close()


@pytest.fixture(scope="module")
def as_tried(factory: Factory) -> tuple[int, str]:
    return factory.run("nothing")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [each if each in OFTEN else pytest.param(each, marks=pytest.mark.longest) for each in CHANGES]
)
def test_on_a_next_dagster_the_factory_starts_warns_and_records_the_same(
    change: str, factory: Factory, as_tried: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, printed = factory.run(change)
    parts = [part for part in CHANGES[change].values() if part]
    assert "the factory was tried with" not in as_tried[1]
    assert printed.count("the factory was tried with") == len(parts), printed
    assert all(part in printed for part in parts), printed
    # One day breaks its contract, and is told.
    assert (code, as_tried[0]) == (1, 1), printed
    assert factory.tables(change) == factory.tables("nothing")
    found, expected = factory.events(change, monkeypatch), factory.events("nothing", monkeypatch)
    assert len(expected) > 5 * DAYS
    assert found == expected
    assert factory.checks(change, monkeypatch) == factory.checks("nothing", monkeypatch)
    if change in READ_AGAIN:
        # By the events that were recorded, nothing is to be made again.
        code, again = factory.run(change)
        assert code == 1 and "everything else is up to date" in again, again
        assert factory.events(change, monkeypatch) == expected


#: Runs `noted` over its whole range in an instance at the folder that is given, on a later Dagster.
ON_POSTGRES = """
import sys, logging, dagster as dg
CHANGE
from tests.resources.noted import WHOLE_RANGE, noted
with dg.DagsterInstance.from_config(sys.argv[1]) as made, dg.DagsterInstance.from_ref(made.get_ref()) as instance:
    print(dg.materialize([noted], instance=instance, tags=WHOLE_RANGE).run_id)
"""
NEXT = {
    "version": 'dg.__version__ = "1.14.0"',
    "method": "import dagster_postgres as p; p.PostgresEventLogStorage.prepare_insert_event_batch = lambda self, many: None",
    "function": "import dagster_postgres.utils as u; del u.get_token_provider_from_config",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [each if each in OFTEN else pytest.param(each, marks=pytest.mark.longest) for each in NEXT]
)
def test_on_a_next_dagster_postgresql_holds_what_dagster_s_own_log_writes(
    change: str, tmp_path: Path, postgres_url: str
) -> None:
    found = []
    for name, program in (("plain", ""), ("next", NEXT[change])):
        url = postgres.fresh(postgres_url)
        settings = (postgres.PLAIN if name == "plain" else postgres.OURS).format(url=url)
        (tmp_path / name).mkdir()
        (tmp_path / name / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\nstorage: {{{settings}}}\n")
        done = subprocess.run(
            [sys.executable, "-c", ON_POSTGRES.replace("CHANGE", program), str(tmp_path / name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ("the factory was tried with" in done.stderr) == (name == "next")
        found.append(postgres.kept(url, done.stdout.strip()))
    assert found[0] == found[1] and all(found[0])


def test_the_tag_by_which_a_launched_run_names_its_code_server_is_dagster_s_own() -> None:
    from dagster._core.storage.tags import GRPC_INFO_TAG

    run = dg.DagsterRun(job_name="any", tags={GRPC_INFO_TAG: '{"host": "localhost", "port": 1}'})
    assert reading.launched_here(run)
    assert not reading.launched_here(dg.DagsterRun(job_name="any", tags={GRPC_INFO_TAG: "no JSON"}))
