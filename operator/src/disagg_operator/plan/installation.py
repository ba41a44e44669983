"""What the operator's installation decides and no user: images and roles that its chart brought along."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from disagg_operator.platforms.catalogue import Catalogue, builtin


@dataclass(frozen=True)
class Installation:
    """Settings of one installation of the operator.

    Attributes:
        worker_image: image of the reference engine and its frontend.
        discovery_role_kind: kind of the role that lets pods use Kubernetes discovery.
        discovery_role_name: name of that role.
        service_images: images of services that the operator runs, by service, in place of their profiles'.
        catalogue: the profiles that deployments may name.
    """

    worker_image: str
    discovery_role_kind: Literal["ClusterRole", "Role"] = "ClusterRole"
    discovery_role_name: str = "disagg-operator-discovery"
    service_images: Mapping[str, str] = field(default_factory=dict)
    catalogue: Catalogue = field(default_factory=builtin)
