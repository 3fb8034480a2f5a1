"""Is every asset what an asset of the factory must be, and do all ways of loading the definitions agree?"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from factory_assets.definitions import defs
from tests import forked

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("great_expectations", "evidently", "sklearn", "lightgbm", "matplotlib", "skops", "pandas", "optuna", "mlflow")
LINE = (
    "examples",
    "labels",
    "model",
    "evaluation",
    "refit",
    "champion",
    "leaderboard",
    "decay",
    "backtest",
    "predictions",
    "parents",
    "performance",
    "estimates",
    "drift",
    "calibration",
    "counts",
    "monitors",
    "page",
)

#: First part of an asset's key -> its group.
GROUPS = {"orders": "orders", "features": "orders_features", "fleet": "fleet"} | {
    name: name for name in ("delivery_time", "repeat_order")
}
STATIONS = ("events", "features", "training", "evaluation", "release", "scoring", "serving", "monitoring", "pages")
#: How the declarations of the demo describe what assets are made for.
DECLARED = tuple(
    each["attributes"]["description"]
    for file in (REPOSITORY / "factory_assets" / "defs").rglob("defs.yaml")
    for each in yaml.safe_load_all(file.read_text())
)


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for spec in definitions.resolve_all_asset_specs()}


def test_the_demo_makes_exactly_the_assets_of_its_declarations(specs: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    expected = {f"orders/{name}" for name in ("source", "raw", "events", "statistics")}
    expected |= {f"features/{name}" for name in ("restaurant_pace", "city_load", "customer_habit")}
    expected |= {f"{line}/{name}" for line in ("delivery_time", "repeat_order") for name in LINE}
    assert {key.to_user_string() for key in specs} == expected | {"fleet"}


def test_where_things_are_is_neither_shown_nor_for_a_launch_to_say(definitions: dg.Definitions) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    for elsewhere in ({"config": {"url": "sqlite:////tmp/elsewhere.db"}}, {"url": "sqlite:////tmp/elsewhere.db"}):
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(job, {"resources": {"ledger": elsewhere}})
    assert {"lake", "archive", "ledger", "mirror", "reports"} <= {*(definitions.resources or {})}
    for each in definitions.resolve_all_job_defs():
        assert "io_manager" in each.resource_defs
        for name, resource in each.resource_defs.items():
            assert resource.config_schema.as_field().config_type.fields == {}, (each.name, name)
    shown = str(job.get_job_snapshot())
    assert "ledger" in shown and "sqlite" not in shown


def test_no_launch_reads_a_variable_of_the_environment(definitions: dg.Definitions) -> None:
    """By {env: NAME} in place of a value, which Dagster lets a launch write: its value would be kept as a reason, and shown."""
    asked = 0
    for job in definitions.resolve_all_job_defs():
        for kind in job.run_config_schema.config_type.type_iterator():
            assert kind not in (dg.StringSource, dg.IntSource, dg.BoolSource), job.name
            asked += 1
    assert asked > 100
    secret = {"line": "delivery_time", "node": {"env": "HOME"}, "why": "because", "by": "ana"}
    with pytest.raises(dg.DagsterInvalidConfigError, match="HOME"):
        dg.validate_run_config(
            definitions.resolve_job_def("rollback"), {"ops": {"roll_champion_back": {"config": secret}}}
        )


def test_a_champion_can_be_taken_back_by_a_job(definitions: dg.Definitions) -> None:
    (op,) = definitions.resolve_job_def("rollback").nodes
    required = {name for name, field in op.definition.config_field.config_type.fields.items() if field.is_required}
    assert required == {"line", "node", "why", "by"}


def test_every_asset_says_who_owns_it_what_it_is_and_where_it_is_declared(
    specs: dict[dg.AssetKey, dg.AssetSpec],
) -> None:
    for key, spec in specs.items():
        name = key.to_user_string()
        assert spec.owners, name
        assert spec.group_name == GROUPS[key.path[0]], name
        assert spec.tags["factory/station"] in STATIONS, name
        assert spec.kinds, name
        assert spec.description and len(spec.description) > 60, name
        assert not spec.description.startswith(DECLARED), (
            f"{name}: the first words say what it is made for, and not what it is"
        )
        assert spec.code_version, name
        unpartitioned = ("leaderboard", "decay", "backtest", "calibration", "page", "fleet")
        assert spec.partitions_def or key.path[-1] in unpartitioned, name
        reference = spec.metadata["dagster/code_references"]
        assert any("defs.yaml" in str(code) for code in reference.code_references), name
        # What is no table has no columns.
        if not isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition) and key.path[-1] not in (
            "page",
            "fleet",
        ):
            columns = spec.metadata["schema"].columns
            assert columns, name
            untold = [column.name for column in columns if not column.description]
            assert not untold, f"{name}: {untold}"


def test_every_edge_states_its_partition_mapping_and_has_parents(
    definitions: dg.Definitions, specs: dict[dg.AssetKey, dg.AssetSpec]
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for line in ("delivery_time", "repeat_order"):
            instance.add_dynamic_partitions(f"{line}_segments", ["global", "FR"])
        for key, spec in specs.items():
            for dependency in spec.deps:
                edge = f"{dependency.asset_key.to_user_string()} -> {key.to_user_string()}"
                assert dependency.partition_mapping is not None, edge
                parent, child = specs[dependency.asset_key].partitions_def, spec.partitions_def
                assert parent is not None, edge
                if child is None:
                    assert isinstance(dependency.partition_mapping, dg.AllPartitionMapping), edge
                    continue
                newest = child.get_partition_keys(dynamic_partitions_store=instance)[-1]
                mapped = dependency.partition_mapping.get_upstream_mapped_partitions_result_for_partitions(
                    child.subset_with_partition_keys([newest]), child, parent, dynamic_partitions_store=instance
                )
                assert list(mapped.partitions_subset.get_partition_keys()), edge


def test_definitions_load_and_jobs_are_valid(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_loading_the_definitions_imports_no_heavy_library() -> None:
    code = (
        "import sys; import dagster; before = set(sys.modules); from factory_assets.definitions import defs; defs();"
        f"print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_workspace_and_project_settings_name_the_same_location() -> None:
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert workspace["module_name"] == f"{project['root_module']}.definitions"
    assert workspace["location_name"] == project["code_location_name"]
    deployed = yaml.safe_load((REPOSITORY / "deploy" / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert deployed["location_name"] == project["code_location_name"]


@pytest.mark.parametrize(
    ("component", "assets"), [("EventStream", 4), ("FeatureView", 5), ("OnDemandView", 5), ("ModelLine", 24)]
)
def test_a_scaffolded_example_is_complete_and_loads_from_a_folder_outside_the_package(
    component: str, assets: int, tmp_path: Path
) -> None:
    from dagster.components.scaffold.scaffold import NoParams, ScaffoldRequest

    from factory_assets import components
    from factory_assets.declarations.catalogue import load

    kind = getattr(components, component)
    folder = tmp_path / "my_line"
    folder.mkdir()
    request = ScaffoldRequest(
        type_name=f"factory_assets.components.{component}",
        target_path=folder,
        scaffold_format="yaml",
        project_root=tmp_path,
        params=NoParams(),
    )
    dg.components.scaffold.scaffold.get_scaffolder(kind).scaffold(request)
    assert load(tmp_path).streams
    code = "from factory_assets.definitions import defs; print(len(list(defs().resolve_all_asset_specs())))"
    done = forked.python(code, env=os.environ | {"FACTORY_DEFS": str(tmp_path)})
    assert done.stdout.strip() == str(assets), done.stderr


def test_every_field_of_every_declaration_is_described() -> None:
    from pydantic import BaseModel

    from factory_assets.declarations import contract, line, on_demand, serving, stream, view

    for module in (contract, line, on_demand, serving, stream, view):
        for model in vars(module).values():
            if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__:
                for name, field in model.model_fields.items():
                    assert field.description or name == "kind", f"{model.__name__}.{name}"


def test_the_product_holds_no_pickle() -> None:
    words = ("pickle", "joblib", "dill", "cloudpickle")
    for folder in ("factory_assets", "factory_resources"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            imported = [
                line for line in file.read_text().splitlines() if line.lstrip().startswith(("import ", "from "))
            ]
            assert not [line for line in imported if any(word in line.split() for word in words)], file
