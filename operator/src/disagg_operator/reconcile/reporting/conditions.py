"""The conditions of a deployment: whether it is accepted, serves requests, and is being worked on. Pure.

`reasons` has the reasons of each.
"""

from dataclasses import dataclass
from typing import Literal

from disagg_operator.api.problems import Problem, listed
from disagg_operator.api.v1alpha1.status import ConditionType
from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES
from disagg_operator.reconcile.applying.kept import keeps_frontend
from disagg_operator.reconcile.computedomain.standing import Reason, Standing
from disagg_operator.reconcile.groups.restarts import restarted
from disagg_operator.reconcile.observe import Workload, label
from disagg_operator.reconcile.reporting.guide import heading
from disagg_operator.reconcile.reporting.troubles import first_trouble
from disagg_operator.reconcile.reporting.view import View
from disagg_operator.reconcile.verification.proof import is_refused, may_take_over

Truth = Literal["True", "False", "Unknown"]
NOT_SUPPORTED_YET = "not supported yet"
_LONGEST_MESSAGE = 4096


@dataclass(frozen=True)
class Verdict:
    """A condition before it gets its times."""

    type: str
    status: Truth
    reason: str
    message: str


def verdicts(view: View) -> list[Verdict]:
    """Return all conditions of a deployment."""
    found = [_accepted(view), _platform_ready(view), _available(view), _progressing(view)]
    found += [*_transport_verified(view), *_compute_domain(view), *_model_ready(view), *_up_to_date(view)]
    return [
        Verdict(verdict.type, verdict.status, verdict.reason, verdict.message[:_LONGEST_MESSAGE])
        for verdict in found
    ]


def _up_to_date(view: View) -> list[Verdict]:
    """Say what is kept of another version of the operator; nothing where nothing is."""
    if view.plan is None:
        return []
    workers, frontend = view.plan.keeps_workers, keeps_frontend(view.plan, view.observed)
    if not workers and not frontend:
        return []
    who = " and ".join([*(["workers"] if workers else []), *(["frontends"] if frontend else [])])
    message = (
        f"This version of the operator plans other {who} than those that an earlier one made for the same "
        "specification. They are kept, and none is restarted. They are replaced with the next edit that "
        "changes pods, or at once by: kubectl disagg rollout update NAME"
    )
    return [Verdict(ConditionType.UP_TO_DATE, "False", "PlannedByOtherVersion", message)]


def _accepted(view: View) -> Verdict:
    if view.plan is None and view.failure is not None:
        return Verdict(ConditionType.ACCEPTED, "Unknown", view.failure.reason, view.failure.message)
    if not view.problems:
        return _accepted_plan(view.plan.warnings if view.plan else ())
    later = all(NOT_SUPPORTED_YET in problem.fault for problem in view.problems)
    message = listed(view.problems, _LONGEST_MESSAGE)
    return Verdict(ConditionType.ACCEPTED, "False", "NotSupported" if later else "InvalidSpec", message)


def _accepted_plan(warnings: tuple[Problem, ...]) -> Verdict:
    sense = "The specification makes sense."
    if not warnings:
        return Verdict(ConditionType.ACCEPTED, "True", "Accepted", sense)
    doubts = "\n".join(str(warning) for warning in warnings)
    return Verdict(ConditionType.ACCEPTED, "True", "AcceptedWithWarnings", f"{sense} Doubtful:\n{doubts}")


def _platform_ready(view: View) -> Verdict:
    kind = ConditionType.PLATFORM_READY
    found = view.platform
    if view.leaving:
        return Verdict(kind, "Unknown", "Deleting", "The deployment is being deleted.")
    if found is None:
        reason = "NotAccepted" if view.failure is None else view.failure.reason
        message = "The cluster is checked against a specification once that is accepted."
        return Verdict(kind, "Unknown", reason, message)
    if found.faults:
        message = "\n".join(str(fault) for fault in found.faults)
        return Verdict(kind, "False", found.faults[0].check.value, message)
    if found.unknown:
        return Verdict(kind, "Unknown", "NotChecked", " ".join(found.unknown))
    message = " ".join(["The cluster has all that was planned for.", *found.remarks])
    return Verdict(kind, "True", "PlatformReady", message)


def _available(view: View) -> Verdict:
    frontend = view.observed.frontend()
    serving = view.step.serving
    if serving is not None and frontend is not None and frontend.ready > 0:
        return Verdict(ConditionType.AVAILABLE, "True", "ServingRequests", _serving_message(view, serving))
    empty = _scaled_to_zero(view)
    if empty:
        message = f"{' and '.join(empty)} have no replicas, so that no request is served. {_more(view)}"
        return Verdict(ConditionType.AVAILABLE, "False", "ScaledToZero", message)
    services = _services_message(view)
    if services:
        message = f"{services} {_roles_message(view)}".strip()
        return Verdict(ConditionType.AVAILABLE, "False", "DiscoveryNotReady", message)
    if serving is not None and view.unproven:
        return Verdict(ConditionType.AVAILABLE, "False", "TransportNotVerified", _unproven_message(view))
    if serving is not None:
        message = f"The frontend is not ready. {_trouble(view, names.FRONTEND)}".strip()
        return Verdict(ConditionType.AVAILABLE, "False", "FrontendNotReady", message)
    return Verdict(ConditionType.AVAILABLE, "False", "RolesNotReady", _roles_message(view))


def _progressing(view: View) -> Verdict:
    if view.leaving:
        return Verdict(ConditionType.PROGRESSING, "True", "Deleting", view.leaving)
    if view.paused:
        message = (
            f"Nothing is changed while the annotation {names.ANNOTATION_PAUSED} is set. Remove it with: "
            f"kubectl annotate dd NAME {names.ANNOTATION_PAUSED}-"
        )
        return Verdict(ConditionType.PROGRESSING, "False", "Paused", message)
    if view.problems:
        message = "The last accepted specification stays in force. Correct what condition Accepted names."
        return Verdict(ConditionType.PROGRESSING, "False", "NotAccepted", message)
    if view.failure is not None:
        retrying: Truth = "True" if view.failure.reason == "RetryingAfterError" else "False"
        return Verdict(ConditionType.PROGRESSING, retrying, view.failure.reason, view.failure.message)
    if view.held:
        message = (
            f"Revision {view.target} is not started: see condition PlatformReady. What runs is left as it is."
        )
        return Verdict(ConditionType.PROGRESSING, "False", "PlatformNotReady", message)
    if view.waits and view.domain is not None and not view.domain.starts:
        return Verdict(ConditionType.PROGRESSING, "True", "WaitingForComputeDomain", view.domain.message)
    if view.waits and view.model is not None:
        return Verdict(ConditionType.PROGRESSING, "True", "WaitingForModel", view.model.message)
    if view.rollout.failed:
        return _given_up(view)
    if view.rollout.paused:
        message = (
            f"The rollout of revision {view.target} is paused. {_rollout_counts(view)} Go on with: "
            "kubectl disagg rollout resume NAME"
        )
        return Verdict(ConditionType.PROGRESSING, "False", "RolloutPaused", message)
    if view.step.others:
        return Verdict(ConditionType.PROGRESSING, "True", "RolloutInProgress", _rollout_message(view))
    return _standing(view)


def _standing(view: View) -> Verdict:
    """Say what the only revision lacks."""
    services = _services_message(view)
    if services:
        message = f"{services} {_roles_message(view)}".strip()
        return Verdict(ConditionType.PROGRESSING, "True", "DiscoveryNotReady", message)
    if view.step.complete and _held_by_verdict(view):
        return Verdict(ConditionType.PROGRESSING, "False", "TransportNotVerified", _unproven_message(view))
    if not view.step.complete or not _frontend_complete(view):
        return Verdict(ConditionType.PROGRESSING, "True", "RolesNotReady", _roles_message(view))
    message = f"Revision {view.target} is fully rolled out."
    return Verdict(ConditionType.PROGRESSING, "False", "Complete", message)


def _given_up(view: View) -> Verdict:
    record = view.rollout.record
    reason = (record.failed_reason if record else None) or "ProgressDeadlineExceeded"
    told = record.failed_message if record else ""
    done = "is restored" if not view.step.others and view.step.complete else "is being restored"
    message = (
        f"Revision {view.target} was given up, and revision {view.rollout.target} {done}. {told} Change the "
        "specification, or try again: kubectl disagg rollout retry NAME"
    )
    return Verdict(ConditionType.PROGRESSING, "False", reason, message)


def _rollout_counts(view: View) -> str:
    """Say how many instances of the new revision were started, and what old ones are left."""
    there = view.observed.revisions(view.now)
    new = there.get(view.target, {})
    started = [f"{role} {new[role].asked if role in new else 0} of {_asked(view, role)}" for role in ROLES]
    parts = [f"Started: {', '.join(started)}."]
    for name in sorted(there.keys() - {view.target}):
        left = [f"{role} {found.asked}" for role in ROLES if (found := there[name].get(role))]
        ending = any(found.terminating for found in there[name].values())
        parts.append(f"Old revision {name}: {', '.join(left)}{' (ending)' if ending else ''}.")
    return " ".join(parts)


def _transport_verified(view: View) -> list[Verdict]:
    proof = view.proof
    if proof is None:
        return []
    kind, record = ConditionType.TRANSPORT_VERIFIED, proof.record
    if record.verified is None or record.reason is None:
        return [Verdict(kind, "Unknown", proof.reason, proof.message)]
    of_old = f"Revision {record.revision}: " if record.revision != view.target else ""
    see = f" See {found}" if (found := heading(kind, record.reason)) else ""
    return [Verdict(kind, record.verified, record.reason, f"{of_old}{record.message or ''}{see}")]


def _unproven_message(view: View) -> str:
    """Say why the revision that would serve is not let."""
    proof = view.proof
    if proof is None:
        return ""
    record = proof.record
    why = record.message if record.revision == view.target else proof.message
    return (
        f"No request is served before the transport is verified (spec.verification.mode). {why or ''}".strip()
    )


def _compute_domain(view: View) -> list[Verdict]:
    found = view.domain
    if found is None:
        return []
    message = f"{found.message} {_stranded(view, found)}".strip()
    return [Verdict(ConditionType.COMPUTE_DOMAIN_READY, found.status, found.reason, message)]


def _model_ready(view: View) -> list[Verdict]:
    found = view.model
    if found is None:
        return []
    return [Verdict(ConditionType.MODEL_READY, found.status, found.reason, found.message)]


def _stranded(view: View, found: Standing) -> str:
    """Say what to do where the first workers went to a clique that has no room for the rest."""
    rooms = None if view.platform is None else view.platform.domains
    if rooms is None or found.reason is not Reason.NODES_MISSING or found.clique not in rooms.cramped:
        return ""
    return (
        f"But clique {found.clique} has no room for all workers, and these are in it already. {rooms.remedy} "
        "They are made anew there."
    )


def _frontend_complete(view: View) -> bool:
    frontend = view.observed.frontend()
    if frontend is None or view.plan is None:
        return False
    wanted = view.plan.frontend.replicas
    # One of the old template may be the ready one, as long as it is there.
    return view.rolled_out and frontend.asked == wanted and min(frontend.ready, frontend.updated) >= wanted


def _held_by_verdict(view: View) -> bool:
    """Tell whether nothing but a verdict keeps the frontends from being ready, which no time mends."""
    if view.plan is None or view.proof is None or not is_refused(view.plan, view.proof.record):
        return False
    frontends = view.observed.pods_of(names.FRONTEND, None)
    return view.unproven and bool(frontends) and first_trouble(frontends) is None


def _rollout_message(view: View) -> str:
    if not view.step.run:
        return (
            f"Revision {view.target} starts once the pods of revision {_listed(view.step.removed)} are gone."
        )
    unproven = (
        view.proof is not None and view.plan is not None and not may_take_over(view.plan, view.proof.record)
    )
    parts = (
        f"Revision {view.target} takes over step by step. {_rollout_counts(view)}",
        _services_message(view),
        _roles_message(view),
        _frontends_message(view),
    )
    told = " ".join(part for part in parts if part)
    why = _unproven_message(view) if unproven else ""
    return told if why in told else f"{told} {why}"


def _frontends_message(view: View) -> str:
    """Say which frontends are still of an older template, and what is wrong with the new ones."""
    frontend = view.observed.frontend()
    if view.changed_over or view.waiting_frontend is not None or frontend is None:
        return ""
    trouble = "" if frontend.ready < frontend.asked else _trouble(view, names.FRONTEND)
    return f"frontend: {frontend.updated} of {frontend.asked} changed over. {trouble}".strip()


def _serving_message(view: View, serving: str) -> str:
    short = [
        f"{workload.ready} of {workload.asked} {role} replicas are ready"
        for role in ROLES
        if (workload := view.observed.workers(role).get(serving)) and workload.ready < workload.asked
    ]
    told = f"Requests are served, but {' and '.join(short)}." if short else "Requests are served."
    return f"{told} {_services_message(view)}".strip()


def _services_message(view: View) -> str:
    """Say for each service of discovery that lacks members what it lacks, and why."""
    if view.plan is None:
        return ""
    observed = view.observed.services()
    parts = []
    for service in view.plan.discovery.services:
        workload = observed.get(service.name)
        ready = workload.ready if workload else 0
        if ready < service.members:
            trouble = first_trouble(view.observed.pods_of_service(service.name)) or ""
            parts.append(f"{service.kind}: {ready} of {service.members} members ready. {trouble}".strip())
    return " ".join(parts)


def _scaled_to_zero(view: View) -> list[str]:
    if view.plan is None:
        return []
    asked = {role: view.plan.roles[role].replicas for role in ROLES}
    asked[names.FRONTEND] = view.plan.frontend.replicas
    return [f"spec.{role}" for role, replicas in asked.items() if replicas == 0]


def _more(view: View) -> str:
    """Say how to scale up again what has no replicas."""
    scaled = [scaler.name for scaler in view.plan.scalers if scaler.replicas == 0] if view.plan else []
    commands = [f"kubectl scale disaggscaler {name} --replicas=1" for name in scaled]
    return f"Scale up with: {' && '.join(commands)}" if scaled else "Set at least 1."


def _roles_message(view: View) -> str:
    """Say for each role of the target revision that lacks replicas what it lacks, and why: one cause once."""
    parts = []
    told: dict[str, str] = {}
    for role in (*ROLES, names.FRONTEND):
        workload = _target(view, role)
        ready, asked = (workload.ready, workload.asked) if workload else (0, _asked(view, role))
        if ready < asked:
            why = _trouble(view, role)
            first = told.setdefault(_nameless(view, role, why), role) if why else role
            parts.append(
                f"{role}: {ready} of {asked} ready. {why if first == role else f'As {first}.'}".strip()
            )
            parts += _restarts(view, role)
    return " ".join(parts)


def _nameless(view: View, role: str, text: str) -> str:
    """Return why a role is not ready, without the names by which the texts of two roles differ."""
    pods = view.observed.pods_of(role, None if role == names.FRONTEND else view.target)
    for name in sorted((pod["metadata"]["name"] for pod in pods), key=len, reverse=True):
        text = text.replace(name, "…")
    return text


def _restarts(view: View, role: str) -> list[str]:
    """Say which pod groups of a role were started anew, and which will be."""
    pending = [
        f"Pod group {label(restart.group, names.LABEL_GROUP)} is started anew at "
        f"{restart.due.isoformat()}: {restart.reason}"
        for restart in view.restarts
        if label(restart.group, names.LABEL_ROLE) == role and restart.due > view.now
    ]
    return [*restarted(view.observed, role, view.target), *pending]


def _target(view: View, role: str) -> Workload | None:
    if role == names.FRONTEND:
        return view.observed.frontend()
    return view.observed.workers(role).get(view.target)


def _asked(view: View, role: str) -> int:
    if view.plan is None:
        return 0
    return view.plan.frontend.replicas if role == names.FRONTEND else view.plan.roles[role].replicas


def _trouble(view: View, role: str) -> str:
    pods = view.observed.pods_of(role, None if role == names.FRONTEND else view.target)
    workload = _target(view, role)
    kind = "deployment" if role == names.FRONTEND else "statefulset"
    found = first_trouble(pods)
    if found is None and role == names.FRONTEND and view.unproven:
        return _unproven_message(view)
    if workload is not None and role in view.refusals:
        return (
            f"The API server refuses further pods: {view.refusals[role]}. Change the quota, policy or "
            f"webhook that does. See: kubectl describe {kind} {workload.name}"
        )
    if found is None and workload is not None and workload.asked > 0 and not pods:
        return f"No pod was made yet; if this lasts, see: kubectl describe {kind} {workload.name}"
    return found or ""


def _listed(revisions: frozenset[str]) -> str:
    return ", ".join(sorted(revisions))
