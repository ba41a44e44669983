"""What the operator's installation decides and no user: images and roles that its chart brought along."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from disagg_operator.platforms.catalogue import Catalogue, builtin


@dataclass(frozen=True)
class HostAccess:
    """What resources may ask of their nodes beyond what the installed profiles give.

    Attributes:
        limited: whether that is nothing; otherwise Pod Security of the namespace alone decides.
        paths: directories of nodes that may be mounted all the same, with all that is below them.
    """

    limited: bool = False
    paths: tuple[str, ...] = ()

    def allows_path(self, path: str) -> bool:
        """Tell whether a directory of a node may be mounted."""
        parts = PurePosixPath(path).parts
        return ".." not in parts and any(
            PurePosixPath(path).is_relative_to(PurePosixPath(allowed)) for allowed in self.paths
        )


@dataclass(frozen=True)
class Installation:
    """Settings of one installation of the operator.

    Attributes:
        worker_image: image of the reference engine and its frontend.
        discovery_role_kind: kind of the role that lets pods use Kubernetes discovery.
        discovery_role_name: name of that role.
        service_images: images of services that the operator runs, by service, in place of their profiles'.
        namespace: the operator's, whose pods NetworkPolicies let in; nothing where it runs elsewhere.
        network_policies: whether it makes NetworkPolicies.
        metrics_from: who may read metrics of any deployment, as peers of a NetworkPolicy.
        catalogue: the profiles that deployments may name.
        host: what deployments may ask of their nodes.
    """

    worker_image: str
    discovery_role_kind: Literal["ClusterRole", "Role"] = "ClusterRole"
    discovery_role_name: str = "disagg-operator-discovery"
    service_images: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "disagg-system"
    network_policies: bool = True
    metrics_from: tuple[Mapping[str, Any], ...] = ()
    catalogue: Catalogue = field(default_factory=builtin)
    host: HostAccess = field(default_factory=HostAccess)
