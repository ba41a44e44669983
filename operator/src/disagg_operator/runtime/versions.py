"""Versions of the objects of a cache, and how far its lists and watches have come.

Invariants: an object is never replaced by an older version of itself. What a write of ours was answered
counts until the watch has come that far; what the watch has passed is not brought back by a late answer.
"""

from dataclasses import dataclass, field

from disagg_operator.reconcile.kinds import Object

Address = tuple[str, str]
"""Namespace and name of an object."""


@dataclass
class Versions:
    """Which version of each object a cache holds.

    Resource versions are numbers that grow: promised since Kubernetes 1.35 (KEP-5504), and so before.
    """

    _held: dict[Address, int] = field(default_factory=dict)
    _come: dict[str | None, int] = field(default_factory=dict)

    def progress(self, namespace: str | None, version: str) -> None:
        """Take note of how far a list or watch has come.

        Args:
            namespace: what it is about; None for all namespaces.
            version: the resource version that it has come to.
        """
        number = _number(version)
        if number is None:
            return
        if number < self._come.get(namespace, 0):
            # The API server was set back to an older state: what was newer then is what never was.
            self._held.clear()
        self._come[namespace] = number

    def is_ahead(self, obj: Object) -> bool:
        """Tell whether an object is what the watch has yet to show, such as the answer to a write."""
        version, come = version_of(obj), self._come_to(address_of(obj))
        return version is not None and come is not None and version > come

    def is_held_ahead(self, address: Address) -> bool:
        """Tell whether an object was written anew after what the watch shows by now."""
        come = self._come_to(address)
        return come is not None and self._held.get(address, -1) > come

    def is_news(self, obj: Object) -> bool:
        """Tell whether an object is newer than what is held of it; one without a version always is."""
        version = version_of(obj)
        return version is None or version > self._held.get(address_of(obj), -1)

    def hold(self, obj: Object) -> None:
        """Take note of an object's version."""
        version = version_of(obj)
        if version is not None:
            self._held[address_of(obj)] = version

    def drop(self, address: Address) -> None:
        """Forget an object's version."""
        self._held.pop(address, None)

    def forget(self) -> None:
        """Forget everything: no list is in."""
        self._held.clear()
        self._come.clear()

    def _come_to(self, address: Address) -> int | None:
        return self._come.get(address[0], self._come.get(None))


def address_of(obj: Object) -> Address:
    """Return where an object is; one of the whole cluster has no namespace."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def version_of(obj: Object) -> int | None:
    """Return the resource version of an object, or None where it has none that can be compared."""
    return _number(obj["metadata"].get("resourceVersion"))


def _number(version: object) -> int | None:
    return int(version) if isinstance(version, str) and version.isdecimal() else None
