"""Does a declaration say env.NAME and nothing else between braces, to the factory and to Dagster alike?"""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import yaml

from factory_assets.declarations.catalogue import load
from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.templates import ALLOWED, render
from factory_assets.definitions import defs
from factory_resources.dagster_private.declarations import load_folder

CONTRACT = """\
columns:
  order_id: {type: integer, description: Which order.}
  customer: {type: integer, description: Who ordered.}
  placed: {type: timestamp, description: When.}
  amount: {type: double, unit: EUR, description: How much.}
"""
STREAM = {
    "name": "orders",
    "owner": "team:x",
    "description": "Orders of a shop.",
    "source": {"kind": "parquet", "uri": "/data/*.parquet"},
    "id": "order_id",
    "event_time": "placed",
    "start": "2024-01-01",
}
VIEW = {
    "name": "habit", "stream": "orders", "entity": "customer", "owner": "team:x", "description": "Habits.",
    "windows": ["1d"], "features": {"n": "count()"},
}  # fmt: skip
SECRET = "wJalrXUtnFEMI/K7MDENG"

#: Templates that are refused. Each that could would write a file named `ran`.
HOSTILE = [
    "{{ cycler.__init__.__globals__.os.system('touch ran') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ env.__class__ }}{{ env.__call__.__globals__.os.system('touch ran') }}",
    "{{ env('HOME', cycler.__init__.__globals__.os.system('touch ran')) }}",
    "{{ env(*['HOME']) }}",
    "{{ env(key='HOME') }}",
    "{{ env('HOME', default='x') }}",
    "{{ env('HOME', none) }}",
    "{{ env('HOME')() }}",
    "{{ env['HOME'] }}",
    "{{ env.HOME.upper() }}",
    "{{ env.HOME | upper }}",
    "{{ env.HOME ~ env.PATH }}",
    "{{ env.HOME if env.PATH else 'x' }}",
    "{{ 6 * 7 }}",
    "{{ 'plain' }}",
    "{{ range(3) }}",
    "{{ dg.AutomationCondition.eager() }}",
    "{{ datetime.datetime.now() }}",
    "{{ context.project_root }}",
    "{{ environ.HOME }}",
    "{{ env }}",
    "{{ }}",
    "{{ env.HOME",
    "{{ env('not a name') }}",
    "{{ env('') }}",
    "{{ " + "(" * 5000 + " }}",
    "{{ env.HOME }}{% set x = cycler.__init__.__globals__.os.system('touch ran') %}",
    "{{ env.HOME }}{# a comment #}",
    "{% raw %}{{ env.HOME }}{% endraw %}",
]  # fmt: skip


def declared(folder: Path, *documents: dict[str, object], **more: object) -> Path:
    """A stream, changed by `more` and with more documents beside it, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    stream = {"type": "factory_assets.components.EventStream", "attributes": STREAM | more}
    (folder / "defs.yaml").write_text(yaml.safe_dump_all([stream, *documents], sort_keys=False))
    (folder / "contract.yaml").write_text(CONTRACT)
    return folder


def told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is wrong with a folder: the same by `factory check` and where Dagster loads it, and how it is shown there."""
    monkeypatch.setenv("FACTORY_DEFS", str(folder))
    with pytest.raises(DeclarationError) as ours:
        load(folder, render)
    with pytest.raises(DeclarationError) as dagsters:
        defs()
    assert [(one.file, one.line, one.message) for one in dagsters.value.problems] == [
        (one.file, one.line, one.message) for one in ours.value.problems
    ]
    shown = [str(ours.value), *traceback.format_exception(dagsters.value)]
    assert SECRET[:6] not in "".join(shown)
    return [one.message for one in ours.value.problems]


@pytest.mark.parametrize("template", HOSTILE)
def test_any_other_template_is_refused_by_both_loaders_and_never_run(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (message,) = told(declared(tmp_path / "defs", description=f"Orders. {template}"), monkeypatch)
    assert "cannot be filled in" in message and message.endswith(f"allowed: {ALLOWED}")
    # Also where a folder reaches Dagster in another way, its own reading of templates is not asked.
    with pytest.raises(Exception) as outside:
        load_folder(tmp_path / "defs")
    assert message in "".join(traceback.format_exception(outside.value))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("template", [*HOSTILE, "{% set x = cycler.__init__.__globals__.os.system('touch ran') %}"])
def test_nor_is_it_run_beside_the_attributes_which_dagster_fills_in_itself(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    view = {"type": "factory_assets.components.FeatureView", "attributes": VIEW}
    after = {"assets": [{"target": "*", "attributes": {"description": template}}]}
    (message,) = told(declared(tmp_path / "defs", view | {"post_processing": after}), monkeypatch)
    assert "cannot be filled in" in message and message.endswith(f"allowed: {ALLOWED}")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_template_stays_beside_the_attributes_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = {"type": "factory_assets.components.FeatureView", "attributes": VIEW}
    after = {"assets": [{"target": "*", "attributes": {"tags": {"at": "{{ env.AT }}"}}}]}
    folder = declared(tmp_path / "defs", view | {"post_processing": after})
    monkeypatch.delenv("AT", raising=False)
    assert "AT is not set" in told(folder, monkeypatch)[0]
    monkeypatch.setenv("AT", "Oslo")
    assert list(load(folder, render).views) == ["habit"]
    assert [spec.tags["at"] for spec in defs().resolve_all_asset_specs() if spec.key.path[-1] == "habit"] == ["Oslo"]


@pytest.mark.parametrize("name", ["defs.yml", "component.yaml"])
def test_a_component_of_another_kind_is_not_filled_in_either(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = declared(tmp_path / "defs")
    (tmp_path / "elsewhere").mkdir()
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    # Written by numbers of characters, as YAML allows.
    hidden = r'"\x7b\u007b cycler.__init__.__globals__.os.system(\"touch ran\") }}"'
    (folder / "more" / name).write_text(f"type: dagster.DefinitionsComponent\nattributes: {{path: {hidden}}}\n")
    monkeypatch.setenv("FACTORY_DEFS", str(folder))
    with pytest.raises(DeclarationError, match=r"\{\{ cycler.*cannot be filled in"):
        defs()
    assert not (tmp_path / "ran").exists()


def test_no_module_of_functions_for_templates_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = declared(tmp_path / "defs")
    (folder / "defs.yaml").write_text((folder / "defs.yaml").read_text() + "template_vars_module: antigravity\n")
    assert told(folder, monkeypatch) == [
        "unknown field 'template_vars_module'; allowed: type, attributes, requirements, post_processing"
    ]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ env.FACTORY_TEST_DATA }}/*.parquet", "/elsewhere/*.parquet"),
        ("{{env.FACTORY_TEST_DATA}}/{{ env('FACTORY_TEST_DATA') }}", "/elsewhere//elsewhere"),
        ("{{ env('FACTORY_NOT_SET', '/default') }}/x", "/default/x"),
        ('{{ env("FACTORY_NOT_SET", "a" "b") }}/x', "ab/x"),
        ("{{ env('FACTORY_NOT_SET', 7) }}/x", "7/x"),
        ("{{ env('FACTORY_NOT_SET', '{{') }}/x", "{{/x"),
        ("no {template} }} {%", "no {template} }} {%"),
    ],
)
def test_the_two_ways_to_name_a_variable_mean_the_same_to_both_loaders(
    tmp_path: Path, template: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_TEST_DATA", "/elsewhere")
    monkeypatch.delenv("FACTORY_NOT_SET", raising=False)
    monkeypatch.delenv("FACTORY_DECLARED_ENV", raising=False)
    folder = declared(tmp_path / "defs", description=template)
    monkeypatch.setenv("FACTORY_DEFS", str(folder))
    assert load(folder, render).streams["orders"].stream.description == text
    (seen,) = [spec for spec in defs().resolve_all_asset_specs() if spec.key.path == ["orders", "source"]]
    assert str(seen.description).endswith(f"\n\n{text}")


def test_a_variable_that_is_not_set_is_an_error_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACTORY_NOT_SET", raising=False)
    for template in ("{{ env.FACTORY_NOT_SET }}", "{{ env('FACTORY_NOT_SET') }}"):
        folder = declared(tmp_path / "defs", source={"kind": "parquet", "uri": f"{template}/*.parquet"})
        assert told(folder, monkeypatch) == [
            "the environment variable FACTORY_NOT_SET is not set; set it, or write env('FACTORY_NOT_SET', 'a default')"
        ]


@pytest.mark.parametrize("limit", ["DATA_*, SERVING_URL", "", "key"])
def test_which_variables_a_declaration_may_name_can_be_limited(
    tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", SECRET)
    monkeypatch.setenv("DATA_ORDERS", "/data")
    monkeypatch.setenv("FACTORY_DECLARED_ENV", limit)
    for template in ("{{ env.KEY }}", "{{ env('KEY', 'x') }}"):
        assert told(declared(tmp_path / "defs", description=template), monkeypatch) == [
            "the environment variable KEY may not be named in a declaration; allowed by FACTORY_DECLARED_ENV: "
            f"{limit or 'none'}"
        ]
    if "DATA_" in limit:
        assert load(declared(tmp_path / "defs", description="{{ env.DATA_ORDERS }}"), render).streams


#: Where a declaration may have a text that is refused for what it says, and what is said of it instead.
REFUSED = {
    "owner": {"owner": "{{ env.KEY }}"},
    "name of a column": {"id": "{{ env.KEY }}"},
    "expression": {"derive": {"x": "{{ env.KEY }}"}},
    "expression of columns": {"rules": {"x": "amount > {{ env.KEY }}"}},
    "words": {"timezone": "{{ env.KEY }}"},
    "file": {"contract": "{{ env.KEY }}.yaml"},
    "number": {"start": "{{ env.KEY }}"},
    "kind": {"source": {"kind": "{{ env.KEY }}", "uri": "x"}},
    "postgres": {"source": {"kind": "postgres", "url": "{{ env.KEY }}", "table": "{{ env.KEY }}"}},
    "query": {"source": {"kind": "postgres", "url": "postgresql://h/d", "query": "drop {{ env.KEY }}"}},
}


@pytest.mark.parametrize("value", [SECRET, SECRET.lower(), f"{SECRET}'\"\\\n{SECRET}", "0xdeadbeef", f"['{SECRET}']"])
@pytest.mark.parametrize("more", REFUSED.values(), ids=REFUSED)
def test_no_message_shows_what_a_variable_is_set_to(
    tmp_path: Path, value: str, more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", value)
    monkeypatch.setenv("FACTORY_DEFS", str(declared(tmp_path / "defs", **more)))
    with pytest.raises(DeclarationError) as ours:
        load(tmp_path / "defs", render)
    with pytest.raises(Exception) as dagsters:
        defs()
    for shown in (str(ours.value), "".join(traceback.format_exception(dagsters.value))):
        assert "{{ env.KEY }}" in shown
        for piece in (SECRET[:6], SECRET[-6:], str(0xDEADBEEF), "deadbeef"):
            assert piece.casefold() not in shown.casefold()


def test_a_message_that_shows_no_value_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is allowed, and shows the template where it would show the value."""
    monkeypatch.setenv("KEY", SECRET)
    folder = declared(tmp_path / "defs", contract="{{ env.KEY }}")
    (folder / "other.yaml").write_text(CONTRACT)
    with pytest.raises(DeclarationError) as ours:
        load(folder, render)
    (problem,) = ours.value.problems
    assert problem.message == f"'{{{{ env.KEY }}}}' is not a file in {folder}; files there: contract.yaml, other.yaml"
