"""Where workers go relative to each other: one zone or clique for all, different nodes for the two roles."""

from collections.abc import Mapping

from disagg_operator.build.metadata import Object
from disagg_operator.plan import names
from disagg_operator.plan.model import PodPlan

_NODE = "kubernetes.io/hostname"
_PREFERENCE = 100
"""The largest weight: a soft rule still counts more than the spreading of pods."""


def affinity(pod: PodPlan, labels: Mapping[str, str]) -> Object:
    """Return a pod's affinity, empty where nothing is asked for.

    Args:
        pod: what was decided about the pod.
        labels: labels of the pods.
    """
    found: Object = {}
    deployment = labels.get(names.LABEL_DEPLOYMENT, "")
    if pod.together is not None:
        # The frontend may be anywhere; only workers exchange KV cache.
        workers = {
            "matchLabels": {names.LABEL_DEPLOYMENT: deployment},
            "matchExpressions": [{"key": names.LABEL_ROLE, "operator": "NotIn", "values": [names.FRONTEND]}],
        }
        term = {"labelSelector": workers, "topologyKey": pod.together.topology_key}
        found["podAffinity"] = _rule(term, required=pod.together.required)
    if pod.apart is not None:
        others = {"matchLabels": names.selector(deployment, pod.apart.other_role)}
        term = {"labelSelector": others, "topologyKey": _NODE}
        found["podAntiAffinity"] = _rule(term, required=True)
    return found


def _rule(term: Object, *, required: bool) -> Object:
    if required:
        return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    weighted = {"weight": _PREFERENCE, "podAffinityTerm": term}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}
