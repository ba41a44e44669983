"""Fixtures that give tests a real Kubernetes, and an end of the run that no C library can spoil."""

import atexit
import os
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.fixtures import ApiServer, private_apiserver
from testcluster.paths import default_paths
from testcluster.session import Cluster, running_cluster
from testcluster.toolchain import (
    ensure_helm3,
    ensure_plane,
    ensure_platform_parts,
    ensure_services,
)

CLUSTER = pytest.StashKey[Cluster]()

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main() -> Generator[None, int | pytest.ExitCode | None, int | pytest.ExitCode | None]:
    """Where NIXL was used, end with pytest's exit code before the destructors of C libraries.

    One in NIXL's wheel (libnl) crashes where libibverbs is installed, and a run that passed would count as
    failed. All that pytest and Python do at their end is done by then.
    """
    code = yield
    if "nixl._bindings" in sys.modules:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    return code


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build and start what the collected tests need before any of them runs: a build outlasts a timeout."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    try:
        if wanted & {"apiserver", "helm", "platform_cluster"}:
            ensure_plane(default_paths(), Progress())
        if wanted & {"platform_cluster", "fake_devices"}:
            ensure_platform_parts(default_paths(), Progress())
        if "helm3" in wanted:
            ensure_helm3(default_paths(), Progress())
        if "services" in wanted:
            ensure_services(default_paths(), Progress())
        if "cluster" in wanted:
            session.config.stash[CLUSTER] = running_cluster()
    except ClusterError as error:
        pytest.exit("\n".join(error.lines()), returncode=1)


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real kube-apiserver with etcd and kube-controller-manager, private to this session; no node."""
    with private_apiserver(tmp_path_factory.mktemp("apiserver")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Cluster:
    """The whole test cluster with a node and the images; it stays up for the next run."""
    return pytestconfig.stash[CLUSTER]
