"""The programs below this folder that run inside pods, as text: ``python3 -c`` takes them into any image."""

from functools import cache
from importlib import resources


@cache
def script(path: str) -> str:
    """Return the source of a program, by its file's path below this folder."""
    return resources.files("disagg_operator.plan").joinpath(path).read_text(encoding="utf-8")
