"""The workers of both roles.

A role is planned once, but for its revision. The revision is a hash of what was planned for both, and is then
put in: it names the scope in which workers find each other, and the Service and Secret of pod groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.plan import names
from disagg_operator.plan.agent import agent_plan
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.cluster import KeptWorkers
from disagg_operator.plan.computedomain import channel_claim
from disagg_operator.plan.disruption import budget_plan
from disagg_operator.plan.download import node_download
from disagg_operator.plan.drain import draining
from disagg_operator.plan.engines.engine import CONFIG_FOLDER, Asked
from disagg_operator.plan.environment import layered, written
from disagg_operator.plan.facts import Facts, image_kind
from disagg_operator.plan.frontends.family import SCRATCH, Wiring
from disagg_operator.plan.frontends.registry import FAMILIES
from disagg_operator.plan.hardware import hardware, huge_pages
from disagg_operator.plan.image import image_of
from disagg_operator.plan.launch.group import grouped, joined
from disagg_operator.plan.launch.meeting import met
from disagg_operator.plan.model import DECODE, PREFILL, Port, RolePlan
from disagg_operator.plan.pod import wired_pod
from disagg_operator.plan.resources import worker_resources
from disagg_operator.plan.revision import NO_REVISION, revision_of
from disagg_operator.plan.routing import routing_facts
from disagg_operator.plan.security import security
from disagg_operator.plan.wedged import watched
from disagg_operator.plan.worker_check import check_plan
from disagg_operator.platforms.profile import Meeting, MpiLaunch
from disagg_operator.platforms.vocabulary import NO_BACKEND, OFF, ON, ONE, SEVERAL


def roles_plan(basis: Basis, kept: KeptWorkers | None) -> tuple[str, Mapping[str, RolePlan]]:
    """Plan the workers of a deployment.

    Args:
        basis: what the deployment's pods have in common.
        kept: workers whose names they get in place of their own, or None.

    Returns:
        Their own revision, and the roles by name.

    Raises:
        Refusal: the engine, or its release, cannot do what is asked.
    """
    drafts = {role: _draft(basis, role, spec) for role, spec in basis.specs.items()}
    # A Service selects either all pods or the leaders of groups.
    alike = len({draft.role.nodes > 1 for draft in drafts.values()}) == 1

    def planned(revision: str) -> dict[str, RolePlan]:
        return {role: draft.of(revision, shared=alike) for role, draft in drafts.items()}

    revision = revision_of(planned(NO_REVISION).values())
    if kept is None:
        return revision, planned(revision)
    return revision, {
        role: replace(named, service=kept.services.get(role, named.service))
        for role, named in planned(kept.revision).items()
    }


@dataclass(frozen=True)
class _Draft:
    """The workers of one role, planned but for their revision.

    Attributes:
        basis: what the deployment's pods have in common.
        role: the workers, as if one pod were one instance, and without the variables of the wiring.
        wiring: how they take part, of no revision.
        port: by which the engine's ranks find each other, where they do that by themselves.
        launch: how they are started, where they do not; None for an instance on one node as well.
    """

    basis: Basis
    role: RolePlan
    wiring: Wiring
    port: Port | None
    launch: MpiLaunch | Meeting | None

    def of(self, revision: str, *, shared: bool) -> RolePlan:
        """Return the workers of a revision.

        Args:
            revision: the revision.
            shared: whether the other role's pods are found by the same Service.
        """
        name = self.basis.name
        wiring = self.wiring if revision == NO_REVISION else _wiring(self.basis, self.role.role, revision)
        environment = layered(wiring.environment, self.role.pod.environment)
        role = replace(
            self.role,
            pod=replace(self.role.pod, environment=environment, prepare=wiring.prepare),
            config_map=names.workers(name, revision),
            service=names.workers(name, revision) if shared else names.worker(name, self.role.role, revision),
        )
        if role.nodes > 1 and self.port is not None:
            role = joined(role, self.port, name, revision)
        elif isinstance(self.launch, Meeting):
            role = met(role, self.launch, name, revision)
        elif self.launch is not None:
            key_round = self.basis.resource.metadata.annotations.get(names.ANNOTATION_SSH_KEY, "")
            role = grouped(
                role,
                self.launch,
                name,
                revision,
                key_round=key_round,
                address=wiring.address,
            )
        if role.group is not None:
            role = replace(role, group=replace(role.group, gang=self.basis.gang))
        transfer = self.basis.spec.transfer
        if not transfer.restart_wedged:
            return role
        return watched(role, self.basis.platform.release.wedged, transfer.timeout_seconds)


def _draft(basis: Basis, role: str, spec: RoleSpec) -> _Draft:
    known = _facts(basis, role, spec)
    image = image_of(basis, known)
    known = {**known, "image": image_kind(image[0])}
    context = security(basis.platform, known, basis.spec.security.mode)
    facts = {**known, "security": context.mode}
    gpus = basis.gpus[role]
    wiring = _wiring(basis, role, NO_REVISION)
    engine = basis.engine.worker(
        Asked(
            basis.resource,
            role,
            spec,
            basis.transfer,
            basis.platform.release,
            facts,
            basis.dynamo_namespace,
        )
    )
    added = hardware(
        basis.platform,
        facts,
        gpus=gpus,
        other_role=DECODE if role == PREFILL else PREFILL,
        devices=spec.devices or {},
        placement=basis.spec.placement,
    )
    environment = layered(
        added.environment,
        engine.environment,
        written(basis.spec.env, "spec.env"),
        written(spec.env, f"spec.{role}.env"),
    )
    resources, why_resources = worker_resources(
        spec.resources, basis.platform.machine, gpus, f"spec.{role}.resources"
    )
    pod = replace(
        wired_pod(basis, wiring, image, spec.pod_template),
        command=(*engine.command, *wiring.arguments),
        environment=environment,
        ports=(wiring.port, *engine.ports),
        mounts=(*SCRATCH, *wiring.mounts, *engine.mounts, *added.mounts),
        resources=resources,
        resources_provenance=why_resources,
        security=context,
        devices=added.devices,
        claims=() if basis.compute_domain is None else (channel_claim(basis.compute_domain),),
        huge_pages=huge_pages(added.huge_pages, layered(wiring.environment, environment)),
        annotations=added.annotations,
        node_labels=added.node_labels,
        derived_tolerations=added.tolerations,
        together=added.together,
        apart=added.apart,
        joined=added.joined,
        grouped=added.grouped,
        packed=added.packed,
        agent=agent_plan(basis, facts, context),
        download=node_download(basis),
    )
    pod = draining(pod, basis, basis.runtime.worker, wiring.port.number, facts)
    pod = replace(pod, check=check_plan(basis, pod, facts, gpus))
    planned = RolePlan(
        role=role,
        replicas=spec.replicas,
        nodes=spec.nodes_per_replica,
        gpus=gpus,
        pod=pod,
        files=engine.files,
        files_path=CONFIG_FOLDER,
        engine_config=engine.config,
        settings=engine.settings,
        budget=budget_plan(basis.drain, spec.replicas, spec.nodes_per_replica),
    )
    started = planned.nodes > 1 and engine.group_port is None
    return _Draft(basis, planned, wiring, engine.group_port, _launch(basis, planned) if started else None)


def _wiring(basis: Basis, role: str, revision: str) -> Wiring:
    return FAMILIES[basis.spec.runtime.frontend].worker(basis, role, revision)


def _facts(basis: Basis, role: str, spec: RoleSpec) -> Facts:
    return {
        **basis.facts,
        "role": role,
        "nodes": ONE if spec.nodes_per_replica == 1 else SEVERAL,
        "method": basis.transfer.method,
        "backend": basis.transfer.nixl_backend or NO_BACKEND,
        "kvbm": ON if role == PREFILL and basis.spec.transfer.kvbm is not None else OFF,
        **routing_facts(basis.spec, role),
    }


def _launch(basis: Basis, role: RolePlan) -> MpiLaunch | Meeting:
    launch = basis.platform.release.launch or basis.platform.release.meeting
    if launch is None:
        field = f"spec.{role.role}.nodesPerReplica"
        fault = f"this release of the engine, {basis.platform.release.version}, runs on one node alone"
        remedy = "Write 1, or a newer runtime.version"
        raise Refusal([Problem(field, fault, remedy, "engine-on-several-nodes")])
    return launch
