"""The operator with a fault proxy between it and a real API server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.faults.proxy import FaultProxy
from integration.faults.turns import Write, trail
from integration.operator.conftest import api, namespace, new_operator, shared_namespace
from testcluster.fixtures import ApiServer

__all__ = ["api", "namespace", "new_operator", "shared_namespace"]

ProxyMaker = Callable[[], FaultProxy]
WRITERS = tuple(f"writer-{number}" for number in range(3))
"""Users as whom the API server knows the clients of a test's first, second and third proxy."""


@dataclass(frozen=True)
class Audit:
    """The API server's audit log of a test, from its beginning on."""

    log: Path
    since: int

    def writes(self) -> list[Write]:
        """Return what went through the proxies' users and changes something, in order."""
        return trail(self.log, self.since, WRITERS)


@pytest.fixture
def audited(apiserver: ApiServer) -> Audit:
    """The API server's audit log from now on."""
    return Audit(apiserver.audit_log, apiserver.audit_log.stat().st_size)


@pytest.fixture
def new_proxy(
    apiserver: ApiServer,
    audited: Audit,  # noqa: ARG001 - begins before the first request
    tmp_path: Path,
) -> Iterator[ProxyMaker]:
    """A maker of proxies in front of the private API server, which tells them apart by their users."""
    with ExitStack() as running:
        made: list[FaultProxy] = []

        def make() -> FaultProxy:
            user = WRITERS[len(made)]
            kubeconfig = apiserver.plane.credentials(user, user, ["system:masters"])
            proxy = FaultProxy(kubeconfig, tmp_path / user)
            made.append(running.enter_context(proxy))
            return proxy

        yield make


@pytest.fixture
def proxy(new_proxy: ProxyMaker) -> FaultProxy:
    """A proxy in front of the private API server."""
    return new_proxy()
