"""How a deployment with a ComputeDomain goes: its workers first, the domain after the last of them. Pure.

NVIDIA's driver takes a domain away without a look at the pods that use it, so that a finalizer of the
deployment keeps the order. Both waits have an end: a pod whose node is lost, and a domain whose driver no
longer runs, hold nobody up for ever. Nothing is remembered: how long a wait has lasted is read from the
objects that are going.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from disagg_operator.reconcile.applying.diff import is_controlled_by, is_terminating
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import OVERDUE_SECONDS, Observed, is_overdue, templates_of

FINALIZER = "disagg.dev/compute-domain"
"""Keeps a deployment until its ComputeDomain is gone; on deployments that have one, and no others."""

DOMAIN_SECONDS = 60.0
"""Time for NVIDIA's driver to let go of a ComputeDomain, which takes it seconds."""

_SHOWN = 3


@dataclass(frozen=True)
class Departure:
    """The next step of a deployment that goes.

    Attributes:
        delete: objects to delete now.
        message: what is waited for; empty where nothing is.
        again: seconds after which to look again though nothing happens.
        abandoned: names of ComputeDomains that are left to the driver, because it did not let go of them.
    """

    delete: tuple[Object, ...] = ()
    message: str = ""
    again: float | None = None
    abandoned: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the deployment may go."""
        return not self.delete and not self.message


def departure(resource: Object, observed: Observed, now: datetime) -> Departure:
    """Return the next step of a deployment that is being deleted.

    Args:
        resource: the DisaggDeployment.
        observed: what is there of it.
        now: the time.
    """
    owner = resource["metadata"]["uid"]
    domains = observed.domains()
    templates = {template_of(domain) for domain in domains}
    sets = [obj for obj in observed.stateful_sets() if templates & _templates_of_set(obj)]
    running = [obj for obj in sets if not is_terminating(obj) and is_controlled_by(obj, owner)]
    if running:
        return Departure(tuple(running), "Its workers are being ended.")
    users = [pod for template in sorted(templates) for pod in observed.claiming(template)]
    waited_for = [pod for pod in users if not is_overdue(pod, now)]
    if waited_for or (sets and not users):
        shown = ", ".join(pod["metadata"]["name"] for pod in waited_for[:_SHOWN]) or "its StatefulSets"
        message = f"Its ComputeDomain goes after the last worker. Still there: {shown}."
        return Departure(message=message, again=OVERDUE_SECONDS)
    return _let_go(domains, now)


def leftovers(observed: Observed, wanted: str | None) -> list[Object]:
    """Return the ComputeDomains that were made for the deployment and are to go, because nothing uses them.

    Args:
        observed: what is there.
        wanted: name of the one that it is to have, or None.
    """
    return [
        domain
        for domain in observed.domains()
        if domain["metadata"]["name"] != wanted
        and not is_terminating(domain)
        and not _in_use(template_of(domain), observed)
    ]


def template_of(domain: Object) -> str:
    """Return the name that a ComputeDomain gives to its claim template."""
    # The API server takes a ComputeDomain without any specification.
    channel = domain.get("spec", {}).get("channel", {})
    return str(channel.get("resourceClaimTemplate", {}).get("name", ""))


def _in_use(template: str, observed: Observed) -> bool:
    return bool(observed.claiming(template)) or any(
        template in _templates_of_set(obj) for obj in observed.stateful_sets()
    )


def _templates_of_set(stateful_set: Object) -> set[str]:
    return set(templates_of(stateful_set["spec"]["template"]["spec"]))


def _let_go(domains: Sequence[Object], now: datetime) -> Departure:
    standing = tuple(domain for domain in domains if not is_terminating(domain))
    if standing:
        return Departure(standing, "Its ComputeDomain is being deleted.", DOMAIN_SECONDS)
    left = {domain["metadata"]["name"]: DOMAIN_SECONDS - _seconds_since(domain, now) for domain in domains}
    waited_for = [seconds for seconds in left.values() if seconds > 0]
    if waited_for:
        message = f"NVIDIA's driver is taking ComputeDomain {', '.join(left)} away."
        return Departure(message=message, again=max(1.0, min(waited_for)))
    return Departure(abandoned=tuple(left))


def _seconds_since(domain: Object, now: datetime) -> float:
    """Return for how long a ComputeDomain has been going."""
    return (now - datetime.fromisoformat(domain["metadata"]["deletionTimestamp"])).total_seconds()
