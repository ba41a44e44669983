"""All that kopf does here: it watches DisaggDeployments and tells of them. No decision is made here.

Only a low-level event handler is registered: it leaves no trace on the objects (no annotation, no finalizer).
kopf does not tell what vanished while its watch was interrupted, so that what is gone is left to the
reflector of the same kind, and so is what kopf misses.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import kopf

from disagg_operator.api.v1alpha1 import GROUP, PLURAL, VERSION
from disagg_operator.reconcile.kinds import Object
from disagg_operator.runtime.official import Configuration


class _Backoffs:
    """Pauses before further tries of a list or watch, in seconds: they never end, and stay short."""

    def __iter__(self) -> Iterator[float]:
        return chain((1.0, 2.0), repeat(5.0))


class _NoTrace(kopf.DiffBaseStorage, kopf.ProgressStorage):
    """Keeps nothing of what kopf would remember on the objects, and spares its copies of them."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


def registry_of(seen: Callable[[Object], None], configuration: Configuration) -> kopf.OperatorRegistry:
    """Return what kopf is to call.

    Args:
        seen: is told each DisaggDeployment that is there or changed.
        configuration: how to reach the API server.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(configuration)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def changed(*, event: Any, **_: Any) -> None:
        if event["type"] != "DELETED":
            seen(event["object"])

    return registry


def settings_of() -> kopf.OperatorSettings:
    """Return kopf's settings, each one on purpose."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = settings.persistence.progress_storage = _NoTrace()
    # The process waits for the CRD before it starts kopf, and needs no rights on CRDs and namespaces.
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _Backoffs()
    settings.watching.server_timeout = 300
    settings.watching.reconnect_backoff = 1
    settings.watching.chunk_size = 500
    settings.process.ultimate_exiting_timeout = 30
    settings.queueing.worker_limit = None
    return settings


async def run(
    seen: Callable[[Object], None],
    configuration: Configuration,
    namespaces: tuple[str, ...],
    stop: asyncio.Event,
    retake_signals: Callable[[], None],
) -> None:
    """Watch DisaggDeployments until ``stop`` is set.

    Args:
        seen: is told each DisaggDeployment that is there or changed.
        configuration: how to reach the API server.
        namespaces: namespaces to watch; none watches all.
        stop: ends this.
        retake_signals: is called once kopf has taken the process's signals for itself, before it can get one.
    """
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry_of(seen, configuration),
        settings=settings_of(),
        namespaces=namespaces,
        clusterwide=not namespaces,
        stop_flag=stop,
    )
    retake_signals()
    await kopf.run_tasks(tasks, ignored=others)


async def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return the credentials as they are now: tokens of pods are renewed every hour."""
    authorization = await configuration.get_api_key_with_prefix("BearerToken") or ""
    scheme, _, token = authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
