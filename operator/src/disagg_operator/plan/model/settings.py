"""What pods are put together from: variables, ports, probes, volumes, devices, each with its provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Why a setting is there.

    Attributes:
        reason: why, a sentence for people.
        source: who says so.
        line: line of the profile that sets it, or nothing.
        guess: whether the value is a cautious one, because only the cluster knows the right one.
    """

    reason: str
    source: str
    line: str = ""
    guess: bool = False


@dataclass(frozen=True, slots=True)
class EnvSetting:
    """An environment variable with its provenance. Exactly one of value and value_from is set."""

    name: str
    value: str | None
    value_from: Mapping[str, Any] | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Port:
    """A named TCP port of a container."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """An HTTP GET probe; times in seconds.

    Attributes:
        path, port: where it asks; the port by name.
        period: between two tries.
        failures: in a row that count.
        timeout: of one try.
        grace: that a container gets to end which failed it as a liveness probe; None for the pod's.
    """

    path: str
    port: str
    period: int
    failures: int
    timeout: int
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class ExecProbe:
    """A probe that runs a command in the container; the rest is as for `HttpProbe`."""

    command: tuple[str, ...]
    period: int
    failures: int
    timeout: int
    grace: int | None = None


Probe = HttpProbe | ExecProbe


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume and where the container sees it.

    Attributes:
        name: name of the volume.
        path: mount path.
        volume: the volume's source, in Kubernetes' shape.
        read_only: whether the container may not write.
        provenance: why it is there, where a profile or derivation says so.
    """

    name: str
    path: str
    volume: Mapping[str, Any]
    read_only: bool = False
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class DeviceCount:
    """Extended resources that a container asks for: as many requested as limited."""

    name: str
    count: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Setting:
    """A named text of a pod: a node label, an annotation."""

    name: str
    value: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class TolerationSetting:
    """A tolerated taint, in Kubernetes' shape."""

    toleration: Mapping[str, Any]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Claim:
    """A resource claim of each pod, made from a template.

    Attributes:
        name: name of the claim inside the pod.
        template: name of the ResourceClaimTemplate.
    """

    name: str
    template: str
    provenance: Provenance
