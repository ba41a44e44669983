"""Putting the pieces together: the chosen provider, the programs that fit it, and its images."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from testcluster.console import Progress
from testcluster.images import ImageStore, given_images
from testcluster.kubectl import Kubectl
from testcluster.paths import Paths, default_paths
from testcluster.providers.base import Image, Provider, ProviderName, choose
from testcluster.providers.existing import ExistingProvider
from testcluster.providers.kind import KindProvider, kind_usable
from testcluster.providers.local import LocalProvider
from testcluster.toolchain import ensure_tools


@dataclass(frozen=True)
class Programs:
    """The client programs in use."""

    kubectl: str
    helm: str


@dataclass(frozen=True)
class Session:
    """One use of a cluster: who provides it, and with what it is driven."""

    provider: Provider
    paths: Paths
    progress: Progress

    @cached_property
    def programs(self) -> Programs:
        """Kubectl and helm, built if they have to be: nothing that can be refused at once waits for that."""
        return client_programs(self.provider.name, self.paths, self.progress)

    @property
    def kubectl(self) -> Kubectl:
        """Kubectl for this cluster."""
        return Kubectl(self.programs.kubectl, self.provider.kubeconfig)

    def images(self) -> list[Image]:
        """The images that pods of this cluster use, built if they have to be."""
        if self.provider.name == "existing":
            return given_images(os.environ)
        return ImageStore(self.paths, self.progress, docker=self.provider.name == "kind").ensure()

    def up(self) -> list[Image]:
        """Bring the cluster up with its images loaded."""
        # Images that are given cost nothing to name, and are missed before anything takes long.
        given = self.images() if self.provider.name == "existing" else []
        self.provider.up()
        images = given or self.images()
        self.provider.load(images)
        return images


def open_session(environment: Mapping[str, str], progress: Progress) -> Session:
    """Choose the provider that the environment and this machine suggest.

    Raises:
        ClusterError: If the environment asks for something that cannot be.
    """
    paths = default_paths()
    name = provider_name(environment, paths)
    return Session(_provider(name, environment, paths, progress), paths, progress)


def provider_name(environment: Mapping[str, str], paths: Paths) -> ProviderName:
    """Name the provider; an embedded cluster that is already here goes before kind."""
    if environment.get("CLUSTER"):
        return choose(environment, kind_usable=False)
    return choose(environment, kind_usable=not (paths.state / "before.json").exists() and kind_usable())


def client_programs(name: ProviderName, paths: Paths, progress: Progress) -> Programs:
    """Kubectl and helm: those on PATH for clusters of others, those built with it for the embedded one."""
    found = (shutil.which("kubectl"), shutil.which("helm"))
    if name != "local" and found[0] and found[1]:
        return Programs(found[0], found[1])
    tools = ensure_tools(paths, progress)
    return Programs(tools.path("kubectl"), tools.path("helm"))


def _provider(
    name: ProviderName, environment: Mapping[str, str], paths: Paths, progress: Progress
) -> Provider:
    match name:
        case "kind":
            return KindProvider(paths, progress)
        case "local":
            return LocalProvider(paths, progress)
        case "existing":
            return ExistingProvider(environment, lambda: client_programs(name, paths, progress).kubectl)


@dataclass(frozen=True)
class Cluster:
    """The running test cluster, as tests see it.

    Args:
        kubeconfig: Administrator's kubeconfig.
        audit_log: The API server's audit log; None for a cluster whose files we cannot read.
        provider: `kind`, `local` or `existing`.
        images: References by name, `operator` and `worker`; the nodes hold or can pull them.
        programs: kubectl and helm that fit it.
    """

    kubeconfig: Path
    audit_log: Path | None
    provider: ProviderName
    images: Mapping[str, str]
    programs: Programs


def running_cluster() -> Cluster:
    """The test cluster with its images, brought up if it is not; it stays up.

    Raises:
        ClusterError: If it cannot be brought up.
    """
    session = open_session(os.environ, Progress())
    images = session.up()
    return Cluster(
        kubeconfig=session.provider.kubeconfig,
        audit_log=session.provider.audit_log,
        provider=session.provider.name,
        images={image.name: image.reference for image in images},
        programs=session.programs,
    )
