"""Where workers go relative to each other: one zone or clique for all, different nodes for the two roles.

The pods of one pod group are on different nodes as well: each stands for a node of the instance. Where
workers may be in several racks, those of one group are in one still; users may name a further label whose
value those of one group share.
"""

from collections.abc import Mapping

from disagg_operator.build.metadata import Object
from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES, PodPlan

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
    own = {}
    if names.LABEL_GROUP in labels:
        keys = (names.LABEL_DEPLOYMENT, names.LABEL_ROLE, names.LABEL_REVISION, names.LABEL_GROUP)
        own = {"matchLabels": {key: labels[key] for key in keys}}
    deployment = labels.get(names.LABEL_DEPLOYMENT, "")
    if pod.together is not None:
        # Frontend and services may be anywhere; only workers exchange KV cache.
        workers = {
            "matchLabels": {names.LABEL_DEPLOYMENT: deployment},
            "matchExpressions": [{"key": names.LABEL_ROLE, "operator": "In", "values": list(ROLES)}],
        }
        term = {"labelSelector": workers, "topologyKey": pod.together.topology_key}
        found["podAffinity"] = _rule(term, required=pod.together.required)
    for shared in (pod.joined, pod.grouped) if own else ():
        if shared is not None:
            term = {"labelSelector": own, "topologyKey": shared.topology_key}
            found["podAffinity"] = _both(found.get("podAffinity", {}), _rule(term, required=shared.required))
    apart = []
    if pod.apart is not None:
        apart.append({"matchLabels": names.selector(deployment, pod.apart.other_role)})
    if own:
        apart.append(own)
    if apart:
        terms = [{"labelSelector": others, "topologyKey": _NODE} for others in apart]
        found["podAntiAffinity"] = _rule(*terms, required=True)
    return found


def _both(first: Object, second: Object) -> Object:
    return {key: [*first.get(key, []), *second.get(key, [])] for key in {**first, **second}}


def _rule(*terms: Object, required: bool) -> Object:
    if required:
        return {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}
    weighted = [{"weight": _PREFERENCE, "podAffinityTerm": term} for term in terms]
    return {"preferredDuringSchedulingIgnoredDuringExecution": weighted}
