"""The connection to a cluster, and what the API server refuses as sentences for the user.

Invariant: nothing that a cluster or a kubeconfig can do wrong reaches the user as a stack trace.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from os import environ
from pathlib import Path

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.cli.place import Place
from disagg_operator.cli.terminal import UserError
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, Kind
from disagg_operator.runtime.kube import KubeCluster

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_KUBECONFIG = Path("~/.kube/config")


@dataclass(frozen=True)
class Connection:
    """A cluster that is spoken to.

    Attributes:
        cluster: the API server.
        configuration: how to reach it, for what the adapter does not do.
        namespace: where the command looks.
    """

    cluster: KubeCluster
    configuration: Configuration
    namespace: str


class RefusedError(UserError):
    """The API server refused a request, or did not answer it.

    Attributes:
        code: HTTP status, or 0 where no answer came.
        retry_after: seconds that the API server asked to wait, or None.
    """

    def __init__(self, message: str, code: int, retry_after: float | None) -> None:
        super().__init__(message)
        self.code, self.retry_after = code, retry_after


@asynccontextmanager
async def connect(place: Place) -> AsyncGenerator[Connection]:
    """Connect to a cluster for a while.

    Raises:
        UserError: there is no usable kubeconfig.
    """
    configuration = Configuration()
    try:
        namespace = await _load(configuration, place)
    except (ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"the kubeconfig cannot be used: {error}. See `kubectl config view`; --kubeconfig and --context "
            "choose another."
        ) from None
    # Each log that is followed holds a connection for itself.
    configuration.connection_pool_maxsize = 0
    cluster = KubeCluster(configuration)
    try:
        yield Connection(cluster, configuration, place.namespace or namespace or "default")
    finally:
        await cluster.close()


async def _load(configuration: Configuration, place: Place) -> str:
    """Fill in how to reach the API server, and return the namespace that is meant there."""
    if _in_a_pod(place):
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return _own_namespace()
    file = None if place.kubeconfig is None else str(place.kubeconfig)
    loader = await load_kube_config(  # type: ignore[no-untyped-call]
        config_file=file,
        context=place.context or None,
        client_configuration=configuration,
        persist_config=False,
    )
    return str((loader.current_context["context"] or {}).get("namespace", ""))


def _in_a_pod(place: Place) -> bool:
    """Tell whether this is a pod with an account and without a kubeconfig, as kubectl would decide."""
    chosen = place.kubeconfig is not None or bool(place.context) or "KUBECONFIG" in environ
    return (
        not chosen and "KUBERNETES_SERVICE_HOST" in environ and not _DEFAULT_KUBECONFIG.expanduser().exists()
    )


def _own_namespace() -> str:
    return _OWN_NAMESPACE.read_text().strip()


@contextmanager
def told(connection: Connection, verb: str, kind: Kind | str, name: str = "") -> Iterator[None]:
    """Turn what the API server refuses into a sentence.

    Args:
        connection: where a request is sent.
        verb: RBAC verb that the request needs.
        kind: kind of what it is about, or the name of a resource such as ``pods/exec``.
        name: name of the object.

    Raises:
        RefusedError: the request failed.
    """
    try:
        yield
    except ClusterError as error:
        sentence = _sentence(error, connection, verb, kind, name)
        raise RefusedError(sentence, error.code, error.retry_after) from None


def _sentence(error: ClusterError, connection: Connection, verb: str, kind: Kind | str, name: str) -> str:
    resource = kind if isinstance(kind, str) else _resource(kind)
    if error.code == 0:
        return (
            f"the API server {connection.configuration.host} does not answer: {error}. Check the network and "
            "`kubectl cluster-info`; --context chooses another cluster."
        )
    if error.code == HTTPStatus.UNAUTHORIZED:
        return f"the API server does not accept your credentials ({error}): log in again."
    if error.code == HTTPStatus.FORBIDDEN:
        return (
            f"you may not {verb} {resource} in namespace {connection.namespace}: ask your administrator for "
            f"the RBAC verb {verb!r} on {resource!r} (the API server says: {error})"
        )
    if error.code == HTTPStatus.NOT_FOUND and error.reason != "NotFound" and isinstance(kind, Kind):
        return (
            f"this cluster does not serve {KIND} of {API_VERSION}: install the operator's chart, or choose "
            "another cluster by --context."
        )
    if error.code == HTTPStatus.NOT_FOUND and error.reason == "NotFound":
        kept = kind.kind if isinstance(kind, Kind) else kind
        remedy = " `kubectl get dd --all-namespaces` lists all." if kind == DISAGG_DEPLOYMENT else ""
        return f"there is no {kept} {name} in namespace {connection.namespace}.{remedy}"
    return f"the API server refused to {verb} {resource} {name}: {error}"


def _resource(kind: Kind) -> str:
    group, slash, _ = kind.api_version.rpartition("/")
    return f"{kind.plural}.{group}" if slash else kind.plural
