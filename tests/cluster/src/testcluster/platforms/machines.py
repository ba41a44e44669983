"""Machines as the API server knows them: Node and ResourceSlice objects. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

COMPUTE_DOMAIN_DRIVER = "compute-domain.nvidia.com"
CLIQUE_LABEL = "nvidia.com/gpu.clique"
SIMULATED = {"kwok.x-k8s.io/node": "fake"}
"""The annotation by which KWOK knows its nodes."""
ROOM = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "1Ti", "pods": "110"}
"""What a machine has unless said otherwise: more than any pod asks for, of what no test is about."""


def node(
    name: str,
    *,
    labels: Mapping[str, str],
    allocatable: Mapping[str, str],
    taints: Sequence[Mapping[str, str]],
    clique: str | None,
    version: str,
) -> Object:
    """A Node that KWOK looks after.

    Args:
        name: Its name.
        labels: Added to those that every kubelet sets; `kubernetes.io/arch` may be replaced.
        allocatable: Quantities by resource, added to ROOM.
        taints: As in a Node's spec.
        clique: `<ClusterUUID>.<CliqueID>` of its NVLink domain; None for a machine that is in none.
        version: The version that its kubelet reports, such as `v1.37.2`.
    """
    own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    known = {**own, **({} if clique is None else {CLIQUE_LABEL: clique}), **labels}
    resources = {**ROOM, **allocatable}
    information = {
        **dict.fromkeys(("machineID", "systemUUID", "bootID"), name),
        **dict.fromkeys(("kernelVersion", "osImage", "containerRuntimeVersion"), "simulated"),
        "architecture": known["kubernetes.io/arch"],
        "operatingSystem": "linux",
        "kubeletVersion": version,
        "kubeProxyVersion": "",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": known, "annotations": SIMULATED},
        "spec": {"taints": [dict(taint) for taint in taints]},
        "status": {"allocatable": resources, "capacity": resources, "nodeInfo": information},
    }


def channel_slice(name: str, uid: str) -> Object:
    """The ResourceSlice that NVIDIA's kubelet plugin publishes on a node: one channel and one daemon.

    Args:
        name: Name of the node.
        uid: Its UID; the slice goes with the node.

    The devices are those of cmd/compute-domain-kubelet-plugin/deviceinfo.go of the driver's v0.4.1.
    """
    devices = [
        {"name": f"{kind}-0", "attributes": {"type": {"string": kind}, "id": {"int": 0}}}
        for kind in ("channel", "daemon")
    ]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid, "controller": True}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{name}-{COMPUTE_DOMAIN_DRIVER}", "ownerReferences": [owner]},
        "spec": {
            "driver": COMPUTE_DOMAIN_DRIVER,
            "nodeName": name,
            "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
            "devices": devices,
        },
    }
