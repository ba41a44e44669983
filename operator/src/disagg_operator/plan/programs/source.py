"""The programs of this folder as text: ``python3 -c`` takes them into any image."""

from functools import cache
from importlib import resources


@cache
def script(name: str) -> str:
    """Return the source of a program, by the name of its file in this folder."""
    return resources.files("disagg_operator.plan.programs").joinpath(name).read_text(encoding="utf-8")
