"""The CustomResourceDefinitions of DisaggDeployment and DisaggScaler as Kubernetes takes them."""

from typing import Any

from pydantic import BaseModel

from disagg_operator.api.crd.schema import Schema, structural
from disagg_operator.api.crd.spoken import spoken
from disagg_operator.api.crd.words import documented
from disagg_operator.api.v1alpha1 import GROUP, KIND, PLURAL, SCALER_KIND, SCALER_PLURAL, VERSION
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.scaler import DisaggScaler

_TYPE_META = {
    "apiVersion": {"type": "string", "description": "Version of this representation of the object."},
    "kind": {"type": "string", "description": "Kind of the object."},
}

# Kubernetes owns the rest of the metadata; the name is here because a rule speaks of it.
_METADATA = {"type": "object", "properties": {"name": {"type": "string"}}}


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of the DisaggDeployment."""
    names = _names(KIND, PLURAL, "dd")
    return _definition(
        {**names, "categories": ["all", "disagg"]}, DisaggDeployment, {"status": {}}, _columns()
    )


def scaler_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of the DisaggScaler."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    names = {**_names(SCALER_KIND, SCALER_PLURAL, "dsc"), "categories": ["disagg"]}
    return _definition(names, DisaggScaler, {"status": {}, "scale": scale}, _scaler_columns())


def definitions() -> tuple[dict[str, Any], ...]:
    """Return all CustomResourceDefinitions."""
    return definition(), scaler_definition()


def _names(kind: str, plural: str, short: str) -> dict[str, Any]:
    singular = kind.lower()
    return {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": singular,
        "shortNames": [short],
    }


def _definition(
    names: dict[str, Any], model: type[BaseModel], subresources: Schema, columns: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _schema(model)},
                    "subresources": subresources,
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def _schema(model: type[BaseModel]) -> Schema:
    schema = structural(model)
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
        _column(
            "Because", _condition("TransportVerified", "reason"), "Why it is verified or not.", priority=1
        ),
        _column("GB/s", ".status.transport.gbps", "Rate of the canary's KV cache, in GB/s.", priority=1),
        _column("Clique", ".status.computeDomain.clique", "NVLink clique of the workers.", priority=1),
        _column("Address", ".status.address", "URL to send requests to.", priority=1),
    ]


def _scaler_columns() -> list[dict[str, Any]]:
    return [
        _column("Deployment", r".metadata.labels.disagg\.dev/deployment", "DisaggDeployment that is scaled."),
        _column("Role", r".metadata.labels.disagg\.dev/role", "Role that is scaled."),
        _column("Asked", ".spec.replicas", "Model instances asked for.", form="integer"),
        _column("Desired", ".status.desiredReplicas", "Model instances in force.", form="integer"),
        _column("Ready", ".status.readyReplicas", "Model instances that are ready.", form="integer"),
        _column("Bounds", ".status.bounds", "Lowest and highest count."),
        _column("Limited", _condition("ScalingLimited"), "Whether another count than asked is in force."),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        _column("Because", _condition("ScalingLimited", "message"), "Why that is so.", priority=1),
    ]


def _condition(kind: str, part: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


def _column(
    name: str, path: str, description: str, priority: int = 0, form: str = "string"
) -> dict[str, Any]:
    return {
        "name": name,
        "type": form,
        "jsonPath": path,
        "description": description,
        "priority": priority,
    }
