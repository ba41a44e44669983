"""ComputeDomains and claim templates of the cluster: what reconciling wants to know of them.

Kinds that are not served cost one question now and then; everything else is answered from caches.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from disagg_operator.plan import names
from disagg_operator.reconcile.computedomain.standing import UID_LABEL, DomainSeen, is_ours
from disagg_operator.reconcile.errors import NotFoundError
from disagg_operator.reconcile.kinds import CLAIM_TEMPLATE, COMPUTE_DOMAIN, Key, Kind, Object
from disagg_operator.runtime.shelf import Shelf
from disagg_operator.runtime.versions import Address

ABSENT_SECONDS = 60.0
"""Time after which it is asked again whether kinds are served that were not."""


class Schemas(Protocol):
    """Where schemas of kinds are read; see `kube.KubeCluster`."""

    async def schema(self, kind: Kind) -> Object:
        """Return the OpenAPI schema of a kind.

        Raises:
            NotFoundError: there is none.
        """
        ...


class ComputeDomains:
    """What is known of ComputeDomains: the adapter of `reconcile.cluster.Domains`."""

    def __init__(self, schemas: Schemas, *, readable: bool) -> None:
        """Make empty caches, each to be kept in step by a reflector.

        Args:
            schemas: where the schema of ComputeDomains is read.
            readable: whether the operator was given the rights to use ComputeDomains.
        """
        self._schemas, self._readable = schemas, readable
        self._domains = Shelf(COMPUTE_DOMAIN, _of_domain)
        self._templates = Shelf(CLAIM_TEMPLATE, lambda _: {})
        self._looks: dict[Key, tuple[Address, Address]] = {}

    @property
    def caches(self) -> tuple[Shelf, ...]:
        """All caches to keep in step; none where nothing may be read."""
        return (self._domains, self._templates) if self._readable else ()

    @property
    def written(self) -> Shelf:
        """The cache of what the operator itself writes."""
        return self._domains

    def of(self, key: Key) -> Iterator[Object]:
        """Yield the ComputeDomain that the operator made for a deployment."""
        found = self.find(key.namespace, names.compute_domain(key.name))
        if found is not None and is_ours(found, key.name):
            yield found

    def find(self, namespace: str, name: str) -> Object | None:
        """Return a ComputeDomain as last seen, or None."""
        return self._domains.get((namespace, name))

    def look(self, key: Key, name: str, template: str) -> DomainSeen:
        """Return what there is of a ComputeDomain, and have the deployment reconciled when that changes."""
        looks = ((key.namespace, name), (key.namespace, template))
        if self._looks.get(key) != looks:
            self.ignore(key)
            self._looks[key] = looks
        domain = self._domains.look(key, looks[0])
        made = self._templates.look(key, looks[1])
        return DomainSeen(
            readable=self._readable,
            served=self._domains.served and self._templates.served,
            domain=domain,
            template=made,
            rival="" if made is None else self._rival(key.namespace, made, name),
        )

    def ignore(self, key: Key) -> None:
        """Reconcile a deployment no longer for the ComputeDomain that it looked at."""
        looks = self._looks.pop(key, None)
        if looks is not None:
            self._domains.ignore(key, looks[0])
            self._templates.ignore(key, looks[1])

    async def num_nodes_required(self) -> bool:
        """Tell whether ComputeDomains are served, and none is taken without ``numNodes``."""
        if not self._domains.served:
            return False
        try:
            schema = await self._schemas.schema(COMPUTE_DOMAIN)
        except NotFoundError:
            return False
        required: Any = schema.get("properties", {}).get("spec", {}).get("required", [])
        return "numNodes" in required

    def _rival(self, namespace: str, template: Object, name: str) -> str:
        """Return the name of the other ComputeDomain that a template was made for, or nothing."""
        uid = template["metadata"].get("labels", {}).get(UID_LABEL)
        made_for = [
            found["metadata"]["name"]
            for found in self._domains.within(namespace)
            if found["metadata"]["uid"] == uid
        ]
        return next((found for found in made_for if found != name), "")


def _of_domain(obj: Object) -> Object:
    nodes = [
        {key: node[key] for key in ("name", "cliqueID", "status") if key in node}
        for node in obj.get("status", {}).get("nodes") or []
    ]
    return {"spec": obj.get("spec", {}), "status": {"nodes": nodes}}
