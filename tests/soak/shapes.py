"""The soak's deployments: a specification for each shape that the operator handles in its own way. Pure."""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

_SMALL = {"model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}}}
_LARGE = {"model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}}}
_REFERENCE = {**_SMALL, "platform": "generic", "runtime": {"engine": "reference"}}
_UNMEASURED = {"verification": {"mode": "Off"}}
_GPU = {"parallelism": {"tensor": 1}}

SHAPES: Mapping[str, Object] = {
    # Its transport is measured, which cannot succeed: nothing answers at the addresses of simulated pods.
    "single": {**_REFERENCE, "prefill": {}, "decode": {}},
    "several": {**_REFERENCE, **_UNMEASURED, "prefill": {"replicas": 2}, "decode": {"replicas": 2}},
    "groups": {
        **_REFERENCE,
        **_UNMEASURED,
        "prefill": {"nodesPerReplica": 2},
        "decode": {"replicas": 2, "nodesPerReplica": 2},
    },
    "ranks": {
        **_LARGE,
        **_UNMEASURED,
        "platform": "generic",
        "runtime": {"engine": "trtllm"},
        "prefill": _GPU,
        "decode": {"nodesPerReplica": 2, "gpusPerNode": 1, "parallelism": {"tensor": 2}},
    },
    "scaled": {
        **_REFERENCE,
        **_UNMEASURED,
        "prefill": {},
        "decode": {},
        "scaling": {
            "prefill": {"minReplicas": 0, "maxReplicas": 3},
            "decode": {"minReplicas": 0, "maxReplicas": 3},
        },
    },
    "registered": {
        **_REFERENCE,
        **_UNMEASURED,
        "discovery": {"backend": "etcd", "nats": {"managed": True}},
        "prefill": {},
        "decode": {},
        "frontend": {"replicas": 2},
    },
    "listed": {
        **_LARGE,
        **_UNMEASURED,
        "platform": "generic",
        "runtime": {"engine": "trtllm", "frontend": "trtllm-serve", "version": "1.4.0rc1"},
        "prefill": _GPU,
        "decode": _GPU,
    },
}
"""Specifications by the name of their shape."""


def resource(shape: str, namespace: str, name: str) -> Object:
    """Return a DisaggDeployment of a shape."""
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"soak": shape}},
        "spec": SHAPES[shape],
    }
