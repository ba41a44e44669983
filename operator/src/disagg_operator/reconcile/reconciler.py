"""One reconcile: observe → plan → apply → report.

Invariants: nothing is remembered from one reconcile to the next but what can be had again; dying between any
two calls does no harm, because names are deterministic, writes are server-side applies and deletes name the
uid they mean; the status is written also when a step failed; a refused specification leaves everything that
runs as it is, and so does a revision of which the API server would refuse every pod.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.build.download import FETCH
from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES, Plan
from disagg_operator.plan.pod import GRACE_SECONDS
from disagg_operator.plan.rollout.reach import reaching
from disagg_operator.plan.rollout.stepper import Gates
from disagg_operator.reconcile.applying.changes import changes, must_start
from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.applying.offers import Offers
from disagg_operator.reconcile.applying.once import is_key_awaited
from disagg_operator.reconcile.applying.ownership import owned
from disagg_operator.reconcile.applying.repairs import Repairs
from disagg_operator.reconcile.applying.unstored import with_unstored
from disagg_operator.reconcile.applying.writing import Writer, log_context
from disagg_operator.reconcile.clock import timestamp
from disagg_operator.reconcile.cluster import Children, Cluster, Domains, Preflight, Recorder
from disagg_operator.reconcile.computedomain.departure import FINALIZER
from disagg_operator.reconcile.computedomain.keeper import DomainKeeper
from disagg_operator.reconcile.download import PROGRESS_SECONDS, ModelStanding, model_standing, running
from disagg_operator.reconcile.errors import BlockedError, ClusterError, RetrySoonError, attempt
from disagg_operator.reconcile.groups.departing import left_behind
from disagg_operator.reconcile.kinds import Key, Object, describe
from disagg_operator.reconcile.observe import Observed, label, observe
from disagg_operator.reconcile.planning import plan_now
from disagg_operator.reconcile.plans import Plans
from disagg_operator.reconcile.reporting.announce import announcements
from disagg_operator.reconcile.reporting.looks import Looks
from disagg_operator.reconcile.reporting.missing import MOUNT_REASON, unmounted, with_missing
from disagg_operator.reconcile.reporting.refusals import (
    REFUSAL_REASON,
    Overdue,
    frontend_refusal,
    refusal,
    shortage,
)
from disagg_operator.reconcile.reporting.status import (
    compute,
    current_target,
    decides,
    is_news,
    last_report,
    serves,
)
from disagg_operator.reconcile.reporting.view import Failure, View
from disagg_operator.reconcile.rollout.changeover import any_ends, rolled_out, waiting_frontend
from disagg_operator.reconcile.rollout.idle import frontends_give_way
from disagg_operator.reconcile.rollout.progress import at_rest, kept_record, rollout, sole_revision
from disagg_operator.reconcile.scaling.scalers import ScalerKeeper
from disagg_operator.reconcile.verification.proof import (
    Proof,
    gates,
    may_take_over,
    prove,
    record_of,
    situation,
)
from disagg_operator.reconcile.verification.verifier import Verifier

logger = logging.getLogger(__name__)
T = TypeVar("T")

REPORT_SECONDS = 5.0
"""Least time between two writes of a status in which only counts and messages change: hundreds of pods that
become ready one by one are not worth hundreds of writes."""

BUSY_REPORT_SECONDS = 20.0
"""The same while many deployments are reconciled: a status costs the API server as much as three or four
objects, and what the others need comes first."""

FIRST_LOOK_SECONDS = 1.0
"""Time after which a new deployment is reconciled again at the latest."""


@dataclass(frozen=True)
class TransportShown:
    """What metrics show of a deployment's transport: whether it is verified, over what, and why (not)."""

    verified: str
    transport: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How a reconcile ended.

    Attributes:
        there: whether the deployment is still there.
        again: seconds after which it is to be reconciled though nothing happens, or None for the usual time.
        transport: what metrics show of its transport; None where that is not verified.
    """

    there: bool
    again: float | None = None
    transport: TransportShown | None = None


@dataclass(frozen=True)
class Report:
    """What became of a status.

    Attributes:
        again: seconds after which to reconcile again: because it is to be written then, or because the next
            step depends on what was written; None where nothing is to be done.
        postponed: whether it is yet to be written.
        decided: whether all by which later reconciles decide is written.
    """

    again: float | None = None
    postponed: bool = False
    decided: bool = True


@dataclass(frozen=True)
class Reconciler:
    """Brings the cluster to what a DisaggDeployment asks for.

    Attributes:
        cluster: where objects are written.
        children: caches of what was written.
        recorder: where Events go.
        preflight: what the cluster can run.
        verifier: who measures how KV cache moves.
        domains: what is known of ComputeDomains.
        plans: what plans.
        repairs: when what somebody else changed was put right.
        offers: when which key was offered.
        looks: what Events told a short while ago.
        busy: tells whether many deployments are reconciled at the same time.
    """

    cluster: Cluster
    children: Children
    recorder: Recorder
    preflight: Preflight
    verifier: Verifier
    domains: Domains
    plans: Plans
    repairs: Repairs = field(default_factory=Repairs)
    offers: Offers = field(default_factory=Offers)
    looks: Looks = field(default_factory=Looks)
    busy: Callable[[], bool] = lambda: False

    @property
    def writer(self) -> Writer:
        """What writes objects."""
        return Writer(self.cluster, self.children, self.recorder, self.scalers, self.repairs, self.offers)

    @property
    def keeper(self) -> DomainKeeper:
        """What sees to ComputeDomains."""
        return DomainKeeper(self.cluster, self.domains, self.recorder)

    @property
    def scalers(self) -> ScalerKeeper:
        """What sees to DisaggScalers."""
        return ScalerKeeper(self.cluster, self.recorder)

    async def reconcile(self, key: Key) -> Outcome:
        """Do one reconcile.

        Raises:
            RetrySoonError: another try is needed.
            BlockedError: nothing goes on until somebody changes something.
        """
        resource = await self._do(self.cluster.get_deployment(key), f"read {key}")
        if resource is None:
            self._forget(key)
            return Outcome(there=False)
        observed = observe(owned(self.children.of(key), key, resource["metadata"]["uid"]))
        if is_terminating(resource):
            self._forget(key)
            return await self._leave(resource, observed)
        try:
            view = await self._assess(key, resource, await self._plan(key, resource, observed))
            view = self._prove(resource, view)
        except Exception as error:
            await self._report(resource, _at_rest(resource, observed, failure=_failure(error)))
            raise
        failed = await self._apply(resource, view)
        lacking = shortage(view.observed, view.target, view.now)
        if failed is None:
            refusals = {**frontend_refusal(view.observed), **await self._refusals(key, view, lacking)}
            view = replace(view, refusals=refusals)
        if failed is not None:
            await self._report(resource, replace(view, failure=_failure(failed)), at_once=True)
            raise failed
        reported = await self._report(resource, view)
        # After the report: what lets requests in must be known to whoever leads next.
        if reported.decided:
            await self._open_gates(resource, view)
        if not reported.postponed:
            await self.scalers.report(resource, view, timestamp())
        waits = [(restart.due - view.now).total_seconds() for restart in view.restarts]
        due = [seconds for seconds in waits if seconds > 0]
        due += self.repairs.due(key, view.now)
        awaited = is_key_awaited(view.plan, view.observed)
        offer = self.offers.left(key, view.now) if awaited else None
        measured = None if view.proof is None else view.proof.again
        fetches = None if view.plan is None or running(view.plan, view.observed) is None else PROGRESS_SECONDS
        looks = lacking.again, unmounted(view.observed, view.now).again, fetches
        sooner = _sooner(reported.again, *looks, offer, measured, view.rollout.again, *due)
        return Outcome(there=True, again=sooner, transport=_shown(view))

    def _forget(self, key: Key) -> None:
        self.preflight.forget(key)
        self.verifier.forget(key)
        self.domains.ignore(key)
        self.repairs.forget(key)
        self.offers.forget(key)
        self.looks.forget(key)
        self.children.lost(key)

    async def _leave(self, resource: Object, observed: Observed) -> Outcome:
        """See a deployment off. Kubernetes' garbage collection deletes what has no order to keep."""
        if FINALIZER not in resource["metadata"].get("finalizers", []):
            return Outcome(there=True)
        rest = _at_rest(resource, observed)
        try:
            left = await self.keeper.leave(resource, observed, timestamp())
        except Exception as error:
            await self._report(resource, replace(rest, failure=_failure(error)))
            raise
        if left.done:
            return Outcome(there=True)
        reported = await self._report(resource, replace(rest, leaving=left.message))
        return Outcome(there=True, again=_sooner(reported.again, left.again))

    async def _plan(self, key: Key, resource: Object, observed: Observed) -> View:
        paused = resource["metadata"].get("annotations", {}).get(names.ANNOTATION_PAUSED) == "true"
        try:
            scaled = await plan_now(resource, observed, self.plans, self.keeper, self.preflight)
        except Refusal as refusal:
            return _at_rest(resource, observed, problems=refusal.problems, paused=paused)
        planned = scaled.plan
        domain = self.keeper.look(key, planned, observed)
        model = await self._look_at_model(resource, planned, observed)
        lacking = any(found is not None and not found.starts for found in (domain, model))
        waits = lacking and must_start(planned, observed)
        now = timestamp()
        # What the status keeps, and nothing that is about to be written: the old revision goes because of it.
        record = record_of(resource)
        gates = Gates(
            held=waits,
            paused=planned.rollout.paused,
            proven=may_take_over(planned, record),
        )
        kept = kept_record(resource)
        decided = rollout(planned, observed, gates, transport=record, kept=kept, now=now)
        sole, forward = decided.step.sole, decided.target == planned.revision and not decided.paused
        reached = reaching(planned, sole)
        rolled = rolled_out(reached, observed)
        return View(
            observed,
            decided,
            planned.revision,
            planned,
            paused=paused,
            domain=domain,
            model=model,
            waits=waits,
            changed_over=rolled and not any_ends(observed, now),
            rolled_out=rolled,
            waiting_frontend=waiting_frontend(planned, sole, observed) if forward else None,
            frontends_give_way=frontends_give_way(reached, record, observed, now),
            now=now,
            scaling_refusal=scaled.refusal,
        )

    async def _look_at_model(
        self, resource: Object, planned: Plan, observed: Observed
    ) -> ModelStanding | None:
        """Return how the files of the model stand; how far they are is in the log of what fetches them."""
        pod, progress = running(planned, observed), ""
        if pod is not None:
            try:
                progress = await self.cluster.last_line(pod, FETCH)
            except ClusterError as error:  # it would only have said how far it is
                logger.warning("no log of %s: %s", describe(pod), error, extra=log_context(resource))
        return model_standing(planned, observed, progress)

    async def _assess(self, key: Key, resource: Object, view: View) -> View:
        """Add whether the cluster can run the plan; there is nothing to say of a refused specification."""
        if view.plan is None:
            self.preflight.forget(key)
            return view
        found = with_unstored(await self.preflight.assess(key, view.plan), view.observed)
        suspects = unmounted(view.observed, view.now).suspects
        told = [each for pod in suspects for each in await self._events(key, pod, MOUNT_REASON, view.now)]
        return replace(view, platform=with_missing(found, resource, view.observed, told, view.now))

    def _prove(self, resource: Object, view: View) -> View:
        """Add what is known of the transport; of a refused specification that stays as it was."""
        if view.plan is None:
            return view
        at = situation(resource, view.plan, view.step, view.observed)
        if view.paused:
            return replace(
                view, proof=Proof(at.record, at.labels, "Paused", "Nothing is measured while paused.")
            )
        return replace(view, proof=prove(at, self.verifier, view.now))

    async def _open_gates(self, resource: Object, view: View) -> None:
        """Let frontend pods be ready, or not, where the transport must have been verified for that."""
        if view.plan is None or view.proof is None or view.paused:
            return
        at = situation(resource, view.plan, view.step, view.observed)
        for pod, holds in gates(at, view.proof.record):
            reason = "Verified" if holds else "NotVerified"
            setting = self.cluster.set_pod_condition(
                pod, names.CONDITION_TRANSPORT_VERIFIED, holds=holds, reason=reason
            )
            await self._do(setting, f"set the readiness gate of {describe(pod)}")
            logger.info("%s is %s", describe(pod), reason, extra=log_context(resource))

    async def _apply(self, resource: Object, view: View) -> Exception | None:
        """Write what differs and delete what is left over; return the error that stopped it, if any."""
        if view.paused:
            return None
        try:
            await self._restart(resource, view)
            await self._see_off(resource, view)
            if view.plan is None or view.held:
                return None
            await self.keeper.keep(resource, view.plan, view.domain, view.observed)
            owner = resource["metadata"]["uid"]
            todo = changes(
                view.plan,
                view.rollout,
                view.observed,
                owner,
                view.now,
                waits=view.waits,
                changed_over=view.changed_over,
                waiting_frontend=view.waiting_frontend,
                frontends_give_way=view.frontends_give_way,
            )
            await self.writer.write(resource, todo, view.observed, view.now)
        except Exception as error:  # noqa: BLE001 - becomes a condition and is then raised by the caller
            return error
        return None

    async def _restart(self, resource: Object, view: View) -> None:
        """Start pod groups anew that lost a member and whose time has come."""
        for restart in view.restarts:
            if restart.due > view.now:
                continue
            group = describe(restart.group)
            if not restart.begun:
                # Written first: should this process die in between, the next one goes on with it.
                noted = self.cluster.annotate(restart.group, restart.annotations(view.now))
                await self._do(noted, f"annotate {group}")
            for pod in restart.pods:
                # Without all its ranks the instance finishes nothing, and one that hangs has to be killed.
                await self._do(self.cluster.delete(pod, GRACE_SECONDS), f"delete {describe(pod)}")
            message = f"All pods of {group} are started anew, because {restart.reason}"
            logger.warning("%s", message, extra=log_context(resource))
            self.recorder.record(resource, "Warning", "GroupRestarted", message)

    async def _see_off(self, resource: Object, view: View) -> None:
        """Ask the rest of pod groups to end with the pod of theirs that was."""
        for group, pods in left_behind(view.observed):
            for pod in pods:
                await self._do(self.cluster.delete(pod), f"delete {describe(pod)}")
            message = f"{describe(group)} ends as a whole, because a pod of it was asked to end."
            logger.info("%s", message, extra=log_context(resource))
            self.recorder.record(resource, "Normal", "GroupEnding", message)

    async def _refusals(self, key: Key, view: View, lacking: Overdue) -> dict[str, str]:
        """Return why the API server refuses further pods, for each role of which that is so."""
        found = {}
        for obj in lacking.suspects:
            why = refusal(await self._events(key, obj, REFUSAL_REASON, view.now), view.now)
            if why is not None:
                found[label(obj, names.LABEL_ROLE)] = why
        return found

    async def _events(self, key: Key, obj: Object, reason: str, now: datetime) -> Sequence[Object]:
        """Return Events about an object; none where they cannot be read."""

        async def ask() -> list[Object]:
            try:
                return await self.cluster.events_about(obj, reason)
            except ClusterError as error:  # they would only have explained what the counts say
                told = "no Events about %s: %s"
                logger.warning(told, describe(obj), error, extra={"deployment": str(key)})
                return []

        topic = (label(obj, names.LABEL_ROLE), reason)
        return await self.looks.events(key, topic, obj["metadata"]["uid"], now, ask)

    async def _report(self, resource: Object, view: View, *, at_once: bool = False) -> Report:
        """Write the status if it changed, or leave it to a later time where that is better.

        Args:
            resource: the DisaggDeployment.
            view: what this reconcile knows.
            at_once: whether a first status waits for nothing.
        """
        now = timestamp()
        old = resource.get("status", {})
        new = compute(resource, view, now)
        if new == old:
            return Report()
        may_wait = not (old or at_once or serves(new)) and self.busy()
        if may_wait and (left := _until_first_report(view, now)) > 0:
            # Of two writes of a status most need only the second, and objects of others are waited for.
            return Report(left, postponed=True, decided=False)
        last = last_report(resource)
        if last is not None and not is_news(old, new):
            pause = BUSY_REPORT_SECONDS if self.busy() else REPORT_SECONDS
            wait = pause - (now - last).total_seconds()
            # The API server's clock may be a little ahead of ours; one far off must not hold anything up.
            if 0 < wait <= 2 * pause:
                return Report(wait, postponed=True, decided=decides(old) == decides(new))
        await self._do(self.cluster.patch_status(resource, new), "write the status")
        for announcement in announcements(old, new):
            self.recorder.record(resource, announcement.kind, announcement.reason, announcement.message)
        if decides(old) == decides(new):
            return Report()
        # A new deployment is looked at again because of its objects; of refused ones there is nothing to see.
        return Report(0.0 if old else FIRST_LOOK_SECONDS)

    async def _do(self, call: Awaitable[T], doing: str) -> T:
        return await attempt(call, doing)


def _shown(view: View) -> TransportShown | None:
    if view.plan is None or view.proof is None or view.plan.verification is None:
        return None
    proof, configured = view.proof, str(view.plan.transfer)
    record = proof.record
    if record.verified is None or record.reason is None:
        return TransportShown("Unknown", configured, proof.reason)
    return TransportShown(record.verified, record.observed or configured, record.reason)


def _until_first_report(view: View, now: datetime) -> float:
    """Return the seconds for which the first status of a deployment may wait: only for what comes up well."""
    if view.plan is None or view.held or view.paused:
        return 0.0
    if any(map(view.plan.scaler, ROLES)):
        # The next reconcile takes from the status which counts were in force.
        return 0.0
    made = [obj["metadata"]["creationTimestamp"] for obj in view.observed.objects.values()]
    since = min(map(datetime.fromisoformat, made), default=now)
    left = REPORT_SECONDS - (now - since).total_seconds()
    # The API server's clock may be far ahead of ours, and must not hold this up.
    return left if left <= 2 * REPORT_SECONDS else 0.0


def _sooner(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)


def _at_rest(
    resource: Object,
    observed: Observed,
    *,
    problems: tuple[Problem, ...] = (),
    paused: bool = False,
    failure: Failure | None = None,
) -> View:
    """Return the view of a deployment that cannot be planned: of the revision that was accepted last."""
    now = timestamp()
    # One that was accepted a moment ago may have no status yet.
    target = current_target(resource) or sole_revision(observed, now)
    rest = at_rest(target, observed, kept_record(resource), now)
    return View(observed, rest, target, problems=problems, paused=paused, failure=failure, now=now)


def _failure(error: Exception) -> Failure | None:
    if isinstance(error, RetrySoonError):
        return Failure("RetryingAfterError", str(error)) if error.notable else None
    if isinstance(error, BlockedError):
        return Failure("Blocked", f"{error} The operator tries again by itself.")
    message = (
        f"The operator failed unexpectedly ({type(error).__name__}: {error}). This is a bug: please report "
        "it with the operator's log."
    )
    return Failure("ReconcileError", message)
