"""The cache of what the operator made: objects by deployment, as the API server showed them last.

Objects are kept as compact JSON without what nobody reads (managed fields, most of a pod): a parsed
object takes several times the memory, and each reconcile reads only a dozen.
"""

import json
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from disagg_operator.plan import names
from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.kinds import POD, Key, Kind, Object

Address = tuple[str, str]
"""Namespace and name of an object."""

_READ_OF_POD_SPECS = ("nodeName", "readinessGates", "resourceClaims")
_READ_OF_PODS = ("conditions", "initContainerStatuses", "containerStatuses", "podIP")


def owner_of(obj: Object) -> Key | None:
    """Return the deployment that an object belongs to by its label."""
    metadata = obj["metadata"]
    name = metadata.get("labels", {}).get(names.LABEL_DEPLOYMENT)
    return Key(metadata["namespace"], name) if name else None


@dataclass
class Store:
    """Objects of one kind, by address and by deployment."""

    kind: Kind
    _objects: dict[Address, bytes] = field(default_factory=dict)
    _owners: dict[Address, Key] = field(default_factory=dict)
    _by_owner: dict[Key, set[Address]] = field(default_factory=dict)
    _lost: dict[Key, set[tuple[str, str]]] = field(default_factory=dict)

    def put(self, obj: Object) -> tuple[Key, ...]:
        """Take in an object; return the deployments that it belonged to and belongs to."""
        address = address_of(obj)
        before = self._drop(address)
        owner = owner_of(obj)
        if owner is None:
            return before
        self._objects[address] = json.dumps(_trimmed(self.kind, obj), separators=(",", ":")).encode()
        self._owners[address] = owner
        self._by_owner.setdefault(owner, set()).add(address)
        return before if owner in before else (*before, owner)

    def remove(self, address: Address) -> tuple[Key, ...]:
        """Forget an object that is gone; return the deployment that it belonged to."""
        owner = self._owners.get(address)
        # One that was seen on its way out was waited for; pods come and go by themselves.
        if owner is not None and self.kind != POD and not is_terminating(json.loads(self._objects[address])):
            self._lost.setdefault(owner, set()).add((self.kind.kind, address[1]))
        return self._drop(address)

    def _drop(self, address: Address) -> tuple[Key, ...]:
        owner = self._owners.pop(address, None)
        if owner is None:
            return ()
        del self._objects[address]
        siblings = self._by_owner[owner]
        siblings.remove(address)
        if not siblings:
            del self._by_owner[owner]
        return (owner,)

    def keep_only(self, namespace: str | None, there: Container[Address]) -> set[Key]:
        """Forget what is not there any more.

        Args:
            namespace: what is spoken of; None for all namespaces.
            there: addresses of all objects that are there.

        Returns:
            The deployments of what vanished.
        """
        vanished = [
            address for address in self._objects if namespace in (None, address[0]) and address not in there
        ]
        return {owner for address in vanished for owner in self.remove(address)}

    def of(self, key: Key) -> Iterator[Object]:
        """Yield the objects of a deployment."""
        for address in self._by_owner.get(key, ()):
            yield json.loads(self._objects[address])

    def lost(self, key: Key) -> set[tuple[str, str]]:
        """Return kinds and names of a deployment's objects that vanished since this was last asked."""
        return self._lost.pop(key, set())

    def __len__(self) -> int:
        return len(self._objects)


class Shown(Protocol):
    """What shows objects of a deployment."""

    def of(self, key: Key) -> Iterator[Object]:
        """Yield the objects of a deployment."""
        ...


@dataclass(frozen=True)
class Stores:
    """The caches of all kinds, as one view of a deployment's children."""

    stores: tuple[Shown, ...]

    def of(self, key: Key) -> Iterator[Object]:
        """Yield the objects and pods of a deployment."""
        for store in self.stores:
            yield from store.of(key)

    def lost(self, key: Key) -> frozenset[tuple[str, str]]:
        """Return kinds and names of a deployment's objects that vanished since this was last asked."""
        return frozenset(
            each for store in self.stores if isinstance(store, Store) for each in store.lost(key)
        )


def address_of(obj: Object) -> Address:
    """Return where an object is; one of the whole cluster has no namespace."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _trimmed(kind: Kind, obj: Object) -> Object:
    # Items of a list carry neither version nor kind.
    kept = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
    kept["metadata"] = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if kind == POD:
        kept["spec"] = {key: obj["spec"][key] for key in _READ_OF_POD_SPECS if key in obj.get("spec", {})}
        kept["status"] = {key: obj["status"][key] for key in _READ_OF_PODS if key in obj.get("status", {})}
    return kept
