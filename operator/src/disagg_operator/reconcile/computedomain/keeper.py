"""Keeps the ComputeDomain of a deployment: makes it before the workers, lets it go after the last of them.

Invariants: a ComputeDomain is made only once the deployment carries the finalizer that sees to its end, and
the finalizer is taken off only once the API server itself says that there is none: the caches may lag. A
domain that the operator did not make is read and nothing else.
"""

from dataclasses import dataclass
from datetime import datetime

from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.build.computedomain import compute_domain
from disagg_operator.plan import names
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts, ExistingDomain
from disagg_operator.plan.model import ComputeDomainPlan, Plan
from disagg_operator.reconcile.applying.diff import identity, is_terminating, must_apply, stamp
from disagg_operator.reconcile.cluster import Cluster, Domains, Recorder
from disagg_operator.reconcile.computedomain.departure import (
    DOMAIN_SECONDS,
    FINALIZER,
    Departure,
    departure,
    leftovers,
    template_of,
)
from disagg_operator.reconcile.computedomain.standing import Reason, Standing, is_ours, standing
from disagg_operator.reconcile.errors import ClusterError, NotFoundError, attempt, classify
from disagg_operator.reconcile.kinds import COMPUTE_DOMAIN, Key, Object, describe
from disagg_operator.reconcile.observe import Observed

_ORPHAN = "orphan"
"""Kubernetes' finalizer of a deletion that is to leave the children alone."""


@dataclass(frozen=True)
class DomainKeeper:
    """Sees to the ComputeDomains of deployments.

    Attributes:
        cluster: where objects are written.
        domains: what is known of ComputeDomains.
        recorder: where Events go.
    """

    cluster: Cluster
    domains: Domains
    recorder: Recorder

    def facts(self, deployment: DisaggDeployment) -> ClusterFacts:
        """Return what planning needs to know: the ComputeDomain that is there for a deployment."""
        metadata, asked = deployment.metadata, deployment.spec.compute_domain
        adopted = None if asked is None else asked.name
        found = self.domains.find(metadata.namespace, adopted or names.compute_domain(metadata.name))
        if found is None:
            return UNSEEN
        # One of ours that is going makes room for another, which may be told another number of nodes.
        if adopted is None and (is_terminating(found) or not is_ours(found, metadata.name)):
            return UNSEEN
        template = template_of(found)
        if not template:
            return UNSEEN
        return ClusterFacts(domain=ExistingDomain(template, found["spec"].get("numNodes", 0)))

    async def must_say_nodes(self, plan: Plan) -> bool:
        """Tell whether a ComputeDomain is to be made that has to say how many nodes it has."""
        domain = _own(plan)
        if domain is None or self.domains.find(plan.namespace, domain.name) is not None:
            return False
        return await attempt(self.domains.num_nodes_required(), "read the schema of ComputeDomains")

    def look(self, key: Key, plan: Plan, observed: Observed) -> Standing | None:
        """Return how a deployment's ComputeDomain stands, or None where it has none."""
        domain = plan.compute_domain
        if domain is None:
            self.domains.ignore(key)
            return None
        seen = self.domains.look(key, domain.name, domain.template)
        return standing(domain, key.name, seen, observed.claiming(domain.template))

    async def keep(self, resource: Object, plan: Plan, stands: Standing | None, observed: Observed) -> None:
        """Make the ComputeDomain that is wanted, and delete those of ours that nothing uses any more."""
        domain = _own(plan)
        makes = stands is not None and stands.makes
        if stands is not None and stands.reason is Reason.SWITCHED_OFF:
            return
        if domain is not None and makes:
            obj = stamp(compute_domain(plan, domain))
            live = observed.objects.get(identity(obj))
            await self._hold(resource)
            if must_apply(obj, live):
                await attempt(self.cluster.apply(obj), f"apply {describe(obj)}")
        for old in leftovers(observed, None if domain is None else domain.name):
            await attempt(self.cluster.delete(old), f"delete {describe(old)}")
        if not makes and FINALIZER in _finalizers(resource) and not observed.domains():
            # One that is wanted may be there though no cache shows it yet: it is left as it is.
            await self._release(resource, delete=domain is None)

    async def leave(self, resource: Object, observed: Observed, now: datetime) -> Departure:
        """Take the next step of a deployment that is being deleted, and let it go after the last one."""
        if _ORPHAN in _finalizers(resource):
            await self._take_off(resource)
            return Departure()
        todo = departure(resource, observed, now)
        for obj in todo.delete:
            await attempt(self.cluster.delete(obj), f"delete {describe(obj)}")
        if not todo.done:
            return todo
        for name in todo.abandoned:
            message = (
                f"ComputeDomain {name} is left to NVIDIA's driver, which did not let go of it within "
                f"{DOMAIN_SECONDS:.0f} s. It goes once the driver's controller runs again."
            )
            self.recorder.record(resource, "Warning", "ComputeDomainLeftBehind", message)
        if todo.abandoned:
            await self._take_off(resource)
            return todo
        if await self._release(resource):
            return todo
        return Departure(message="Its ComputeDomain is being deleted.", again=DOMAIN_SECONDS)

    async def _hold(self, resource: Object) -> None:
        if FINALIZER not in _finalizers(resource):
            await attempt(self.cluster.set_finalizer(resource, FINALIZER), f"set finalizer {FINALIZER}")

    async def _release(self, resource: Object, *, delete: bool = True) -> bool:
        """Take the finalizer off, unless the API server still knows a ComputeDomain of the deployment.

        Args:
            resource: the DisaggDeployment.
            delete: whether such a ComputeDomain is to go.
        """
        metadata = resource["metadata"]
        name = names.compute_domain(metadata["name"])
        try:
            live = await self.cluster.get(COMPUTE_DOMAIN, metadata["namespace"], name)
        except NotFoundError:
            live = None
        except ClusterError as error:
            raise classify(error, f"read ComputeDomain {name}") from error
        if live is not None and is_ours(live, metadata["name"]):
            if delete and not is_terminating(live):
                await attempt(self.cluster.delete(live), f"delete {describe(live)}")
            return False
        await self._take_off(resource)
        return True

    async def _take_off(self, resource: Object) -> None:
        await attempt(self.cluster.set_finalizer(resource, None), f"take off finalizer {FINALIZER}")


def _own(plan: Plan) -> ComputeDomainPlan | None:
    """Return the ComputeDomain that the operator makes for a deployment, or None."""
    return None if plan.compute_domain is None or plan.compute_domain.adopted else plan.compute_domain


def _finalizers(resource: Object) -> list[str]:
    found: list[str] = resource["metadata"].get("finalizers", [])
    return found
