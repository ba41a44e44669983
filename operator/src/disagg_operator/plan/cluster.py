"""What planning needs to know of the cluster. The defaults stand for one with current drivers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from disagg_operator.plan.gang import GangApi


@dataclass(frozen=True)
class ExistingDomain:
    """A ComputeDomain that is there: the one made for this deployment, or the user's that it adopts.

    Attributes:
        template: name of its ResourceClaimTemplate.
        num_nodes: its ``numNodes``.
    """

    template: str
    num_nodes: int


@dataclass(frozen=True)
class KeptWorkers:
    """Workers that another version of the operator planned, and that are kept.

    Attributes:
        revision: their revision.
        services: names of the Services by which the pods of a role are found, where they are no pod groups.
    """

    revision: str
    services: Mapping[str, str]


@dataclass(frozen=True)
class ClusterFacts:
    """What is known of the cluster.

    Attributes:
        num_nodes_required: whether its ComputeDomains must say how many nodes they have. NVIDIA's DRA driver
            25.3 asks for it; later ones deprecate the field and recommend 0.
        domain: the ComputeDomain of this deployment, if it is there.
        counts: replicas that its DisaggScalers ask for, by role.
        gang_apis: the APIs of gang scheduling that it serves.
        kept: workers that are kept though others would be planned, or None.
    """

    num_nodes_required: bool = False
    domain: ExistingDomain | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    gang_apis: tuple[GangApi, ...] = ()
    kept: KeptWorkers | None = None


UNSEEN = ClusterFacts()
"""Nothing is known: what rendering offline starts from."""
