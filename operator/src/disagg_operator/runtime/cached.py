"""The cluster as reconciling sees it: written through the API server, and read from the caches.

Invariant: what was written is in the cache when the write returns, so that the next reconcile decides by it.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, Key, Kind, Object
from disagg_operator.runtime.kube import KubeCluster
from disagg_operator.runtime.official import Configuration
from disagg_operator.runtime.store import Store


class Anticipating(Protocol):
    """A cache that takes answers to writes in before its watch shows them."""

    @property
    def kind(self) -> Kind:
        """The kind of its objects."""
        ...

    def anticipate(self, obj: Object) -> Iterable[Key]:
        """Take in what the watch has yet to show; return whom it concerns."""
        ...


class CachedCluster(KubeCluster):
    """One API server and the caches of what is on it."""

    def __init__(
        self,
        configuration: Configuration,
        deployments: Store,
        *,
        counted: Callable[[str, str, int], None],
        fence: Callable[[], float],
        changed: Callable[[Key], None],
    ) -> None:
        """Make an adapter; `close` it in the end.

        Args:
            configuration: how to reach the API server.
            deployments: the cache of DisaggDeployments.
            counted: is told verb, kind and HTTP status (0: no answer) of each request.
            fence: raises where this process may not write any more; see `kube.KubeCluster`.
            changed: is told each deployment of which an object was written.
        """
        super().__init__(configuration, counted=counted, fence=fence, wrote=self._take)
        self._deployments, self._changed = deployments, changed
        self._caches: dict[Kind, Anticipating] = {DISAGG_DEPLOYMENT: deployments}

    def answer_to(self, caches: Iterable[Anticipating]) -> None:
        """Have further caches take in the answers to writes of their kinds."""
        self._caches.update({cache.kind: cache for cache in caches})

    async def get_deployment(self, key: Key) -> Object | None:
        """Return the DisaggDeployment as last seen, writes of ours among it, or None where there is none."""
        return next(self._deployments.of(key), None)

    def _take(self, kind: Kind, obj: Object) -> None:
        cache = self._caches.get(kind)
        if cache is None:
            return
        concerned = cache.anticipate(obj)
        # Who wrote the deployment's own status or finalizer knows it, and says itself when to look again.
        if kind != DISAGG_DEPLOYMENT:
            for key in concerned:
                self._changed(key)
