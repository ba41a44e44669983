"""What is wrong with a resource, in words that say where, what and what to write instead."""

from dataclasses import dataclass


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

    def __str__(self) -> str:
        return f"{self.field}: {self.fault}. {self.remedy}"


class Refusal(Exception):  # noqa: N818 - an expected answer, not an error of the program
    """The resource cannot be accepted.

    Attributes:
        problems: at least one, in the order of their fields.
    """

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
