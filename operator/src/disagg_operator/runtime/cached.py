"""The cluster as reconciling sees it: written through the API server, and read from the caches.

Invariant: what was written is in the cache when the write returns, so that the next reconcile decides by it.
"""

from collections.abc import Callable, Mapping

from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, Key, Kind, Object
from disagg_operator.runtime.kube import KubeCluster
from disagg_operator.runtime.official import Configuration
from disagg_operator.runtime.store import Store


class CachedCluster(KubeCluster):
    """One API server and the caches of what is on it."""

    def __init__(
        self,
        configuration: Configuration,
        stores: Mapping[Kind, Store],
        *,
        counted: Callable[[str, str, int], None],
        fence: Callable[[], float],
        changed: Callable[[Key], None],
    ) -> None:
        """Make an adapter; `close` it in the end.

        Args:
            configuration: how to reach the API server.
            stores: the caches, DisaggDeployments among them.
            counted: is told verb, kind and HTTP status (0: no answer) of each request.
            fence: raises where this process may not write any more; see `kube.KubeCluster`.
            changed: is told each deployment of which an object was written.
        """
        super().__init__(configuration, counted=counted, fence=fence, wrote=self._take)
        self._stores, self._changed = stores, changed

    async def get_deployment(self, key: Key) -> Object | None:
        """Return the DisaggDeployment as last seen, writes of ours among it, or None where there is none."""
        return next(self._stores[DISAGG_DEPLOYMENT].of(key), None)

    def _take(self, kind: Kind, obj: Object) -> None:
        store = self._stores.get(kind)
        if store is None:
            return
        concerned = store.anticipate(obj)
        # Who wrote the deployment's own status or finalizer knows it, and says itself when to look again.
        if kind != DISAGG_DEPLOYMENT:
            for key in concerned:
                self._changed(key)
