"""The CustomResourceDefinition of the DisaggDeployment as Kubernetes takes it."""

from typing import Any

from disagg_operator.api.crd.schema import Schema, structural
from disagg_operator.api.crd.spoken import spoken
from disagg_operator.api.crd.words import documented
from disagg_operator.api.v1alpha1 import GROUP, KIND, PLURAL, VERSION
from disagg_operator.api.v1alpha1.resource import DisaggDeployment

NAME = f"{PLURAL}.{GROUP}"

_TYPE_META = {
    "apiVersion": {"type": "string", "description": "Version of this representation of the object."},
    "kind": {"type": "string", "description": "Kind of the object."},
}

# Kubernetes owns the rest of the metadata; the name is here because a rule speaks of it.
_METADATA = {"type": "object", "properties": {"name": {"type": "string"}}}


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["dd"],
                "categories": ["all", "disagg"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                }
            ],
        },
    }


def _schema() -> Schema:
    schema = structural(DisaggDeployment)
    properties = schema["properties"]
    return {
        **schema,
        "properties": {
            **_TYPE_META,
            "metadata": _METADATA,
            "spec": spoken(documented(properties["spec"])),
            "status": _without_defaults(properties["status"]),
        },
        "required": ["spec"],
    }


def _without_defaults(node: Schema) -> Schema:
    """Return the schema of a status: what was not observed must not be filled in."""
    result = {key: value for key, value in node.items() if key != "default"}
    if "properties" in node:
        result["properties"] = {name: _without_defaults(child) for name, child in node["properties"].items()}
    if "items" in node:
        result["items"] = _without_defaults(node["items"])
    return result


def _columns() -> list[dict[str, Any]]:
    return [
        _column("Platform", ".spec.platform", "Profile of the machines and their fabric."),
        _column("Prefill", ".status.roles.prefill.ready", "Prefill model instances, ready of desired."),
        _column("Decode", ".status.roles.decode.ready", "Decode model instances, ready of desired."),
        _column("Transport", ".status.transport.summary", "How KV cache moves."),
        _column("Verified", _condition("TransportVerified"), "Whether it was measured to move so."),
        _column("Ready", _condition("Available"), "Whether requests are served."),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        _column("Accepted", _condition("Accepted"), "Whether the specification makes sense.", priority=1),
        _column("Engine", ".spec.runtime.engine", "Inference engine.", priority=1),
        _column("Revision", ".status.revision", "Revision that serves requests.", priority=1),
        _column("Because", ".status.transport.reason", "Why it is verified or not.", priority=1),
        _column("Rate", ".status.transport.gbps", "Rate of the canary's KV cache, in GB/s.", priority=1),
        _column("Clique", ".status.computeDomain.clique", "NVLink clique of the workers.", priority=1),
        _column("Address", ".status.address", "URL to send requests to.", priority=1),
    ]


def _condition(kind: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].status'


def _column(name: str, path: str, description: str, priority: int = 0) -> dict[str, Any]:
    return {
        "name": name,
        "type": "string",
        "jsonPath": path,
        "description": description,
        "priority": priority,
    }
