"""The operator with a fault proxy between it and a real API server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.faults.proxy import FaultProxy
from integration.operator.conftest import api, namespace, new_operator, shared_namespace
from testcluster.fixtures import ApiServer

__all__ = ["api", "namespace", "new_operator", "shared_namespace"]

ProxyMaker = Callable[[], FaultProxy]


@pytest.fixture
def new_proxy(apiserver: ApiServer, tmp_path: Path) -> Iterator[ProxyMaker]:
    """A maker of proxies in front of the private API server."""
    with ExitStack() as running:
        made: list[FaultProxy] = []

        def make() -> FaultProxy:
            proxy = FaultProxy(apiserver.kubeconfig, tmp_path / f"proxy-{len(made)}")
            made.append(running.enter_context(proxy))
            return proxy

        yield make


@pytest.fixture
def proxy(new_proxy: ProxyMaker) -> FaultProxy:
    """A proxy in front of the private API server."""
    return new_proxy()
