"""All that a status is computed from: one reconcile's knowledge of one deployment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from disagg_operator.api.problems import Problem
from disagg_operator.plan.model import Plan
from disagg_operator.plan.rollout.stepper import Step
from disagg_operator.reconcile.clock import timestamp
from disagg_operator.reconcile.computedomain.standing import Standing
from disagg_operator.reconcile.download import ModelStanding
from disagg_operator.reconcile.groups.restarts import Restart, restarts
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.preflight.fault import Assessment
from disagg_operator.reconcile.rollout.progress import Rollout
from disagg_operator.reconcile.verification.proof import Proof


@dataclass(frozen=True)
class Failure:
    """A step that failed.

    Attributes:
        reason: stable word: Blocked, RetryingAfterError or ReconcileError.
        message: sentence for people.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class View:
    """What one reconcile knows.

    Attributes:
        observed: what is there.
        rollout: where the rollout stands. For a refused specification: of the revision accepted last.
        target: revision that the specification asks for; of a refused one, the revision accepted last.
        plan: what is desired, or None for a refused specification.
        problems: why the specification was refused.
        paused: whether the user stopped the operator from touching this deployment.
        failure: the step that failed, or None.
        platform: whether the cluster can run the plan, or None without a plan.
        domain: how the ComputeDomain stands, of a deployment that is to have one.
        model: how its files stand, of a model that is fetched into a cache.
        refusals: why the API server refuses further pods, by role.
        waits: whether workers of the plan are not started, since their ComputeDomain or their model is not
            there yet.
        changed_over: whether every frontend is of the plan's template, those that are ending among them.
        rolled_out: whether every other frontend is.
        waiting_frontend: the frontend's Deployment, where its pods stay as they are until workers can serve.
        frontends_give_way: whether its old pods go before new ones are ready: they serve nobody.
        scaling_refusal: why the counts that scalers ask for are not in force; nothing where they are.
        proof: what is known of the transport, or None without a plan.
        leaving: what a deployment that is being deleted waits for.
        now: the time at which it was observed.
    """

    observed: Observed
    rollout: Rollout
    target: str
    plan: Plan | None = None
    problems: tuple[Problem, ...] = ()
    paused: bool = False
    failure: Failure | None = None
    platform: Assessment | None = None
    domain: Standing | None = None
    model: ModelStanding | None = None
    refusals: Mapping[str, str] = field(default_factory=dict)
    waits: bool = False
    changed_over: bool = True
    rolled_out: bool = True
    waiting_frontend: Object | None = None
    frontends_give_way: bool = False
    scaling_refusal: str = ""
    proof: Proof | None = None
    leaving: str = ""
    now: datetime = field(default_factory=timestamp)

    @property
    def step(self) -> Step:
        """What workers are to be there now."""
        return self.rollout.step

    @property
    def held(self) -> bool:
        """Whether the plan's revision is not started, since the API server would refuse each of its pods."""
        started = self.target in self.observed.revisions(self.now) or self.rollout.failed
        return self.platform is not None and self.platform.fatal and not started

    @property
    def unproven(self) -> bool:
        """Whether the revision that would serve may not, since its transport was never verified."""
        verification = self.plan.verification if self.plan else None
        if verification is None or not verification.enforced or self.proof is None:
            return False
        return self.proof.record.verified_revision != (self.step.serving or self.target)

    @cached_property
    def restarts(self) -> list[Restart]:
        """The pod groups that lost a member and are to be started anew, now or once they are due."""
        return restarts(self.observed, self.now)
