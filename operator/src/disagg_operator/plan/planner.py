"""From a specification to a plan: the one entry of this folder.

Invariants: no clock, no network, no randomness; the same input gives the same plan. What cannot be planned is
refused with the field, the fault and the remedy.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.base import ResourceRequirements
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.plan import names, rules
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts
from disagg_operator.plan.computedomain import channel_claim, compute_domain_plan
from disagg_operator.plan.discovery import discovery_facts, discovery_plan
from disagg_operator.plan.engines.engine import CONFIG_FOLDER, Asked
from disagg_operator.plan.engines.models import hub_environment, model_mounts
from disagg_operator.plan.engines.registry import ENGINES
from disagg_operator.plan.environment import TemplateFailedError, fill, layered, written
from disagg_operator.plan.facts import Facts, first, image_kind, provenance
from disagg_operator.plan.frontends import dynamo
from disagg_operator.plan.gate import gate_plan
from disagg_operator.plan.hardware import (
    ARCHITECTURE_LABEL,
    Platform,
    frontend_placement,
    hardware,
    huge_pages,
    security,
)
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.launch.group import grouped
from disagg_operator.plan.model import (
    DECODE,
    PREFILL,
    FrontendPlan,
    Plan,
    PodPlan,
    Provenance,
    RolePlan,
    RoleReference,
)
from disagg_operator.plan.resources import requirements, times
from disagg_operator.plan.revision import revision_of
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.plan.services import ServicePlanner
from disagg_operator.plan.transfer import transfer_plan
from disagg_operator.platforms.catalogue import services
from disagg_operator.platforms.profile import Choice
from disagg_operator.platforms.vocabulary import ANY_ARCHITECTURE, NO_BACKEND, OFF, ON, ONE, SEVERAL

_GRACE_SECONDS = 30
"""Kubernetes' own default, for what a worker does beside waiting for transfers."""

_OWN_IMAGE = Provenance("The image of the reference engine and its frontend.", "the chart's worker.image")

_NO_REVISION = ""
"""Stands where the revision will be while the rest, which decides the revision, is planned."""


def plan(resource: DisaggDeployment, installation: Installation, cluster: ClusterFacts = UNSEEN) -> Plan:
    """Plan a deployment.

    Args:
        resource: an accepted DisaggDeployment.
        installation: settings of the operator's installation.
        cluster: what is known of the cluster.

    Raises:
        Refusal: the platform, version or engine configuration cannot be planned, or cannot work.
    """
    planner = _Planner(resource, installation, cluster)
    try:
        planned = planner.plan()
    except TemplateFailedError as error:
        remedy = "Write another platform, or have the profile mended"
        raise Refusal(
            [Problem("spec.platform", f"its profile: {error}", remedy, "platform-profile")]
        ) from None
    judgement = rules.check(
        Subject(
            resource,
            planned,
            planner.platform,
            planner.runtime,
            installation.catalogue.runtimes[planner.runtime.name],
            cluster,
        )
    )
    if judgement.refused:
        raise Refusal(judgement.refused)
    return replace(planned, warnings=judgement.warned)


class _Planner:
    """Holds the inputs of one planning, so that each decision below reads like a sentence."""

    def __init__(self, resource: DisaggDeployment, installation: Installation, cluster: ClusterFacts) -> None:
        self.resource = resource
        self.spec = resource.spec
        self.name = resource.metadata.name
        self.namespace = resource.metadata.namespace
        self.installation = installation
        self.specs = {PREFILL: self.spec.prefill, DECODE: self.spec.decode}
        runtime = self.spec.runtime
        catalogue = installation.catalogue
        self.engine = ENGINES[runtime.engine]
        self.runtime = catalogue.runtime(runtime.frontend, runtime.version, runtime.engine)
        self.discovery = discovery_plan(self.spec.discovery, self.runtime, self._services())
        profile = self.spec.platform_profile
        platform = self.spec.platform
        machine = catalogue.machine(platform) if profile is None else catalogue.inline(platform, profile)
        release = self.runtime.engines[runtime.engine]
        self.platform = Platform(machine, catalogue.fabrics_of(machine), release)
        self.transfer = transfer_plan(self.spec.transfer, self.platform, self._shared_facts())
        gpus = {role: self._gpus(spec) for role, spec in self.specs.items()}
        self.compute_domain = compute_domain_plan(self.name, self.spec, self.platform, gpus, cluster)
        self.service_account = self.spec.service_account_name or names.service_account(self.name)
        self.dynamo_namespace = names.dynamo_namespace(self.namespace, self.name)

    def plan(self) -> Plan:
        unversioned = {role: self._role(role, _NO_REVISION) for role in self.specs}
        revision = revision_of(unversioned.values())
        port = self.spec.frontend.port
        roles = {role: self._role(role, revision) for role in self.specs}
        strategy, why_strategy = self._strategy()
        return Plan(
            name=self.name,
            namespace=self.namespace,
            uid=self.resource.metadata.uid,
            revision=revision,
            address=f"http://{names.frontend(self.name)}.{self.namespace}.svc:{port}",
            discovery=self.discovery,
            transfer=self.transfer,
            strategy=strategy.value,
            strategy_provenance=why_strategy,
            takeover_seconds=self.runtime.takeover.seconds,
            service_account=self.service_account,
            own_service_account=self.spec.service_account_name is None,
            discovery_role=RoleReference(
                self.installation.discovery_role_kind, self.installation.discovery_role_name
            ),
            roles=roles,
            frontend=self._frontend(),
            compute_domain=self.compute_domain,
        )

    def _services(self) -> ServicePlanner:
        return ServicePlanner(
            self.name,
            self.namespace,
            self.spec.placement,
            tuple(secret.name for secret in self.spec.runtime.image_pull_secrets),
            services(),
            self.installation.service_images,
        )

    def _shared_facts(self) -> dict[str, str]:
        architecture = self.platform.machine.architecture
        return {
            "engine": self.spec.runtime.engine.value,
            "frontend": self.spec.runtime.frontend.value,
            "fabric": self.platform.fabrics[0].name,
            "fabrics": ",".join(fabric.name for fabric in self.platform.fabrics),
            "architecture": architecture.value if architecture else self._selected_architecture(),
            **discovery_facts(self.discovery),
        }

    def _strategy(self) -> tuple[Choice, Provenance]:
        allowed = {choice.value: choice for choice in self.runtime.strategies}
        asked = self.spec.rollout.strategy
        if asked is None:
            default = self.runtime.strategies[0]
            return default, provenance(default)
        if asked.value not in allowed:
            reason = self.runtime.strategies[0].reason
            fault = f"{asked} cannot be used with {self.runtime.name} {self.runtime.version}: {reason}"
            remedy = f"Write {' or '.join(allowed)}, or leave it out"
            raise Refusal([Problem("spec.rollout.strategy", fault, remedy, "strategy-in-release")])
        return allowed[asked.value], Provenance("Set by the user.", "spec.rollout.strategy")

    def _selected_architecture(self) -> str:
        return self.spec.placement.node_selector.get(ARCHITECTURE_LABEL, ANY_ARCHITECTURE)

    def _facts(self, role: str, spec: RoleSpec) -> dict[str, str]:
        facts = {
            **self._shared_facts(),
            "role": role,
            "nodes": ONE if spec.nodes_per_replica == 1 else SEVERAL,
            "method": self.transfer.method,
            "backend": self.transfer.nixl_backend or NO_BACKEND,
            "kvbm": ON if role == PREFILL and self.spec.transfer.kvbm is not None else OFF,
        }
        image, _ = self._image(facts)
        facts["image"] = image_kind(image)
        context = security(self.platform, facts, self.spec.security.mode)
        return {**facts, "security": context.mode}

    def _role(self, role: str, revision: str) -> RolePlan:
        spec = self.specs[role]
        facts = self._facts(role, spec)
        gpus = self._gpus(spec)
        wiring = dynamo.worker(self.runtime, self.discovery, self.dynamo_namespace, revision)
        engine = self.engine.worker(
            Asked(
                self.resource, role, spec, self.transfer, self.platform.release, facts, self.dynamo_namespace
            )
        )
        added = hardware(
            self.platform,
            facts,
            gpus=gpus,
            other_role=DECODE if role == PREFILL else PREFILL,
            devices=spec.devices or {},
            placement=self.spec.placement,
        )
        environment = layered(
            wiring.environment,
            added.environment,
            engine.environment,
            written(self.spec.env, "spec.env"),
            written(spec.env, f"spec.{role}.env"),
        )
        resources, why_resources = self._worker_resources(role, spec.resources, gpus)
        pod = replace(
            self._pod(wiring, facts, spec.pod_template),
            command=engine.command,
            environment=environment,
            ports=(wiring.port, *engine.ports),
            mounts=(*dynamo.SCRATCH, *engine.mounts, *added.mounts),
            resources=resources,
            resources_provenance=why_resources,
            grace_seconds=_GRACE_SECONDS + self.spec.transfer.timeout_seconds,
            security=security(self.platform, facts, self.spec.security.mode),
            devices=added.devices,
            claims=() if self.compute_domain is None else (channel_claim(self.compute_domain),),
            huge_pages=huge_pages(added.huge_pages, environment),
            annotations=added.annotations,
            node_labels=added.node_labels,
            derived_tolerations=added.tolerations,
            together=added.together,
            apart=added.apart,
        )
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
        )
        return planned if planned.nodes == 1 else self._grouped(planned, revision)

    def _grouped(self, role: RolePlan, revision: str) -> RolePlan:
        launch = self.platform.release.launch
        if launch is None:
            field = f"spec.{role.role}.nodesPerReplica"
            fault = f"not supported yet: {role.nodes} nodes with this engine"
            raise Refusal([Problem(field, fault, "Write 1", "engine-on-several-nodes")])
        key_round = self.resource.metadata.annotations.get(names.ANNOTATION_SSH_KEY, "")
        return grouped(role, launch, self.name, revision, key_round)

    def _gpus(self, spec: RoleSpec) -> int:
        if not self.engine.on_gpu:
            return spec.gpus_per_node or 0
        if spec.gpus_per_node is not None:
            return spec.gpus_per_node
        sizes = spec.parallelism
        return sizes.tensor * sizes.pipeline * sizes.context // spec.nodes_per_replica

    def _frontend(self) -> FrontendPlan:
        spec = self.spec.frontend
        wiring = dynamo.frontend(
            self.runtime,
            self.discovery,
            self.dynamo_namespace,
            port=spec.port,
            router_mode=spec.router_mode,
            model=self.spec.model.name,
        )
        # It computes nothing and moves no KV cache: no fabric is a fact of it.
        facts = {key: value for key, value in self._shared_facts().items() if not key.startswith("fabric")}
        source = self.spec.model.source
        reads_model = self.runtime.frontend.model_files is not None
        resources, why_resources = requirements(
            spec.resources, self.platform.machine.frontend_resources, "spec.frontend.resources"
        )
        labels, tolerations = frontend_placement(self.platform.machine, facts)
        pod = replace(
            self._pod(wiring, {**facts, "method": self.transfer.method}, spec.pod_template),
            environment=layered(
                wiring.environment,
                hub_environment(source) if reads_model else (),
                written(spec.env, "spec.frontend.env"),
            ),
            mounts=(*dynamo.SCRATCH, *(model_mounts(source) if reads_model else ())),
            resources=resources,
            resources_provenance=why_resources,
            node_labels=labels,
            derived_tolerations=tolerations,
        )
        return FrontendPlan(replicas=spec.replicas, port=spec.port, pod=pod)

    def _pod(self, wiring: dynamo.Wiring, facts: Facts, overrides: Mapping[str, Any] | None) -> PodPlan:
        runtime = self.spec.runtime
        placement = self.spec.placement
        image, why_image = self._image(facts)
        return PodPlan(
            image=image,
            image_provenance=why_image,
            pull_policy=runtime.image_pull_policy,
            pull_secrets=tuple(secret.name for secret in runtime.image_pull_secrets),
            command=wiring.command,
            environment=wiring.environment,
            ports=(wiring.port,),
            startup=wiring.startup,
            liveness=wiring.liveness,
            readiness=wiring.readiness,
            mounts=dynamo.SCRATCH,
            resources={},
            service_account=self.service_account,
            node_selector=placement.node_selector,
            tolerations=tuple(placement.tolerations),
            grace_seconds=_GRACE_SECONDS,
            overrides=overrides or {},
            gate=gate_plan(self.discovery),
        )

    def _image(self, facts: Facts) -> tuple[str, Provenance]:
        if self.spec.runtime.image is not None:
            return self.spec.runtime.image, Provenance("Set by the user.", "spec.runtime.image")
        release = self.platform.release
        image = first(release.images, facts)
        if image is not None:
            return fill(image.value, facts), provenance(image)
        if release.built is None:
            return self.installation.worker_image, _OWN_IMAGE
        method = f"{self.runtime.name} {self.runtime.version} with {self.transfer.method} transfer"
        fault = f"no image of {method} is published. {release.built.reason.rstrip('.')}"
        remedy = f"Build one with `{fill(release.built.value, facts)}` and write its reference"
        raise Refusal([Problem("spec.runtime.image", fault, remedy, "image-published")])

    def _worker_resources(
        self, role: str, by_user: ResourceRequirements | None, gpus: int
    ) -> tuple[dict[str, Any], Provenance | None]:
        machine = self.platform.machine
        path = f"spec.{role}.resources"
        if by_user is not None or not gpus:
            return requirements(by_user, machine.worker_resources, path)
        per_gpu = machine.gpu_worker_resources
        return ({}, None) if per_gpu is None else requirements(None, times(per_gpu, gpus), path)
