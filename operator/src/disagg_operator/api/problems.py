"""What is wrong with a resource, in words that say where, what and what to write instead.

Invariants: a problem is one line of printable text, whatever a user wrote (it ends in logs, terminals and
conditions), and of a length that can be read; so is the number of problems.
"""

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


class Refusal(Exception):  # noqa: N818 - an expected answer, not an error of the program
    """The resource cannot be accepted.

    Attributes:
        problems: at least one, in the order of their fields. Where there are very many, the last one tells
            how many are left out.
    """

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        found = sorted(problems)
        if len(found) > _MOST:
            rest = found[_MOST]
            fault = f"this and {len(found) - _MOST - 1} further fields are wrong as well"
            found[_MOST:] = [Problem(rest.field, fault, "Mend the others first", rest.rule)]
        self.problems = tuple(found)
        super().__init__("\n".join(str(problem) for problem in self.problems))
