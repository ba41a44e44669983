"""All checks of preflight, in the order in which a person would look."""

from collections.abc import Sequence

from disagg_operator.reconcile.preflight import nodes as node_checks
from disagg_operator.reconcile.preflight import room as room_checks
from disagg_operator.reconcile.preflight.fault import Assessment, Check, Fault
from disagg_operator.reconcile.preflight.needs import Needs
from disagg_operator.reconcile.preflight.obstacles import candidates
from disagg_operator.reconcile.preflight.pod_security import BASELINE, PRIVILEGED
from disagg_operator.reconcile.preflight.snapshot import ENFORCE, ClusterSnapshot
from disagg_operator.reconcile.preflight.wording import capitalised, pods_of, remedy, source

_STANDARDS = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"
_DRA = "https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/"
_CHANNELS = "https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/issues/309"
_GANGS = "docs/pod-groups.md"
_SET = "Set preflight.nodes=true in the values of this operator's chart to have it checked"


def assess(needs: Needs, cluster: ClusterSnapshot) -> Assessment:
    """Return whether a cluster can run a deployment.

    Args:
        needs: what the deployment asks for.
        cluster: what is there.
    """
    found = [*_policy(needs, cluster), *_gang(needs, cluster), *_kinds(needs, cluster)]
    found += _device_classes(needs, cluster)
    found += [*_claims(needs, cluster), *_second_channels(needs, cluster)]
    remarks: list[str] = []
    domains = None
    if cluster.nodes is not None:
        matching = {role.role: candidates(role, cluster.nodes) for role in needs.roles}
        single = node_checks.faults(needs, cluster.nodes, matching)
        found += single
        if not single:
            at_once, domains = room_checks.together(needs, matching)
            found += at_once
        remarks = room_checks.remarks(needs, matching)
        remarks += [domains.remark] if domains is not None else []
    return Assessment(tuple(found), tuple(_unknown(needs, cluster)), tuple(remarks), domains)


def _policy(needs: Needs, cluster: ClusterSnapshot) -> list[Fault]:
    """Find pods that the namespace's Pod Security Standard refuses."""
    enforced = cluster.enforced or PRIVILEGED
    refused = {role.role: role.violations[enforced] for role in needs.roles if enforced in role.violations}
    if not refused:
        return []
    level = PRIVILEGED if any(BASELINE in role.violations for role in needs.roles) else BASELINE
    what = ", ".join(dict.fromkeys(each for found in refused.values() for each in found))
    message = (
        f"Namespace {needs.namespace} enforces the Pod Security Standard {enforced!r}, which refuses all "
        f"{pods_of(list(refused))}: {what}. Run: kubectl label namespace {needs.namespace} {ENFORCE}={level} "
        "--overwrite"
    )
    return [Fault(Check.POD_SECURITY, message, _STANDARDS)]


def _gang(needs: Needs, cluster: ClusterSnapshot) -> list[Fault]:
    """Find a scheduler that is asked for and not there."""
    gang = needs.gang
    if gang is None or cluster.served.get(gang.kind) is not False:
        return []
    name = f"{gang.kind.api_version} {gang.kind.kind}"
    message = (
        f"spec.placement.gang asks for {gang.scheduler} to schedule the pods of an instance all or none, and "
        f"the API server does not serve {gang.kind} ({gang.kind.api_version}), or the values of this "
        "operator's chart have gangScheduling.enabled=false. Write another spec.placement.gang.scheduler, "
        f"such as None, or bring it along. {remedy(name)}"
    )
    return [Fault(Check.GANG_SCHEDULER_MISSING, message, source(name, _GANGS))]


def _kinds(needs: Needs, cluster: ClusterSnapshot) -> list[Fault]:
    """Find kinds that the API server does not serve."""
    missing = [kind for kind in needs.kinds if cluster.served.get(kind) is False]
    names = {kind: f"{kind.api_version} {kind.kind}" for kind in missing}
    return [
        Fault(
            Check.API_MISSING,
            f"The API server does not serve {kind.kind} ({kind.api_version}). {remedy(names[kind])}",
            source(names[kind], _DRA),
        )
        for kind in missing
    ]


def _device_classes(needs: Needs, cluster: ClusterSnapshot) -> list[Fault]:
    """Find DeviceClasses that are not there; without the API that holds them, they go without saying."""
    if cluster.device_classes is None or any(cluster.served.get(kind) is False for kind in needs.kinds):
        return []
    return [
        Fault(
            Check.DEVICE_CLASS_MISSING,
            f"There is no DeviceClass {name}, which the workers' claims ask for. {remedy(name)}",
            source(name, _DRA),
        )
        for name in needs.device_classes
        if name not in cluster.device_classes
    ]


def _claims(needs: Needs, cluster: ClusterSnapshot) -> list[Fault]:
    """Find claims and templates that pods name and that are not there: the pods wait for them."""
    missing = [claim for claim in needs.claims if (seen := cluster.claims.get(claim)) and not seen.there]
    return [
        Fault(
            Check.CLAIM_MISSING,
            f"{capitalised(pods_of(needs.claims[claim]))} claim {claim}, and namespace {needs.namespace} has "
            f"none of that name. Create it, or correct {_written(needs.claims[claim])}. "
            f"Run: kubectl get {claim.kind.plural} --namespace {needs.namespace}",
            _DRA,
        )
        for claim in missing
        if all(cluster.served.get(kind) is not False for kind in needs.kinds)
    ]


def _second_channels(needs: Needs, cluster: ClusterSnapshot) -> list[Fault]:
    """Find channels of other ComputeDomains, such as of one that Grove made, beside a worker's own."""
    holders = {role.role for role in needs.workers if role.alone}
    return [
        Fault(
            Check.SECOND_CHANNEL,
            f"{capitalised(pods_of(needs.claims[claim]))} claim {claim} beside a channel of their own. It is "
            f"for channels of the ComputeDomain with UID {seen.domain}, and a node has one channel. Leave it "
            f"out of {_written(needs.claims[claim])}, or write that domain's name into "
            "spec.computeDomain.name. Run: kubectl get computedomains --namespace "
            f"{needs.namespace} -o custom-columns=NAME:.metadata.name,UID:.metadata.uid",
            _CHANNELS,
        )
        for claim, seen in cluster.claims.items()
        if seen.domain and holders & {*needs.claims.get(claim, ())}
    ]


def _written(roles: Sequence[str]) -> str:
    return " and ".join(f"spec.{role}.podTemplate" for role in roles)


def _unknown(needs: Needs, cluster: ClusterSnapshot) -> list[str]:
    unread = {
        "nodes": cluster.nodes,
        "namespaces": cluster.enforced,
        "deviceclasses.resource.k8s.io": cluster.device_classes if needs.device_classes else frozenset(),
    }
    closed = [name for name, value in unread.items() if value is None]
    found = [f"The operator may not read {', '.join(closed)}. {_SET}."] if closed else []
    asked = [kind.kind for kind in needs.kinds if kind not in cluster.served]
    unseen = [str(claim) for claim in needs.claims if claim not in cluster.claims]
    return [
        *found,
        *([f"The API server did not say whether it serves {', '.join(asked)}."] if asked else []),
        *([f"The API server did not say whether there is {', '.join(unseen)}."] if unseen else []),
    ]
