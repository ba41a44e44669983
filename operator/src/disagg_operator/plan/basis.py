"""What is decided once for a whole deployment, and what its roles and its frontend are planned from.

Invariant: nothing here depends on one role alone, or on the revision.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from disagg_operator.api.v1alpha1.operations import DrainSpec, VerificationMode
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.plan import names
from disagg_operator.plan.cluster import ClusterFacts
from disagg_operator.plan.computedomain import compute_domain_plan, spreads
from disagg_operator.plan.discovery.services import ServicePlanner
from disagg_operator.plan.discovery.stores import discovery_facts, discovery_plan
from disagg_operator.plan.engines.registry import ENGINES, Engine
from disagg_operator.plan.facts import Facts
from disagg_operator.plan.gang import gang_plan
from disagg_operator.plan.hardware import ARCHITECTURE_LABEL
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import (
    DECODE,
    PREFILL,
    ComputeDomainPlan,
    DiscoveryPlan,
    GangPlan,
    TransferPlan,
)
from disagg_operator.plan.platform import Platform
from disagg_operator.plan.transfer import transfer_plan
from disagg_operator.platforms.catalogue import services
from disagg_operator.platforms.profile import RuntimeProfile
from disagg_operator.platforms.vocabulary import ANY_ARCHITECTURE, DEFAULT, ONE, SEVERAL, WRITTEN


@dataclass(frozen=True)
class Basis:
    """What roles and frontend of one deployment have in common.

    Attributes:
        resource: what the user wrote.
        installation: settings of the operator's installation.
        engine: the engine.
        runtime: the profile of the frontend's release.
        platform: the profiles of machine, fabrics and the engine's release.
        discovery: where frontend and workers find each other.
        facts: facts of all pods.
        transfer: how KV cache moves.
        gpus: GPUs of each worker pod, by role.
        compute_domain: the NVLink domain of the workers, where the platform has one.
        gang: how instances on several nodes are scheduled all or none, or None.
    """

    resource: DisaggDeployment
    installation: Installation
    engine: Engine
    runtime: RuntimeProfile
    platform: Platform
    discovery: DiscoveryPlan
    facts: Facts
    transfer: TransferPlan
    gpus: Mapping[str, int]
    compute_domain: ComputeDomainPlan | None
    gang: GangPlan | None

    @property
    def name(self) -> str:
        """Name of the deployment."""
        return self.resource.metadata.name

    @property
    def spec(self) -> DisaggDeploymentSpec:
        """What the user asks for."""
        return self.resource.spec

    @property
    def specs(self) -> Mapping[str, RoleSpec]:
        """What the user asks for, by role."""
        return {PREFILL: self.spec.prefill, DECODE: self.spec.decode}

    @property
    def drain(self) -> DrainSpec:
        """How pods end, also where the user says nothing of it."""
        return _drain_of(self.spec)

    @property
    def measured(self) -> bool:
        """Whether it is verified how KV cache moves: where the user wants it, and any moves."""
        return self.spec.verification.mode is not VerificationMode.OFF and not self.transfer.simulated

    @property
    def service_account(self) -> str:
        """Name of the pods' ServiceAccount."""
        return self.spec.service_account_name or names.service_account(self.name)

    @property
    def dynamo_namespace(self) -> str:
        """Scope in which the parts of the deployment find each other."""
        return names.dynamo_namespace(self.resource.metadata.namespace, self.name)


def basis_of(resource: DisaggDeployment, installation: Installation, cluster: ClusterFacts) -> Basis:
    """Decide what roles and frontend have in common.

    Args:
        resource: an accepted DisaggDeployment.
        installation: settings of the operator's installation.
        cluster: what is known of the cluster.

    Raises:
        Refusal: the platform, the version, the discovery or the transfer cannot be planned.
    """
    spec = resource.spec
    asked = spec.runtime
    engine = ENGINES[asked.engine]
    runtime = installation.catalogue.runtime(asked.frontend, asked.version, asked.engine)
    discovery = discovery_plan(spec.discovery, runtime, _services(resource, installation))
    platform = _platform(spec, installation, runtime)
    facts = _facts(spec, platform, discovery)
    gpus = {PREFILL: _gpus(spec.prefill, engine), DECODE: _gpus(spec.decode, engine)}
    return Basis(
        resource=resource,
        installation=installation,
        engine=engine,
        runtime=runtime,
        platform=platform,
        discovery=discovery,
        facts=facts,
        transfer=transfer_plan(spec.transfer, platform, facts),
        gpus=gpus,
        compute_domain=compute_domain_plan(resource.metadata.name, spec, platform, gpus, cluster),
        gang=gang_plan(spec, cluster.gang_apis),
    )


def _drain_of(spec: DisaggDeploymentSpec) -> DrainSpec:
    """Return how pods end."""
    return spec.drain or DrainSpec()


def _services(resource: DisaggDeployment, installation: Installation) -> ServicePlanner:
    spec = resource.spec
    return ServicePlanner(
        resource.metadata.name,
        resource.metadata.namespace,
        spec.placement,
        tuple(secret.name for secret in spec.runtime.image_pull_secrets),
        services(),
        installation.service_images,
    )


def _platform(spec: DisaggDeploymentSpec, installation: Installation, runtime: RuntimeProfile) -> Platform:
    catalogue = installation.catalogue
    machine = catalogue.asked(spec.platform, spec.platform_profile)
    return Platform(machine, catalogue.fabrics_of(machine), runtime.engines[spec.runtime.engine])


def _facts(spec: DisaggDeploymentSpec, platform: Platform, discovery: DiscoveryPlan) -> Facts:
    architecture = platform.machine.architecture
    selected = spec.placement.node_selector.get(ARCHITECTURE_LABEL, ANY_ARCHITECTURE)
    return {
        "engine": spec.runtime.engine.value,
        "frontend": spec.runtime.frontend.value,
        "router": spec.frontend.router_mode.value,
        "racks": SEVERAL if spreads(platform, spec.placement) else ONE,
        "fabric": platform.fabrics[0].name,
        "kind": platform.fabrics[0].kind,
        "fabrics": ",".join(fabric.name for fabric in platform.fabrics),
        "architecture": architecture.value if architecture else selected,
        "request_seconds": str(_drain_of(spec).request_seconds),
        "transfer_seconds": str(spec.transfer.timeout_seconds),
        "timeout": WRITTEN if spec.transfer.limit_written else DEFAULT,
        **discovery_facts(discovery),
    }


def _gpus(role: RoleSpec, engine: Engine) -> int:
    if not engine.on_gpu:
        return role.gpus_per_node or 0
    if role.gpus_per_node is not None:
        return role.gpus_per_node
    sizes = role.parallelism
    return sizes.tensor * sizes.pipeline * sizes.context // role.nodes_per_replica
