"""What do {{ env.NAME }} and the like in a declaration stand for? The same as in Dagster's own reading of the file."""

import os
from collections.abc import Mapping
from typing import Any


class _Environment:
    """The environment: {{ env.NAME }}, or {{ env('NAME', 'default') }}."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("jinja"):
            raise AttributeError(name)  # jinja asks everything that it calls whether it wants more than its arguments
        return self(name)

    def __call__(self, name: str, default: str | None = None) -> str:
        value = os.environ.get(name, default)
        if value is None:
            raise ValueError(f"the environment variable {name} is not set; set it, or write env('{name}', 'a default')")
        return value


def render(value: Any) -> Any:
    """The value with every template in a text filled in. Raises ValueError where that cannot be done."""
    if isinstance(value, Mapping):
        return {key: render(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [render(inner) for inner in value]
    return _filled(value) if isinstance(value, str) and "{{" in value else value


def _filled(text: str) -> Any:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.nativetypes import NativeEnvironment

    try:
        value = NativeEnvironment(undefined=StrictUndefined).from_string(text).render(env=_Environment())
        if isinstance(value, StrictUndefined):
            str(value)  # alone in its template, it is handed over instead of raised
    except TemplateError as error:
        raise ValueError(f"{text!r} cannot be filled in: {error}; allowed: {{{{ env.NAME }}}}") from None
    return value
