"""Where workers go relative to each other: one zone or clique for all, different nodes for the two roles.

Workers that take a part of a node prefer one that has others of their role. The pods of one pod group are on
different nodes: each stands for a node of the instance. Where workers may be in several racks, those of one
group are in one still; users may name a further label whose value those of one group share.
"""

from collections.abc import Iterator, Mapping

from disagg_operator.build.metadata import Object
from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES, PodPlan, TogetherPlan

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_PREFERENCE = 100
"""The largest weight: a soft rule still counts more than the spreading of pods."""


def affinity(pod: PodPlan, labels: Mapping[str, str]) -> Object:
    """Return a pod's affinity, empty where nothing is asked for.

    Args:
        pod: what was decided about the pod.
        labels: labels of the pods.
    """
    found: Object = {}
    for others, shared in _near(pod, labels):
        term = {"labelSelector": others, "topologyKey": shared.topology_key}
        kind = _REQUIRED if shared.required else _PREFERRED
        rule = term if shared.required else {"weight": _PREFERENCE, "podAffinityTerm": term}
        found.setdefault("podAffinity", {}).setdefault(kind, []).append(rule)
    apart = [{"labelSelector": others, "topologyKey": names.LABEL_NODE} for others in _apart(pod, labels)]
    if apart:
        found["podAntiAffinity"] = {_REQUIRED: apart}
    return found


def _near(pod: PodPlan, labels: Mapping[str, str]) -> Iterator[tuple[Object, TogetherPlan]]:
    """Yield whom a pod is to be near, and what they share."""
    deployment, role = (labels.get(key, "") for key in (names.LABEL_DEPLOYMENT, names.LABEL_ROLE))
    if pod.together is not None:
        # Frontend and services may be anywhere; only workers exchange KV cache.
        workers = {
            "matchLabels": {names.LABEL_DEPLOYMENT: deployment},
            "matchExpressions": [{"key": names.LABEL_ROLE, "operator": "In", "values": list(ROLES)}],
        }
        yield workers, pod.together
    own = _group(labels)
    for shared in (pod.joined, pod.grouped) if own else ():
        if shared is not None:
            yield own, shared
    if pod.packed is not None:
        yield {"matchLabels": names.selector(deployment, role)}, pod.packed


def _apart(pod: PodPlan, labels: Mapping[str, str]) -> Iterator[Object]:
    """Yield who is never on a pod's node."""
    if pod.apart is not None:
        deployment = labels.get(names.LABEL_DEPLOYMENT, "")
        yield {"matchLabels": names.selector(deployment, pod.apart.other_role)}
    own = _group(labels)
    if own:
        yield own


def _group(labels: Mapping[str, str]) -> Object:
    """Return what selects the pods of a pod's group, empty where it has none."""
    if names.LABEL_GROUP not in labels:
        return {}
    keys = (names.LABEL_DEPLOYMENT, names.LABEL_ROLE, names.LABEL_REVISION, names.LABEL_GROUP)
    return {"matchLabels": {key: labels[key] for key in keys}}
