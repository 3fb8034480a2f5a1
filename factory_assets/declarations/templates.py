"""What do {{ env.NAME }} and the like in a declaration stand for? The same as in Dagster's own reading of the file."""

import os
from collections.abc import Mapping
from typing import Any


class _Environment:
    def __getattr__(self, name: str) -> str:
        try:
            return os.environ[name]
        except KeyError:
            raise ValueError(f"the environment variable {name} is not set") from None

    def __call__(self, name: str, default: str | None = None) -> str | None:
        return os.environ.get(name, default)


def render(value: Any) -> Any:
    """The value with every template in a text filled in. Raises ValueError where a variable is not set."""
    if isinstance(value, Mapping):
        return {key: render(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [render(inner) for inner in value]
    if isinstance(value, str) and "{{" in value:
        from jinja2 import StrictUndefined
        from jinja2.nativetypes import NativeEnvironment

        return NativeEnvironment(undefined=StrictUndefined).from_string(value).render(env=_Environment())
    return value
