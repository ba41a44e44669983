"""What is wrong with a profile: the path to it, the fault in plain words, and the remedy."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from disagg_operator.api.problems import Problem
from disagg_operator.api.translate import Location, words

RULE = "platform-profile"
_TEMPLATE_SIGNS = ("{{", "{%", "{#")


class ProfileError(ValueError):
    """A profile that cannot be used. The message names the profile, the field and what is wrong."""


def problems_of(
    error: ValidationError, document: Mapping[str, Any], model: type[BaseModel], place: str
) -> list[Problem]:
    """Translate all errors of a validation.

    Args:
        error: what pydantic found.
        document: the profile.
        model: what it was to be.
        place: path of the profile in its resource; empty for a file.
    """
    return [
        Problem(_path(detail["loc"], document, place) or "profile", *words(detail, model), RULE)
        for detail in error.errors(include_url=False)
    ]


def templates(value: Any, place: str) -> Iterator[Problem]:
    """Yield a problem for each text of a user's profile that looks like a template, which would be run."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from templates(part, f"{place}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from templates(part, f"{place}[{index}]")
    elif isinstance(value, str) and any(sign in value for sign in _TEMPLATE_SIGNS):
        remedy = "Write the value itself, or put the profile into the chart's value platforms"
        yield Problem(place, "a profile of a deployment may not hold templates", remedy, RULE)


def _path(location: Location, document: Any, text: str) -> str:
    """Return a path below ``text``, with entries of lists by name: after a merge, indexes tell nothing."""
    found = document
    for step in location:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            found = None
        if isinstance(step, int):
            name = found.get("name") if isinstance(found, Mapping) else None
            text += f"[{name if isinstance(name, str) else step}]"
        else:
            text += f".{step}"
    return text.removeprefix(".")
