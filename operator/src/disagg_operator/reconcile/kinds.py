"""The kinds of Kubernetes objects that the operator reads and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.v1alpha1 import API_VERSION, KIND, PLURAL, SCALER_KIND, SCALER_PLURAL
from disagg_operator.api.v1alpha1.placement import GangScheduler
from disagg_operator.plan.gang import APIS, GangApi

Object = dict[str, Any]
"""A Kubernetes object in the shape of its JSON."""


@dataclass(frozen=True)
class Key:
    """A DisaggDeployment by namespace and name: what is queued and reconciled."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Kind:
    """A kind of object and where the API server serves it.

    Attributes:
        api_version: group and version, such as ``apps/v1``.
        kind: name of the kind.
        plural: the resource's name in URLs.
    """

    api_version: str
    kind: str
    plural: str

    def __str__(self) -> str:
        return self.kind


DISAGG_DEPLOYMENT = Kind(API_VERSION, KIND, PLURAL)
DISAGG_SCALER = Kind(API_VERSION, SCALER_KIND, SCALER_PLURAL)
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SERVICE = Kind("v1", "Service", "services")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
JOB = Kind("batch/v1", "Job", "jobs")
POD_DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes")
NAMESPACE = Kind("v1", "Namespace", "namespaces")
DEVICE_CLASS = Kind("resource.k8s.io/v1", "DeviceClass", "deviceclasses")
COMPUTE_DOMAIN = Kind("resource.nvidia.com/v1beta1", "ComputeDomain", "computedomains")
CLAIM = Kind("resource.k8s.io/v1", "ResourceClaim", "resourceclaims")
CLAIM_TEMPLATE = Kind("resource.k8s.io/v1", "ResourceClaimTemplate", "resourceclaimtemplates")
SECRET = Kind("v1", "Secret", "secrets")

GANGS = tuple(
    Kind(api.api_version, api.kind, api.plural) for api in APIS if api.scheduler is not GangScheduler.KUEUE
)
"""Kinds of the objects by which pod groups are scheduled all or none. They are made and never read."""

OWNED = (
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SERVICE,
    ROLE_BINDING,
    STATEFUL_SET,
    DEPLOYMENT,
    JOB,
    POD_DISRUPTION_BUDGET,
    NETWORK_POLICY,
    DISAGG_SCALER,
)
"""Kinds that the operator applies and prunes."""
OBSERVED = (*OWNED, POD)
"""Kinds that the operator keeps a cache of. Pods are read to say why a role is not ready."""

# Secrets are made and never read: to watch our own, the operator would have to be allowed to read all.
_BY_NAME = {
    (kind.api_version, kind.kind): kind
    for kind in (*OBSERVED, DISAGG_DEPLOYMENT, COMPUTE_DOMAIN, SECRET, *GANGS)
}


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """Return the kind of an object.

    Raises:
        KeyError: the operator does not handle objects of this kind.
    """
    return _BY_NAME[obj["apiVersion"], obj["kind"]]


def gang_kind(api: GangApi) -> Kind:
    """Return the kind of an API of gang scheduling."""
    return Kind(api.api_version, api.kind, api.plural)


def describe(obj: Mapping[str, Any]) -> str:
    """Name an object the way kubectl does, such as ``StatefulSet llama-decode-1a2b3c4d``."""
    return f"{obj['kind']} {obj['metadata']['name']}"
