"""From a specification to a plan: the one entry of this folder.

Invariants: no clock, no network, no randomness; the same input gives the same plan. What cannot be planned is
refused with the field, the fault and the remedy.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from disagg_operator.api.v1alpha1.base import ResourceRequirements
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.plan import names
from disagg_operator.plan.engines import reference
from disagg_operator.plan.environment import derived, layered, written
from disagg_operator.plan.frontends import dynamo
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import (
    DECODE,
    PREFILL,
    EnvSetting,
    FrontendPlan,
    Plan,
    PodPlan,
    RolePlan,
    RoleReference,
)
from disagg_operator.plan.revision import revision_of
from disagg_operator.platforms import catalogue
from disagg_operator.platforms.profile import MachineProfile, PodResources, RuntimeProfile

_GRACE_SECONDS = 30
"""Kubernetes' own default, for what a worker does beside waiting for transfers."""

_NO_REVISION = ""
"""Stands where the revision will be while the rest, which decides the revision, is planned."""


def plan(resource: DisaggDeployment, installation: Installation) -> Plan:
    """Plan a deployment.

    Args:
        resource: an accepted DisaggDeployment.
        installation: settings of the operator's installation.

    Raises:
        Refusal: the platform, version or engine configuration cannot be planned.
    """
    return _Planner(resource, installation).plan()


class _Planner:
    """Holds the inputs of one planning, so that each decision below reads like a sentence."""

    def __init__(self, resource: DisaggDeployment, installation: Installation) -> None:
        self.resource = resource
        self.spec = resource.spec
        self.name = resource.metadata.name
        self.namespace = resource.metadata.namespace
        self.installation = installation
        self.machine: MachineProfile = catalogue.machine(self.spec.platform)
        self.runtime: RuntimeProfile = catalogue.runtime(
            self.spec.runtime.frontend, self.spec.runtime.version
        )
        self.service_account = self.spec.service_account_name or names.service_account(self.name)
        self.dynamo_namespace = names.dynamo_namespace(self.namespace, self.name)

    def plan(self) -> Plan:
        specs = {PREFILL: self.spec.prefill, DECODE: self.spec.decode}
        unversioned = {role: self._role(role, spec) for role, spec in specs.items()}
        revision = revision_of(unversioned.values())
        roles = {role: self._versioned(unversioned[role], spec, revision) for role, spec in specs.items()}
        port = self.spec.frontend.port
        return Plan(
            name=self.name,
            namespace=self.namespace,
            uid=self.resource.metadata.uid,
            revision=revision,
            address=f"http://{names.frontend(self.name)}.{self.namespace}.svc:{port}",
            transport=f"{self.spec.transfer.method}/{self._nixl_backend()}",
            strategy=self.spec.rollout.strategy,
            takeover_seconds=self.runtime.takeover.seconds,
            service_account=self.service_account,
            own_service_account=self.spec.service_account_name is None,
            discovery_role=RoleReference(
                self.installation.discovery_role_kind, self.installation.discovery_role_name
            ),
            roles=roles,
            frontend=self._frontend(),
        )

    def _role(self, role: str, spec: RoleSpec) -> RolePlan:
        wiring = dynamo.worker(self.runtime, self.dynamo_namespace, _NO_REVISION)
        pod = replace(
            self._pod(wiring, spec.resources, self.machine.worker_resources, spec.pod_template),
            command=reference.command(role),
            environment=self._environment(role, spec, wiring),
            ports=(wiring.port, reference.METRICS_PORT),
            mounts=(*dynamo.SCRATCH, *reference.mounts(self.resource)),
            grace_seconds=_GRACE_SECONDS + self.spec.transfer.timeout_seconds,
        )
        files = reference.files(self.resource, role, spec, self._nixl_backend())
        return RolePlan(
            role=role, replicas=spec.replicas, pod=pod, files=files, files_path=reference.CONFIG_FOLDER
        )

    def _versioned(self, role: RolePlan, spec: RoleSpec, revision: str) -> RolePlan:
        wiring = dynamo.worker(self.runtime, self.dynamo_namespace, revision)
        return replace(role, pod=replace(role.pod, environment=self._environment(role.role, spec, wiring)))

    def _environment(self, role: str, spec: RoleSpec, wiring: dynamo.Wiring) -> tuple[EnvSetting, ...]:
        return layered(
            wiring.environment,
            derived(self.machine.environment, {}),
            written(self.spec.env, "spec.env"),
            written(spec.env, f"spec.{role}.env"),
        )

    def _frontend(self) -> FrontendPlan:
        spec = self.spec.frontend
        wiring = dynamo.frontend(
            self.runtime, self.dynamo_namespace, spec.port, spec.router_mode, self.spec.model.name
        )
        pod = self._pod(wiring, spec.resources, self.machine.frontend_resources, spec.pod_template)
        environment = layered(wiring.environment, written(spec.env, "spec.frontend.env"))
        return FrontendPlan(replicas=spec.replicas, port=spec.port, pod=replace(pod, environment=environment))

    def _pod(
        self,
        wiring: dynamo.Wiring,
        resources: ResourceRequirements | None,
        default_resources: PodResources,
        overrides: Mapping[str, Any] | None,
    ) -> PodPlan:
        runtime = self.spec.runtime
        placement = self.spec.placement
        return PodPlan(
            image=runtime.image or self.installation.worker_image,
            pull_policy=runtime.image_pull_policy,
            pull_secrets=tuple(secret.name for secret in runtime.image_pull_secrets),
            command=wiring.command,
            environment=wiring.environment,
            ports=(wiring.port,),
            startup=wiring.startup,
            liveness=wiring.liveness,
            readiness=wiring.readiness,
            mounts=dynamo.SCRATCH,
            resources=_requirements(resources, default_resources),
            service_account=self.service_account,
            node_selector=placement.node_selector,
            tolerations=tuple(placement.tolerations),
            grace_seconds=_GRACE_SECONDS,
            overrides=overrides or {},
        )

    def _nixl_backend(self) -> str:
        return self.spec.transfer.nixl_backend or self.machine.nixl_backend.value


def _requirements(written_by_user: ResourceRequirements | None, default: PodResources) -> dict[str, Any]:
    chosen = default if written_by_user is None else written_by_user
    described = {"requests": dict(chosen.requests), "limits": dict(chosen.limits)}
    return {key: value for key, value in described.items() if value}
