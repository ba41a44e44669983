"""Where a rollout stands: the stepper's answer, and what becomes of a revision that fails.

A revision fails once none of the instances that it lacks became ready within the deadline, or its transport
is not what is enforced. The best old revision then becomes the goal of the same stepper, which restores it
and takes the failed one away, without ever having less than a rollout may. That lasts until the specification
asks for another revision, or for another try.

Invariants: pure; only the time of the last progress, and that a revision failed, are remembered, both in the
status. Without an old revision to go back to, nothing is given up; one that never served is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.api.v1alpha1.status import RolloutStatus, TransportStatus
from disagg_operator.plan.model import ROLES, Plan
from disagg_operator.plan.rollout.reach import reaching
from disagg_operator.plan.rollout.stepper import Gates, Goal, Revision, Step, best_of, step
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.reporting.troubles import first_trouble
from disagg_operator.reconcile.rollout.changeover import changed_over, knows
from disagg_operator.reconcile.rollout.idle import idle_revisions, without_worth
from disagg_operator.reconcile.verification.proof import is_refused

_LONGEST_MESSAGE = 1024


@dataclass(frozen=True)
class Rollout:
    """Where a rollout stands.

    Attributes:
        target: revision that is to serve in the end: the plan's, or the one that is restored.
        step: what to have now.
        record: what the status keeps, or None where nothing is to be remembered.
        paused: whether it stays where it is though more is to be done.
        again: seconds until it has failed unless something happens, or None.
    """

    target: str
    step: Step
    record: RolloutStatus | None = None
    paused: bool = False
    again: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the plan's revision was given up."""
        return self.record is not None and self.record.failed_reason is not None


def goal_of(plan: Plan) -> Goal:
    """Return what a rollout of the plan is to come to."""
    replicas = {role: plan.roles[role].replicas for role in ROLES}
    return Goal(RolloutStrategy(plan.strategy), plan.revision, replicas, plan.rollout.limits)


def kept_record(resource: Object) -> RolloutStatus | None:
    """Return what the status keeps of a rollout."""
    found = resource.get("status", {}).get("rollout")
    return None if found is None else RolloutStatus.model_validate(found)


def at_rest(target: str, observed: Observed, kept: RolloutStatus | None, now: datetime) -> Rollout:
    """Return where the rollout of a specification that is not understood stands: nowhere, until it is.

    Args:
        target: the revision that was accepted last.
        observed: what is there.
        kept: what the status keeps of a rollout.
        now: the time.
    """
    revisions = observed.revisions(now)
    asked = {role: found.asked for role, found in revisions.get(target, {}).items()}
    goal = Goal(RolloutStrategy.SURGE, target, {role: asked.get(role, 0) for role in ROLES})
    return Rollout(target, step(goal, revisions, Gates(paused=True)), kept)


def sole_revision(observed: Observed, now: datetime) -> str:
    """Return the revision of which there are workers; nothing where there are none, or of several.

    Args:
        observed: what is there.
        now: the time.
    """
    revisions = [*observed.revisions(now)]
    return revisions[0] if len(revisions) == 1 else ""


def rollout(
    plan: Plan,
    observed: Observed,
    gates: Gates,
    *,
    transport: TransportStatus,
    kept: RolloutStatus | None,
    now: datetime,
) -> Rollout:
    """Return where the rollout of a plan stands.

    Args:
        plan: what is desired.
        observed: what is there.
        gates: what holds the rollout up, but for frontends.
        transport: the last verification, as the status keeps it.
        kept: what the status keeps of a rollout.
        now: the time.
    """
    idle = idle_revisions(plan, transport, observed, now)
    revisions = without_worth(observed.revisions(now), idle)
    gates = _towards(plan.revision, plan, observed, gates, now)
    forward = step(goal_of(plan), revisions, gates)
    if not forward.others:
        return Rollout(plan.revision, forward)
    kept = _of_this_try(kept, plan)
    if (gates.held or gates.paused) and (kept is None or kept.failed_reason is None):
        # The time of a pause is not counted.
        return Rollout(plan.revision, forward, paused=gates.paused)
    record = _progressed(kept, plan, revisions, now)
    up = gates.proven and _is_up(revisions.get(plan.revision, {}))
    reason = record.failed_reason or _failure(plan, record, transport, now, up=up)
    back = best_of({name: each for name, each in revisions.items() if name not in idle}, plan.revision)
    if reason is None or back is None or plan.strategy != RolloutStrategy.SURGE:
        return Rollout(plan.revision, forward, record, again=None if up else _until(plan, record, now))
    if record.failed_reason is None:
        record = record.model_copy(
            update={
                "failed_reason": reason,
                "failed_message": _message(plan, observed, reason, transport)[:_LONGEST_MESSAGE],
                "failed_time": now,
                "progress_time": None,
            }
        )
    goal = replace(goal_of(plan), revision=back)
    restoring = _towards(back, plan, observed, replace(gates, held=False, proven=True), now)
    return Rollout(back, step(goal, revisions, restoring), record)


def _towards(revision: str, plan: Plan, observed: Observed, gates: Gates, now: datetime) -> Gates:
    """Return the gates with what frontends hold up on the way to a revision."""
    if observed.revisions(now).keys() <= {revision}:
        return gates
    return replace(
        gates,
        changed_over=knows(plan, observed, revision, now),
        alone=changed_over(reaching(plan, revision), observed, now),
    )


def _is_up(revision: Revision) -> bool:
    """Tell whether all instances are ready that there are to be now: others are waited for, as frontends."""
    return bool(revision) and all(role.ready >= role.asked > 0 for role in revision.values())


def _of_this_try(kept: RolloutStatus | None, plan: Plan) -> RolloutStatus | None:
    if kept is None or (kept.revision, kept.retry) != (plan.revision, plan.rollout.retry):
        return None
    return kept


def _progressed(
    kept: RolloutStatus | None, plan: Plan, revisions: Mapping[str, Revision], now: datetime
) -> RolloutStatus:
    """Return the record with the progress that is seen now."""
    ready = sum(role.ready for role in revisions.get(plan.revision, {}).values())
    remaining = sum(
        role.asked
        for name, revision in revisions.items()
        if name != plan.revision
        for role in revision.values()
    )
    if kept is None:
        kept = RolloutStatus(
            revision=plan.revision, retry=plan.rollout.retry, started_time=now, remaining=remaining
        )
    if kept.failed_reason is not None:
        return kept
    if kept.progress_time is not None and ready <= kept.ready and remaining >= kept.remaining:
        return kept
    return kept.model_copy(
        update={
            "ready": max(ready, kept.ready),
            "remaining": min(remaining, kept.remaining),
            "progress_time": now,
        }
    )


def _until(plan: Plan, record: RolloutStatus, now: datetime) -> float | None:
    if record.progress_time is None:
        return None
    due = record.progress_time + timedelta(seconds=plan.rollout.deadline_seconds)
    return max(0.0, (due - now).total_seconds())


def _failure(
    plan: Plan, record: RolloutStatus, transport: TransportStatus, now: datetime, *, up: bool
) -> str | None:
    # What was found before belongs to an earlier try.
    since = record.started_time or now
    if is_refused(plan, transport) and transport.time is not None and transport.time >= since:
        return "VerificationFailed"
    return "ProgressDeadlineExceeded" if not up and _until(plan, record, now) == 0 else None


def _message(plan: Plan, observed: Observed, reason: str, transport: TransportStatus) -> str:
    if reason == "VerificationFailed":
        return transport.message or ""
    troubles = [first_trouble(observed.pods_of(role, plan.revision)) for role in ROLES]
    lasted = f"No further instance became ready within {plan.rollout.deadline_seconds} s."
    return " ".join([lasted, *(trouble for trouble in troubles if trouble)])
