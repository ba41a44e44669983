"""Names that a shell may complete: of deployments, namespaces and contexts. They come soon or not at all."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from kubernetes.aio.config.kube_config import list_kube_config_contexts

from disagg_operator.cli.connecting import connected
from disagg_operator.cli.live.children import deployments, listed
from disagg_operator.cli.live.connection import Connection
from disagg_operator.cli.place import Place
from disagg_operator.reconcile.kinds import NAMESPACE, Object

_SECONDS = 3.0


def _deployments(place: Place) -> list[str]:
    return _listed(place, lambda connection: deployments(connection, everywhere=False))


def _namespaces(place: Place) -> list[str]:
    return _listed(place, lambda connection: listed(connection, NAMESPACE, None))


def _listed(place: Place, read: Callable[[Connection], Awaitable[list[Object]]]) -> list[str]:
    async def work(connection: Connection) -> list[str]:
        async with asyncio.timeout(_SECONDS):
            return [str(obj["metadata"]["name"]) for obj in await read(connection)]

    return connected(place, work)


def _contexts(place: Place) -> list[str]:
    contexts, _ = list_kube_config_contexts(place.kubeconfig and str(place.kubeconfig))  # type: ignore[no-untyped-call]
    return [str(each["name"]) for each in contexts]


FOUND: Mapping[str, Callable[[Place], list[str]]] = {
    "deployments": _deployments,
    "namespaces": _namespaces,
    "contexts": _contexts,
}
"""What finds the names of a kind: deployments of the namespace, and all namespaces and contexts.

Each raises what it may: `completion` offers nothing then.
"""
