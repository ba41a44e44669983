"""The shapes that are measured, and their objects: as a user writes them, and as a script would make them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from testcluster.errors import ClusterError

Object = dict[str, Any]

NAMESPACE = "bench"
WORKLOADS = frozenset({"StatefulSet", "Deployment"})
"""Kinds of which the floor has objects: without them there are no pods."""
IMAGE = "disagg.local/worker:bench"
NEW_IMAGE = "disagg.local/worker:next"
_NAME = "bench-00000"


@dataclass(frozen=True)
class Shape:
    """So many deployments of one form.

    Attributes:
        deployments: how many.
        prefill: instances of prefill in each.
        decode: instances of decode in each.
        nodes: pods of each instance.
    """

    deployments: int
    prefill: int
    decode: int
    nodes: int = 1

    def __str__(self) -> str:
        form = f"{self.deployments} × ({self.prefill} + {self.decode})"  # noqa: RUF001 - as people write it
        return form if self.nodes == 1 else f"{form} groups × {self.nodes}"  # noqa: RUF001

    @property
    def workers(self) -> int:
        """Worker pods of all deployments."""
        return self.deployments * (self.prefill + self.decode) * self.nodes

    @property
    def pods(self) -> int:
        """All pods: workers, and a frontend in each deployment."""
        return self.workers + self.deployments

    def names(self) -> list[str]:
        """Return the deployments' names."""
        return [f"bench-{number:05}" for number in range(self.deployments)]


def resource(shape: Shape, name: str) -> Object:
    """Return a DisaggDeployment of this shape.

    Nothing answers in simulated pods, so that nothing can be verified in them.
    """
    several = {"nodesPerReplica": shape.nodes} if shape.nodes > 1 else {}
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
            "platform": "generic",
            "runtime": {"engine": "reference", "frontend": "dynamo", "image": IMAGE},
            "verification": {"mode": "Off"},
            "prefill": {"replicas": shape.prefill, **several},
            "decode": {"replicas": shape.decode, **several},
        },
    }


def children(shape: Shape, name: str) -> list[Object]:
    """Return all objects that a deployment of this shape consists of, as `kubectl disagg render` has them."""
    text = _rendered(shape).replace(_NAME, name)
    found: list[Object] = json.loads(text)["items"]
    return found


def workloads(shape: Shape, name: str) -> list[Object]:
    """Return what makes the pods: StatefulSets and the frontend's Deployment, which need nothing else.

    They are the same pods in all but their ServiceAccount, and are updated as StatefulSets are by themselves.
    """
    found = [obj for obj in children(shape, name) if obj["kind"] in WORKLOADS]
    for obj in found:
        obj["spec"]["template"]["spec"].pop("serviceAccountName", None)
        if obj["kind"] == "StatefulSet":
            obj["spec"].pop("updateStrategy", None)
    return found


@cache
def _rendered(shape: Shape) -> str:
    program = Path(sys.executable).with_name("kubectl-disagg")
    told = json.dumps(resource(shape, _NAME))
    argv = [str(program), "render", "--file", "-", "--namespace", NAMESPACE, "--output", "json"]
    done = subprocess.run(argv, input=told, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"a deployment of shape {shape} cannot be rendered: {done.stderr.strip()}")
    return done.stdout
