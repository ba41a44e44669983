"""NetworkPolicies: who may reach the pods of a deployment, whatever their revision.

Only what comes in is fenced: whom pods may call (hubs, an etcd of the user's own) is nobody's to know here.
"""

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan.model import Entrance, Plan


def network_policies(plan: Plan) -> list[Object]:
    """Return the NetworkPolicies of a deployment."""
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata(plan, fence.name, fence.component),
            "spec": {
                "podSelector": dict(fence.selector),
                "policyTypes": ["Ingress"],
                "ingress": [_rule(entrance) for entrance in fence.entrances],
            },
        }
        for fence in plan.network.fences
    ]


def _rule(entrance: Entrance) -> Object:
    rule: Object = {}
    if entrance.ports:
        rule["ports"] = [{"port": port, "protocol": "TCP"} for port in entrance.ports]
    if entrance.peers:
        rule["from"] = [dict(peer) for peer in entrance.peers]
    return rule
