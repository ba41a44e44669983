"""The end of a pod: it is asked to end once its requests have ended and no more can come.

Invariant: a pod's grace period covers all that it may wait for, and what an engine does at its end.
"""

from dataclasses import replace

from disagg_operator.plan.basis import Basis
from disagg_operator.plan.facts import Facts, applies, provenance
from disagg_operator.plan.model import PREFILL, DrainPlan, PodPlan, Provenance
from disagg_operator.plan.pod import GRACE_SECONDS
from disagg_operator.plan.programs.source import script
from disagg_operator.platforms.profile import Component, Drain

_FIELDS = "spec.drain.requestSeconds, spec.transfer.timeoutSeconds"


def draining(pod: PodPlan, basis: Basis, component: Component, port: int, facts: Facts) -> PodPlan:
    """Return the pod with how it drains, and the grace period that this needs.

    Args:
        pod: a worker or a frontend.
        basis: what the deployment's pods have in common.
        component: what the release says of it.
        port: port of its metrics.
        facts: what is known of it.
    """
    requests, transfer = basis.drain.request_seconds, basis.spec.transfer.timeout_seconds
    drain = component.drain
    unread = basis.platform.release.blind_to_reads if facts.get("role") == PREFILL else None
    plan = None
    if drain is not None and applies(drain, facts):
        plan = _drain_plan(drain, port, requests, 0 if unread is None else transfer)
        if unread is not None:
            plan = replace(plan, kept_seconds=transfer, kept_provenance=provenance(unread))
    routes = 0 if drain is None else drain.route_seconds
    reason = (
        f"Requests may take {requests} s, and a transfer of KV cache {transfer} s; "
        f"{GRACE_SECONDS + routes} s are for the rest."
    )
    return replace(
        pod,
        drain=plan,
        grace_seconds=GRACE_SECONDS + routes + requests + transfer,
        grace_provenance=Provenance(reason, _FIELDS),
    )


def _drain_plan(drain: Drain, port: int, seconds: int, kept_seconds: int) -> DrainPlan:
    if drain.gauge is None:
        return DrainPlan(("sleep", str(drain.route_seconds + kept_seconds)), seconds, provenance(drain))
    arguments = (str(port), drain.path, drain.gauge, str(drain.route_seconds), str(seconds))
    kept = (str(kept_seconds),) if kept_seconds else ()
    command = ("python3", "-c", script("await_requests.py"), *arguments, *kept)
    return DrainPlan(command, seconds, provenance(drain))
