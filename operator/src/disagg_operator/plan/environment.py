"""Environment variables in layers: the runtime's, the platform's, the user's. A later layer wins by name."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from disagg_operator.api.v1alpha1.base import EnvVar
from disagg_operator.plan.facts import provenance
from disagg_operator.plan.model import EnvSetting, Provenance
from disagg_operator.platforms.profile import Variable

# Sandboxed, since an installation brings profiles of its own. Text for a process environment, not for HTML:
# escaping would corrupt it.
_NAMED = re.compile(r"\{\{ (\w+) \}\}", re.ASCII)
_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


class TemplateFailedError(Exception):
    """A template of a profile fails on the values at hand. The message says which and why."""


def fill(template: str, values: Mapping[str, object]) -> str:
    """Fill in a profile's jinja2 template.

    Raises:
        TemplateFailedError: it names a value that there is not, or computes with one in a way that cannot be.
    """
    # Most values are plain text, and a plan has hundreds of them.
    if "{" not in template:
        return template
    try:
        return _compiled(template)(values)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateFailedError(f"{template!r} fails: {error}") from error


# Profiles hold a few dozen templates, and compiling one takes longer than planning a whole deployment.
@lru_cache(maxsize=1024)
def _compiled(template: str) -> Callable[[Mapping[str, object]], str]:
    """Return what fills in a template. Most only name values, for which jinja2 takes many times as long."""
    rendered, parts = _TEMPLATES.from_string(template).render, _NAMED.split(template)
    if any(sign in plain for plain in parts[::2] for sign in "{\r\n"):
        return rendered

    def filled(values: Mapping[str, object]) -> str:
        if any(name not in values for name in parts[1::2]):
            return rendered(values)
        return "".join([str(values[part]) if index % 2 else part for index, part in enumerate(parts)])

    return filled


def literal(word: str) -> str:
    """Return a word as a command holds it, where Kubernetes puts variables in for ``$(NAME)``."""
    return word.replace("$", "$$")


def derived(variables: Iterable[Variable], values: Mapping[str, object]) -> tuple[EnvSetting, ...]:
    """Turn a profile's variables into settings."""
    return tuple(
        EnvSetting(
            name=variable.name,
            value=None if variable.value is None else fill(variable.value, values),
            value_from=None if variable.field is None else {"fieldRef": {"fieldPath": variable.field}},
            provenance=provenance(variable),
        )
        for variable in variables
    )


def written(variables: Iterable[EnvVar], path: str) -> tuple[EnvSetting, ...]:
    """Turn variables that the user wrote at ``path`` into settings."""
    by_user = Provenance("Set by the user.", path)
    return tuple(
        EnvSetting(
            name=variable.name,
            value=variable.value if variable.value_from is None else None,
            value_from=variable.value_from,
            provenance=by_user,
        )
        for variable in variables
    )


def layered(*layers: Iterable[EnvSetting]) -> tuple[EnvSetting, ...]:
    """Merge layers by name. A variable keeps the place where it first appeared, and takes the last value."""
    merged: dict[str, EnvSetting] = {}
    for layer in layers:
        for setting in layer:
            merged[setting.name] = setting
    return tuple(merged.values())
