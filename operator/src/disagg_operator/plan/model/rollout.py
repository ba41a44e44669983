"""How a change of revision is rolled out."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rollout keeps to in one role, in model instances.

    Attributes:
        surge: instances of all revisions together beyond the wanted ones.
        unavailable: instances short of the wanted ones.
    """

    surge: int
    unavailable: int


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """How a change of revision is rolled out.

    Attributes:
        limits: how far it may go at once, by role.
        paused: whether it stays where it is.
        deadline_seconds: time without progress after which it has failed.
        retry: text whose change asks for another try of a revision that failed.
    """

    limits: Mapping[str, Limits]
    paused: bool
    deadline_seconds: int
    retry: str
