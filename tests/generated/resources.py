"""Resources made from a seed: examples with a change or a few, and specifications made of the schema alone.

Invariant: the same seed and number give the same resource, on any machine.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from random import Random
from typing import Any

import yaml

from disagg_operator.api.crd.schema import structural
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from generated.hostile import CHARACTERS, HOSTILE, HUGE, LENGTHS, SURROGATE, SYNTAX, TEXTS
from generated.values import Schema, at_limit, fitting, violating
from testcluster.paths import REPOSITORY
from unit.api.test_any_resource import FULL

Object = dict[str, Any]
NAMESPACE = "generated"
HUGE_ONE_IN = 60
"""Texts of a mebibyte are rare, or a run is about nothing else."""


class Sort(StrEnum):
    """What a resource is meant to be. What it is, is for the judges to say."""

    VALID = "valid"
    NEARLY = "nearly valid"
    HOSTILE = "hostile"
    NOISE = "noise"
    METADATA = "metadata"


_SORTS = [Sort.VALID] * 8 + [Sort.NEARLY] * 5 + [Sort.HOSTILE] * 4 + [Sort.NOISE] + [Sort.METADATA] * 2


@dataclass(frozen=True)
class Made:
    """A generated resource.

    Attributes:
        seed: that of the run.
        number: its number in the run.
        sort: what it is meant to be.
        resource: the resource.
    """

    seed: int
    number: int
    sort: Sort
    resource: Any

    @property
    def told(self) -> str:
        """How to get it again."""
        return f"SEED={self.seed} number {self.number} ({self.sort})"


@cache
def schema() -> Schema:
    """Return the schema of the specification, as the CRD has it."""
    found: Schema = structural(DisaggDeployment)["properties"]["spec"]
    return found


@cache
def bases() -> tuple[Object, ...]:
    """Return the deployments of the examples, and one with most of the fields."""
    files = sorted((REPOSITORY / "examples").glob("*/*.yaml"))
    documents = [each for file in files for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    return FULL, *(each for each in documents if each and each.get("kind") == "DisaggDeployment")


def make(seed: int, number: int) -> Made:
    """Return one resource of a run."""
    dice = Random(f"{seed}:{number}")  # noqa: S311 - to be made again, not to be secret
    sort = dice.choice(_SORTS)
    resource = copy.deepcopy(dice.choice(bases()))
    resource["metadata"] = {**_metadata(dice), "name": f"g{number}"}
    resource.pop("status", None)
    match sort:
        case Sort.VALID:
            for _ in range(dice.randint(0, 3)):
                _set(dice, resource, fitting)
        case Sort.NEARLY:
            _set(dice, resource, dice.choice([at_limit, violating]))
        case Sort.HOSTILE:
            for _ in range(dice.randint(1, 3)):
                _harm(dice, resource)
        case Sort.NOISE:
            resource["spec"] = dice.choice([fitting(dice, schema()), dice.choice(HOSTILE), {}])
        case Sort.METADATA:
            _harm_metadata(dice, resource)
    return Made(seed, number, sort, resource)


def _metadata(dice: Random) -> Object:
    return dice.choice(
        [
            {},
            {"namespace": NAMESPACE},
            {"labels": {"team": "search", "example.com/tier": ""}},
            {"annotations": {"note": "a: b\n", "disagg.dev/verify": "1"}},
            {"annotations": {"disagg.dev/ssh-key": "2", "disagg.dev/paused": "false"}},
        ]
    )


def _set(dice: Random, resource: Object, value: Any) -> None:
    """Set one field of the specification, which may be in an object that was not there."""
    at, node, name = resource["spec"], schema(), "spec"
    while True:
        name = dice.choice(sorted(node["properties"]))
        node = node["properties"][name]
        inner = node
        if inner.get("type") == "array" and "properties" in inner["items"] and dice.random() < 0.6:
            entries = at.get(name) if isinstance(at.get(name), list) else None
            if not entries:
                entries = [fitting(dice, inner["items"], name)]
                at[name] = entries
            if not isinstance(entries[-1], dict):
                return
            at, node = entries[-1], inner["items"]
            continue
        if "properties" not in node or dice.random() < 0.1:
            at[name] = value(dice, node, name)
            return
        if not isinstance(at.get(name), dict):
            at[name] = {
                each: fitting(dice, node["properties"][each], each) for each in node.get("required", [])
            }
        at = at[name]


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a structure with every key of it."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from places(node[key])


def _harm(dice: Random, resource: Object) -> None:
    found = list(places(resource["spec"])) if isinstance(resource.get("spec"), dict | list) else []
    if not found:
        return
    container, key = dice.choice(found)
    match dice.randint(0, 7):
        case 0 | 1 | 2:
            container[key] = copy.deepcopy(_any(dice))
        case 3:
            del container[key]
        case 4 if isinstance(container, dict):
            container[dice.choice(TEXTS[:60])] = copy.deepcopy(_any(dice))
        case 5 if isinstance(container, dict):
            container[_misspelt(dice, str(key))] = container.pop(key)
        case 6 if isinstance(container[key], list) and container[key]:
            container[key].append(copy.deepcopy(container[key][0]))
        case 7:
            _set(dice, resource, violating)
        case _ if isinstance(container, list):
            container.append(copy.deepcopy(_any(dice)))
        case _:
            container[key] = type(container[key])()


def _any(dice: Random) -> Any:
    return dice.choice(HUGE) if dice.randrange(HUGE_ONE_IN) == 0 else dice.choice(HOSTILE)


def _misspelt(dice: Random, key: str) -> str:
    return dice.choice([key.upper(), key.lower(), f"{key}s", key[1:], f" {key}", f"{key}\u200b", key + key])


def _harm_metadata(dice: Random, resource: Object) -> None:
    text = dice.choice(
        [*CHARACTERS.values(), *SYNTAX, *("a" * length for length in LENGTHS), SURROGATE, "A", "a.b"]
    )
    value: Any = dice.choice([text, text, *HOSTILE])
    metadata = resource["metadata"]
    match dice.randint(0, 9):
        case 0 | 1 | 2:
            metadata["name"] = dice.choice([text, text, value])
        case 3:
            metadata["labels"] = {dice.choice(["a", text]): dice.choice(["b", text, value])}
        case 4:
            metadata["annotations"] = {dice.choice(["a", text]): dice.choice(["b", text, value])}
        case 5:
            metadata["annotations"] = {"a": "x" * dice.choice([262_000, 262_143, 262_144, 1024**2])}
        case 6:
            metadata[dice.choice(["finalizers", "ownerReferences", "generation", "uid", "unknown"])] = value
        case 7:
            resource[dice.choice(["metadata", "spec", "apiVersion", "kind", "status", text])] = value
        case 8:
            resource.pop(dice.choice(["metadata", "spec", "apiVersion", "kind"]))
        case _:
            metadata[dice.choice(["labels", "annotations", "namespace"])] = value
