"""Offers the objects of a plan to a real API server, which stores none of them."""

import json
from collections import Counter
from collections.abc import Iterator

from disagg_operator.cli.render import manifests
from disagg_operator.plan.model import Plan
from integration.operator.control_plane import Api

RESOURCES = {
    "StatefulSet": "apis/apps/v1/namespaces/{}/statefulsets",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Service": "api/v1/namespaces/{}/services",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "Secret": "api/v1/namespaces/{}/secrets",
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Job": "apis/batch/v1/namespaces/{}/jobs",
    "DisaggScaler": "apis/disagg.dev/v1alpha1/namespaces/{}/disaggscalers",
}
"""Kinds that the API server serves. ComputeDomains and pod groups are others', and tried elsewhere."""
ALIKE = 2
"""Objects of a kind that are offered of one plan: the pod groups of a role differ in a number alone."""


def offer(plan: Plan, api: Api) -> Iterator[tuple[str, str]]:
    """Yield kind and fault of each object; the fault is empty where the API server takes it."""
    offered: Counter[tuple[str, str]] = Counter()
    params = {"fieldManager": "disagg-operator", "force": "true", "dryRun": "All"}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    for obj in manifests(plan):
        kind, metadata = obj["kind"], obj["metadata"]
        alike = kind, metadata["labels"].get("disagg.dev/role", "")
        offered[alike] += 1
        if kind not in RESOURCES or offered[alike] > ALIKE:
            continue
        path = f"/{RESOURCES[kind].format(metadata['namespace'])}/{metadata['name']}"
        answer = api.http.patch(path, content=json.dumps(obj), params=params, headers=headers)
        yield kind, "" if answer.is_success else f"{kind} {answer.json()['message'][:700]}"
