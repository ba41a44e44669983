"""Proof of transport: what is known of it, whether it is to be measured now, and who may serve because of it.

Invariants: the verifier is asked until there is an answer to the revision and request of now, and then not
before the interval has passed; an answer counts once it is in the status, which a restarted operator reads;
no answer takes away what has served with proof.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from disagg_operator.api.v1alpha1.status import TransportStatus
from disagg_operator.build.statefulset import CONTAINER
from disagg_operator.plan import names
from disagg_operator.plan.agent import PORT
from disagg_operator.plan.model import ROLES, Plan, VerificationPlan
from disagg_operator.plan.rollout.stepper import Step
from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.observe import Observed, holds, is_ready, label
from disagg_operator.reconcile.verification.verifier import (
    VerificationAsked,
    VerificationResult,
    Verifier,
    WorkerPod,
)

REFUSED_AGAIN = timedelta(minutes=10)
"""Pause before a revision is measured again that may not serve, for its transport is worse than promised."""

_LONGEST_REQUEST = 256


@dataclass(frozen=True)
class Situation:
    """What a proof is judged by.

    Attributes:
        plan: what is desired.
        step: where the rollout stands.
        observed: what is there.
        request: text of the annotation by which the user asks for a measurement.
        record: the last result, as the status keeps it.
        labels: what it says of each role.
    """

    plan: Plan
    step: Step
    observed: Observed
    request: str
    record: TransportStatus
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Proof:
    """What is known of the transport of a deployment.

    Attributes:
        record: the last result, as the status keeps it.
        labels: what it says of each role.
        reason, message: why there is none for now: a stable word and a sentence.
        step: what the measurement does now.
        again: seconds until it is to be measured again, or None.
    """

    record: TransportStatus
    labels: Mapping[str, str]
    reason: str = ""
    message: str = ""
    step: str = ""
    again: float | None = None


def record_of(resource: Object) -> TransportStatus:
    """Return the last result that the status keeps, without what is said anew each time."""
    kept = TransportStatus.model_validate(resource.get("status", {}).get("transport", {}))
    return kept.model_copy(update={"configured": "", "summary": "", "step": None})


def labels_of(resource: Object) -> Mapping[str, str]:
    """Return what the last result says of each role."""
    roles = resource.get("status", {}).get("roles", {})
    return {role: label for role in ROLES if (label := roles.get(role, {}).get("transport"))}


def may_take_over(plan: Plan, record: TransportStatus) -> bool:
    """Tell whether the plan's revision may serve alone, as far as its transport is concerned."""
    return not is_enforced(plan) or record.verified_revision == plan.revision


def is_refused(plan: Plan, record: TransportStatus) -> bool:
    """Tell whether the plan's revision was measured, and may not serve because of what was found."""
    return (record.revision, record.verified) == (plan.revision, "False") and not may_take_over(plan, record)


def situation(resource: Object, plan: Plan, step: Step, observed: Observed) -> Situation:
    """Return what a proof is judged by, from the deployment as it is and what was decided about it."""
    request = resource["metadata"].get("annotations", {}).get(names.ANNOTATION_VERIFY, "")
    record, labels = record_of(resource), labels_of(resource)
    if record.revision not in (step.serving, plan.revision):
        record, labels = TransportStatus(verified_revision=record.verified_revision), {}
    return Situation(plan, step, observed, request[:_LONGEST_REQUEST], record, labels)


def prove(at: Situation, verifier: Verifier, now: datetime) -> Proof:
    """Return what is known, and have measured what is not.

    Args:
        at: what is there.
        verifier: who measures.
        now: the time.
    """
    if at.plan.verification is None:
        # What was verified stays so: what serves goes on where Enforce is asked for again.
        kept = TransportStatus(verified_revision=at.record.verified_revision)
        verifier.forget(Key(at.plan.namespace, at.plan.name))
        if at.plan.transfer.simulated:
            message = "The engine simulates transfers: no KV cache moves, so there is nothing to measure."
            return Proof(kept, {}, "Simulated", message)
        message = "Nothing is measured, since spec.verification.mode is Off. Write Warn or Enforce."
        return Proof(kept, {}, "SwitchedOff", message)
    wait = _wait(at, now)
    if wait is not None and (wait.seconds is None or wait.seconds > 0):
        return Proof(at.record, at.labels, again=wait.seconds)
    hindrance = _hindrance(at)
    if hindrance is not None:
        return Proof(at.record, at.labels, *hindrance)
    asked = _asked(at, at.plan.verification)
    state = verifier.want(Key(at.plan.namespace, at.plan.name), asked)
    if state.result is None:
        message = "It is measured how KV cache of the workers moves."
        return Proof(at.record, at.labels, "Measuring", message, state.step)
    # Further tries in the background are not told: a status that says the same again and again is no news.
    return Proof(recorded(at.record, asked, state.result), state.result.role_labels)


def recorded(
    record: TransportStatus, asked: VerificationAsked, result: VerificationResult
) -> TransportStatus:
    """Return what the status keeps of a result.

    Args:
        record: what it keeps now.
        asked: what was asked.
        result: what was found.
    """
    found = TransportStatus(
        observed=result.label or None,
        verified=result.verified,
        reason=result.reason,
        message=result.message,
        bytes=result.bytes,
        expected_bytes=result.expected_bytes,
        gbps=result.gbps,
        devices_used=result.devices_used,
        devices_given=result.devices_given,
        confidence=result.confidence,
        evidence=list(result.evidence) or None,
        revision=asked.revision,
        verified_revision=asked.revision if result.verified == "True" else record.verified_revision,
        request=asked.request or None,
        time=result.time,
    )
    # The same again of what could not be told is no news.
    same = found.model_copy(update={"time": record.time})
    return record if result.verified == "Unknown" and same == record else found


def gates(at: Situation, record: TransportStatus) -> Iterator[tuple[Object, bool]]:
    """Yield the frontend pods whose readiness gate is to be set, with what it is to be.

    Args:
        at: what is there.
        record: what the status keeps by now.
    """
    if at.step.serving is None:  # with no worker ready, there is nothing that could serve unproven
        return
    # A revision that serves unproven was let by an older specification. Frontends of the new one are let in
    # as soon as the new revision is proven: it takes over only once they are there.
    proven = record.verified_revision in (at.step.serving, at.plan.revision) or not is_enforced(at.plan)
    # What frontends that know the new revision beside the old one would send it, comes too early.
    early = _others(at) and not may_take_over(at.plan, record)
    for pod in at.observed.pods_of(names.FRONTEND, None):
        if not is_gated(pod) or holds(pod, names.CONDITION_TRANSPORT_VERIFIED) == proven:
            continue
        if not (proven and early and _reaches(pod, at.plan.revision)):
            yield pod, proven


def is_enforced(plan: Plan) -> bool:
    """Tell whether nothing may serve before its transport is verified."""
    return plan.verification is not None and plan.verification.enforced


def is_gated(pod: Object) -> bool:
    """Tell whether a frontend pod is ready only once the operator says that the transport is verified."""
    gates_ = pod.get("spec", {}).get("readinessGates", [])
    return any(gate["conditionType"] == names.CONDITION_TRANSPORT_VERIFIED for gate in gates_)


@dataclass(frozen=True)
class _Wait:
    """How long the last result will do: seconds, or None for ever."""

    seconds: float | None


def _wait(at: Situation, now: datetime) -> _Wait | None:
    """Return how long the last result will do; None where there is none."""
    record = at.record
    answered = (record.revision, record.request or "") == (at.plan.revision, at.request)
    if not answered or record.time is None or record.verified in (None, "Unknown"):
        return None
    asked = at.plan.verification
    pauses = []
    if asked is not None and asked.interval_seconds is not None:
        pauses.append(timedelta(seconds=asked.interval_seconds))
    if not may_take_over(at.plan, record):
        pauses.append(REFUSED_AGAIN)
    return _Wait((record.time + min(pauses) - now).total_seconds() if pauses else None)


def _hindrance(at: Situation) -> tuple[str, str] | None:
    """Return why nothing can be measured yet, as a stable word and a sentence."""
    plan = at.plan
    asked = {role: plan.roles[role].replicas for role in ROLES}
    empty = [role for role, count in {**asked, names.FRONTEND: plan.frontend.replicas}.items() if not count]
    if empty:
        return "ScaledToZero", f"Nothing can be measured: there are no replicas of {' and '.join(empty)}."
    # A rollout that waits for the answer has its first instances only.
    wanted = at.step.replicas if _others(at) else asked
    lacking = [
        role
        for role in ROLES
        if (found := at.observed.workers(role).get(plan.revision)) is None
        or found.ready < max(1, wanted[role])
    ]
    if lacking:
        return "WorkersNotReady", f"It is measured once all {' and '.join(lacking)} workers are ready."
    if _others(at) and not is_enforced(plan):
        return "RolloutInProgress", "It is measured once the old revision is gone."
    if not _frontends(at):
        return "FrontendNotReady", "It is measured once a frontend runs."
    return None


def _others(at: Situation) -> bool:
    """Tell whether workers of another revision are there."""
    return bool(at.step.others)


def _asked(at: Situation, verification: VerificationPlan) -> VerificationAsked:
    plan, record = at.plan, at.record
    decisive = record.revision == plan.revision and record.verified in ("True", "False")
    return VerificationAsked(
        namespace=plan.namespace,
        name=plan.name,
        revision=plan.revision,
        request=at.request,
        after=record.time if decisive else None,
        address=plan.address,
        frontends=_frontends(at),
        workers=tuple(
            WorkerPod(
                name=pod["metadata"]["name"],
                role=role,
                address=pod["status"]["podIP"],
                container=CONTAINER,
                group=label(pod, names.LABEL_GROUP),
            )
            for role in ROLES
            for pod in at.observed.pods_of(role, plan.revision)
            if is_ready(pod) and pod["status"].get("podIP")
        ),
        agent_port=PORT.number,
        model=verification.model,
        promises=verification.promises,
        mode=verification.mode,
        canary=verification.canary,
        prompt_tokens=verification.prompt_tokens,
        least_tokens=verification.least_tokens,
        kv_bytes_per_token=verification.kv_bytes_per_token,
        kv_dtype=verification.kv_dtype,
        shared=_others(at),
    )


def _reaches(frontend: Object, revision: str) -> bool:
    """Tell whether a frontend pod sends requests to a revision, be it among others."""
    return label(frontend, names.LABEL_REACH) in ("", names.ALL, revision)


def _frontends(at: Situation) -> tuple[str, ...]:
    """Return the URLs of frontend pods whose container is ready, and that know the plan's revision."""
    return tuple(
        f"http://{_in_url(pod['status']['podIP'])}:{at.plan.frontend.port}"
        for pod in at.observed.pods_of(names.FRONTEND, None)
        if holds(pod, "ContainersReady") and pod["status"].get("podIP") and _reaches(pod, at.plan.revision)
    )


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
