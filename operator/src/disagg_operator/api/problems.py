"""What is wrong with a resource, in words that say where, what and what to write instead.

Invariants: a problem is one line of printable text, whatever a user wrote (it ends in logs, terminals and
conditions), and of a length that can be read; so is the number of problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from disagg_operator.api.wording import readable

_LONGEST_FIELD, _LONGEST_TEXT = 300, 2000
"""Characters."""
_MOST = 50
"""Problems of one refusal: who made more has another fault than each of them says."""


@dataclass(frozen=True, order=True)
class Problem:
    """One fault of a resource.

    Attributes:
        field: path of the field, such as ``spec.decode.replicas``.
        fault: what is wrong, in a few words.
        remedy: what to write instead.
        rule: stable id of the rule that found it.
    """

    field: str
    fault: str
    remedy: str
    rule: str

    def __post_init__(self) -> None:
        for name, longest in (
            ("field", _LONGEST_FIELD),
            ("fault", _LONGEST_TEXT),
            ("remedy", _LONGEST_TEXT),
        ):
            object.__setattr__(self, name, readable(getattr(self, name), longest))

    def __str__(self) -> str:
        return f"{self.field}: {self.fault}. {self.remedy}"


def listed(problems: Sequence[Problem], longest: int) -> str:
    """Return problems as text, one line each.

    Args:
        problems: at least one.
        longest: the most characters. Where not all have room, the last line names the first field that is
            left out, and tells how many more there are.
    """
    text = "\n".join(str(problem) for problem in problems)
    kept = len(problems)
    while len(text) > longest and kept > 1:
        kept -= 1
        rest = _rest(problems[kept], len(problems) - kept - 1)
        text = "\n".join(str(problem) for problem in (*problems[:kept], rest))
    return text[:longest]


def _rest(first: Problem, more: int) -> Problem:
    fault = f"this and {more} further fields are wrong as well"
    return Problem(first.field, fault, "Mend the others first", first.rule)


class Refusal(Exception):  # noqa: N818 - an expected answer, not an error of the program
    """The resource cannot be accepted.

    Attributes:
        problems: at least one, in the order of their fields. Where there are very many, the last one tells
            how many are left out.
    """

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        found = sorted(problems)
        if len(found) > _MOST:
            found[_MOST:] = [_rest(found[_MOST], len(found) - _MOST - 1)]
        self.problems = tuple(found)
        super().__init__("\n".join(str(problem) for problem in self.problems))
