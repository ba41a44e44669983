"""Why derived settings are there, as blocks of text: those of one reason, the reason, who says so. Pure.

Invariant: no line is folded but those of a reason, so that values and addresses can be searched and copied.
"""

import textwrap
from collections.abc import Iterable, Iterator

from disagg_operator.plan.explanation import Explained

_INDENT = "    "
_GIBI = 2**30


def concerning(settings: Iterable[Explained], component: str) -> list[Explained]:
    """Return the settings of one component; all where none is named."""
    return [each for each in settings if component in ("", *each.components)]


def blocks(settings: Iterable[Explained], width: int) -> Iterator[str]:
    """Yield a block for each reason, in the order of the first setting that has it.

    Args:
        settings: what is explained.
        width: columns of a line of a reason.
    """
    alike: dict[tuple[str, str], list[Explained]] = {}
    for each in settings:
        alike.setdefault((each.reason, each.source), []).append(each)
    for (reason, source), found in alike.items():
        why = textwrap.wrap(
            reason,
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines = dict.fromkeys(each.line for each in found if each.line)
        sources = [f"{_INDENT}{each}" for each in (", ".join(lines), source) if each]
        yield "\n".join([*map(_setting, found), *why, *sources])


def _setting(each: Explained) -> str:
    return f"{each.kind} {each.name} = {_value(each)}  ({', '.join(each.components)})"


def _value(each: Explained) -> str:
    """Return a value as people write it: bytes that a check asks for as 80Gi."""
    written = " ".join(each.value.split())
    whole = int(written) if each.kind == "check" and written.isdigit() else 0
    return f"{whole // _GIBI}Gi" if whole and whole % _GIBI == 0 else written
