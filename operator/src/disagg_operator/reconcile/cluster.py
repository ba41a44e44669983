"""The port to the cluster: what reconciling needs of it, in plain dicts.

The adapters are `runtime.kube` for a real API server and the in-memory cluster of the tests.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from disagg_operator.plan.model import Plan
from disagg_operator.reconcile.computedomain.standing import DomainSeen
from disagg_operator.reconcile.kinds import Key, Kind, Object
from disagg_operator.reconcile.preflight.fault import Assessment


class Cluster(Protocol):
    """Reads and writes of a reconcile. Every method raises ClusterError where the API server refuses."""

    async def get_deployment(self, key: Key) -> Object | None:
        """Return the DisaggDeployment as last seen, writes of ours among it, or None where there is none."""
        ...

    async def apply(self, obj: Object, *, new: bool = False) -> Object:
        """Create or change an object by server-side apply, and return what the API server made of it.

        Args:
            obj: the object.
            new: whether none of its name has been seen.

        Raises:
            TakenError: it is new, and there is one of its name that has another owner, or none.
        """
        ...

    async def create_once(self, obj: Object) -> bool:
        """Create an object and return whether that was done; one of this name is left as it is."""
        ...

    async def annotate(self, obj: Object, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of this object, or (None) remove them.

        Nothing is done to an object that has changed since the resource version that it carries, if any.
        """
        ...

    async def scale(self, obj: Object, replicas: int, annotations: Mapping[str, str]) -> None:
        """Give this object other replicas, and set annotations of it; one that is gone is fine."""
        ...

    async def delete(self, obj: Object, grace_seconds: int | None = None) -> None:
        """Delete this object, if it still has the uid that was seen; one that is gone already is fine.

        Objects with pods stay visible, marked as being deleted, until their pods are gone.

        Args:
            obj: the object.
            grace_seconds: time that a pod gets to end; None for its own.
        """
        ...

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object as the API server has it now.

        Raises:
            NotFoundError: there is none, or the kind is not served.
        """
        ...

    async def set_finalizer(self, resource: Object, finalizer: str | None) -> None:
        """Have a DisaggDeployment carry the operator's finalizer, or (None) none; a deleted one is fine."""
        ...

    async def events_about(self, obj: Object, reason: str) -> list[Object]:
        """Return the Events of one reason about an object."""
        ...

    async def last_line(self, pod: Object, container: str) -> str:
        """Return the last line of a container's log."""
        ...

    async def set_pod_condition(self, pod: Object, kind: str, *, holds: bool, reason: str) -> None:
        """Set a condition of this pod, which may be gone already.

        Args:
            pod: the pod.
            kind: type of the condition.
            holds: whether it is true.
            reason: stable word for programs.
        """
        ...

    async def patch_status(self, resource: Object, status: Object) -> None:
        """Replace the operator's part of the status of a deployment or scaler; a deleted one is fine."""
        ...


class Children(Protocol):
    """The caches of what the operator made."""

    def of(self, key: Key) -> Iterable[Object]:
        """Return the objects and pods that carry the deployment's label, as last seen."""
        ...

    def lost(self, key: Key) -> frozenset[tuple[str, str]]:
        """Return kinds and names of a deployment's objects that vanished since this was last asked."""
        ...


class Preflight(Protocol):
    """What the cluster says of itself, compared with what deployments ask for."""

    async def assess(self, key: Key, plan: Plan) -> Assessment:
        """Return whether the cluster can run a deployment; have it reconciled when the answer changes."""
        ...

    async def serving(self, kinds: Iterable[Kind]) -> Mapping[Kind, bool]:
        """Return whether the API server serves some kinds; one of which that is not known is missing."""
        ...

    def forget(self, key: Key) -> None:
        """Forget a deployment that is gone."""
        ...


class Domains(Protocol):
    """What is known of ComputeDomains and their claim templates, whoever made them."""

    def find(self, namespace: str, name: str) -> Object | None:
        """Return a ComputeDomain as last seen, or None."""
        ...

    def look(self, key: Key, name: str, template: str) -> DomainSeen:
        """Return what there is of a ComputeDomain, and have the deployment reconciled when that changes.

        Args:
            key: the deployment.
            name: name of the ComputeDomain.
            template: name of its claim template.
        """
        ...

    def ignore(self, key: Key) -> None:
        """Reconcile a deployment no longer for the ComputeDomain that it looked at."""
        ...

    async def num_nodes_required(self) -> bool:
        """Tell whether ComputeDomains are served, and none is taken without ``numNodes``."""
        ...


class Recorder(Protocol):
    """Tells the user what happened, in `kubectl describe` and `kubectl events`."""

    def record(self, resource: Object, kind: str, reason: str, message: str) -> None:
        """Record an Event about a DisaggDeployment. Never fails and never waits.

        Args:
            resource: the DisaggDeployment.
            kind: ``Normal`` or ``Warning``.
            reason: stable word for programs.
            message: sentence for people.
        """
        ...
