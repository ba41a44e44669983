"""The cache of a kind whose objects others make, under names that a deployment looks at.

Invariants: everybody's objects are kept, since a name may be taken; a change wakes the deployments that look
at the object's address, and the one whose label it carries. The answer to a write of ours counts until the
watch has come that far: what was made and is gone before the watch shows it would otherwise be missed.
"""

from collections.abc import Callable, Container, Iterator

from disagg_operator.reconcile.kinds import Key, Kind, Object
from disagg_operator.runtime.store import owner_of
from disagg_operator.runtime.versions import Address, Versions, address_of

_READ_OF_METADATA = (
    *("name", "namespace", "uid", "labels", "annotations", "ownerReferences"),
    *("creationTimestamp", "deletionTimestamp", "finalizers"),
)


class Shelf:
    """The cache of one kind: all its objects, and who looks at each address."""

    def __init__(self, kind: Kind, trim: Callable[[Object], Object]) -> None:
        """Make an empty cache.

        Args:
            kind: kind of the objects.
            trim: returns what is read of an object, beside its metadata; compared by content.
        """
        self.kind, self._trim = kind, trim
        self._objects: dict[Address, Object] = {}
        self._viewers: dict[Address, set[Key]] = {}
        self._versions = Versions()
        self.served = False
        """Whether a list is in, and was not refused since."""

    def get(self, address: Address) -> Object | None:
        """Return the object at an address, or None."""
        return self._objects.get(address)

    def within(self, namespace: str) -> Iterator[Object]:
        """Yield the objects of a namespace."""
        return (obj for (place, _), obj in self._objects.items() if place == namespace)

    def look(self, key: Key, address: Address) -> Object | None:
        """Return the object at an address, and tell the deployment of its changes from now on."""
        self._viewers.setdefault(address, set()).add(key)
        return self.get(address)

    def ignore(self, key: Key, address: Address) -> None:
        """Tell the deployment no longer of changes at an address."""
        viewers = self._viewers.get(address, set())
        viewers.discard(key)
        if not viewers:
            self._viewers.pop(address, None)

    def progress(self, namespace: str | None, version: str) -> None:
        """Take note of how far a list or watch has come; see `versions.Versions.progress`."""
        self._versions.progress(namespace, version)

    def anticipate(self, obj: Object) -> set[Key]:
        """Take in what the watch has yet to show, such as the answer to a write; return whom it concerns."""
        return self.put(obj) if self._versions.is_ahead(obj) else set()

    def put(self, obj: Object) -> set[Key]:
        """Take in an object; return whom it concerns, where anything of interest changed."""
        if not self._versions.is_news(obj):
            return set()
        self._versions.hold(obj)
        address, before = address_of(obj), self._objects.get(address_of(obj))
        kept = {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.kind,
            "metadata": {key: obj["metadata"][key] for key in _READ_OF_METADATA if key in obj["metadata"]},
            **self._trim(obj),
        }
        if kept == before:
            return set()
        self._objects[address] = kept
        return self._concerned(address, before, kept)

    def remove(self, address: Address) -> set[Key]:
        """Forget an object; return whom it concerned."""
        if self._versions.is_held_ahead(address):
            return set()
        self._versions.drop(address)
        return self._concerned(address, self._objects.pop(address, None))

    def keep_only(self, namespace: str | None, there: Container[Address]) -> set[Key]:
        """Forget what is not there any more; return whom that, or that the kind is served, concerns."""
        gone = [
            address for address in self._objects if namespace in (None, address[0]) and address not in there
        ]
        told = {key for address in gone for key in self.remove(address)}
        if not self.served:
            self.served = True
            told |= self._everybody()
        return told

    def refuse(self) -> set[Key]:
        """Forget everything: it is not served, or may not be read. Return whom that concerns."""
        told = self._everybody() if self.served else set()
        self._versions.forget()
        for address in list(self._objects):
            told |= self.remove(address)
        self.served = False
        return told

    def _everybody(self) -> set[Key]:
        return {key for viewers in self._viewers.values() for key in viewers}

    def _concerned(self, address: Address, *versions: Object | None) -> set[Key]:
        owners = {owner for obj in versions if obj is not None and (owner := owner_of(obj)) is not None}
        return self._viewers.get(address, set()) | owners
