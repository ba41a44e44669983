"""Gang scheduling: the pods of an instance on several nodes all get a node, or none does.

Which API does it depends on the cluster, and Kubernetes' own had another shape in each release from 1.35 to
1.37: the table below says what there is. The least number of pods that a scheduler is told of is always all
of them: with fewer, a part of the ranks would hold nodes and wait for the rest.

Invariant: pure. What Auto means is decided from what the cluster serves, which the caller says; nothing is
chosen that needs a decision of an administrator (a queue, another scheduler) unless the user names it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from disagg_operator.api.v1alpha1.placement import GangScheduler, GangSpec
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.plan.model import GangPlan, Provenance

KAI_QUEUE = "default-queue"
"""Queue that KAI takes for pods that name none (KAI-Scheduler: pkg/podgrouper, DefaultQueueName)."""


@dataclass(frozen=True)
class GangApi:
    """A kind by which gang scheduling is asked for, or that shows that it can be.

    Attributes:
        scheduler: who schedules by it.
        api_version, kind, plural: where the API server serves it.
    """

    scheduler: GangScheduler
    api_version: str
    kind: str
    plural: str


APIS = (
    GangApi(GangScheduler.NATIVE, "scheduling.k8s.io/v1beta1", "PodGroup", "podgroups"),
    GangApi(GangScheduler.NATIVE, "scheduling.k8s.io/v1alpha3", "PodGroup", "podgroups"),
    GangApi(GangScheduler.NATIVE, "scheduling.k8s.io/v1alpha2", "PodGroup", "podgroups"),
    GangApi(GangScheduler.NATIVE, "scheduling.k8s.io/v1alpha1", "Workload", "workloads"),
    GangApi(GangScheduler.KUEUE, "kueue.x-k8s.io/v1beta2", "LocalQueue", "localqueues"),
    GangApi(GangScheduler.KUEUE, "kueue.x-k8s.io/v1beta1", "LocalQueue", "localqueues"),
    GangApi(GangScheduler.KAI, "scheduling.run.ai/v2alpha2", "PodGroup", "podgroups"),
    GangApi(GangScheduler.COSCHEDULING, "scheduling.x-k8s.io/v1alpha1", "PodGroup", "podgroups"),
)
"""All APIs, of each scheduler the newest first (k8s.io/api v0.35.0, v0.36.0 and v0.37.2, Kueue 0.17,
KAI-Scheduler 0.15, scheduler-plugins 0.34)."""

_SCHEDULERS = {
    GangScheduler.KAI: "kai-scheduler",
    GangScheduler.COSCHEDULING: "scheduler-plugins-scheduler",
}
"""Names under which the schedulers' own charts install them."""
_WHY = {
    GangScheduler.NATIVE: Provenance(
        "Kubernetes' own scheduler gives nodes to all pods of a PodGroup or to none.",
        "https://kubernetes.io/docs/concepts/workloads/podgroup-api/",
    ),
    GangScheduler.KUEUE: Provenance(
        "Kueue admits a StatefulSet with a queue as a whole, once its quota has room for all pods.",
        "https://kueue.sigs.k8s.io/docs/tasks/run/statefulset/",
    ),
    GangScheduler.KAI: Provenance(
        "KAI gives nodes to all pods of a PodGroup or to none; its pod grouper would ask for one pod only.",
        "https://github.com/kai-scheduler/KAI-Scheduler/tree/main/docs/developer/designs/external-podgroups",
    ),
    GangScheduler.COSCHEDULING: Provenance(
        "The coscheduling plugin lets pods of a PodGroup have nodes once all have one.",
        "https://github.com/kubernetes-sigs/scheduler-plugins/tree/master/pkg/coscheduling",
    ),
}


def asked_of(spec: DisaggDeploymentSpec) -> GangSpec:
    """Return what a user asks for, or the default."""
    return spec.placement.gang or GangSpec()


def wanted_apis(spec: DisaggDeploymentSpec) -> Iterator[GangApi]:
    """Yield the APIs that a deployment would use if they are served, in the order of preference."""
    if all(role.nodes_per_replica == 1 for role in (spec.prefill, spec.decode)):
        return
    for scheduler in _candidates(asked_of(spec)):
        yield from (api for api in APIS if api.scheduler is scheduler)


def gang_plan(spec: DisaggDeploymentSpec, served: Iterable[GangApi]) -> GangPlan | None:
    """Return how instances on several nodes are scheduled, or None where each pod is on its own.

    Args:
        spec: what the user writes.
        served: the APIs that the cluster serves. One that is asked for by name is planned for though it is
            not served: preflight says so.
    """
    asked, wanted, known = asked_of(spec), list(wanted_apis(spec)), frozenset(served)
    found = next((api for api in wanted if api in known), None)
    if found is None and asked.scheduler is not GangScheduler.AUTO:
        found = next(iter(wanted), None)
    if found is None:
        return None
    return GangPlan(
        scheduler=found.scheduler,
        api_version=found.api_version,
        kind=found.kind,
        queue=asked.queue or (KAI_QUEUE if found.scheduler is GangScheduler.KAI else None),
        scheduler_name=asked.scheduler_name or _SCHEDULERS.get(found.scheduler),
        provenance=_WHY[found.scheduler],
    )


def api_of(plan: GangPlan) -> GangApi:
    """Return the API that a plan uses."""
    return next(api for api in APIS if (api.api_version, api.kind) == (plan.api_version, plan.kind))


def _candidates(asked: GangSpec) -> tuple[GangScheduler, ...]:
    match asked.scheduler:
        case GangScheduler.NONE:
            return ()
        case GangScheduler.AUTO:
            return (
                (GangScheduler.NATIVE,) if asked.queue is None else (GangScheduler.KUEUE, GangScheduler.KAI)
            )
    return (asked.scheduler,)
