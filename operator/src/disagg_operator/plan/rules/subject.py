"""What rules about plans judge: the resource, what was derived from it, and the profiles behind it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import DECODE, PREFILL, EnvSetting, Plan, RolePlan
from disagg_operator.plan.platform import Platform
from disagg_operator.platforms.profile import RuntimeProfile


@dataclass(frozen=True)
class Subject:
    """A planned deployment.

    Attributes:
        resource: what the user wrote.
        plan: what was derived.
        platform: the profiles of machine, fabrics and engine.
        runtime: the profile of the frontend's release.
        runtimes: the profiles of all its releases by version, the newest first.
        installation: settings of the operator's installation.
        cluster: what is known of the cluster.
    """

    resource: DisaggDeployment
    plan: Plan
    platform: Platform
    runtime: RuntimeProfile
    runtimes: Mapping[str, RuntimeProfile]
    installation: Installation
    cluster: ClusterFacts = UNSEEN

    @property
    def spec(self) -> DisaggDeploymentSpec:
        """The specification."""
        return self.resource.spec

    @property
    def trtllm(self) -> str | None:
        """Version of TensorRT-LLM, or None for another engine."""
        return self.platform.release.version if self.spec.runtime.engine == "trtllm" else None

    @property
    def on_gpu(self) -> bool:
        """Whether any worker computes on GPUs."""
        return any(role.gpus for role in self.plan.roles.values())

    def roles(self) -> Iterator[tuple[str, RolePlan]]:
        """Yield the roles' plans with the paths of their specifications."""
        for role in (PREFILL, DECODE):
            yield f"spec.{role}", self.plan.roles[role]


def variable(role: RolePlan, name: str) -> EnvSetting | None:
    """Return a variable of a role's workers as they will see it, or None."""
    return next((each for each in role.pod.environment if each.name == name), None)


def written_at(role: RolePlan, setting: EnvSetting) -> str:
    """Return the path at which a user wrote a variable; that of the role's own list where nobody did."""
    return (
        setting.provenance.source
        if setting.provenance.source.startswith("spec.")
        else f"spec.{role.role}.env"
    )
