"""What happens to the deployments: a seeded script of users, of a cluster that loses nodes, and of mistakes.

Invariant: the same seed gives the same choices; how far the operator has come by then is not the script's.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soak.shapes import SHAPES, resource

Object = dict[str, Any]
NAMESPACES = ("soak-a", "soak-b", "soak-c")
PAUSED = "disagg.dev/paused"
_OF_USERS = (
    ("edit", 4),
    ("settle", 2),
    ("scale", 6),
    ("frontends", 1),
    ("pause", 1),
    ("resume", 2),
    ("mistake", 2),
    ("undo", 3),
    ("delete", 4),
)


@dataclass
class Deployed:
    """A deployment as the script left it.

    Attributes:
        namespace: its namespace.
        name: its name.
        shape: its shape.
        paused: whether it is paused.
        mistaken: whether its specification is one that the operator refuses.
    """

    namespace: str
    name: str
    shape: str
    paused: bool = False
    mistaken: bool = False


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: its name in the report.
        on: the deployment that it is done to.
        patch: a merge patch; None for what is made or deleted.
        scaler: role whose DisaggScaler is patched, in place of the deployment.
        refused: whether the API server itself refuses it.
    """

    kind: str
    on: Deployed
    patch: Object | None = None
    scaler: str = ""
    refused: bool = False


@dataclass
class Churn:
    """The script.

    Attributes:
        seed: decides everything.
        wanted: deployments to have at the same time.
        there: deployments that are there.
        done: what was chosen so far, by kind.
    """

    seed: int
    wanted: int
    there: list[Deployed] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _made: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - reproducible, no secret

    def next(self) -> Action:
        """Choose what happens next, as if it succeeds."""
        action = self._choose()
        self.done[action.kind] += 1
        return action

    def _choose(self) -> Action:
        if len(self.there) < self.wanted and (
            len(self.there) < self.wanted // 2 or self._random.random() < 0.5
        ):
            return self._create()
        names, weights = zip(*_OF_USERS, strict=True)
        (kind,) = self._random.choices(names, weights)
        choices: dict[str, Callable[[Deployed], Action]] = {
            "edit": self._edit,
            "settle": self._settle,
            "scale": self._scale,
            "frontends": lambda on: Action("frontends", on, _spec(frontend={"replicas": self._number(0, 3)})),
            "pause": self._pause,
            "resume": self._resume,
            "mistake": self._mistake,
            "undo": self._undo,
            "delete": self._delete,
        }
        return choices[kind](self._random.choice(self.there))

    def _create(self) -> Action:
        shape = self._random.choice(sorted(SHAPES))
        # Names come again: what the one before left behind would be found by the next.
        free = {f"{shape}-{number}" for number in range(self.wanted)} - {each.name for each in self.there}
        made = Deployed(self._random.choice(NAMESPACES), self._random.choice(sorted(free)), shape)
        self.there.append(made)
        return Action("create", made)

    def _edit(self, on: Deployed) -> Action:
        self._made += 1
        return Action("edit", on, _spec(env=[{"name": "SOAK", "value": str(self._made)}]))

    def _settle(self, on: Deployed) -> Action:
        """An edit of which no pod knows."""
        return Action("settle", on, _spec(rollout={"progressDeadlineSeconds": self._number(60, 600)}))

    def _scale(self, on: Deployed) -> Action:
        role = self._random.choice(("prefill", "decode"))
        count = {"replicas": self._number(0, 3)}
        if on.shape == "scaled":
            return Action("scale", on, {"spec": count}, scaler=role)
        return Action("scale", on, _spec(**{role: count}))

    def _pause(self, on: Deployed) -> Action:
        on.paused = True
        return Action("pause", on, {"metadata": {"annotations": {PAUSED: "true"}}})

    def _resume(self, on: Deployed) -> Action:
        on = next((each for each in self.there if each.paused), on)
        on.paused = False
        return Action("resume", on, {"metadata": {"annotations": {PAUSED: None}}})

    def _mistake(self, on: Deployed) -> Action:
        if self._random.random() < 0.5:
            return Action("refused by the API server", on, _spec(decode={"replicas": -1}), refused=True)
        on.mistaken = True
        return Action("refused by the operator", on, _spec(platform="no-such-machine"))

    def _undo(self, on: Deployed) -> Action:
        on = next((each for each in self.there if each.mistaken), on)
        on.mistaken = False
        return Action("undo", on, _spec(platform=SHAPES[on.shape]["platform"]))

    def _delete(self, on: Deployed) -> Action:
        self.there.remove(on)
        return Action("delete", on)

    def mend(self) -> list[Action]:
        """Return what makes every deployment whole: none is paused or refused any more."""
        found = []
        for on in self.there:
            if on.paused:
                on.paused = False
                found.append(Action("resume", on, {"metadata": {"annotations": {PAUSED: None}}}))
            if on.mistaken:
                on.mistaken = False
                found.append(Action("undo", on, _spec(platform=SHAPES[on.shape]["platform"])))
        return found

    def _number(self, least: int, most: int) -> int:
        return self._random.randint(least, most)


def made(action: Action) -> Object:
    """Return the resource that an action creates."""
    return resource(action.on.shape, action.on.namespace, action.on.name)


def _spec(**fields: Any) -> Object:
    return {"spec": fields}
