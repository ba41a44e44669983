"""The ComputeDomain of a deployment: whether it has one, whose it is, and how many nodes it is told to have.

One domain serves both roles, and by default lies in one rack: KV cache crosses NVLink only there. Where KV
cache crosses another fabric, users may spread model instances over racks; the domain then opens NVLink inside
each. Whether it can work is judged in `plan.rules.computedomain`.
"""

from collections.abc import Iterable, Mapping

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.operations import ComputeDomainSpec
from disagg_operator.api.v1alpha1.placement import PlacementSpec
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.plan import names
from disagg_operator.plan.cluster import ClusterFacts
from disagg_operator.plan.model import Claim, ComputeDomainPlan, Provenance
from disagg_operator.plan.platform import Platform
from disagg_operator.platforms.profile import Domain, FabricProfile

CLAIM = "compute-domain-channel"
"""Name of the claim inside the pod."""

_FIELD = "spec.computeDomain"
_DRIVER = "https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/api/nvidia.com/resource/v1beta1"
_SEED = "https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html#computedomain-for-gb200-nvl72"


def compute_domain_plan(
    deployment: str,
    spec: DisaggDeploymentSpec,
    platform: Platform,
    gpus: Mapping[str, int],
    cluster: ClusterFacts,
) -> ComputeDomainPlan | None:
    """Return the ComputeDomain of a deployment, or None where it has none.

    Args:
        deployment: name of the deployment.
        spec: what the user writes.
        platform: the profiles.
        gpus: GPUs of each pod by role.
        cluster: what is known of the cluster.

    Raises:
        Refusal: one is asked for on a platform without multi-node NVLink.
    """
    asked = spec.compute_domain or ComputeDomainSpec()
    domain = domain_of(platform.fabrics)
    wished = asked.enabled is True or asked.name is not None or asked.num_nodes is not None
    if asked.enabled is False:
        return None
    if domain is None:
        if wished:
            fault = f"{platform.machine.name} has no NVLink between nodes, which a ComputeDomain opens"
            remedy = "Leave it out, or write a platform such as gb200-nvl72"
            raise Refusal([Problem(_FIELD, fault, remedy, "compute-domain-on-nvlink")])
        return None
    if not wished and not any(gpus.values()):
        return None
    nodes = sum(role.replicas * role.nodes_per_replica for role in (spec.prefill, spec.decode))
    spread = spreads(platform, spec.placement)
    if asked.name is not None:
        return _adopted(asked.name, nodes, cluster, spread=spread)
    name = names.compute_domain(deployment)
    num_nodes, why = _num_nodes(asked, nodes, cluster)
    return ComputeDomainPlan(
        name=name,
        template=names.channel_template(name),
        adopted=False,
        nodes=nodes,
        num_nodes=num_nodes,
        provenance=Provenance(
            f"NVLink between the nodes of workers is opened by a ComputeDomain. {domain.reason}",
            domain.source,
            domain.line,
        ),
        num_nodes_provenance=why,
        spread=spread,
    )


def spreads(platform: Platform, placement: PlacementSpec) -> bool:
    """Tell whether workers may be spread over several NVLink domains.

    NVIDIA's driver has an IMEX domain for each clique of a ComputeDomain, so that one may span several
    (dra-driver-nvidia-gpu v0.4.1: cmd/compute-domain-daemon/cdclique.go).

    Args:
        platform: the profiles; KV cache crosses the first fabric.
        placement: where the user lets pods run.
    """
    domain = domain_of(platform.fabrics)
    if domain is None or platform.fabrics[0].domain is not None:
        return False
    kept_in_one = placement.topology_key in (None, domain.clique_label) and placement.required
    return not kept_in_one


def channel_claim(domain: ComputeDomainPlan) -> Claim:
    """Return the claim by which a worker gets the channel of its node."""
    reason = (
        "Each worker of both roles holds the channel of its node; without it NCCL fails while a model loads."
    )
    return Claim(CLAIM, domain.template, Provenance(reason, _SEED))


def domain_of(fabrics: Iterable[FabricProfile]) -> Domain | None:
    """Return the NVLink domain that a machine's fabrics have, or None."""
    return next((fabric.domain for fabric in fabrics if fabric.domain is not None), None)


def _adopted(name: str, nodes: int, cluster: ClusterFacts, *, spread: bool) -> ComputeDomainPlan:
    # Where the domain was not seen, its template is taken to be called as everybody calls it.
    template = names.channel_template(name) if cluster.domain is None else cluster.domain.template
    why = Provenance("The user's own ComputeDomain is used as it is.", f"{_FIELD}.name")
    return ComputeDomainPlan(
        name=name,
        template=template,
        adopted=True,
        nodes=nodes,
        num_nodes=None,
        provenance=why,
        num_nodes_provenance=why,
        spread=spread,
    )


def _num_nodes(asked: ComputeDomainSpec, nodes: int, cluster: ClusterFacts) -> tuple[int, Provenance]:
    if asked.num_nodes is not None:
        return asked.num_nodes, Provenance("Set by the user.", f"{_FIELD}.numNodes")
    if cluster.domain is not None:
        reason = "The ComputeDomain was made with this number, and its specification cannot change."
        return cluster.domain.num_nodes, Provenance(reason, f"{_DRIVER}/computedomain.go")
    if cluster.num_nodes_required:
        reason = "The installed driver requires the number of nodes: those of all prefill and decode workers."
        return nodes, Provenance(reason, _SEED)
    reason = (
        "0 lets the domain follow the pods, so that scaling needs no new domain. The driver deprecates other "
        "numbers: they change only when the domain calls itself Ready."
    )
    return 0, Provenance(reason, f"{_DRIVER}/computedomain.go")
