"""What a release of the operator left in clusters, as files: definitions, resources, and what it made.

A folder of `released/` is a release. `definitions.yaml` holds its CustomResourceDefinitions, `examples.yaml`
the resources of its examples, with the hash of the inputs and the revision that it planned for each. Of each
deployment in `deployments/` there is a file with the resource, its status last, and the bodies that the
operator applied or created for it, by kind and name. Uids of owners are those of the fake cluster.

Invariant: nobody edits these files. They are what clusters hold that were installed then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

RELEASED = Path(__file__).with_name("released")
WORKER_IMAGE = "disagg.local/worker:test"
"""Worker image of the installation, an input of pods."""
NAMESPACE = "ns"
"""Where all deployments are, by which their pods are named."""


@dataclass(frozen=True)
class Example:
    """One example as its release had it.

    Attributes:
        resource: the DisaggDeployment.
        inputs: hash of what its pods were planned from.
        revision: hash of what came of it.
    """

    resource: Object
    inputs: str
    revision: str


@dataclass(frozen=True)
class Deployment:
    """One deployment as its release left it.

    Attributes:
        resource: the DisaggDeployment, with the status that was reported.
        children: what was applied or created for it.
    """

    resource: Object
    children: tuple[Object, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.resource["metadata"]["name"])


@dataclass(frozen=True)
class Release:
    """A stored release.

    Attributes:
        folder: its files.
    """

    folder: Path

    @cached_property
    def definitions(self) -> list[Object]:
        """Its CustomResourceDefinitions."""
        return _read(self.folder / "definitions.yaml")

    @cached_property
    def examples(self) -> dict[str, Example]:
        """DisaggDeployments of its examples, by name of the file."""
        (found,) = _read(self.folder / "examples.yaml")
        return {name: Example(**each) for name, each in found.items()}

    @cached_property
    def deployments(self) -> list[Deployment]:
        """Its deployments, by name."""
        files = sorted((self.folder / "deployments").glob("*.yaml"))
        return [Deployment(objects[0], tuple(objects[1:])) for objects in map(_read, files)]


def releases() -> list[Release]:
    """Return all stored releases."""
    return [Release(path) for path in sorted(RELEASED.iterdir()) if path.is_dir()]


def _read(file: Path) -> list[Object]:
    return list(_documents(file.read_text(encoding="utf-8")))


def _documents(text: str) -> Iterator[Object]:
    yield from yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
