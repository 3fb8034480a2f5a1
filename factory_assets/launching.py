"""What may a launch say? The fields of a run's configuration, with the names that it may take, and their values in a run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import dagster as dg
import yaml

from factory_assets.identity.hashes import hash_of
from factory_resources.dagster_private.refusals import refusal

#: Types that Dagster gives the fields of a `Config` -> types of the values alone.
PLAIN = ((dg.StringSource, dg.Field(str)), (dg.IntSource, dg.Field(int)), (dg.BoolSource, dg.Field(bool)))
#: Name of the code location, as workspace.yaml has it.
LOCATION = "model_factory"
Launched = TypeVar("Launched", bound=dg.Config)


def written_out(config: type[dg.Config]) -> dict[str, dg.Field]:
    """The fields of a run's configuration, for `config_schema`. A launch has to write their values out.

    Of a `Config` as it is, Dagster lets a launch give the name of an environment variable in place of any value: it could have the
    password of a store recorded, and shown, as its reason.
    """
    return {
        name: dg.Field(
            _plain(field.config_type),
            is_required=field.is_required,
            description=field.description,
            **({"default_value": field.default_value} if field.default_provided else {}),
        )
        for name, field in config.to_fields_dict().items()
    }


def picked(fields: Mapping[str, dg.Field], **names: Sequence[str]) -> dict[str, dg.Field]:
    """The fields, some of which take one of these names alone: a launch is offered them, and told them where it has another one.

    names: field -> names; where there are none the field takes any.
    """
    return {
        name: dg.Field(
            # Dagster takes fields for the same whose types have one name: other values are another type.
            dg.Enum(
                f"{name.capitalize()}Name_{hash_of(*names[name])[:8]}", [dg.EnumValue(each) for each in names[name]]
            ),
            is_required=field.is_required,
            description=field.description,
        )
        if names.get(name)
        else field
        for name, field in fields.items()
    }


def _plain(kind: Any) -> Any:
    if isinstance(kind, dg.Array):
        return dg.Array(_plain(kind.inner_type))
    if isinstance(kind, dg.Noneable):
        return dg.Noneable(_plain(kind.inner_type))
    return next((plain.config_type for source, plain in PLAIN if kind is source), kind)


def launched(config: type[Launched], context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Launched:
    """The configuration of a launch, by the fields of `written_out`."""
    if not isinstance(context, dg.AssetExecutionContext):
        return config(**context.op_config)
    configuration: Mapping[str, Any] = context.run.run_config
    of_asset = configuration.get("ops", {}).get(context.asset_key.to_python_identifier()) or {}
    return config(**of_asset.get("config") or {})


@contextmanager
def refusing(*rules: type[Exception]) -> Iterator[None]:
    """What a rule refuses ends the run by what it says, and is not tried again. rules: the errors that say so."""
    try:
        yield
    except rules as refused:
        # A KeyError puts its message in quotes.
        message = refused.args[0] if isinstance(refused, KeyError) else refused
        raise refusal(f"refused: {message}") from None


def link(text: str, job: str, op: str, config: Mapping[str, Any]) -> str:
    """A link in Markdown, within Dagster's UI, to the launchpad of a job with its configuration filled in. A person looks at it
    and launches.
    """
    filled = yaml.safe_dump({"ops": {op: {"config": dict(config)}}}, sort_keys=False, allow_unicode=True)
    return f"[{text}](/locations/{LOCATION}/jobs/{job}/playground/setup?config={quote(filled)})"


def launchpad(job: str, op: str, config: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    """The link of an asset's or a check's page. As an address it would stand there whole, in one line: a page is then as wide as
    that, and what comes first cannot be read.
    """
    return dg.MetadataValue.md(link(f"fill in and launch: {job}", job, op, config))


def is_launchpad(value: object) -> bool:
    return isinstance(value, dg.MarkdownMetadataValue) and str(value.value).startswith("[fill in and launch: ")


def to_retrain(line: str, nodes: Sequence[str]) -> dg.MarkdownMetadataValue:
    """A link to the launchpad of the job that trains these nodes now; all of the line if there are none."""
    return launchpad("retrain", "train_nodes", {"line": line, "nodes": list(nodes), "why": "", "by": ""})
