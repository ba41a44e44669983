"""What every provider does, and how one is chosen. The choice is pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from testcluster.errors import ClusterError

ProviderName = Literal["kind", "local", "existing"]


@dataclass(frozen=True)
class Image:
    """An image that the cluster's pods use.

    Args:
        name: What it is: `operator` or `worker`.
        reference: What pods name it by.
        archive: Its docker-archive; None if the cluster pulls it from a registry.
    """

    name: str
    reference: str
    archive: Path | None


@dataclass(frozen=True)
class Part:
    """A part of a cluster and whether it works; `detail` says why not, or where it is."""

    name: str
    healthy: bool
    detail: str = ""


class Provider(Protocol):
    """A cluster that can be brought up, filled with images and removed."""

    @property
    def name(self) -> ProviderName:
        """Which provider this is."""
        ...

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        ...

    @property
    def audit_log(self) -> Path | None:
        """The API server's audit log, where this machine can read it."""
        ...

    def up(self) -> None:
        """Bring the cluster up; quick and harmless if it is."""
        ...

    def down(self) -> None:
        """Remove everything that `up` made; harmless if there is nothing."""
        ...

    def status(self) -> Sequence[Part]:
        """The parts and their health."""
        ...

    def load(self, images: Sequence[Image]) -> None:
        """Make images available to pods."""
        ...


def choose(environment: Mapping[str, str], *, kind_usable: bool) -> ProviderName:
    """Choose a provider: what CLUSTER says, else kind where it can work, else the embedded cluster.

    Raises:
        ClusterError: If CLUSTER names no provider.
    """
    asked = environment.get("CLUSTER", "")
    match asked:
        case "kind" | "local" | "existing":
            return asked
        case "":
            return "kind" if kind_usable else "local"
        case _:
            raise ClusterError(
                f"CLUSTER={asked} is unknown", remedy="use kind, local or existing, or leave it unset"
            )
