"""Fixtures that give tests a real Kubernetes."""

from collections.abc import Iterator

import pytest

from testcluster.console import Progress
from testcluster.fixtures import ApiServer, private_apiserver
from testcluster.paths import default_paths
from testcluster.toolchain import ensure_tools


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the collected tests need before any of them runs: a build outlasts a timeout."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if wanted & {"apiserver", "cluster", "helm"}:
        ensure_tools(default_paths(), Progress())


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real kube-apiserver with etcd and kube-controller-manager, private to this session; no node."""
    with private_apiserver(tmp_path_factory.mktemp("apiserver")) as running:
        yield running
